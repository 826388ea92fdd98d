//! Anthropic's events, for scripted answers.
use serde_json::{Value, json};

use super::Answer;

impl Answer {
    /// One event of the Messages API: its name is its `type`.
    pub(crate) fn message(self, kind: &str, mut fields: Value) -> Self {
        fields["type"] = json!(kind);
        self.raw(format!("event: {kind}\ndata: {fields}\n\n"))
    }

    /// `message_start` with 10 input tokens, 100 read from the cache and 5 written to it.
    pub(crate) fn message_start(self) -> Self {
        let usage = json!({
            "input_tokens": 10, "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": 5, "output_tokens": 1,
        });
        let message = json!({ "id": "msg_1", "role": "assistant", "usage": usage });
        self.message("message_start", json!({ "message": message }))
    }

    /// The beginning of a block.
    pub(crate) fn block(self, index: u32, block: Value) -> Self {
        self.message("content_block_start", json!({ "index": index, "content_block": block }))
    }

    /// A piece of a block.
    pub(crate) fn piece(self, index: u32, delta: Value) -> Self {
        self.message("content_block_delta", json!({ "index": index, "delta": delta }))
    }

    /// The end of a block.
    pub(crate) fn block_stop(self, index: u32) -> Self {
        self.message("content_block_stop", json!({ "index": index }))
    }

    /// A block of text in these pieces.
    pub(crate) fn says(self, pieces: &[&str]) -> Self {
        let begun = self.block(0, json!({ "type": "text", "text": "" }));
        let said = pieces.iter().fold(begun, |answer, text| {
            answer.piece(0, json!({ "type": "text_delta", "text": text }))
        });
        said.block_stop(0)
    }

    /// `message_delta` with a stop reason and 7 output tokens in all.
    pub(crate) fn stop_reason(self, reason: &str) -> Self {
        let delta = json!({ "stop_reason": reason, "stop_sequence": null });
        self.message("message_delta", json!({ "delta": delta, "usage": { "output_tokens": 7 } }))
    }

    /// `message_stop`.
    pub(crate) fn message_stop(self) -> Self {
        self.message("message_stop", json!({}))
    }

    /// A whole answer of one text.
    pub(crate) fn whole_message(pieces: &[&str]) -> Self {
        Self::sse().message_start().says(pieces).stop_reason("end_turn").message_stop()
    }
}
