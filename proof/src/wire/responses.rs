//! OpenAI Responses over SSE: in the background, so that it can be resumed and cancelled.
use serde_json::{Value, json};

use super::{Ask, Prompt, Reading, Wire, event, json as parsed, text};
use crate::history::{Ending, Event};
use crate::sse::Frame;

pub(crate) struct Responses;

fn ending(response: &Value) -> Option<Ending> {
    match response["status"].as_str()? {
        "completed" => Some(Ending::Success),
        "cancelled" => Some(Ending::Cancelled),
        "failed" => Some(Ending::Failed),
        "incomplete" => Some(Ending::Incomplete),
        _ => None,
    }
}

impl Wire for Responses {
    fn name(&self) -> &'static str {
        "responses"
    }

    fn start(&self, prompt: &Prompt) -> Ask {
        let body = json!({
            "model": prompt.model,
            "input": prompt.text,
            "stream": true,
            "background": true,
            "store": true,
        });
        Ask::post("/v1/responses", Some(body))
    }

    fn read(&self, frame: &Frame, reading: &mut Reading) -> Vec<Event> {
        // Behind the ending, where a server sends it.
        if frame.data.trim() == "[DONE]" {
            return Vec::new();
        }
        let mut event = event(frame);
        let data = parsed(frame);
        if let Some(n) = data["sequence_number"].as_u64() {
            reading.cursors = true;
            event.cursor = Some(n.to_string());
        }
        if let Some(id) = data["response"]["id"].as_str() {
            reading.id = Some(id.to_owned());
        }
        match data["type"].as_str().unwrap_or_default() {
            "response.output_text.delta" => event.text = text(&data["delta"]),
            "response.completed"
            | "response.incomplete"
            | "response.failed"
            | "response.cancelled" => {
                event.usage = data["response"]["usage"].is_object();
                event.ending = ending(&data["response"]).or(Some(Ending::Failed));
            }
            // An item that ends before its text is whole is void: a new one follows.
            "response.output_item.done" if data["item"]["status"] == "incomplete" => {}
            "error" => event.ending = Some(Ending::Failed),
            _ => {}
        }
        // The second item of the message's kind begins again.
        if data["type"] == "response.output_item.added" && data["item"]["type"] == "message" {
            event.void = true;
        }
        vec![event]
    }

    fn resume(&self, id: &str, cursor: Option<&str>) -> Option<Ask> {
        let after = cursor.map(|n| format!("&starting_after={n}")).unwrap_or_default();
        Some(Ask::get(format!("/v1/responses/{id}?stream=true{after}")))
    }

    fn impossible(&self) -> Option<String> {
        Some("999999".into())
    }

    fn cancel(&self, id: &str) -> Option<Ask> {
        Some(Ask::post(format!("/v1/responses/{id}/cancel"), None))
    }

    fn receipt(&self, body: &Value) -> Option<Ending> {
        ending(body)
    }
}
