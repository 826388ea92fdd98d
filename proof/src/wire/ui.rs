//! The AI SDK's UI message stream, and the resume route of its default transport. A resume sends
//! the running answer again from its beginning, and is 204 when none runs.
use serde_json::json;

use super::{Ask, Prompt, Reading, Wire, event, json as parsed, output_tokens, text};
use crate::history::{Ending, Event};
use crate::sse::Frame;

pub(crate) struct Ui;

impl Wire for Ui {
    fn name(&self) -> &'static str {
        "ui"
    }

    fn start(&self, prompt: &Prompt) -> Ask {
        let message = json!({
            "id": format!("{}-m", prompt.name),
            "role": "user",
            "parts": [{ "type": "text", "text": prompt.text }],
        });
        let body = json!({
            "id": prompt.name,
            "messages": [message],
            "trigger": "submit-message",
            "model": prompt.model,
        });
        Ask::post("/api/chat", Some(body))
    }

    fn named(&self, name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    fn read(&self, frame: &Frame, reading: &mut Reading) -> Vec<Event> {
        let mut event = event(frame);
        if frame.data.trim() == "[DONE]" {
            event.ending = reading.pending.take();
            return vec![event];
        }
        let part = parsed(frame);
        match part["type"].as_str().unwrap_or_default() {
            "text-delta" => event.text = text(&part["delta"]),
            "reset-step" => event.void = true,
            "error" => reading.pending = Some(Ending::Failed),
            "abort" => reading.pending = Some(Ending::Cancelled),
            "finish" => {
                event.used = output_tokens(&part["messageMetadata"]["usage"]);
                let other = part["finishReason"].as_str();
                reading.pending = reading.pending.or(Some(match other {
                    Some("length") => Ending::Incomplete,
                    Some("error") => Ending::Failed,
                    Some(_) | None => Ending::Success,
                }));
            }
            _ => event.transient = part["transient"] == true,
        }
        vec![event]
    }

    fn resume(&self, id: &str, _cursor: Option<&str>) -> Option<Ask> {
        Some(Ask::get(format!("/api/chat/{id}/stream")))
    }

    fn replays(&self) -> bool {
        true
    }

    fn forgets_ended(&self) -> bool {
        true
    }
}
