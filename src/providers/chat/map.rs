//! Chunks of a chat completion to deltas: a pure mapping, with the rule of when it is at its end.
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use super::calls::ChatCalls;
use super::choices::OtherChoices;
use super::counts;
use super::extras::ChatExtras;
use super::wire::{ChatChoice, ChatChunk, ChatDelta};
use crate::domain::event::{ErrorCode, FinishReason, Usage};
use crate::domain::extra::Extra;
use crate::ports::{Delta, ProviderError};
use crate::providers::upstream::adjust::ThinkTags;
use crate::providers::upstream::delta_stream::Fold;
use crate::providers::upstream::guard::{lost, truncated};
use crate::providers::upstream::refusal::RefusalBody;
use crate::providers::upstream::rest::says_something;
use crate::providers::upstream::text::{ChunkText, TextJoiner};
use crate::providers::upstream::think_tags::{Thinking, Told};

/// The fold over one attempt's chunks.
#[derive(Debug, Default)]
pub(crate) struct ChatMap {
    text: TextJoiner,
    thinking: Thinking,
    reasoning: TextJoiner,
    refusal: TextJoiner,
    calls: ChatCalls,
    extras: ChatExtras,
    called: bool,
    usage: Option<Usage>,
    /// The choices beside the first.
    others: OtherChoices,
    /// The end of the first choice, while others go on.
    held: Option<(FinishReason, Option<String>)>,
    finished: bool,
    told_bad_chunk: bool,
    /// Whether timings in mid-answer are the client's wish.
    tells_timings: bool,
    /// The deltas that the consumer has not taken yet.
    out: VecDeque<Delta>,
}

impl Fold for ChatMap {
    type Chunk = ChatChunk;

    fn is_finished(&self) -> bool {
        self.finished
    }

    /// `[DONE]` does not come this far: the guard ends the stream there.
    fn is_over(&self) -> bool {
        false
    }

    fn pop(&mut self) -> Option<Delta> {
        self.out.pop_front()
    }

    fn chunk(&mut self, mut chunk: ChatChunk) -> Result<(), ProviderError> {
        if let Some(error) = chunk.error().filter(|_| !self.finished) {
            if self.held.is_some() {
                self.break_off();
                return Ok(());
            }
            self.flush();
            return Err(RefusalBody::in_value(&error).in_stream());
        }
        self.count(&mut chunk);
        for choice in chunk.choices.take().into_iter().flatten() {
            match choice.index() {
                Some(0) if !self.finished && self.held.is_none() => self.choice(choice)?,
                Some(index @ 1..) if !self.finished => {
                    let piece = self.others.piece(index, choice);
                    self.extra(piece);
                }
                Some(_) | None => {}
            }
        }
        if self.others.are_over() {
            self.release();
        }
        if self.finished {
            let usage = self.extras.take_usage();
            self.extra(usage);
        }
        Ok(())
    }

    /// Told once: a server that sends one sends many.
    fn bad_chunk(&mut self) {
        if !std::mem::replace(&mut self.told_bad_chunk, true) {
            let message = "the model sends chunks that cannot be understood; they are left out";
            self.notice("bad_chunk", message);
        }
    }

    fn end(&mut self, done: bool, loss: Option<ProviderError>) -> Result<(), ProviderError> {
        if self.finished {
            return Ok(());
        }
        if self.held.is_some() {
            self.break_off();
            return Ok(());
        }
        self.flush();
        if !done {
            let cut = || truncated("the model's stream ended without saying that it is complete");
            return Err(loss.unwrap_or_else(cut));
        }
        self.notice("no_finish_reason", "the model ended without saying why");
        self.finish(FinishReason::Other, None);
        self.break_off();
        Ok(())
    }
}

impl ChatMap {
    /// For an answer of so many choices, in which thoughts may stand between tags.
    pub(crate) fn new(tags: ThinkTags, choices: u32) -> Self {
        let others = OtherChoices::new(tags, choices);
        Self { thinking: Thinking::new(tags), others, ..Self::default() }
    }

    /// With the timings of each token, where the client has asked for them itself.
    pub(crate) fn with_timings(mut self, told: bool) -> Self {
        self.tells_timings = told;
        self
    }

    /// Takes the counts and the extras of a chunk, in front of its text.
    fn count(&mut self, chunk: &mut ChatChunk) {
        let is_late = self.finished || self.held.is_some() || chunk.is_late();
        let timings = chunk.timings.take();
        let timed = timings.as_deref().and_then(counts::in_timings);
        // The last ones belong to the answer, those before are our wish.
        let told =
            timings.filter(|timings| (is_late || self.tells_timings) && says_something(timings));
        chunk.rest.extend(told.map(|timings| ("timings".to_owned(), timings)));
        let extra = self.extras.of_chunk(std::mem::take(&mut chunk.rest));
        self.extra(extra);
        let reported = || chunk.choices.iter().flatten().find_map(|c| c.usage.as_deref());
        if let Some(usage) = chunk.usage.as_deref().or_else(reported) {
            self.extras.note_usage(usage);
        }
        // Before the finish, because the consumer may stop listening there.
        let in_choice = || chunk.choices.iter().flatten().find_map(ChatChoice::usage);
        let usage = chunk.usage().or_else(in_choice);
        let usage = usage.map(|usage| Usage { exact: usage.exact && is_late, ..usage });
        let timed = timed.filter(|_| self.usage.is_none_or(|usage| !usage.exact));
        if let Some(usage) = usage.or(timed).filter(|usage| self.usage != Some(*usage)) {
            self.usage = Some(usage);
            self.out.push_back(Delta::Usage(usage));
        }
    }

    /// Ends the answer though other choices may not be at their ends, which is told.
    fn break_off(&mut self) {
        self.out.extend(self.others.rest().into_iter().map(Delta::Extra));
        if self.others.are_open() {
            let message = "choices beside the first broke off, and stay as far as they came";
            self.notice("choices_cut", message);
        }
        self.release();
    }

    fn text(&mut self, text: String) {
        let told = self.thinking.push(text);
        self.told(told);
    }

    fn told(&mut self, told: Told) {
        push_text(&mut self.out, told.thoughts, Delta::Reasoning);
        if told.late {
            let message = "what came before `</think>` were thoughts: set think_tags = \"opened\" \
                           for this model";
            self.notice("think_tags", message);
        }
        push_text(&mut self.out, told.text, Delta::Text);
    }

    fn extra(&mut self, extra: Option<Extra>) {
        self.out.extend(extra.map(Delta::Extra));
    }

    fn choice(&mut self, mut choice: ChatChoice) -> Result<(), ProviderError> {
        let word = |piece: &Option<ChunkText>| {
            let piece = piece.as_ref().filter(|piece| !piece.0.is_empty())?;
            Some(String::from_utf8_lossy(&piece.0).into_owned())
        };
        let native = word(&choice.native_finish_reason);
        let mut rest = std::mem::take(&mut choice.rest);
        let said = native.as_ref().and_then(|word| serde_json::value::to_raw_value(word).ok());
        rest.extend(said.map(|said| ("native_finish_reason".to_owned(), said)));
        let extra = self.extras.of_choice(rest);
        self.extra(extra);
        if let Some(delta) = choice.take_delta() {
            self.delta(delta);
        }
        let Some(raw) = word(&choice.finish_reason) else { return Ok(()) };
        self.flush();
        match raw.as_str() {
            "error" => Err(match choice.error() {
                Some(error) => RefusalBody::in_value(&error).in_stream(),
                None => lost(
                    ErrorCode::UpstreamProtocol,
                    "the model ended with an error and did not say which".into(),
                    false,
                ),
            }),
            "abort" | "insufficient_system_resource" => {
                Err(truncated("the model's server broke the answer off"))
            }
            _ => {
                let (reason, same) = finish_reason(&raw);
                // Some servers end calls as they end a text.
                let calls = self.called && reason == FinishReason::Stop;
                let reason = if calls { FinishReason::ToolCalls } else { reason };
                self.finish(reason, native.or_else(|| (!same || calls).then_some(raw)));
                Ok(())
            }
        }
    }

    fn delta(&mut self, mut delta: ChatDelta) {
        self.extra(ChatExtras::of_message(&delta.rest));
        if let Some(piece) = delta.take_reasoning() {
            self.thinking.is_told_apart();
            let text = self.reasoning.push(piece);
            push_text(&mut self.out, text, Delta::Reasoning);
        }
        if let Some(piece) = delta.content.take() {
            let text = self.text.push(piece.text);
            self.text(text);
        }
        if let Some(piece) = delta.refusal.take() {
            let text = self.refusal.push(piece);
            push_text(&mut self.out, text, Delta::Refusal);
        }
        let Some(calls) = delta.tool_calls() else { return self.bad_chunk() };
        self.called |= !calls.is_empty();
        for (place, mut call) in (0..).zip(calls) {
            let rest = std::mem::take(&mut call.rest);
            let (index, fragments) = self.calls.fragment(place, call);
            self.extra(ChatExtras::of_call(index, &rest));
            self.out.extend(fragments.map(Delta::ToolCall));
        }
    }

    fn flush(&mut self) {
        push_text(&mut self.out, self.reasoning.finish(), Delta::Reasoning);
        let rest = self.text.finish();
        self.text(rest);
        let held = self.thinking.finish();
        self.told(held);
        push_text(&mut self.out, self.refusal.finish(), Delta::Refusal);
        self.out.extend(self.calls.flush().map(Delta::ToolCall));
    }

    fn finish(&mut self, reason: FinishReason, raw: Option<String>) {
        self.out.extend(self.calls.finish().map(Delta::ToolCall));
        self.held = Some((reason, raw));
        if self.others.are_over() {
            self.release();
        }
    }

    /// Tells the end of the first choice, behind which nothing may follow.
    fn release(&mut self) {
        let Some((reason, raw)) = self.held.take() else { return };
        let usage = self.extras.take_usage();
        self.extra(usage);
        self.finished = true;
        self.out.push_back(Delta::Finish { reason, raw });
    }

    fn notice(&mut self, code: &'static str, message: &str) {
        if !self.finished {
            self.out.push_back(Delta::Notice { code, message: message.into() });
        }
    }
}

pub(crate) fn push_text(out: &mut VecDeque<Delta>, text: String, delta: fn(String) -> Delta) {
    if !text.is_empty() {
        out.push_back(delta(text));
    }
}

/// Our word for the provider's, and whether it is the same.
pub(crate) fn finish_reason(raw: &str) -> (FinishReason, bool) {
    match raw {
        "stop" => (FinishReason::Stop, true),
        "eos" | "eos_token" | "end_turn" | "stop_sequence" => (FinishReason::Stop, false),
        "length" => (FinishReason::Length, true),
        "max_tokens" => (FinishReason::Length, false),
        "tool_calls" => (FinishReason::ToolCalls, true),
        "function_call" | "tool_use" => (FinishReason::ToolCalls, false),
        "content_filter" => (FinishReason::ContentFilter, true),
        "safety" => (FinishReason::ContentFilter, false),
        "refusal" => (FinishReason::Refusal, true),
        "model_context_window_exceeded" => (FinishReason::ContextWindow, false),
        "pause_turn" => (FinishReason::Pause, false),
        _ => (FinishReason::Other, false),
    }
}
