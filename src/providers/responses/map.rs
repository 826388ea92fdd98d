//! Events of a response to deltas: a pure mapping. The same events give the same deltas, whichever
//! way they come, or an answer that the upstream keeps could not be gone on with.
use std::collections::{BTreeSet, VecDeque};

use super::calls::ResponsesCalls;
use super::extras::ResponsesExtras;
use super::wire::{Part, Response, ResponsesEvent};
use crate::domain::event::{ErrorCode, FinishReason};
use crate::domain::extra::Fields;
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
    calls: ResponsesCalls,
    extras: ResponsesExtras,
    /// Parts that came in pieces, and need not be taken from their end.
    pieced: BTreeSet<(Channel, Part)>,
    said: bool,
    /// Whether the item that grows has said something.
    spoke: bool,
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
    /// The text that a tool takes.
    Input,
}

impl Channel {
    fn of(kind: &str) -> Option<Self> {
        match kind {
            "response.output_text" => Some(Self::Text),
            "response.reasoning_summary_text" | "response.reasoning_text" => Some(Self::Reasoning),
            "response.refusal" => Some(Self::Refusal),
            "response.function_call_arguments" => Some(Self::Arguments),
            "response.custom_tool_call_input" => Some(Self::Input),
            _ => None,
        }
    }
}

impl ResponsesMap {
    /// For an answer that the upstream keeps, or does not; `named`: under a name that is known.
    pub(crate) fn new(keeps: bool, named: bool) -> Self {
        Self { keeps, named, ..Self::default() }
    }

    /// The same for a client of the same protocol, which is told where items and parts begin.
    pub(crate) fn native(self, native: bool) -> Self {
        Self { extras: ResponsesExtras::new(native), ..self }
    }

    fn piece(&mut self, channel: Channel, mut event: ResponsesEvent) {
        self.begin(channel, &mut event);
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

    /// Tells what belongs to a text before it.
    fn begin(&mut self, channel: Channel, event: &mut ResponsesEvent) {
        let raw = event.kind.as_deref().is_some_and(|kind| kind.contains("reasoning_text"));
        match channel {
            Channel::Text | Channel::Reasoning | Channel::Refusal => {
                self.extras.begin_text(raw, &mut self.out);
                self.extras.logprobs(event.logprobs.take(), &mut self.out);
            }
            Channel::Arguments | Channel::Input => {}
        }
    }

    /// The part that an event is about, and which call it is if it is one.
    fn part(&mut self, channel: Channel, event: &ResponsesEvent) -> (Part, u32) {
        if matches!(channel, Channel::Arguments | Channel::Input) {
            let (index, _) = self.calls.index(event.item_id(), event.output_place());
            return (Part::of_call(index), index);
        }
        (event.part(), 0)
    }

    /// The end of a part: all of it, if it did not come in pieces.
    fn whole(&mut self, channel: Channel, mut event: ResponsesEvent) {
        let (part, index) = self.part(channel, &event);
        if self.pieced.len() < PARTS && self.pieced.insert((channel, part)) {
            self.begin(channel, &mut event);
            self.push(channel, index, event.take_whole());
        }
        self.flush();
    }

    fn push(&mut self, channel: Channel, index: u32, piece: ChunkText) {
        self.said |= !piece.0.is_empty();
        self.spoke |= !piece.0.is_empty();
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
            Channel::Arguments => self.calls.push(index, false, piece, &mut self.out),
            Channel::Input => self.calls.push(index, true, piece, &mut self.out),
        }
    }

    fn item(&mut self, mut event: ResponsesEvent, ends: bool) {
        let fields = event.item_fields();
        let channel = match fields.read::<String>("type").as_deref() {
            Some("function_call") => Channel::Arguments,
            Some("custom_tool_call") => Channel::Input,
            Some(_) | None => {
                let spoke = std::mem::take(&mut self.spoke);
                if ends && !spoke {
                    self.unsaid(&fields);
                    self.spoke = false;
                }
                return self.extras.item(fields, ends, &mut self.out);
            }
        };
        let Some(mut item) = event.take_item() else { return };
        let id = item.id.clone().or_else(|| event.item_id());
        let (index, is_new) = self.calls.index(id, event.output_place());
        let whole = item.arguments.take().or(item.input.take());
        if is_new {
            self.extras.call(index, fields, &mut self.out);
            self.calls.begin(index, item, &mut self.out);
        }
        if ends && self.pieced.insert((channel, Part::of_call(index))) {
            self.push(channel, index, whole.unwrap_or_default());
        }
        if ends {
            self.calls.end(index, &mut self.out);
        }
    }

    /// The content of an item that has said nothing before its end. Some servers send it only
    /// there.
    fn unsaid(&mut self, item: &Fields) {
        let texts = |list: &str, field: &str| -> Vec<String> {
            let parts: Vec<Fields> = item.read(list).unwrap_or_default();
            parts.iter().filter_map(|part| part.read(field)).collect()
        };
        let thinks = item.read::<String>("type").as_deref() == Some("reasoning");
        let said = if thinks {
            let summary = texts("summary", "text");
            let words = if summary.is_empty() { texts("content", "text") } else { summary };
            vec![(Channel::Reasoning, words.join("\n\n"))]
        } else {
            let text = (Channel::Text, texts("content", "text").concat());
            vec![text, (Channel::Refusal, texts("content", "refusal").concat())]
        };
        for (channel, text) in said.into_iter().filter(|(_, text)| !text.is_empty()) {
            self.extras.begin_text(false, &mut self.out);
            self.push(channel, 0, ChunkText(text.into_bytes()));
        }
        self.flush();
    }

    /// The response as a whole, in an event that begins or ends it.
    fn name(&mut self, response: &Response) {
        let name = response.id.as_deref().filter(|name| self.keeps && is_name(name));
        if let Some(name) = name.filter(|_| !std::mem::replace(&mut self.named, true)) {
            self.out.push_back(Delta::Background(name.to_owned()));
        }
    }

    fn end_of_response(&mut self, kind: &str, mut response: Response) -> Result<(), ProviderError> {
        self.flush();
        let fields = std::mem::take(&mut response.rest);
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
        let usage = response.usage.take();
        if !self.said {
            self.push(Channel::Text, 0, ChunkText(response.text()));
            self.flush();
        }
        self.extras.response(fields, usage.as_ref(), &mut self.out);
        self.finish(reason, raw);
        Ok(())
    }

    /// The rest at the end of a part: a character that never became whole.
    fn flush(&mut self) {
        push_text(&mut self.out, self.reasoning.finish(), Delta::Reasoning);
        push_text(&mut self.out, self.text.finish(), Delta::Text);
        push_text(&mut self.out, self.refusal.finish(), Delta::Refusal);
        self.calls.flush(&mut self.out);
    }

    fn finish(&mut self, reason: FinishReason, raw: Option<String>) {
        self.calls.finish(&mut self.out);
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
            let ends = match end {
                "delta" => Some(false),
                "done" => Some(true),
                _ => None,
            };
            event.kind = Some(kind);
            match ends {
                Some(false) => self.piece(channel, event),
                Some(true) => self.whole(channel, event),
                None => {}
            }
            return Ok(());
        }
        match kind.as_str() {
            "response.output_item.added" => self.item(event, false),
            "response.output_item.done" => self.item(event, true),
            // The parts of a summary are paragraphs.
            "response.reasoning_summary_part.added" if event.summary_place() > 0 => {
                self.extras.next_part(&kind);
                self.extras.begin_text(false, &mut self.out);
                self.push(Channel::Reasoning, 0, ChunkText(b"\n\n".to_vec()));
            }
            "response.content_part.added" if event.content_place() > 0 => {
                self.extras.next_part(&kind);
            }
            "response.content_part.added" | "response.content_part.done" => {}
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
                // `response.created` and its like.
                if let Some(response) = event.take_response() {
                    self.name(&response);
                    return Ok(());
                }
                let kind = event.kind.take().unwrap_or_default();
                let ours = !kind.starts_with("response.") || kind.starts_with("response.reasoning");
                if let Some(fields) = event.into_item_fields().filter(|_| !ours) {
                    self.extras.event(&kind, fields, &mut self.out);
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
