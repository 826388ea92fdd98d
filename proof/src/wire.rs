//! The protocols, each as its own wire only: what is asked, and what the frames mean.
use serde_json::Value;

use crate::history::{Ending, Event};
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
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Value>,
}

impl Ask {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: "GET".into(), path: path.into(), ..Self::default() }
    }

    pub(crate) fn post(path: impl Into<String>, body: Option<Value>) -> Self {
        Self { method: "POST".into(), path: path.into(), headers: Vec::new(), body }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// What a stream is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Prompt {
    pub(crate) model: String,
    pub(crate) text: String,
    /// A name for this stream that the client chooses, where the protocol lets it.
    pub(crate) name: String,
}

/// What frames said so far of the stream that they belong to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// The stream's id, as soon as it is known.
    pub(crate) id: Option<String>,
    /// How the answer ends, where a later frame is the ending itself.
    pub(crate) pending: Option<Ending>,
    /// The stream has cursors: it says where each event is.
    pub(crate) cursors: bool,
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

    /// The client's own name for the stream is its id.
    fn named(&self) -> bool {
        false
    }

    /// One frame's events; the last ones have the cursor behind them.
    fn read(&self, frame: &Frame, reading: &mut Reading) -> Vec<Event>;

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

    fn cancel(&self, _id: &str) -> Option<Ask> {
        None
    }

    /// What a cancel's answer says of the stream.
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
pub(crate) const PROTOCOLS: [&str; 6] = ["chat", "responses", "messages", "ui", "durable", "sse"];

/// The protocol of this name; `sse` and `durable` take a mapping.
///
/// # Errors
/// A name that is not known, or `sse` without a mapping.
pub(crate) fn of(name: &str, map: Option<Template>) -> Result<Box<dyn Wire>, String> {
    match (name, map) {
        ("chat", _) => Ok(Box::new(chat::Chat)),
        ("responses", _) => Ok(Box::new(responses::Responses)),
        ("messages", _) => Ok(Box::new(messages::Messages)),
        ("ui", _) => Ok(Box::new(ui::Ui)),
        ("durable", map) => Ok(Box::new(durable::Durable { map })),
        ("sse", Some(map)) => Ok(Box::new(map)),
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
