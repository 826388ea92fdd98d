//! Events of a response to deltas: a pure mapping. The same events give the same deltas, whichever
//! way they come, or an answer that the upstream keeps could not be gone on with.
use std::collections::{BTreeSet, VecDeque};

use super::wire::{Item, Part, Response, ResponsesEvent};
use crate::domain::event::{ErrorCode, FinishReason, ToolCallDelta};
use crate::ports::{Delta, ProviderError};
use crate::providers::chat::map::push_text;
use crate::providers::upstream::delta_stream::Fold;
use crate::providers::upstream::guard::{lost, truncated};
use crate::providers::upstream::refusal::RefusalBody;
use crate::providers::upstream::text::{ChunkText, TextJoiner};

/// Of more parts than this it is not remembered whether they came in pieces.
const PARTS: usize = 4096;

/// The fold over one attempt's events.
#[derive(Debug, Default)]
pub(crate) struct ResponsesMap {
    /// Whether the upstream was asked to keep the answer.
    keeps: bool,
    named: bool,
    text: TextJoiner,
    reasoning: TextJoiner,
    refusal: TextJoiner,
    /// Of the latest call: only that one grows.
    arguments: Option<(u32, TextJoiner)>,
    /// The item of each call and its place in the output, in their order.
    calls: Vec<(Option<String>, u32)>,
    /// Parts that came in pieces, and need not be taken from their end.
    pieced: BTreeSet<(Channel, Part)>,
    said: bool,
    refused: bool,
    finished: bool,
    told_bad_chunk: bool,
    out: VecDeque<Delta>,
}

/// Where a piece belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Channel {
    Text,
    Reasoning,
    Refusal,
    Arguments,
}

impl Channel {
    fn of(kind: &str) -> Option<Self> {
        match kind {
            "response.output_text" => Some(Self::Text),
            "response.reasoning_summary_text" | "response.reasoning_text" => Some(Self::Reasoning),
            "response.refusal" => Some(Self::Refusal),
            "response.function_call_arguments" => Some(Self::Arguments),
            _ => None,
        }
    }
}

impl ResponsesMap {
    /// For an answer that the upstream keeps, or does not; `named`: under a name that is known.
    pub(crate) fn new(keeps: bool, named: bool) -> Self {
        Self { keeps, named, ..Self::default() }
    }

    fn piece(&mut self, channel: Channel, mut event: ResponsesEvent) {
        let (part, index) = self.part(channel, &event);
        let piece = event.take_delta();
        if piece.0.is_empty() {
            return;
        }
        if self.pieced.len() < PARTS {
            self.pieced.insert((channel, part));
        }
        self.push(channel, index, piece);
    }

    /// The part that an event is about, and which call it is if it is one.
    fn part(&mut self, channel: Channel, event: &ResponsesEvent) -> (Part, u32) {
        if channel == Channel::Arguments {
            let index = self.call(event.item_id(), event.output_place());
            return (Part::of_call(index), index);
        }
        (event.part(), 0)
    }

    /// The end of a part: all of it, if it did not come in pieces.
    fn whole(&mut self, channel: Channel, mut event: ResponsesEvent) {
        let (part, index) = self.part(channel, &event);
        if self.pieced.len() < PARTS && self.pieced.insert((channel, part)) {
            self.push(channel, index, event.take_whole());
        }
        self.flush();
    }

    fn push(&mut self, channel: Channel, index: u32, piece: ChunkText) {
        self.said |= !piece.0.is_empty();
        match channel {
            Channel::Text => {
                let text = self.text.push(piece);
                push_text(&mut self.out, text, Delta::Text);
            }
            Channel::Reasoning => {
                let text = self.reasoning.push(piece);
                push_text(&mut self.out, text, Delta::Reasoning);
            }
            Channel::Refusal => {
                self.refused = true;
                let text = self.refusal.push(piece);
                push_text(&mut self.out, text, Delta::Refusal);
            }
            Channel::Arguments => {
                if self.arguments.as_ref().is_some_and(|(latest, _)| *latest != index) {
                    self.flush_arguments();
                }
                let latest = self.arguments.get_or_insert_with(|| (index, TextJoiner::default()));
                let arguments = latest.1.push(piece);
                self.call_delta(ToolCallDelta { index, arguments, ..ToolCallDelta::default() });
            }
        }
    }

    /// Which call of the answer an item is.
    fn call(&mut self, id: Option<String>, output: u32) -> u32 {
        let known = self.calls.iter().rposition(|(known, at)| match (&id, known) {
            // Some servers give every item the same place.
            (Some(id), Some(known)) => id == known,
            (None, _) | (_, None) => *at == output,
        });
        let place = known.unwrap_or_else(|| {
            self.calls.push((id, output));
            self.calls.len() - 1
        });
        u32::try_from(place).unwrap_or(u32::MAX)
    }

    fn call_delta(&mut self, call: ToolCallDelta) {
        if call.id.is_some() || call.name.is_some() || !call.arguments.is_empty() {
            self.out.push_back(Delta::ToolCall(call));
        }
    }

    fn item(&mut self, mut event: ResponsesEvent, ends: bool) {
        let Some(item) = event.take_item() else { return };
        if item.kind.as_deref() != Some("function_call") {
            return;
        }
        let Item { id, call_id, name, arguments, .. } = item;
        let known = self.calls.len();
        let index = self.call(id.clone().or_else(|| event.item_id()), event.output_place());
        if self.calls.len() > known {
            let word = |word: Option<String>| word.filter(|word| !word.is_empty());
            let (id, name) = (word(call_id).or(word(id)), word(name));
            self.call_delta(ToolCallDelta { index, id, name, arguments: String::new() });
        }
        if ends && self.pieced.insert((Channel::Arguments, Part::of_call(index))) {
            self.push(Channel::Arguments, index, arguments.unwrap_or_default());
        }
        if ends {
            self.flush_arguments();
        }
    }

    /// The response as a whole, in an event that begins or ends it.
    fn name(&mut self, response: &Response) {
        let name = response.id.as_deref().filter(|name| self.keeps && is_name(name));
        if let Some(name) = name.filter(|_| !std::mem::replace(&mut self.named, true)) {
            self.out.push_back(Delta::Background(name.to_owned()));
        }
    }

    fn end_of_response(&mut self, kind: &str, response: Response) -> Result<(), ProviderError> {
        self.flush();
        if let Some(usage) = response.usage() {
            self.out.push_back(Delta::Usage(usage));
        }
        let status = response.status.as_deref();
        let cancelled = status == Some("cancelled");
        if cancelled || kind == "response.failed" || status == Some("failed") {
            // Its kept answer is of no use.
            self.out.extend(self.keeps.then_some(Delta::Forgotten));
            let message = "the answer was cancelled at the model's server".into();
            let cancelled = cancelled.then(|| lost(ErrorCode::UpstreamTruncated, message, false));
            return Err(
                cancelled.unwrap_or_else(|| RefusalBody::in_value(&response.error()).in_stream())
            );
        }
        // vLLM ends what it cut off with `response.completed` too: the status is what counts.
        let kind = match response.status.as_deref() {
            Some("incomplete") => "response.incomplete",
            _ => kind,
        };
        let (reason, raw) = match (kind, response.incomplete_reason()) {
            ("response.completed", _) if !self.calls.is_empty() => (FinishReason::ToolCalls, None),
            ("response.completed", _) if self.refused => (FinishReason::Refusal, None),
            ("response.completed", _) => (FinishReason::Stop, None),
            (_, Some(raw @ "max_output_tokens")) => (FinishReason::Length, Some(raw)),
            (_, Some("content_filter")) => (FinishReason::ContentFilter, None),
            // For any other reason: there was more to say.
            (_, raw) => (FinishReason::Pause, raw),
        };
        let raw = raw.map(str::to_owned);
        if !self.said {
            self.push(Channel::Text, 0, ChunkText(response.text()));
            self.flush();
        }
        self.finish(reason, raw);
        Ok(())
    }

    fn flush_arguments(&mut self) {
        if let Some((index, mut joiner)) = self.arguments.take() {
            let arguments = joiner.finish();
            self.call_delta(ToolCallDelta { index, arguments, ..ToolCallDelta::default() });
        }
    }

    /// The rest at the end of a part: a character that never became whole.
    fn flush(&mut self) {
        push_text(&mut self.out, self.reasoning.finish(), Delta::Reasoning);
        push_text(&mut self.out, self.text.finish(), Delta::Text);
        push_text(&mut self.out, self.refusal.finish(), Delta::Refusal);
        self.flush_arguments();
    }

    fn finish(&mut self, reason: FinishReason, raw: Option<String>) {
        self.finished = true;
        self.out.push_back(Delta::Finish { reason, raw });
    }

    fn notice(&mut self, code: &'static str, message: &str) {
        self.out.push_back(Delta::Notice { code, message: message.into() });
    }
}

impl Fold for ResponsesMap {
    type Chunk = ResponsesEvent;

    fn chunk(&mut self, mut event: ResponsesEvent) -> Result<(), ProviderError> {
        let kind = event.kind.take().unwrap_or_default();
        if let Some((channel, end)) = kind.rsplit_once('.')
            && let Some(channel) = Channel::of(channel)
        {
            match end {
                "delta" => self.piece(channel, event),
                "done" => self.whole(channel, event),
                _ => {}
            }
            return Ok(());
        }
        match kind.as_str() {
            "response.output_item.added" => self.item(event, false),
            "response.output_item.done" => self.item(event, true),
            // The parts of a summary are paragraphs.
            "response.reasoning_summary_part.added" if event.summary_place() > 0 => {
                self.push(Channel::Reasoning, 0, ChunkText(b"\n\n".to_vec()));
            }
            "response.completed"
            | "response.incomplete"
            | "response.failed"
            | "response.cancelled" => {
                let response = event.take_response().unwrap_or_default();
                self.name(&response);
                return self.end_of_response(&kind, response);
            }
            _ => {
                event.kind = Some(kind);
                if let Some(error) = event.take_error() {
                    return Err(RefusalBody::in_value(&error).in_stream());
                }
                // `response.created` and its like; others are passed over.
                if let Some(response) = event.take_response() {
                    self.name(&response);
                }
            }
        }
        Ok(())
    }

    fn bad_chunk(&mut self) {
        if !self.finished && !std::mem::replace(&mut self.told_bad_chunk, true) {
            let message = "the model sends events that cannot be understood; they are left out";
            self.notice("bad_chunk", message);
        }
    }

    fn is_finished(&self) -> bool {
        self.finished
    }

    fn is_over(&self) -> bool {
        self.finished
    }

    fn end(&mut self, done: bool, loss: Option<ProviderError>) -> Result<(), ProviderError> {
        if self.finished {
            return Ok(());
        }
        if !done {
            // Half a character is not said: the upstream may be asked for all of it.
            let cut = || truncated("the model's stream ended without saying that it is complete");
            return Err(loss.unwrap_or_else(cut));
        }
        self.flush();
        self.notice("no_finish_reason", "the model ended without saying why");
        self.finish(FinishReason::Other, None);
        Ok(())
    }

    fn pop(&mut self) -> Option<Delta> {
        self.out.pop_front()
    }
}

/// A name that can stand in a path; OpenAI's look like `resp_68af…`.
fn is_name(name: &str) -> bool {
    const LONGEST: usize = 256;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.~:".contains(&b);
    (1..=LONGEST).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.')
}
