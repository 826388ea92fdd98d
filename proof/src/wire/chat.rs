//! OpenAI chat completions. The protocol has no resume; servers that number their chunks by
//! `sequence_number` and answer `GET …/{id}?stream=true&starting_after=N` are resumed by that.
use serde_json::json;

use super::{Ask, Prompt, Reading, Wire, event, json as parsed, output_tokens, text};
use crate::history::{Ending, Event};
use crate::sse::Frame;

pub(crate) struct Chat;

impl Wire for Chat {
    fn name(&self) -> &'static str {
        "chat"
    }

    fn start(&self, prompt: &Prompt) -> Ask {
        let body = json!({
            "model": prompt.model,
            "messages": [{ "role": "user", "content": prompt.text }],
            "stream": true,
            "stream_options": { "include_usage": true },
        });
        Ask::post("/v1/chat/completions", Some(body))
    }

    fn read(&self, frame: &Frame, reading: &mut Reading) -> Vec<Event> {
        let mut event = event(frame);
        if frame.data.trim() == "[DONE]" {
            if reading.failed {
                event.transient = true;
                return vec![event];
            }
            // `[DONE]` alone does not prove a success: the finish reason does.
            event.ending = Some(reading.pending.take().unwrap_or(Ending::Incomplete));
            return vec![event];
        }
        let chunk = parsed(frame);
        if !chunk["error"].is_null() {
            if chunk["error"]["code"] == "superseded" {
                event.void = true;
                event.cursor = chunk["error"]["sequence_number"].as_u64().map(|n| n.to_string());
            } else {
                event.ending = Some(Ending::Failed);
                reading.failed = true;
            }
            return vec![event];
        }
        if let Some(id) = chunk["id"].as_str() {
            reading.id = Some(id.to_owned());
        }
        if let Some(n) = chunk["sequence_number"].as_u64() {
            event.cursor = Some(n.to_string());
        }
        let choice = &chunk["choices"][0];
        event.text = text(&choice["delta"]["content"]);
        event.used = output_tokens(&chunk["usage"]);
        if let Some(reason) = choice["finish_reason"].as_str() {
            reading.pending = Some(match reason {
                "length" => Ending::Incomplete,
                "error" => Ending::Failed,
                _ => Ending::Success,
            });
        }
        vec![event]
    }

    fn resume(&self, id: &str, cursor: Option<&str>) -> Option<Ask> {
        let after = cursor.map(|n| format!("&starting_after={n}")).unwrap_or_default();
        Some(Ask::get(format!("/v1/chat/completions/{id}?stream=true{after}")))
    }

    fn impossible(&self) -> Option<String> {
        Some("999999".into())
    }
}
