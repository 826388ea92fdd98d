//! Events of the Messages API to deltas: a pure mapping.
use std::collections::VecDeque;

use super::extras;
use super::extras::Foreign;
use super::wire::{Block, BlockDelta, Counts, MessagesEvent};
use crate::domain::event::{ErrorCode, FinishReason, ToolCallDelta, Usage};
use crate::domain::extra::{Extra, Spot};
use crate::ports::{Delta, ProviderError};
use crate::providers::chat::map::{finish_reason, push_text};
use crate::providers::upstream::delta_stream::Fold;
use crate::providers::upstream::guard::{MAX_EVENT, lost, truncated};
use crate::providers::upstream::refusal::RefusalBody;
use crate::providers::upstream::text::{ChunkText, TextJoiner};

/// The longest signature of a thought, in bytes.
const SIGNATURE: usize = 1 << 20;

/// The fold over one attempt's events.
#[derive(Debug, Default)]
pub(crate) struct MessagesMap {
    text: TextJoiner,
    reasoning: TextJoiner,
    /// The block of each tool call, in their order.
    calls: Vec<u32>,
    /// The call that grows.
    call: Option<Call>,
    signature: String,
    /// The block of a tool that the provider runs.
    foreign: Option<Foreign>,
    /// Whether the block before was text, and so a new text is another block.
    was_text: bool,
    counts: Counts,
    told: Option<Usage>,
    finished: bool,
    stopped: bool,
    told_bad_chunk: bool,
    out: VecDeque<Delta>,
}

#[derive(Debug)]
struct Call {
    block: u32,
    arguments: TextJoiner,
    /// The arguments to say at its end if no piece of them comes.
    whole: Option<String>,
}

impl Fold for MessagesMap {
    type Chunk = MessagesEvent;

    fn chunk(&mut self, mut event: MessagesEvent) -> Result<(), ProviderError> {
        if let Some(error) = event.error().filter(|_| !self.finished) {
            self.foreign = None;
            self.close_block();
            return Err(RefusalBody::in_value(&error).in_stream());
        }
        self.counts = event.counts(self.counts);
        let more = event.usage().filter(|_| !self.finished).and_then(extras::usage);
        self.extra(more);
        match event.kind.as_deref().unwrap_or_default() {
            _ if self.finished && event.kind.as_deref() != Some("message_stop") => {}
            "content_block_start" => {
                self.block(event.index.unwrap_or(0), event.content_block.unwrap_or_default());
            }
            "content_block_delta" => {
                self.delta(event.delta.unwrap_or_default());
                self.bounded()?;
            }
            "content_block_stop" => self.close_block(),
            "message_delta" => {
                let rest = std::mem::take(&mut event.rest);
                self.extra(extras::of_message(Spot::Chunk, &rest));
                self.message_delta(event.delta.take().unwrap_or_default());
            }
            "message_stop" => self.stopped = true,
            // `message_start`, `ping`, and whatever is added later.
            _ => {}
        }
        // Before the finish, because the consumer may stop listening there.
        self.usage();
        Ok(())
    }

    fn bad_chunk(&mut self) {
        if !self.finished && !std::mem::replace(&mut self.told_bad_chunk, true) {
            let message = "the model sends events that cannot be understood; they are left out";
            self.notice("bad_chunk", message.into());
        }
    }

    fn is_finished(&self) -> bool {
        self.finished
    }

    fn is_over(&self) -> bool {
        self.stopped
    }

    fn end(&mut self, done: bool, loss: Option<ProviderError>) -> Result<(), ProviderError> {
        if self.finished {
            return Ok(());
        }
        self.foreign = None;
        self.close_block();
        if !done && !self.stopped {
            let cut = || truncated("the model's stream ended without saying that it is complete");
            return Err(loss.unwrap_or_else(cut));
        }
        self.notice("no_finish_reason", "the model ended without saying why".into());
        self.finish(FinishReason::Other, None);
        Ok(())
    }

    fn pop(&mut self) -> Option<Delta> {
        self.out.pop_front()
    }
}

impl MessagesMap {
    fn extra(&mut self, extra: Option<Extra>) {
        self.out.extend(extra.map(Delta::Extra));
    }

    fn block(&mut self, index: u32, mut block: Block) {
        self.close_block();
        let rest = std::mem::take(&mut block.rest);
        let kind = block.kind.take().unwrap_or_default();
        let is_text = kind == "text";
        if is_text && (std::mem::replace(&mut self.was_text, true) || !rest.is_empty()) {
            self.extra(extras::text_block(&rest));
        }
        self.was_text = is_text;
        match kind.as_str() {
            "tool_use" => {
                let place = self.calls.len();
                self.calls.push(index);
                self.extra(extras::call(u32::try_from(place).unwrap_or(u32::MAX), rest));
                self.call_delta(place, |call| {
                    call.id = block.id.filter(|id| !id.is_empty());
                    call.name = block.name.filter(|name| !name.is_empty());
                });
                let whole = block.input.map_or_else(|| "{}".into(), |raw| raw.get().to_owned());
                let arguments = TextJoiner::default();
                self.call = Some(Call { block: index, arguments, whole: Some(whole) });
            }
            // For the next turn, which must give it back unread.
            "redacted_thinking" => {
                if let Some(data) = block.data {
                    self.notice("redacted_thinking", data);
                }
            }
            "" | "text" | "thinking" => self.pieces(block.thinking, block.text),
            // Blocks that are added later and are text.
            _ if block.text.is_some() || block.thinking.is_some() => {
                self.pieces(block.thinking, block.text);
            }
            // Tools that the provider runs itself.
            kind => self.foreign = Some(Foreign::new(kind.to_owned(), Block { rest, ..block })),
        }
    }

    fn delta(&mut self, delta: BlockDelta) {
        if let Some(foreign) = self.foreign.as_mut()
            && delta.text.is_none()
            && delta.thinking.is_none()
        {
            return foreign.push(delta);
        }
        self.foreign = None;
        self.pieces(delta.thinking, delta.text);
        self.signature.push_str(delta.signature.as_deref().unwrap_or_default());
        self.extra(extras::citation(&delta.rest));
        let (Some(piece), Some(call)) = (delta.partial_json, &mut self.call) else { return };
        if piece.0.is_empty() {
            return;
        }
        call.whole = None;
        let arguments = call.arguments.push(piece);
        let block = call.block;
        self.arguments(block, arguments);
    }

    /// A signature is one event at its end, and until then in memory.
    fn bounded(&self) -> Result<(), ProviderError> {
        let foreign = self.foreign.as_ref().map_or(0, Foreign::len);
        let most = if self.signature.len() > SIGNATURE { SIGNATURE } else { MAX_EVENT };
        if most == MAX_EVENT && foreign <= MAX_EVENT {
            return Ok(());
        }
        let message = format!("a block of the model's is larger than {most} bytes");
        Err(lost(ErrorCode::UpstreamProtocol, message, false))
    }

    fn pieces(&mut self, thinking: Option<ChunkText>, text: Option<ChunkText>) {
        let thinking = self.reasoning.push(thinking.unwrap_or_default());
        push_text(&mut self.out, thinking, Delta::Reasoning);
        let text = self.text.push(text.unwrap_or_default());
        push_text(&mut self.out, text, Delta::Text);
    }

    fn message_delta(&mut self, delta: BlockDelta) {
        let Some(raw) = delta.stop_reason.filter(|raw| !raw.is_empty()) else { return };
        self.close_block();
        self.extra(extras::of_message(Spot::Message, &delta.rest));
        let details = delta.stop_details.unwrap_or_default();
        let explanation = TextJoiner::default().push(details.explanation.unwrap_or_default());
        push_text(&mut self.out, explanation, Delta::Refusal);
        let (reason, same) = finish_reason(&raw);
        // The usage of this event is the last: it belongs before the finish.
        self.finished = true;
        self.usage();
        self.finish(reason, details.category.or_else(|| (!same).then_some(raw)));
    }

    /// The rest of the block that ends, or that was cut off.
    fn close_block(&mut self) {
        let foreign = self.foreign.take().and_then(|foreign| foreign.extra());
        self.extra(foreign);
        push_text(&mut self.out, self.reasoning.finish(), Delta::Reasoning);
        push_text(&mut self.out, self.text.finish(), Delta::Text);
        if let Some(mut call) = self.call.take() {
            let rest = call.arguments.finish() + call.whole.as_deref().unwrap_or_default();
            self.arguments(call.block, rest);
        }
        let signature = std::mem::take(&mut self.signature);
        if !signature.is_empty() {
            self.notice("thinking_signature", signature);
        }
    }

    fn arguments(&mut self, block: u32, arguments: String) {
        if arguments.is_empty() {
            return;
        }
        if let Some(place) = self.calls.iter().rposition(|of| *of == block) {
            self.call_delta(place, |call| call.arguments = arguments);
        }
    }

    fn call_delta(&mut self, place: usize, fill: impl FnOnce(&mut ToolCallDelta)) {
        let index = u32::try_from(place).unwrap_or(u32::MAX);
        let mut call = ToolCallDelta { index, ..ToolCallDelta::default() };
        fill(&mut call);
        self.out.push_back(Delta::ToolCall(call));
    }

    /// Told when it changes. Exact only with the finish: before it, the output has just begun.
    fn usage(&mut self) {
        let counts = self.counts;
        let (Some(input), Some(output)) = (counts.input, counts.output) else { return };
        let cached = counts.cache_read.unwrap_or(0);
        let usage = Usage {
            // Cached tokens are not counted in `input_tokens`.
            input_tokens: input + cached + counts.cache_creation.unwrap_or(0),
            output_tokens: output,
            reasoning_tokens: None,
            cached_input_tokens: counts.cache_read,
            cache_write_input_tokens: counts.cache_creation,
            exact: self.finished,
        };
        if self.told != Some(usage) {
            self.told = Some(usage);
            self.out.push_back(Delta::Usage(usage));
        }
    }

    fn finish(&mut self, reason: FinishReason, raw: Option<String>) {
        self.finished = true;
        self.out.push_back(Delta::Finish { reason, raw });
    }

    fn notice(&mut self, code: &'static str, message: String) {
        self.out.push_back(Delta::Notice { code, message });
    }
}
