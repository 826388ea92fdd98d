//! Plain SSE with `Last-Event-ID`, by a mapping file: where to ask, and what the fields mean.
use serde::Deserialize;
use serde_json::Value;

use super::{Ask, Prompt, Reading, Wire, event, json as parsed};
use crate::history::{Ending, Event};
use crate::sse::Frame;

/// A mapping file. `{prompt}`, `{model}`, `{name}` and `{id}` are filled in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Template {
    start: Request,
    /// Where the stream is read and resumed; the id is `{id}`.
    read: Option<String>,
    cancel: Option<Request>,
    id: Id,
    /// Where an event's own type is: a JSON pointer into its data; without, the frame's `event`.
    r#type: Option<String>,
    /// A JSON pointer to the text, in events of the types `text_in`, or in all.
    text: String,
    #[serde(default)]
    text_in: Vec<String>,
    /// The type of the event that ends a stream.
    ending: String,
    /// A JSON pointer to how it ended: in an ending and in a receipt.
    status: Option<String>,
    /// Types of events that make void what was shown.
    #[serde(default)]
    void: Vec<String>,
    usage: Option<String>,
    /// A cursor that cannot exist.
    impossible: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(default = "post")]
    method: String,
    path: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    body: Option<Value>,
}

fn post() -> String {
    "POST".into()
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Id {
    /// A header of the start's answer.
    Header(String),
    /// A JSON pointer into the start's answer.
    Body(String),
    /// The client's own name is the id.
    Name,
}

/// Every text inside of a value, with its variables filled in.
fn filled(value: &Value, fill: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(fill(text)),
        Value::Array(items) => items.iter().map(|item| filled(item, fill)).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(k, v)| (k.clone(), filled(v, fill))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn ending(word: &str) -> Ending {
    match word {
        "completed" | "complete" | "success" | "succeeded" | "ok" | "stop" => Ending::Success,
        "cancelled" | "canceled" | "aborted" => Ending::Cancelled,
        "incomplete" | "length" => Ending::Incomplete,
        _ => Ending::Failed,
    }
}

impl Template {
    fn ask(&self, request: &Request, fill: &dyn Fn(&str) -> String) -> Ask {
        Ask {
            method: request.method.clone(),
            path: fill(&request.path),
            headers: request.headers.iter().map(|(n, v)| (n.clone(), fill(v))).collect(),
            body: request.body.as_ref().map(|body| filled(body, fill)),
        }
    }

    pub(crate) fn read_path(&self, id: &str) -> String {
        self.read.as_deref().unwrap_or_default().replace("{id}", id)
    }

    /// What one event means, without its cursor.
    pub(crate) fn meaning(&self, frame: &Frame) -> Event {
        let mut event = event(frame);
        let data = parsed(frame);
        let at = |pointer: &Option<String>| pointer.as_deref().and_then(|p| data.pointer(p));
        let kind = at(&self.r#type).and_then(Value::as_str).unwrap_or(&frame.event);
        if self.text_in.is_empty() || self.text_in.iter().any(|wanted| wanted == kind) {
            event.text = data.pointer(&self.text).and_then(Value::as_str).unwrap_or("").into();
        }
        event.void = self.void.iter().any(|void| void == kind);
        if kind == self.ending {
            event.usage = at(&self.usage).is_some_and(|usage| !usage.is_null());
            let status = at(&self.status).and_then(Value::as_str);
            event.ending = Some(status.map_or(Ending::Success, ending));
        }
        event
    }
}

impl Wire for Template {
    fn name(&self) -> &'static str {
        "sse"
    }

    fn start(&self, prompt: &Prompt) -> Ask {
        self.ask(&self.start, &|text| {
            text.replace("{prompt}", &prompt.text)
                .replace("{model}", &prompt.model)
                .replace("{name}", &prompt.name)
        })
    }

    fn apart(&self) -> bool {
        true
    }

    fn id(&self, headers: &[(String, String)], body: &Value) -> Option<String> {
        match &self.id {
            Id::Header(name) => {
                headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone())
            }
            Id::Body(pointer) => body.pointer(pointer).and_then(Value::as_str).map(str::to_owned),
            Id::Name => None,
        }
    }

    fn named(&self) -> bool {
        matches!(self.id, Id::Name)
    }

    fn read(&self, frame: &Frame, reading: &mut Reading) -> Vec<Event> {
        let mut event = self.meaning(frame);
        if frame.id.is_some() {
            reading.cursors = true;
            event.cursor.clone_from(&frame.id);
        }
        vec![event]
    }

    fn resume(&self, id: &str, cursor: Option<&str>) -> Option<Ask> {
        let ask = Ask::get(self.read.as_ref().map(|_| self.read_path(id))?);
        let ask = ask.header("accept", "text/event-stream");
        Some(match cursor {
            Some(cursor) => ask.header("last-event-id", cursor),
            None => ask,
        })
    }

    fn impossible(&self) -> Option<String> {
        self.impossible.clone()
    }

    fn cancel(&self, id: &str) -> Option<Ask> {
        let request = self.cancel.as_ref()?;
        Some(self.ask(request, &|text| text.replace("{id}", id)))
    }

    fn receipt(&self, body: &Value) -> Option<Ending> {
        let word = body.pointer(self.status.as_deref()?)?.as_str()?;
        matches!(ending(word), Ending::Success | Ending::Cancelled | Ending::Incomplete)
            .then(|| ending(word))
    }
}
