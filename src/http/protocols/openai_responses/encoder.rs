//! The events of a generation as OpenAI's Responses events: a pure fold.
//! Order and fields: <https://platform.openai.com/docs/api-reference/responses-streaming>.
use serde::Serialize;
use serde_json::{Value, json};

use super::item::{Item, ItemKind, Part, State};
use super::object::Head;
use crate::domain::event::{Done, Status, ToolCallDelta};
use crate::domain::prompt::{Message, Role};
use crate::domain::transcript::ToolCall;
use crate::http::dialect::{Dialect, DialectEvent, Frames};
use crate::http::protocols::openai::ids::response_id;

/// The fold.
#[derive(Debug)]
pub(in crate::http) struct Responses {
    head: Head,
    items: Vec<Item>,
    done: Option<Done>,
    /// Where the frames of the opening end, for a reader that has none of the others yet.
    opened: usize,
    /// The items before this one are not known to the reader.
    base: usize,
}

/// The frames of a text are many: they are written without a detour.
#[derive(Serialize)]
struct DeltaFrame<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    sequence_number: u64,
    item_id: &'a str,
    output_index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary_index: Option<usize>,
    delta: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<[(); 0]>,
}

impl Dialect for Responses {
    const NAME: &'static str = "responses";

    fn said(&mut self, said: &DialectEvent<'_>, frames: &mut Frames) {
        match said {
            DialectEvent::Started => self.started(frames),
            DialectEvent::Reasoning(text) => self.reasoning(text, frames),
            DialectEvent::Text(text) => self.part(Part::Text(String::new()), text, frames),
            DialectEvent::Refusal(text) => self.part(Part::Refusal(String::new()), text, frames),
            DialectEvent::Call(call) => self.call(call, frames),
            DialectEvent::Extra(_) => {}
            DialectEvent::Void => self.void(frames),
            DialectEvent::Done(done) => self.done(done, frames),
        }
    }
}

impl Responses {
    pub(in crate::http) fn new(head: Head) -> Self {
        Self { head, items: Vec::new(), done: None, opened: 0, base: 0 }
    }

    /// Its id.
    pub(super) fn id(&self) -> String {
        response_id(self.head.generation)
    }

    /// The response object as it stands, in `status` unless it has ended.
    pub(in crate::http) fn object(&self, status: Status) -> Value {
        let output = self.items.iter().filter(|item| item.state != State::Void).map(Item::json);
        self.head.object(status, output.collect(), self.done.as_ref())
    }

    /// The answer so far as the model's message, if there is any.
    pub(super) fn message(&self) -> Option<Message> {
        let mut message = Message::text(Role::Assistant, "");
        for item in self.items.iter().filter(|item| item.state != State::Void) {
            match &item.kind {
                ItemKind::Reasoning(_) => {}
                ItemKind::Message(parts) => {
                    parts.iter().for_each(|part| message.content.push_str(part.text()));
                }
                ItemKind::Call { call_id, name, arguments, .. } => {
                    let (id, name) = (call_id.clone(), name.clone());
                    let arguments = arguments.clone();
                    message.tool_calls.push(ToolCall { id, name, arguments });
                }
            }
        }
        (!message.is_empty()).then_some(message)
    }

    /// A void item stays in the stream of a reader that has it, except a call: an agent runs each
    /// call that it knows. Such a reader is told to ask again, and later ones get nothing of it.
    fn void(&mut self, frames: &mut Frames) {
        let is_call = |item: &Item| matches!(item.kind, ItemKind::Call { .. });
        let called = self.items.iter().any(|item| item.state != State::Void && is_call(item));
        self.close(|_| true, State::Void, frames);
        self.items.iter_mut().for_each(|item| item.state = State::Void);
        let number = frames.number();
        if called {
            let response = self.superseded(number);
            let kind = "response.failed";
            let json = json!({ "type": kind, "sequence_number": number, "response": response });
            frames.frame(Some(kind), &json);
        }
        if frames.backlog && !frames.has_cursor() {
            frames.forget_behind(self.opened);
            self.base = self.items.len();
        } else if called && frames.wants(number) {
            frames.over = true;
        }
    }

    fn superseded(&self, number: u64) -> Value {
        let mut response = self.object(Status::Running);
        let message = format!(
            "the model lost a tool call and begins again: send the request again, or GET \
             /v1/responses/{}?stream=true&starting_after={number}",
            self.id()
        );
        response["status"] = "failed".into();
        response["error"] = json!({ "code": "server_error", "message": message });
        response
    }

    fn started(&mut self, frames: &mut Frames) {
        let first = if self.head.is_background() { Status::Queued } else { Status::Running };
        self.lifecycle("response.created", first, frames);
        if first == Status::Queued {
            self.lifecycle("response.queued", first, frames);
        }
        self.lifecycle("response.in_progress", Status::Running, frames);
        self.opened = frames.made();
    }

    fn lifecycle(&self, kind: &str, status: Status, frames: &mut Frames) {
        let number = frames.number();
        let response = self.object(status);
        let json = json!({ "type": kind, "sequence_number": number, "response": response });
        frames.frame(Some(kind), &json);
    }

    fn reasoning(&mut self, text: &str, frames: &mut Frames) {
        let open = |kind: &ItemKind| matches!(kind, ItemKind::Reasoning(_));
        if !self.items.last().is_some_and(|i| i.state == State::Open && open(&i.kind)) {
            self.close(is_text, State::Completed, frames);
            self.add(ItemKind::Reasoning(String::new()), frames);
            let part = json!({ "type": "summary_text", "text": "" });
            let fields = [("summary_index", 0.into()), ("part", part)];
            about("response.reasoning_summary_part.added", self.items.last(), fields, frames);
        }
        let Some(item) = self.items.last_mut() else { return };
        if let ItemKind::Reasoning(all) = &mut item.kind {
            all.push_str(text);
        }
        delta("response.reasoning_summary_text.delta", item, [None, Some(0)], text, frames);
    }

    fn part(&mut self, kind: Part, text: &str, frames: &mut Frames) {
        let open = |kind: &ItemKind| matches!(kind, ItemKind::Message(_));
        let place = self.items.iter().position(|i| i.state == State::Open && open(&i.kind));
        let place = place.unwrap_or_else(|| {
            self.close(is_text, State::Completed, frames);
            self.add(ItemKind::Message(Vec::new()), frames)
        });
        let Some(item) = self.items.get_mut(place) else { return };
        let goes_on = |parts: &[Part]| parts.last().is_some_and(|part: &Part| part.is_like(&kind));
        if let ItemKind::Message(parts) = &item.kind
            && !goes_on(parts)
        {
            part_done(item, frames);
            let part = kind.empty().json();
            if let ItemKind::Message(parts) = &mut item.kind {
                let fields = [("content_index", parts.len().into()), ("part", part)];
                parts.push(kind.empty());
                about("response.content_part.added", Some(item), fields, frames);
            }
        }
        let ItemKind::Message(parts) = &mut item.kind else { return };
        let at = parts.len().saturating_sub(1);
        let name = match parts.last_mut() {
            Some(Part::Refusal(all)) => {
                all.push_str(text);
                "response.refusal.delta"
            }
            Some(part @ Part::Text(_)) => {
                part.push(text);
                "response.output_text.delta"
            }
            None => return,
        };
        delta(name, item, [Some(at), None], text, frames);
    }

    /// A complete call ends where another begins, as clients expect it. An incomplete one stays
    /// open, since fragments of several may come by turns.
    fn call(&mut self, fragment: &ToolCallDelta, frames: &mut Frames) {
        let place = self.items.iter().position(|item| {
            let ItemKind::Call { upstream, .. } = &item.kind else { return false };
            item.state != State::Void && *upstream == fragment.index
        });
        let place = place.unwrap_or_else(|| {
            self.close(|kind| is_text(kind) || is_complete(kind), State::Completed, frames);
            let kind = ItemKind::Call {
                upstream: fragment.index,
                call_id: self.call_id(fragment.id.as_deref()),
                name: fragment.name.clone().unwrap_or_default(),
                arguments: String::new(),
            };
            self.add(kind, frames)
        });
        let open = self.items.get_mut(place).filter(|item| item.state == State::Open);
        let Some(item) = open else { return };
        if let ItemKind::Call { name, arguments, .. } = &mut item.kind {
            if name.is_empty() {
                name.push_str(fragment.name.as_deref().unwrap_or_default());
            }
            arguments.push_str(&fragment.arguments);
        }
        if !fragment.arguments.is_empty() {
            let name = "response.function_call_arguments.delta";
            delta(name, item, [None, None], &fragment.arguments, frames);
        }
    }

    /// The upstream's id, or one of ours. Clients know calls by it, so no two may have the same:
    /// a new attempt may use the ids of the void one again.
    fn call_id(&self, given: Option<&str>) -> String {
        let own = || format!("call_{}_{}", self.head.short(), self.items.len());
        let id = given.filter(|id| !id.is_empty()).map_or_else(own, str::to_owned);
        let taken =
            |item: &Item| matches!(&item.kind, ItemKind::Call { call_id, .. } if *call_id == id);
        if self.items.iter().any(taken) { format!("{id}_{}", self.items.len()) } else { id }
    }

    /// Announces a new item; its place.
    fn add(&mut self, kind: ItemKind, frames: &mut Frames) -> usize {
        let item = Item::new(self.head.generation, self.items.len(), kind);
        let item = Item { index: item.index - self.base, ..item };
        let fields = [("item", item.announced())];
        let kind = "response.output_item.added";
        let number = frames.number();
        frames.frame(Some(kind), &with(kind, number, &item, fields, false));
        self.items.push(item);
        self.items.len() - 1
    }

    /// Ends those of the open items that `which` names.
    fn close(&mut self, which: impl Fn(&ItemKind) -> bool, state: State, frames: &mut Frames) {
        for item in self.items.iter_mut().filter(|i| i.state == State::Open && which(&i.kind)) {
            match &item.kind {
                ItemKind::Reasoning(text) => {
                    let part = json!({ "type": "summary_text", "text": text });
                    let text = [("summary_index", 0.into()), ("text", text.as_str().into())];
                    about("response.reasoning_summary_text.done", Some(item), text, frames);
                    let part = [("summary_index", 0.into()), ("part", part)];
                    about("response.reasoning_summary_part.done", Some(item), part, frames);
                }
                ItemKind::Message(_) => part_done(item, frames),
                // An agent runs a call that is done, whatever its status says.
                ItemKind::Call { .. } if state == State::Void => {
                    item.state = state;
                    continue;
                }
                ItemKind::Call { name, arguments, .. } => {
                    let (name, arguments) = (name.as_str().into(), arguments.as_str().into());
                    let fields = [("name", name), ("arguments", arguments)];
                    about("response.function_call_arguments.done", Some(item), fields, frames);
                }
            }
            item.state = state;
            let kind = "response.output_item.done";
            let number = frames.number();
            let fields = [("item", item.json())];
            frames.frame(Some(kind), &with(kind, number, item, fields, false));
        }
    }

    fn done(&mut self, done: &Done, frames: &mut Frames) {
        let whole = done.status == Status::Completed;
        let state = if whole { State::Completed } else { State::Incomplete };
        self.close(|_| true, state, frames);
        self.done = Some(done.clone());
        let kind = match done.status {
            Status::Completed => "response.completed",
            Status::Failed | Status::Interrupted => "response.failed",
            // There is no event of its own for a cancel: the response's status says it.
            Status::Incomplete
            | Status::Cancelled
            | Status::Queued
            | Status::Running
            | Status::Cancelling => "response.incomplete",
        };
        self.lifecycle(kind, done.status, frames);
        // OpenAI's own stream just ends; the Open Responses specification wants it.
        frames.raw(b"data: [DONE]\n\n");
    }
}

/// Items that end where another begins.
fn is_text(kind: &ItemKind) -> bool {
    match kind {
        ItemKind::Reasoning(_) | ItemKind::Message(_) => true,
        ItemKind::Call { .. } => false,
    }
}

/// A call whose arguments are whole.
fn is_complete(kind: &ItemKind) -> bool {
    match kind {
        ItemKind::Reasoning(_) | ItemKind::Message(_) => false,
        ItemKind::Call { arguments, .. } => {
            serde_json::from_str::<serde::de::IgnoredAny>(arguments).is_ok()
        }
    }
}

/// Ends the last part of a message, if there is one.
fn part_done(item: &Item, frames: &mut Frames) {
    let ItemKind::Message(parts) = &item.kind else { return };
    let Some(part) = parts.last() else { return };
    let at = || ("content_index", Value::from(parts.len() - 1));
    let text = Value::from(part.text());
    match part {
        Part::Text(_) => {
            let fields = [at(), ("text", text), ("logprobs", json!([]))];
            about("response.output_text.done", Some(item), fields, frames);
        }
        Part::Refusal(_) => {
            about("response.refusal.done", Some(item), [at(), ("refusal", text)], frames);
        }
    }
    about("response.content_part.done", Some(item), [at(), ("part", part.json())], frames);
}

/// A frame about an item, with its id.
fn about<const N: usize>(
    kind: &str,
    item: Option<&Item>,
    fields: [(&str, Value); N],
    frames: &mut Frames,
) {
    let Some(item) = item else { return };
    let number = frames.number();
    frames.frame(Some(kind), &with(kind, number, item, fields, true));
}

fn with<const N: usize>(
    kind: &str,
    number: u64,
    item: &Item,
    fields: [(&str, Value); N],
    id: bool,
) -> Value {
    let mut json = json!({ "type": kind, "sequence_number": number, "output_index": item.index });
    if id {
        json["item_id"] = item.id.as_str().into();
    }
    for (name, value) in fields {
        json[name] = value;
    }
    json
}

fn delta(
    kind: &'static str,
    item: &Item,
    [content_index, summary_index]: [Option<usize>; 2],
    delta: &str,
    frames: &mut Frames,
) {
    let json = DeltaFrame {
        kind,
        sequence_number: frames.number(),
        item_id: &item.id,
        output_index: item.index,
        content_index,
        summary_index,
        delta,
        logprobs: (kind == "response.output_text.delta").then_some([]),
    };
    frames.frame(Some(kind), &json);
}
