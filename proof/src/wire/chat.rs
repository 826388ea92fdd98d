//! OpenAI chat completions. The protocol has no resume; servers that number their chunks by
//! `sequence_number` and answer `GET …/{id}?stream=true&starting_after=N` are resumed by that.
use serde_json::{Value, json};

use super::{Ask, Prompt, Reading, Wire, event, json as parsed, output_tokens, text};
use crate::history::{Ending, Event, View};
use crate::sse::Frame;

pub(crate) struct Chat;

fn ending(finish_reason: &str) -> Ending {
    match finish_reason {
        "length" => Ending::Incomplete,
        "error" => Ending::Failed,
        _ => Ending::Success,
    }
}

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
            reading.pending = Some(ending(reason));
        }
        vec![event]
    }

    fn resume(&self, id: &str, cursor: Option<&str>) -> Option<Ask> {
        let after = cursor.map(|n| format!("&starting_after={n}")).unwrap_or_default();
        Some(Ask::get(format!("/v1/chat/completions/{id}?stream=true{after}")))
    }

    /// OpenAI's "get chat completion", where the server keeps them.
    fn view(&self, id: &str) -> Option<Ask> {
        Some(Ask::get(format!("/v1/chat/completions/{id}")))
    }

    fn seen(&self, body: &Value) -> View {
        let choice = &body["choices"][0];
        let ended = choice["finish_reason"].as_str().map(ending);
        // OpenAI keeps none that has not completed; servers that do have a word for it.
        let ended = ended.or_else(|| super::template::ending(body["status"].as_str()?));
        View {
            ending: ended,
            text: ended.is_some().then(|| text(&choice["message"]["content"])),
            used: output_tokens(&body["usage"]),
            raw: body.to_string(),
            ..View::default()
        }
    }

    fn impossible(&self) -> Option<String> {
        Some("999999".into())
    }
}
