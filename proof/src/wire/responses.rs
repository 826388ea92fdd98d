//! OpenAI Responses. Over SSE it is started in the background, so that it can be resumed and
//! cancelled. Over a WebSocket it is started there, and resumed and cancelled over HTTP: OpenAI's
//! WebSocket mode has no means of its own. The events of both have to be the same.
use serde_json::{Value, json};

use super::{Ask, Prompt, Reading, SOCKET, Wire, json as parsed, output_tokens, text};
use crate::history::{Ending, Event, View};
use crate::sse::Frame;

pub(crate) struct Responses {
    /// Started over a WebSocket.
    pub(crate) socket: bool,
}

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
        if self.socket { "responses-ws" } else { "responses" }
    }

    fn start(&self, prompt: &Prompt) -> Ask {
        if self.socket {
            let frame = json!({
                "type": "response.create",
                "model": prompt.model,
                "input": prompt.text,
                "store": true,
            });
            let mut ask = Ask::post("/v1/responses", Some(frame));
            ask.method = SOCKET.into();
            return ask;
        }
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
        // The event's name stands in its data, too; over a WebSocket it stands only there.
        let mut event = Event { raw: frame.data.clone(), ..Event::default() };
        let data = parsed(frame);
        if let Some(n) = data["sequence_number"].as_u64() {
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
                event.used = output_tokens(&data["response"]["usage"]);
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

    fn numbered(&self) -> bool {
        true
    }

    fn view(&self, id: &str) -> Option<Ask> {
        Some(Ask::get(format!("/v1/responses/{id}")))
    }

    fn seen(&self, body: &Value) -> View {
        let mut messages = body["output"].as_array().into_iter().flatten();
        let last = messages.rfind(|item| item["type"] == "message");
        let parts = last.and_then(|item| item["content"].as_array()).into_iter().flatten();
        let said: String = parts.map(|part| text(&part["text"])).collect();
        let ending = ending(body);
        View {
            ending,
            // The server may choose its words about an answer that goes on.
            text: ending.is_some().then_some(said),
            used: output_tokens(&body["usage"]),
            raw: body.to_string(),
            ..View::default()
        }
    }

    fn cancel(&self, id: &str) -> Option<Ask> {
        Some(Ask::post(format!("/v1/responses/{id}/cancel"), None))
    }

    fn receipt(&self, body: &Value) -> Option<Ending> {
        ending(body)
    }
}
