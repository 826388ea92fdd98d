//! Chunks of a chat completion to deltas: a pure mapping, with the rule of when it is at its end.
use std::collections::VecDeque;

use super::calls::ChatCalls;
use super::extras::ChatExtras;
use super::wire::{ChatChoice, ChatChunk, ChatDelta};
use crate::domain::event::{ErrorCode, FinishReason, Usage};
use crate::domain::extra::Extra;
use crate::ports::{Delta, ProviderError};
use crate::providers::upstream::adjust::ThinkTags;
use crate::providers::upstream::delta_stream::Fold;
use crate::providers::upstream::guard::{lost, truncated};
use crate::providers::upstream::refusal::RefusalBody;
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
    finished: bool,
    told_bad_chunk: bool,
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
            self.flush();
            return Err(RefusalBody::in_value(&error).in_stream());
        }
        let extra = self.extras.of_chunk(std::mem::take(&mut chunk.rest));
        self.extra(extra);
        let reported = || chunk.choices.iter().flatten().find_map(|c| c.usage.as_deref());
        if let Some(usage) = chunk.usage.as_deref().or_else(reported) {
            self.extras.note_usage(usage);
        }
        // Before the finish, because the consumer may stop listening there.
        let in_choice = || chunk.choices.iter().flatten().find_map(ChatChoice::usage);
        if let Some(usage) =
            chunk.usage().or_else(in_choice).filter(|usage| self.usage != Some(*usage))
        {
            self.usage = Some(usage);
            self.out.push_back(Delta::Usage(usage));
        }
        for choice in chunk.choices.take().into_iter().flatten() {
            if choice.is_first() && !self.finished {
                self.choice(choice)?;
            }
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
        self.flush();
        if !done {
            let cut = || truncated("the model's stream ended without saying that it is complete");
            return Err(loss.unwrap_or_else(cut));
        }
        self.notice("no_finish_reason", "the model ended without saying why");
        self.finish(FinishReason::Other, None);
        Ok(())
    }
}

impl ChatMap {
    /// For an answer in which thoughts may stand between tags.
    pub(crate) fn new(tags: ThinkTags) -> Self {
        Self { thinking: Thinking::new(tags), ..Self::default() }
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
            let text = self.text.push(piece);
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

#[cfg(test)]
mod tests {
    use crate::providers::chat::map::*;

    fn map(chunks: &[&str], done: bool) -> (Vec<Delta>, Result<(), ProviderError>) {
        let mut map = ChatMap::default();
        let mut end = Ok(());
        for json in chunks {
            match serde_json::from_str(json) {
                Ok(chunk) => end = end.and(map.chunk(chunk)),
                Err(_) => map.bad_chunk(),
            }
        }
        let end = end.and_then(|()| map.end(done, None));
        (map.out.into(), end)
    }

    fn text(text: &str) -> Delta {
        Delta::Text(text.into())
    }

    fn deltas(chunk: &str) -> Vec<Delta> {
        map(&[chunk], false).0
    }

    #[test]
    fn every_finish_reason_has_its_meaning() {
        let finish = |raw: &str| {
            let chunk = format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"{raw}"}}]}}"#);
            map(&[&chunk], true)
        };
        let cases = [
            ("stop", FinishReason::Stop, None),
            ("end_turn", FinishReason::Stop, Some("end_turn")),
            ("length", FinishReason::Length, None),
            ("tool_calls", FinishReason::ToolCalls, None),
            ("function_call", FinishReason::ToolCalls, Some("function_call")),
            ("content_filter", FinishReason::ContentFilter, None),
            ("brand_new", FinishReason::Other, Some("brand_new")),
        ];
        for (raw, reason, shown) in cases {
            let expected = Delta::Finish { reason, raw: shown.map(Into::into) };
            assert_eq!(finish(raw), (vec![expected], Ok(())), "{raw}");
        }
        for raw in ["abort", "insufficient_system_resource"] {
            let loss = finish(raw).1.unwrap_err();
            assert_eq!((loss.code, loss.retryable), (ErrorCode::UpstreamTruncated, true), "{raw}");
        }
        assert_eq!(finish("error").1.unwrap_err().code, ErrorCode::UpstreamProtocol);
    }

    #[test]
    fn only_a_marker_makes_an_ending() {
        let hello = r#"{"choices":[{"delta":{"content":"hi"},"finish_reason":""}]}"#;
        let (out, end) = map(&[hello], false);
        assert_eq!((out, end.unwrap_err().code), (vec![text("hi")], ErrorCode::UpstreamTruncated));
        let (out, end) = map(&[hello], true);
        assert_eq!(end, Ok(()));
        assert!(matches!(out[1], Delta::Notice { code: "no_finish_reason", .. }));
        assert_eq!(out[2], Delta::Finish { reason: FinishReason::Other, raw: None });
    }

    #[test]
    fn odd_fields_do_not_cost_the_text() {
        let chunks = [
            r#"{"id":7,"created":1.5,"service_tier":"x","choices":[{"delta":{"content":"a"}}]}"#,
            r#"{"choices":[{"index":0.0,"delta":{"content":"a","role":null},"logprobs":[]}]}"#,
            r#"{"choices":[{"delta":{"content":"a"}}],"usage":"none","error":null,"detail":""}"#,
            r#"{"choices":[{"delta":{"content":"a","tool_calls":[]}}],"error":{}}"#,
            r#"{"choices":[{"delta":{"content":[{"type":"text","text":"a"}]}}]}"#,
        ];
        for chunk in chunks {
            let mut said = deltas(chunk);
            said.retain(|delta| !matches!(delta, Delta::Extra(_)));
            assert_eq!(said, [text("a")], "{chunk}");
        }
        assert_eq!(deltas(r#"{"choices":[{"delta":{"content":""}}]}"#), []);
        assert_eq!(deltas(r#"{"choices":[{"index":1,"delta":{"content":"b"}}]}"#), []);
        assert_eq!(deltas(r#"{"choices":null}"#), []);
    }

    #[test]
    fn thinking_has_three_names() {
        for name in ["reasoning_content", "reasoning", "thinking"] {
            let chunk = format!(r#"{{"choices":[{{"delta":{{"{name}":"hm"}}}}]}}"#);
            assert_eq!(deltas(&chunk), [Delta::Reasoning("hm".into())], "{name}");
        }
        let twice = r#"{"choices":[{"delta":{"reasoning_content":"hm","reasoning":"hm"}}]}"#;
        assert_eq!(deltas(twice), [Delta::Reasoning("hm".into())]);
    }

    #[test]
    fn calls_that_end_with_stop_end_as_calls() {
        let call = r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{}"}}]}}]}"#;
        let stop = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
        let (reason, raw) = (FinishReason::ToolCalls, Some("stop".into()));
        assert_eq!(map(&[call, stop], true).0.pop(), Some(Delta::Finish { reason, raw }));
    }

    #[test]
    fn usage_comes_with_and_without_choices() {
        let usage = r#""usage":{"prompt_tokens":3,"completion_tokens":5.0,
            "completion_tokens_details":{"reasoning_tokens":2}}"#;
        let expected = Delta::Usage(Usage {
            input_tokens: 3,
            output_tokens: 5,
            reasoning_tokens: Some(2),
            cached_input_tokens: None,
            cache_write_input_tokens: None,
            exact: true,
        });
        let alone = format!(r#"{{"choices":[],{usage}}}"#);
        assert_eq!(deltas(&alone), std::slice::from_ref(&expected));
        let inside = format!(r#"{{"choices":[{{"delta":{{}},{usage}}}]}}"#);
        assert_eq!(deltas(&inside), std::slice::from_ref(&expected), "as Moonshot has it");
        assert_eq!(map(&[&alone, &alone], false).0, [expected], "the same again is no news");
    }

    #[test]
    fn what_is_no_tool_call_costs_a_notice_only() {
        let out = deltas(r#"{"choices":[{"delta":{"tool_calls":"?","content":"a"}}]}"#);
        assert_eq!(out[0], text("a"));
        assert!(matches!(out[1], Delta::Notice { code: "bad_chunk", .. }));
    }

    #[test]
    fn an_error_in_the_stream_is_a_loss() {
        let cases = [
            (r#"{"error":{"message":"x","type":"server_error"}}"#, ErrorCode::UpstreamUnavailable),
            (r#"{"error":"boom"}"#, ErrorCode::UpstreamUnavailable),
            (r#"{"error":{"code":429,"message":"slow"}}"#, ErrorCode::UpstreamRateLimited),
            (r#"{"detail":"nope"}"#, ErrorCode::UpstreamUnavailable),
            (r#"{"object":"error","message":"x","code":400}"#, ErrorCode::UpstreamRejected),
        ];
        for (chunk, code) in cases {
            assert_eq!(map(&[chunk], true).1.unwrap_err().code, code, "{chunk}");
        }
    }

    #[test]
    fn what_follows_the_finish_is_no_error() {
        let finish = r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}"#;
        let late = r#"{"choices":[{"delta":{"content":"b"}}]}"#;
        let (out, end) = map(&[finish, late, r#"{"error":"late"}"#, "{"], false);
        assert_eq!(end, Ok(()));
        assert_eq!(out, [text("a"), Delta::Finish { reason: FinishReason::Stop, raw: None }]);
    }
}
