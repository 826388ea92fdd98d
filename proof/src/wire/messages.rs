//! Anthropic Messages. The protocol has no resume; servers that number their events by `id:` and
//! answer `GET /v1/messages/{id}?stream=true&starting_after=N` are resumed by that.
use serde_json::{Value, json};

use super::{Ask, Prompt, Reading, Wire, event, json as parsed, output_tokens, text};
use crate::history::{Ending, Event, View};
use crate::sse::Frame;

pub(crate) struct Messages;

fn ending(stop_reason: &str) -> Ending {
    match stop_reason {
        "max_tokens" | "model_context_window_exceeded" | "pause_turn" => Ending::Incomplete,
        _ => Ending::Success,
    }
}

impl Wire for Messages {
    fn name(&self) -> &'static str {
        "messages"
    }

    fn start(&self, prompt: &Prompt) -> Ask {
        let body = json!({
            "model": prompt.model,
            "max_tokens": 4096,
            "messages": [{ "role": "user", "content": prompt.text }],
            "stream": true,
        });
        Ask::post("/v1/messages", Some(body)).header("anthropic-version", "2023-06-01")
    }

    fn read(&self, frame: &Frame, reading: &mut Reading) -> Vec<Event> {
        let mut event = event(frame);
        let data = parsed(frame);
        if frame.id.is_some() {
            event.cursor.clone_from(&frame.id);
        }
        match data["type"].as_str().unwrap_or_default() {
            "message_start" => reading.id = data["message"]["id"].as_str().map(str::to_owned),
            "content_block_delta" => event.text = text(&data["delta"]["text"]),
            "message_delta" => {
                event.used = output_tokens(&data["usage"]);
                let reason = data["delta"]["stop_reason"].as_str();
                reading.pending = Some(reason.map_or(Ending::Incomplete, ending));
            }
            "message_stop" => {
                event.ending = Some(reading.pending.take().unwrap_or(Ending::Incomplete));
            }
            "error" if data["error"]["code"] == "superseded" => event.void = true,
            "error" => event.ending = Some(Ending::Failed),
            "ping" => event.transient = true,
            _ => {}
        }
        vec![event]
    }

    fn resume(&self, id: &str, cursor: Option<&str>) -> Option<Ask> {
        let after = cursor.map(|n| format!("&starting_after={n}")).unwrap_or_default();
        let ask = Ask::get(format!("/v1/messages/{id}?stream=true{after}"));
        Some(ask.header("anthropic-version", "2023-06-01"))
    }

    /// As OpenAI's: Anthropic keeps no message, and so has no such route.
    fn view(&self, id: &str) -> Option<Ask> {
        let ask = Ask::get(format!("/v1/messages/{id}"));
        Some(ask.header("anthropic-version", "2023-06-01"))
    }

    fn seen(&self, body: &Value) -> View {
        let ended = body["stop_reason"].as_str().map(ending);
        let ended = ended.or_else(|| super::template::ending(body["status"].as_str()?));
        let blocks = body["content"].as_array().into_iter().flatten();
        let said: String = blocks.map(|block| text(&block["text"])).collect();
        View {
            ending: ended,
            text: ended.is_some().then_some(said),
            used: output_tokens(&body["usage"]),
            raw: body.to_string(),
            ..View::default()
        }
    }

    fn impossible(&self) -> Option<String> {
        Some("999999".into())
    }
}
