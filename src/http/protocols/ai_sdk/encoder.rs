//! The events of a generation as the AI SDK's UI message stream, version 1: a pure fold.
//! Parts: <https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol>. A part of another type, or a delta
//! of a part that was not begun, ends the client's stream with an error.
use serde_json::{Value, json};

use crate::domain::event::{Done, FinishReason, Status, ToolCallDelta};
use crate::domain::generation::Generation;
use crate::domain::id::Seq;
use crate::domain::thinking::ThinkingBlock;
use crate::http::dialect::{Dialect, DialectEvent, Frames};

/// The message that an answer goes on in, where it does not begin one of its own.
pub(super) const MESSAGE_ID: &str = "message_id";

/// The fold.
#[derive(Debug)]
pub(in crate::http) struct UiMessage {
    id: String,
    model: String,
    message_id: String,
    text: Option<Part>,
    calls: Vec<Call>,
    /// Parts begun up to now.
    parts: usize,
    /// Whether its stream carries cursors.
    cursors: bool,
}

/// A part that grows.
#[derive(Debug)]
struct Part {
    kind: &'static str,
    id: String,
    /// Whether this reader was told that it began.
    announced: bool,
}

#[derive(Debug)]
struct Call {
    upstream: u32,
    id: String,
    name: String,
    arguments: String,
    announced: bool,
}

impl Dialect for UiMessage {
    const NAME: &'static str = "ai_sdk";

    fn said(&mut self, said: &DialectEvent<'_>, frames: &mut Frames) {
        match said {
            DialectEvent::Started => {
                let metadata = json!({ "generation": self.id, "model": self.model });
                frame(
                    frames,
                    &json!({ "type": "start", "messageId": self.message_id,
                    "messageMetadata": metadata }),
                );
                frame(frames, &json!({ "type": "start-step" }));
            }
            DialectEvent::Reasoning(text) => self.text("reasoning", text, frames),
            // A refusal is what the model says to the person.
            DialectEvent::Text(text) | DialectEvent::Refusal(text) => {
                self.text("text", text, frames)
            }
            DialectEvent::Call(call) => self.call(call, frames),
            // Its protocol has no place for it.
            DialectEvent::Extra(_) => {}
            DialectEvent::Sealed(block) => self.sealed(block, frames),
            DialectEvent::Void => {
                self.text = None;
                self.calls.clear();
                frame(frames, &json!({ "type": "reset-step" }));
            }
            DialectEvent::Done(done) => self.done(done, frames),
        }
    }

    fn torn(&mut self, frames: &mut Frames) {
        if self.text.as_ref().is_some_and(|part| part.kind == "reasoning") {
            self.close_text(frames);
        }
    }

    /// A cursor, for clients that keep what they have: `?after=` goes on behind it.
    fn paused(&self, seq: Seq, frames: &mut Frames) {
        if self.cursors && seq > Seq::ZERO {
            let data = json!({ "generation": self.id, "seq": seq });
            frames.data(&json!({ "type": "data-cursor", "data": data, "transient": true }));
        }
    }

    fn cut(&self, frames: &mut Frames) {
        let text = "the connection was cut and the answer goes on: resume the stream";
        frames.data(&json!({ "type": "error", "errorText": text }));
        frames.raw(END);
    }
}

const END: &[u8] = b"data: [DONE]\n\n";

impl UiMessage {
    pub(in crate::http) fn of(row: &Generation) -> Self {
        let id = row.id.to_string();
        let continued = row.request.echo.get(MESSAGE_ID).and_then(Value::as_str);
        let message_id = continued.map_or_else(|| id.clone(), str::to_owned);
        let model = row.request.model.clone();
        let calls = Vec::new();
        Self { id, model, message_id, text: None, calls, parts: 0, cursors: true }
    }

    /// For a transport that numbers the parts itself.
    pub(in crate::http) fn without_cursors(self) -> Self {
        Self { cursors: false, ..self }
    }

    fn text(&mut self, kind: &'static str, text: &str, frames: &mut Frames) {
        let part = self.part(kind, frames).to_owned();
        frame(frames, &json!({ "type": format!("{kind}-delta"), "id": part, "delta": text }));
    }

    /// The end of a block of thinking, with what the AI SDK's own provider for Claude keeps of it.
    fn sealed(&mut self, block: &ThinkingBlock, frames: &mut Frames) {
        if let ThinkingBlock::RedactedThinking { .. } = block {
            self.close_text(frames);
        }
        self.part("reasoning", frames);
        if let Some(Part { id, announced: true, .. }) = self.text.take() {
            let kept = seal(block);
            frame(frames, &json!({ "type": "reasoning-end", "id": id, "providerMetadata": kept }));
        }
    }

    /// The id of the part of that kind that grows, or of a new one.
    fn part(&mut self, kind: &'static str, frames: &mut Frames) -> &str {
        if self.text.as_ref().is_some_and(|part| part.kind != kind) {
            self.close_text(frames);
        }
        let parts = &mut self.parts;
        let part = self.text.get_or_insert_with(|| {
            *parts += 1;
            Part { kind, id: format!("{kind}-{parts}"), announced: false }
        });
        if !frames.silent && !part.announced {
            part.announced = true;
            frame(frames, &json!({ "type": format!("{kind}-start"), "id": part.id }));
        }
        &part.id
    }

    fn close_text(&mut self, frames: &mut Frames) {
        if let Some(Part { kind, id, announced: true }) = self.text.take() {
            frame(frames, &json!({ "type": format!("{kind}-end"), "id": id }));
        }
    }

    fn call(&mut self, fragment: &ToolCallDelta, frames: &mut Frames) {
        self.close_text(frames);
        let place = self.calls.iter().position(|call| call.upstream == fragment.index);
        let place = place.unwrap_or_else(|| {
            let own = || format!("call_{}_{}", self.id, self.calls.len());
            let id = fragment.id.clone().filter(|id| !id.is_empty()).unwrap_or_else(own);
            let name = fragment.name.clone().unwrap_or_default();
            let (upstream, arguments) = (fragment.index, String::new());
            self.calls.push(Call { upstream, id, name, arguments, announced: false });
            self.calls.len() - 1
        });
        let Some(call) = self.calls.get_mut(place) else { return };
        let begun = call.arguments.len();
        call.arguments.push_str(&fragment.arguments);
        let mut more = fragment.arguments.as_str();
        if !frames.silent && !call.announced {
            call.announced = true;
            frame(
                frames,
                &json!({ "type": "tool-input-start", "toolCallId": call.id,
                "toolName": call.name }),
            );
            // The part that a reader in the middle of the call lacks.
            more = if begun > 0 { &call.arguments } else { more };
        }
        if !more.is_empty() {
            frame(
                frames,
                &json!({ "type": "tool-input-delta", "toolCallId": call.id,
                "inputTextDelta": more }),
            );
        }
    }

    fn close_calls(&mut self, frames: &mut Frames) {
        for call in self.calls.drain(..) {
            let arguments =
                if call.arguments.trim().is_empty() { "{}" } else { call.arguments.as_str() };
            let part = match serde_json::from_str::<Value>(arguments) {
                Ok(input) => json!({ "type": "tool-input-available", "toolCallId": call.id,
                    "toolName": call.name, "input": input }),
                Err(error) => json!({ "type": "tool-input-error", "toolCallId": call.id,
                    "toolName": call.name, "input": arguments,
                    "errorText": format!("the arguments are no JSON: {error}") }),
            };
            frame(frames, &part);
        }
    }

    fn done(&mut self, done: &Done, frames: &mut Frames) {
        self.close_text(frames);
        let metadata = json!({ "status": done.status, "usage": done.usage });
        match done.status {
            Status::Completed | Status::Incomplete => {
                self.close_calls(frames);
                let reason = finish_reason(done.finish_reason);
                frame(frames, &json!({ "type": "finish-step" }));
                frame(
                    frames,
                    &json!({ "type": "finish", "finishReason": reason,
                    "messageMetadata": metadata }),
                );
            }
            Status::Cancelled => {
                frame(frames, &json!({ "type": "message-metadata", "messageMetadata": metadata }));
                frame(frames, &json!({ "type": "abort", "reason": "cancelled" }));
            }
            Status::Failed
            | Status::Interrupted
            | Status::Queued
            | Status::Running
            | Status::Cancelling => {
                frame(frames, &json!({ "type": "message-metadata", "messageMetadata": metadata }));
                let text = done.error.as_ref().map_or("it failed", |e| e.message.as_str());
                frame(frames, &json!({ "type": "error", "errorText": text }));
            }
        }
        frames.raw(END);
    }
}

/// A block's seal, under the names of the AI SDK's own provider for Claude.
fn seal(block: &ThinkingBlock) -> Value {
    let seal = match block {
        ThinkingBlock::Thinking { signature, .. } => json!({ "signature": signature }),
        ThinkingBlock::RedactedThinking { data } => json!({ "redactedData": data }),
    };
    json!({ "anthropic": seal })
}

fn frame(frames: &mut Frames, part: &Value) {
    frames.frame(None, part);
}

/// The AI SDK's word for why the model stopped.
fn finish_reason(reason: Option<FinishReason>) -> &'static str {
    match reason {
        Some(FinishReason::Stop | FinishReason::Refusal) => "stop",
        Some(FinishReason::ToolCalls) => "tool-calls",
        Some(FinishReason::Length | FinishReason::ContextWindow) => "length",
        Some(FinishReason::ContentFilter) => "content-filter",
        Some(FinishReason::TimeLimit | FinishReason::Pause | FinishReason::Other) | None => "other",
    }
}
