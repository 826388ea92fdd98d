//! Deltas become events. Deltas that are ready together are taken together.
use futures_util::{FutureExt, StreamExt};

use super::meter::Meter;
use crate::domain::choices;
use crate::domain::event::{Event, FinishReason, ToolCallDelta};
use crate::domain::extra::Spot;
use crate::domain::utf8::without_nul;
use crate::ports::{Delta, Deltas, ProviderError};

/// Deltas that are taken together when they are ready together.
const TOGETHER: usize = 128;
/// Bytes of extras behind which nothing more is taken along: each may be a picture.
const TOGETHER_BYTES: usize = 256 * 1024;
/// The longest text of one event, in bytes: a reader's page of events stays small.
const EVENT_BYTES: usize = 16 * 1024;

/// The deltas that were ready at once.
pub(super) struct DeltaBatch {
    pub(in crate::engine) events: Vec<Event>,
    /// Whether its upstream keeps the answer, and under which name, where it said so.
    pub(in crate::engine) kept: Option<Option<String>>,
    /// `Some` when the deltas are over.
    pub(in crate::engine) over: Option<Result<(), ProviderError>>,
}

/// Takes `first` and everything behind it that is ready.
pub(super) fn read_batch(
    first: Option<Result<Delta, ProviderError>>,
    deltas: &mut Deltas,
    meter: &mut Meter,
    finish: &mut Option<(FinishReason, Option<String>)>,
) -> DeltaBatch {
    let mut heard = DeltaBatch { events: Vec::new(), kept: None, over: None };
    let (mut next, mut beside) = (Some(first), 0);
    while let Some(item) = next {
        match item {
            None => heard.over = Some(Ok(())),
            Some(Err(error)) => heard.over = Some(Err(error)),
            Some(Ok(Delta::Finish { reason, raw })) => {
                *finish = Some((reason, raw.map(without_nul)));
            }
            Some(Ok(Delta::Usage(usage))) => meter.reported(usage),
            Some(Ok(Delta::Background(answer))) => heard.kept = Some(Some(answer)),
            Some(Ok(Delta::Forgotten)) => heard.kept = Some(None),
            Some(Ok(Delta::Repeated(bytes))) => meter.repeated(bytes),
            Some(Ok(Delta::AskedAgain)) => meter.begin(false),
            Some(Ok(Delta::Notice { code, message })) => heard.events.push(notice(code, &message)),
            Some(Ok(Delta::Text(text))) => {
                each_piece(text, |text| Event::Delta { text }, meter, &mut heard.events);
            }
            Some(Ok(Delta::Reasoning(text))) => {
                each_piece(text, |text| Event::Reasoning { text }, meter, &mut heard.events);
            }
            Some(Ok(Delta::Refusal(text))) => {
                each_piece(text, |text| Event::Refusal { text }, meter, &mut heard.events);
            }
            Some(Ok(Delta::Extra(extra))) => {
                if extra.at == Spot::OtherChoice {
                    meter.said_beside(choices::said(&extra));
                }
                beside += extra.data.text().len();
                heard.events.push(Event::Extra(extra));
            }
            Some(Ok(Delta::ToolCall(call))) => tool_call(call, meter, &mut heard.events),
        }
        let full = heard.events.len() >= TOGETHER || beside >= TOGETHER_BYTES;
        if heard.over.is_some() || full {
            break;
        }
        next = deltas.next().now_or_never();
    }
    heard
}

/// One event, or several where the upstream sends more at once than a reader shall hold.
fn each_piece(
    text: String,
    event: impl Fn(String) -> Event,
    meter: &mut Meter,
    events: &mut Vec<Event>,
) {
    meter.said(text.len());
    pieces(text, event, events);
}

/// The events of a text, each short enough for a reader.
pub(in crate::engine) fn pieces(
    text: String,
    event: impl Fn(String) -> Event,
    events: &mut Vec<Event>,
) {
    let mut rest = without_nul(text);
    while rest.len() > EVENT_BYTES {
        let tail = rest.split_off(rest.floor_char_boundary(EVENT_BYTES));
        events.push(event(std::mem::replace(&mut rest, tail)));
    }
    if !rest.is_empty() {
        events.push(event(rest));
    }
}

fn tool_call(call: ToolCallDelta, meter: &mut Meter, events: &mut Vec<Event>) {
    let ToolCallDelta { index, id, name, namespace, custom, arguments } = call;
    let [id, name, namespace] = [id, name, namespace].map(|word| word.map(without_nul));
    let mut first = ToolCallDelta { index, id, name, namespace, custom, arguments: String::new() };
    if arguments.is_empty() {
        events.push(Event::ToolCall(first));
        return;
    }
    let fragment = |arguments| {
        let rest = ToolCallDelta { index, ..ToolCallDelta::default() };
        let first = std::mem::replace(&mut first, rest);
        Event::ToolCall(ToolCallDelta { arguments, ..first })
    };
    let fragment = std::cell::RefCell::new(fragment);
    each_piece(arguments, |arguments| (fragment.borrow_mut())(arguments), meter, events);
}

/// The memory of an event, roughly, in bytes.
pub(in crate::engine) fn size(event: &Event) -> usize {
    let text = match event {
        Event::Delta { text } | Event::Reasoning { text } | Event::Refusal { text } => text.len(),
        Event::ToolCall(call) => {
            let words = [&call.id, &call.name, &call.namespace].into_iter().flatten();
            call.arguments.len() + words.map(String::len).sum::<usize>()
        }
        Event::Notice { message, .. } => message.len(),
        Event::Extra(extra) => extra.data.text().len(),
        Event::Started { .. }
        | Event::Superseded { .. }
        | Event::Resumed { .. }
        | Event::Snapshot { .. }
        | Event::Unknown
        | Event::Done(_) => 64,
    };
    text + 64
}

pub(in crate::engine) fn notice(code: &str, message: &str) -> Event {
    Event::Notice { code: code.into(), message: without_nul(message.into()) }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;
    use crate::domain::extra::Extra;
    use crate::domain::json::JsonObject;
    use crate::domain::source::WireProtocol;
    use crate::domain::transcript::Answer;

    #[test]
    fn large_extras_that_are_ready_together_are_not_taken_together() {
        let picture = || {
            let text = format!("{{\"url\":\"{}\"}}", "x".repeat(200_000));
            let data = JsonObject::of_text(text).unwrap();
            let (protocol, at) = (WireProtocol::OpenaiChat, Spot::Message);
            Ok(Delta::Extra(Extra { protocol, at, index: None, data }))
        };
        let mut deltas: Deltas = stream::iter((0..9).map(move |_| picture())).boxed();
        let mut meter = Meter::new(0, &Answer::default(), 1);
        let mut batches = Vec::new();
        while let Some(first) = deltas.next().now_or_never().flatten() {
            let batch = read_batch(Some(first), &mut deltas, &mut meter, &mut None);
            batches.push(batch.events.len());
        }
        assert_eq!(batches, [2, 2, 2, 2, 1]);
    }
}
