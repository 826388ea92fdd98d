//! The protocols, each as its own wire only: the requests, and the meaning of the frames.
use serde_json::Value;

use crate::history::{Ending, Event, View};
use crate::sse::Frame;

mod chat;
mod durable;
mod messages;
mod responses;
mod template;
#[cfg(test)]
mod tests;
mod ui;

pub(crate) use template::Template;

/// A request, without the target.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ask {
    /// An HTTP method, or [`SOCKET`].
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Value>,
    /// The cursor that is resumed from.
    pub(crate) from: Option<String>,
}

/// The method of a request over a WebSocket: its body is the first frame.
pub(crate) const SOCKET: &str = "WEBSOCKET";

impl Ask {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: "GET".into(), path: path.into(), ..Self::default() }
    }

    pub(crate) fn post(path: impl Into<String>, body: Option<Value>) -> Self {
        Self { method: "POST".into(), path: path.into(), body, ..Self::default() }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// The request of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Prompt {
    pub(crate) model: String,
    pub(crate) text: String,
    /// A name for this stream that the client chooses, where the protocol lets it.
    pub(crate) name: String,
}

/// The fields that frames had so far about the stream that they belong to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// The stream's id, as soon as it is known.
    pub(crate) id: Option<String>,
    /// How the answer ends, where a later frame is the ending itself.
    pub(crate) pending: Option<Ending>,
    /// The stream has reported its failure: its closing event adds nothing.
    pub(crate) failed: bool,
    /// The cursor that the connection was resumed from.
    pub(crate) from: Option<String>,
}

/// A protocol.
pub(crate) trait Wire: Send + Sync {
    fn name(&self) -> &'static str;

    /// The answer to this request is the stream; or it holds the id, if [`Wire::apart`].
    fn start(&self, prompt: &Prompt) -> Ask;

    /// The stream is read by a request of its own.
    fn apart(&self) -> bool {
        false
    }

    /// The stream's id out of the answer's headers and JSON body.
    fn id(&self, _headers: &[(String, String)], _body: &Value) -> Option<String> {
        None
    }

    /// The id of a stream that its client named so.
    fn named(&self, _name: &str) -> Option<String> {
        None
    }

    /// One frame's events; the last ones have the cursor behind them.
    fn read(&self, frame: &Frame, reading: &mut Reading) -> Vec<Event>;

    /// The event that a body's regular end stands for, where no event of its own says it.
    fn closed(&self, _reading: &mut Reading) -> Option<Event> {
        None
    }

    /// Goes on behind the cursor, or reads from the beginning.
    fn resume(&self, id: &str, cursor: Option<&str>) -> Option<Ask>;

    /// A resume has no cursor: it says everything again.
    fn replays(&self) -> bool {
        false
    }

    /// A stream that is over cannot be asked for again by the protocol's own rules.
    fn forgets_ended(&self) -> bool {
        false
    }

    /// A cursor that cannot exist.
    fn impossible(&self) -> Option<String> {
        None
    }

    /// Cursors are numbers that go up by one.
    fn numbered(&self) -> bool {
        false
    }

    /// Asks for the state of a stream.
    fn view(&self, _id: &str) -> Option<Ask> {
        None
    }

    /// The description in the answer to that.
    fn seen(&self, _body: &Value) -> View {
        View::default()
    }

    fn cancel(&self, _id: &str) -> Option<Ask> {
        None
    }

    /// A cancel answer's description of the stream.
    fn receipt(&self, _body: &Value) -> Option<Ending> {
        None
    }

    /// Requests by which the tool itself writes the stream, where the protocol has writers.
    fn writes(&self) -> Option<&dyn Writes> {
        None
    }
}

/// The writing side of a protocol.
pub(crate) trait Writes: Send + Sync {
    fn create(&self, name: &str) -> Ask;
    /// The item at this place; the same twice is taken once.
    fn append(&self, name: &str, at: usize, text: &str) -> Ask;
    fn close(&self, name: &str) -> Ask;
}

/// The names of the protocols, as the command line has them.
pub(crate) const PROTOCOLS: [&str; 7] =
    ["chat", "responses", "responses-ws", "messages", "ui", "durable", "sse"];

/// The protocol of this name; `sse` and `durable` take a mapping.
///
/// # Errors
/// A name that is not known, or `sse` without a mapping.
pub(crate) fn of(name: &str, map: Option<Template>) -> Result<Box<dyn Wire>, String> {
    match (name, map) {
        (_, Some(_)) if !matches!(name, "durable" | "sse") => {
            Err(format!("the protocol {name} has its own routes: --map is for sse and durable"))
        }
        ("chat", _) => Ok(Box::new(chat::Chat)),
        ("responses", _) => Ok(Box::new(responses::Responses { socket: false })),
        ("responses-ws", _) => Ok(Box::new(responses::Responses { socket: true })),
        ("messages", _) => Ok(Box::new(messages::Messages)),
        ("ui", _) => Ok(Box::new(ui::Ui)),
        ("durable", map) => Ok(Box::new(durable::Durable { map })),
        ("sse", Some(map)) => map.checked().map(|map| Box::new(map) as Box<dyn Wire>),
        ("sse", None) => Err("the protocol sse needs --map FILE: see the README".into()),
        _ => Err(format!("no protocol is called {name}: {}", PROTOCOLS.join(", "))),
    }
}

/// An event whose raw bytes are the frame's.
pub(crate) fn event(frame: &Frame) -> Event {
    Event { raw: format!("{} {}", frame.event, frame.data), ..Event::default() }
}

/// The frame's data as JSON; null if it is something else.
pub(crate) fn json(frame: &Frame) -> Value {
    serde_json::from_str(&frame.data).unwrap_or_default()
}

/// A text field, empty where there is none.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The output tokens of a report of usage, by the names that protocols give them.
pub(crate) fn output_tokens(usage: &Value) -> Option<u64> {
    let names = ["completion_tokens", "output_tokens", "outputTokens"];
    usage.as_u64().or_else(|| names.iter().find_map(|name| usage[name].as_u64()))
}
