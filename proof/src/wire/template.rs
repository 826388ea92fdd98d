//! Plain SSE by a mapping file: where to ask, and what the fields mean.
use serde::Deserialize;
use serde_json::Value;

use super::{Ask, Prompt, Reading, Wire, event, json as parsed, output_tokens};
use crate::history::{Ending, Event, SILENT_END, View};
use crate::sse::Frame;

/// A mapping file. `{prompt}`, `{model}`, `{name}`, `{uuid}`, `{id}` and `{cursor}` are filled in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Template {
    start: Request,
    /// The answer to the start is the stream itself.
    #[serde(default)]
    streams: bool,
    /// Where the stream is read and resumed; the id is `{id}`, and `{cursor}` the cursor, where it
    /// does not go into the header `Last-Event-ID`.
    read: Option<String>,
    /// The cursor of the beginning, where it has to be given.
    #[serde(default)]
    first: String,
    #[serde(default)]
    cursor: Cursor,
    cancel: Option<Request>,
    /// Where the state of a stream is asked for, with the fields of an ending and `text`.
    view: Option<String>,
    id: Id,
    /// The protocol whose events these are; all fields below are for events of other kinds.
    events: Option<String>,
    /// Where an event's own type is: a JSON pointer into its data; without, the frame's `event`.
    r#type: Option<String>,
    /// A JSON pointer to the text, in events of the types `text_in`, or in all.
    #[serde(default)]
    text: String,
    #[serde(default)]
    text_in: Vec<String>,
    /// The type of the event that ends a stream, or its whole data.
    #[serde(default)]
    ending: String,
    /// No event ends a stream: the regular end of the body does.
    #[serde(default)]
    ends_by_close: bool,
    /// Types of events after which an ending is a failure.
    #[serde(default)]
    failure: Vec<String>,
    /// A JSON pointer to how it ended: in an ending, a state, and a receipt.
    status: Option<String>,
    /// Further words of `status` that mean a cancel.
    #[serde(default)]
    cancelled: Vec<String>,
    /// Types of events that make void what was shown.
    #[serde(default)]
    void: Vec<String>,
    /// Types of events that are not the same for each reader.
    #[serde(default)]
    transient: Vec<String>,
    /// A JSON pointer to the output tokens, in an ending and a state.
    usage: Option<String>,
    /// Cursors are numbers that go up by one.
    #[serde(default)]
    numbered: bool,
    /// A JSON pointer to the cursor that a state is at.
    place: Option<String>,
    /// A cursor that cannot exist.
    impossible: Option<String>,
}

/// Where the cursor behind an event is.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Cursor {
    /// In its `id:` line.
    #[default]
    Id,
    /// It is the number of bytes of the whole stream up to there.
    Bytes,
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
    /// A text with JSON pointers into the start's answer in braces.
    Text(String),
    /// The client's own name is the id.
    Name,
    /// The same, in the form of a UUID.
    Uuid,
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

/// A text with `{/pointer}` in it, filled in from a value.
fn pointed(text: &str, value: &Value) -> Option<String> {
    let mut parts = text.split('{');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (pointer, rest) = part.split_once('}')?;
        filled += value.pointer(pointer)?.as_str()?;
        filled += rest;
    }
    Some(filled)
}

/// A name in the form of a UUID of version 8: the same name, the same UUID.
pub(super) fn uuid(name: &str) -> String {
    let half = |seed: u64| {
        name.bytes()
            .fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    };
    let (high, low) = (half(0xcbf2_9ce4_8422_2325), half(0x8422_2325_cbf2_9ce4));
    format!(
        "{:08x}-{:04x}-8{:03x}-8{:03x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0xfff,
        low & 0xffff_ffff_ffff
    )
}

/// How a stream ended, by the usual words; none while it goes on.
pub(super) fn ending(word: &str) -> Option<Ending> {
    match word {
        "completed" | "complete" | "success" | "succeeded" | "ok" | "stop" => Some(Ending::Success),
        "cancelled" | "canceled" | "aborted" => Some(Ending::Cancelled),
        "incomplete" | "length" => Some(Ending::Incomplete),
        "queued" | "pending" | "running" | "in_progress" | "cancelling" => None,
        _ => Some(Ending::Failed),
    }
}

impl Template {
    /// Itself, if it makes sense.
    ///
    /// # Errors
    /// A missing or unknown part.
    pub(crate) fn checked(self) -> Result<Self, String> {
        match &self.events {
            Some(events) => {
                super::of(events, None).map_err(|why| format!("the mapping's `events`: {why}"))?;
            }
            None if self.ending.is_empty() && !self.ends_by_close => {
                return Err("the mapping needs `ending`, `ends_by_close` or `events`".into());
            }
            None => {}
        }
        if self.read.is_none() && !self.streams {
            return Err("the mapping needs `read`, or `\"streams\": true`".into());
        }
        Ok(self)
    }

    /// How a stream ended, by the mapping's word for it; none while it goes on.
    fn ending(&self, word: &str) -> Option<Ending> {
        if self.cancelled.iter().any(|cancelled| cancelled == word) {
            return Some(Ending::Cancelled);
        }
        ending(word)
    }

    fn ask(&self, request: &Request, fill: &dyn Fn(&str) -> String) -> Ask {
        Ask {
            method: request.method.clone(),
            path: fill(&request.path),
            headers: request.headers.iter().map(|(n, v)| (n.clone(), fill(v))).collect(),
            body: request.body.as_ref().map(|body| filled(body, fill)),
            from: None,
        }
    }

    pub(crate) fn read_path(&self, id: &str) -> String {
        self.read.as_deref().unwrap_or_default().replace("{id}", id)
    }

    /// The meaning of one event, without its cursor.
    pub(crate) fn meaning(&self, frame: &Frame, reading: &mut Reading) -> Event {
        let mut event = event(frame);
        let data = parsed(frame);
        let at = |pointer: &Option<String>| pointer.as_deref().and_then(|p| data.pointer(p));
        let kind = at(&self.r#type).and_then(Value::as_str).unwrap_or(&frame.event);
        let is_in = |kinds: &[String]| kinds.iter().any(|other| other == kind);
        if self.text_in.is_empty() || is_in(&self.text_in) {
            event.text = data.pointer(&self.text).and_then(Value::as_str).unwrap_or("").into();
        }
        event.void = is_in(&self.void);
        event.transient = is_in(&self.transient);
        if is_in(&self.failure) {
            reading.pending = Some(Ending::Failed);
        }
        event.used = at(&self.usage).and_then(output_tokens);
        let named = !self.ending.is_empty();
        if named && (kind == self.ending || frame.data == self.ending) {
            let status = at(&self.status).and_then(Value::as_str);
            let said = status.map_or(Some(Ending::Success), |word| self.ending(word));
            event.ending = reading.pending.take().or(said).or(Some(Ending::Failed));
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
                .replace("{uuid}", &uuid(&prompt.name))
                .replace("{name}", &prompt.name)
        })
    }

    fn apart(&self) -> bool {
        !self.streams
    }

    fn id(&self, headers: &[(String, String)], body: &Value) -> Option<String> {
        match &self.id {
            Id::Header(name) => {
                headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone())
            }
            Id::Body(pointer) => body.pointer(pointer).and_then(Value::as_str).map(str::to_owned),
            Id::Text(text) => pointed(text, body),
            Id::Name | Id::Uuid => None,
        }
    }

    fn named(&self, name: &str) -> Option<String> {
        match self.id {
            Id::Name => Some(name.to_owned()),
            Id::Uuid => Some(uuid(name)),
            Id::Header(_) | Id::Body(_) | Id::Text(_) => None,
        }
    }

    fn read(&self, frame: &Frame, reading: &mut Reading) -> Vec<Event> {
        let inner = self.events.as_deref().and_then(|events| super::of(events, None).ok());
        let mut events = match inner {
            Some(inner) => inner.read(frame, reading),
            None => vec![self.meaning(frame, reading)],
        };
        let cursor = match self.cursor {
            Cursor::Id => frame.id.clone(),
            Cursor::Bytes => {
                let from = reading.from.as_deref().and_then(|from| from.parse::<u64>().ok());
                Some((from.unwrap_or_default() + frame.end).to_string())
            }
        };
        if let (Some(last), Some(cursor)) = (events.last_mut(), cursor) {
            last.cursor = Some(cursor);
        }
        events
    }

    fn closed(&self, reading: &mut Reading) -> Option<Event> {
        let ending = reading.pending.take().unwrap_or(Ending::Success);
        let raw = SILENT_END.into();
        self.ends_by_close.then(|| Event { raw, ending: Some(ending), ..Event::default() })
    }

    fn resume(&self, id: &str, cursor: Option<&str>) -> Option<Ask> {
        self.read.as_ref()?;
        let path = self.read_path(id);
        if path.contains("{cursor}") {
            let cursor = cursor.unwrap_or(&self.first);
            return Some(Ask::get(path.replace("{cursor}", cursor)));
        }
        let ask = Ask::get(path).header("accept", "text/event-stream");
        let first = (!self.first.is_empty()).then_some(self.first.as_str());
        Some(match cursor.or(first) {
            Some(cursor) => ask.header("last-event-id", cursor),
            None => ask,
        })
    }

    fn impossible(&self) -> Option<String> {
        self.impossible.clone()
    }

    fn numbered(&self) -> bool {
        self.numbered
    }

    fn view(&self, id: &str) -> Option<Ask> {
        Some(Ask::get(self.view.as_ref()?.replace("{id}", id)))
    }

    fn seen(&self, body: &Value) -> View {
        let at = |pointer: &Option<String>| pointer.as_deref().and_then(|p| body.pointer(p));
        let place = at(&self.place)
            .map(|place| place.as_str().map_or_else(|| place.to_string(), str::to_owned));
        View {
            ending: at(&self.status).and_then(Value::as_str).and_then(|word| self.ending(word)),
            text: body.pointer(&self.text).and_then(Value::as_str).map(str::to_owned),
            place,
            used: at(&self.usage).and_then(output_tokens),
            raw: body.to_string(),
            receipt: false,
        }
    }

    fn cancel(&self, id: &str) -> Option<Ask> {
        let request = self.cancel.as_ref()?;
        Some(self.ask(request, &|text| text.replace("{id}", id)))
    }

    fn receipt(&self, body: &Value) -> Option<Ending> {
        let word = body.pointer(self.status.as_deref()?)?.as_str()?;
        self.ending(word).filter(|ending| *ending != Ending::Failed)
    }
}
