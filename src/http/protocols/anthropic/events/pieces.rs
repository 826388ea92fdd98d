//! The frames of the start and of the pieces of a block.
use serde::Serialize;

use crate::http::dialect::Frames;
use crate::http::protocols::anthropic::blocks::Kind;

#[derive(Serialize)]
struct StartFrame<'a, T> {
    #[serde(rename = "type")]
    kind: &'static str,
    index: usize,
    content_block: &'a T,
}

#[derive(Serialize)]
struct DeltaFrame<T> {
    #[serde(rename = "type")]
    kind: &'static str,
    index: usize,
    delta: T,
}

#[derive(Serialize)]
#[serde(tag = "type")]
pub(super) enum Delta<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: &'a str },
}

/// The frame is written from `content_block` as it is, which may have megabytes.
pub(super) fn start_frame(index: usize, content_block: &impl Serialize, frames: &mut Frames) {
    let frame = StartFrame { kind: "content_block_start", index, content_block };
    frames.identified("content_block_start", &frame);
}

pub(super) fn send(index: usize, delta: impl Serialize, frames: &mut Frames) {
    let frame = DeltaFrame { kind: "content_block_delta", index, delta };
    frames.identified("content_block_delta", &frame);
}

/// The frame of more text of a block.
pub(super) fn delta(index: usize, kind: &Kind, text: &str, frames: &mut Frames) {
    let delta = match kind {
        Kind::Text(_) | Kind::Redacted { .. } | Kind::Foreign(_) => Delta::Text { text },
        Kind::Thinking(_) => Delta::Thinking { thinking: text },
        Kind::Call(_) => Delta::InputJson { partial_json: text },
    };
    send(index, delta, frames);
}
