//! The Responses API, for scripted answers. Events are numbered from 0, and the server keeps its
//! answer and plays it from any of them.
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::script::Respond;
use super::{Answer, Request, Script};

/// Events of one response, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events(Vec<Value>);

impl Events {
    /// `response.created`, `response.queued` and `response.in_progress`.
    pub(crate) fn begin(id: &str) -> Self {
        let kinds = [("created", "queued"), ("queued", "queued"), ("in_progress", "in_progress")];
        kinds.iter().fold(Self::default(), |events, (kind, status)| {
            let response =
                json!({ "id": id, "object": "response", "status": status, "output": [] });
            events.event(&format!("response.{kind}"), json!({ "response": response }))
        })
    }

    /// One more.
    pub(crate) fn event(mut self, kind: &str, mut fields: Value) -> Self {
        fields["type"] = json!(kind);
        fields["sequence_number"] = json!(self.0.len());
        self.0.push(fields);
        self
    }

    /// One more, about a part of an item of the output.
    pub(crate) fn of(self, item: u32, kind: &str, mut fields: Value) -> Self {
        fields["item_id"] = json!(format!("item_{item}"));
        fields["output_index"] = json!(item);
        fields["content_index"] = json!(0);
        self.event(kind, fields)
    }

    /// An item's beginning or end.
    pub(crate) fn item(self, place: u32, end: &str, mut item: Value) -> Self {
        item["id"] = json!(format!("item_{place}"));
        let fields = json!({ "output_index": place, "item": item });
        self.event(&format!("response.output_item.{end}"), fields)
    }

    /// A message of these pieces, with all that belongs to it.
    pub(crate) fn says<'a>(self, place: u32, pieces: impl Iterator<Item = &'a str>) -> Self {
        let message = |content: Value| json!({ "type": "message", "content": content });
        let part = |text: &str| json!({ "part": { "type": "output_text", "text": text } });
        let mut whole = String::new();
        let mut events = self.item(place, "added", message(json!([])));
        events = events.of(place, "response.content_part.added", part(""));
        for piece in pieces {
            whole.push_str(piece);
            let fields = json!({ "delta": piece, "logprobs": [], "obfuscation": "x" });
            events = events.of(place, "response.output_text.delta", fields);
        }
        let done = json!({ "text": whole, "logprobs": [] });
        events = events.of(place, "response.output_text.done", done);
        events = events.of(place, "response.content_part.done", part(&whole));
        events.item(place, "done", message(json!([{ "type": "output_text", "text": whole }])))
    }

    /// A function's call with these pieces of its arguments.
    pub(crate) fn calls(self, place: u32, id: &str, pieces: &[&str]) -> Self {
        let call = |arguments: &str| json!({ "type": "function_call", "call_id": id, "name": "f", "arguments": arguments });
        let mut events = self.item(place, "added", call(""));
        for piece in pieces {
            let fields = json!({ "delta": piece });
            events = events.of(place, "response.function_call_arguments.delta", fields);
        }
        let whole = pieces.concat();
        let fields = json!({ "arguments": whole });
        events = events.of(place, "response.function_call_arguments.done", fields);
        events.item(place, "done", call(&whole))
    }

    /// The last event, of that status, with 7 and 40 tokens and these further fields.
    pub(crate) fn end(self, id: &str, status: &str, mut response: Value) -> Self {
        response["id"] = json!(id);
        response["status"] = json!(status);
        response["usage"] = json!({
            "input_tokens": 7, "input_tokens_details": { "cached_tokens": 1 },
            "output_tokens": 40, "output_tokens_details": { "reasoning_tokens": 4 },
        });
        let kind = if status == "cancelled" { "incomplete" } else { status };
        self.event(&format!("response.{kind}"), json!({ "response": response }))
    }

    /// A whole answer of one text.
    pub(crate) fn whole(id: &str, text: &str) -> Self {
        Self::begin(id).says(0, text.split_inclusive(' ')).end(id, "completed", json!({}))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The events from number `from` up to `to`, as they go over the wire.
    pub(crate) fn frames(&self, from: usize, to: usize) -> String {
        let some = self.0.get(from..to.min(self.0.len())).unwrap_or_default();
        let frame = |e: &Value| format!("event: {}\ndata: {e}\n\n", e["type"].as_str().unwrap());
        some.iter().map(frame).collect()
    }

    /// The first `count` events as an answer.
    pub(crate) fn first(&self, count: usize) -> Answer {
        Answer::sse().raw(self.frames(0, count))
    }

    /// All of them as an answer.
    pub(crate) fn all(&self) -> Answer {
        self.first(self.0.len())
    }
}

/// A server that keeps one answer. Its requests stand in its log.
#[derive(Clone)]
pub(crate) struct Keeper {
    pub(crate) events: Events,
    log: Arc<Mutex<Vec<String>>>,
    /// The break of the nth stream behind event so many; others are played to their end.
    pub(crate) breaks: Vec<(usize, Break)>,
    /// The answer to a request for the rest; `None` gives the rest.
    pub(crate) refuses: Option<Answer>,
}

/// How a stream breaks.
pub(crate) type Break = fn(Answer) -> Answer;

impl Keeper {
    /// It says `text`, and breaks like this.
    pub(crate) fn new(text: &str, breaks: &[(usize, Break)]) -> Self {
        Self::of(Events::whole("resp_1", text), breaks)
    }

    /// It says these events.
    pub(crate) fn of(events: Events, breaks: &[(usize, Break)]) -> Self {
        Self { events, log: Arc::default(), breaks: breaks.to_vec(), refuses: None }
    }

    /// `new`, `rest after N` and `cancel`, as they came.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn script(&self) -> Script {
        let keeper = self.clone();
        let respond: Box<Respond> = Box::new(move |request, _| keeper.answer(request));
        Script(respond)
    }

    fn answer(&self, request: &Request) -> Answer {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let streams = log.iter().filter(|entry| *entry != "cancel").count();
        if request.line.starts_with("POST /v1/responses/resp_1/cancel ") {
            log.push("cancel".into());
            let body = json!({ "id": "resp_1", "status": "cancelled" });
            return Answer::status(200)
                .header("content-type", "application/json")
                .raw(body.to_string());
        }
        let from = if request.line.starts_with("GET /v1/responses/resp_1?") {
            assert!(request.line.contains("stream=true"), "{}", request.line);
            let (_, after) = request.line.split_once("starting_after=").unwrap();
            let after = after.split(['&', ' ']).next().unwrap();
            log.push(format!("rest after {after}"));
            if let Some(refusal) = &self.refuses {
                return refusal.clone();
            }
            after.parse::<usize>().unwrap() + 1
        } else {
            assert_eq!(request.line, "POST /v1/responses HTTP/1.1");
            log.push("new".into());
            0
        };
        match self.breaks.get(streams) {
            Some((at, breaks)) => breaks(Answer::sse().raw(self.events.frames(from, *at))),
            None => Answer::sse().raw(self.events.frames(from, self.events.len())),
        }
    }
}
