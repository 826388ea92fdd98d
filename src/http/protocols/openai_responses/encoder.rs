//! The events of a generation as OpenAI's Responses events: a pure fold.
//! Order and fields: <https://platform.openai.com/docs/api-reference/responses-streaming>.
use serde_json::{Value, json};

use super::extras::Extras;
use super::frames::{
    At, ResponseFrame, about, content_done, delta, item, part_done, thoughts_added, thoughts_done,
};
use super::item::{Call, Item, ItemKind, Part, State, Text, Thoughts};
use super::object::Head;
use super::sealed::Seal;
use crate::domain::event::{Done, Status, ToolCallDelta};
use crate::domain::extra::Fields;
use crate::domain::prompt::{Message, Role};
use crate::domain::transcript::ToolCall;
use crate::http::dialect::{Dialect, DialectEvent, Frames};
use crate::http::protocols::openai::ids::response_id;

/// The fold.
#[derive(Debug)]
pub(in crate::http) struct Responses {
    pub(super) head: Head,
    pub(super) items: Vec<Item>,
    pub(super) extras: Extras,
    pub(super) seal: Option<Seal>,
    done: Option<Done>,
    /// Where the frames of the opening end, for a reader that has none of the others yet.
    opened: usize,
    /// The items before this one are not known to the reader.
    base: usize,
}

impl Dialect for Responses {
    const NAME: &'static str = "responses";

    fn said(&mut self, said: &DialectEvent<'_>, frames: &mut Frames) {
        match said {
            DialectEvent::Started => self.started(frames),
            DialectEvent::Reasoning(text) => self.reasoning(text, frames),
            DialectEvent::Text(text) => self.part(Part::Text(Text::default()), text, frames),
            DialectEvent::Refusal(text) => self.part(Part::Refusal(String::new()), text, frames),
            DialectEvent::Call(call) => self.call(call, frames),
            DialectEvent::Extra(extra) => self.extra(extra, frames),
            DialectEvent::Sealed(block) => self.sealed(block, frames),
            DialectEvent::Void => self.void(frames),
            DialectEvent::Done(done) => self.done(done, frames),
        }
    }

    fn torn(&mut self, frames: &mut Frames) {
        let is_sealed = |thoughts: &Thoughts| !thoughts.blocks.is_empty();
        let of = |kind: &ItemKind, sealed: bool| matches!(kind, ItemKind::Reasoning(thoughts) if is_sealed(thoughts) == sealed);
        self.close(|kind| of(kind, false), State::Void, frames);
        self.close(|kind| of(kind, true), State::Completed, frames);
    }
}

impl Responses {
    pub(in crate::http) fn new(head: Head) -> Self {
        let extras = Extras::default();
        Self { head, items: Vec::new(), extras, seal: None, done: None, opened: 0, base: 0 }
    }

    /// The same with its thinking sealed for the client to keep.
    pub(super) fn sealing(self, seal: Option<Seal>) -> Self {
        Self { seal, ..self }
    }

    /// Its id.
    pub(super) fn id(&self) -> String {
        response_id(self.head.generation)
    }

    /// The response object as it stands, in `status` unless it has ended.
    pub(in crate::http) fn object(&self, status: Status) -> Value {
        let output = self.items.iter().filter(|item| item.state != State::Void).map(Item::json);
        let mut object = self.head.object(status, output.collect(), self.done.as_ref());
        if let Some(done) = &self.done {
            self.extras.held(&mut object, &done.usage);
        }
        object
    }

    /// The answer so far as the model's message, if there is any.
    pub(super) fn message(&self) -> Option<Message> {
        let mut message = Message::text(Role::Assistant, "");
        for item in self.items.iter().filter(|item| item.state != State::Void) {
            if let ItemKind::Reasoning(thoughts) = &item.kind {
                message.thinking.extend(thoughts.at(message.content.len()));
            }
            match &item.kind {
                ItemKind::Reasoning(thoughts) if item.own.is_none() || thoughts.raw => {
                    message.reasoning.push_str(&thoughts.parts.concat());
                }
                // A summary is not what the model thought.
                ItemKind::Reasoning(_) | ItemKind::Foreign => {}
                ItemKind::Message(parts) => {
                    parts.iter().for_each(|part| message.content.push_str(part.text()));
                }
                ItemKind::Call(call) => message.tool_calls.push(ToolCall {
                    id: call.call_id.clone(),
                    name: call.name.clone(),
                    namespace: call.namespace.clone(),
                    custom: call.input.is_some(),
                    arguments: call.arguments.clone(),
                }),
            }
        }
        (!message.is_empty()).then_some(message)
    }

    /// A void item stays in the stream of a reader that has it, except a call: an agent runs each
    /// call that it knows. Such a reader is told to ask again, and later ones get nothing of it.
    fn void(&mut self, frames: &mut Frames) {
        let is_call = |item: &Item| matches!(item.kind, ItemKind::Call(_));
        let called = self.items.iter().any(|item| item.state != State::Void && is_call(item));
        self.close(|_| true, State::Void, frames);
        self.items.iter_mut().for_each(|item| item.state = State::Void);
        self.extras = Extras::default();
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
        let frame = self.lifecycle_event(kind, status, frames.number());
        frames.frame(Some(kind), &frame);
    }

    fn lifecycle_event<'a>(&self, kind: &'a str, status: Status, number: u64) -> ResponseFrame<'a> {
        ResponseFrame { kind, sequence_number: number, response: self.object(status) }
    }

    /// The last event once more, for a reader that has it and comes back all the same.
    pub(super) fn last_again(&self, frames: &mut Frames) {
        let Some((done, number)) = self.done.as_ref().zip(frames.number().checked_sub(1)) else {
            return;
        };
        frames.data(&self.lifecycle_event(ending(done.status), done.status, number));
    }

    /// The place of the thinking that grows, or of a new item.
    pub(super) fn thoughts_place(&mut self, frames: &mut Frames) -> usize {
        let open =
            |item: &&Item| item.state == State::Open && matches!(item.kind, ItemKind::Reasoning(_));
        match self.items.last().filter(open) {
            Some(_) => self.items.len() - 1,
            None => {
                self.close(is_text, State::Completed, frames);
                self.add(ItemKind::Reasoning(Thoughts::default()), None, frames)
            }
        }
    }

    fn reasoning(&mut self, text: &str, frames: &mut Frames) {
        let place = self.thoughts_place(frames);
        let next = std::mem::take(&mut self.extras.next_part);
        let Some(item) = self.items.get_mut(place) else { return };
        let ItemKind::Reasoning(thoughts) = &mut item.kind else { return };
        // The separator of a summary's parts is a part of its own here.
        let text =
            if next && !thoughts.raw { text.strip_prefix("\n\n").unwrap_or(text) } else { text };
        if next || thoughts.parts.is_empty() {
            let before = thoughts.clone();
            thoughts.parts.push(String::new());
            let now = thoughts.clone();
            thoughts_done(item, &before, frames);
            thoughts_added(item, &now, frames);
        }
        let ItemKind::Reasoning(thoughts) = &mut item.kind else { return };
        let at = Some(thoughts.parts.len().saturating_sub(1));
        thoughts.parts.last_mut().into_iter().for_each(|part| part.push_str(text));
        if text.is_empty() {
            return;
        }
        let (name, at) = if thoughts.raw {
            ("response.reasoning_text.delta", At { content: at, summary: None })
        } else {
            ("response.reasoning_summary_text.delta", At { content: None, summary: at })
        };
        delta(name, item, at, (text, None), frames);
    }

    fn part(&mut self, kind: Part, text: &str, frames: &mut Frames) {
        let place = self.message_place(&kind, frames);
        let logprobs = std::mem::take(&mut self.extras.logprobs);
        let Some(item) = self.items.get_mut(place) else { return };
        let ItemKind::Message(parts) = &mut item.kind else { return };
        let at = At { content: Some(parts.len().saturating_sub(1)), summary: None };
        let Some(part) = parts.last_mut() else { return };
        part.push(text);
        if let Part::Text(text) = part {
            text.logprobs.extend_from_slice(&logprobs);
        }
        match kind {
            Part::Text(_) => {
                let said = (text, Some(logprobs.as_slice()));
                delta("response.output_text.delta", item, at, said, frames);
            }
            Part::Refusal(_) => delta("response.refusal.delta", item, at, (text, None), frames),
        }
    }

    /// The place of the message that is said, whose last part is of that kind.
    pub(super) fn message_place(&mut self, kind: &Part, frames: &mut Frames) -> usize {
        let open =
            |item: &Item| item.state == State::Open && matches!(item.kind, ItemKind::Message(_));
        let place = self.items.iter().position(open).unwrap_or_else(|| {
            self.close(is_text, State::Completed, frames);
            self.add(ItemKind::Message(Vec::new()), None, frames)
        });
        let next = std::mem::take(&mut self.extras.next_part);
        let Some(item) = self.items.get_mut(place) else { return place };
        if let ItemKind::Message(parts) = &item.kind
            && (next || !parts.last().is_some_and(|part| part.is_like(kind)))
        {
            part_done(item, frames);
            let part = kind.empty().json();
            if let ItemKind::Message(parts) = &mut item.kind {
                let fields = [("content_index", parts.len().into()), ("part", part)];
                parts.push(kind.empty());
                about("response.content_part.added", Some(item), fields, frames);
            }
        }
        place
    }

    /// A complete call ends where another begins, as clients expect it. An incomplete one stays
    /// open, since fragments of several may come by turns.
    fn call(&mut self, fragment: &ToolCallDelta, frames: &mut Frames) {
        let place = self.items.iter().position(|item| {
            let ItemKind::Call(call) = &item.kind else { return false };
            item.state != State::Void && call.upstream == fragment.index
        });
        let place = place.unwrap_or_else(|| {
            self.close(|kind| is_text(kind) || is_complete(kind), State::Completed, frames);
            let call = Call::new(fragment, self.call_id(fragment.id.as_deref()));
            let own = self.extras.take_call(fragment.index);
            self.add(ItemKind::Call(call), own, frames)
        });
        let open = self.items.get_mut(place).filter(|item| item.state == State::Open);
        let Some(item) = open else { return };
        let ItemKind::Call(call) = &mut item.kind else { return };
        let said = call.push(fragment);
        call_delta(item, &said, frames);
    }

    /// The upstream's id, or one of ours. Clients know calls by it, so no two may have the same:
    /// a new attempt may use the ids of the void one again.
    fn call_id(&self, given: Option<&str>) -> String {
        let own = || format!("call_{}_{}", self.head.short(), self.items.len());
        let id = given.filter(|id| !id.is_empty()).map_or_else(own, str::to_owned);
        let taken = |item: &Item| matches!(&item.kind, ItemKind::Call(call) if call.call_id == id);
        if self.items.iter().any(taken) { format!("{id}_{}", self.items.len()) } else { id }
    }

    /// Announces a new item; its place.
    pub(super) fn add(
        &mut self,
        kind: ItemKind,
        own: Option<Fields>,
        frames: &mut Frames,
    ) -> usize {
        let new = Item::new(self.head.generation, self.items.len(), kind, own);
        let new = Item { index: new.index - self.base, ..new };
        item("response.output_item.added", &new, &new.announced(), frames);
        self.items.push(new);
        self.items.len() - 1
    }

    /// Ends those of the open items that `which` names.
    pub(super) fn close(
        &mut self,
        which: impl Fn(&ItemKind) -> bool,
        state: State,
        frames: &mut Frames,
    ) {
        for open in self.items.iter_mut().filter(|i| i.state == State::Open && which(&i.kind)) {
            self.seal.iter().for_each(|seal| seal.close(open, state));
            end(open, state, frames);
        }
    }

    fn done(&mut self, done: &Done, frames: &mut Frames) {
        let whole = done.status == Status::Completed;
        let state = if whole { State::Completed } else { State::Incomplete };
        self.close(|_| true, state, frames);
        self.done = Some(done.clone());
        self.lifecycle(ending(done.status), done.status, frames);
        // OpenAI's own stream just ends; the Open Responses specification wants it.
        frames.raw(b"data: [DONE]\n\n");
    }
}

/// The type of the last event.
fn ending(status: Status) -> &'static str {
    match status {
        Status::Completed => "response.completed",
        Status::Failed | Status::Interrupted => "response.failed",
        // There is no event of its own for a cancel: the response's status says it.
        Status::Incomplete
        | Status::Cancelled
        | Status::Queued
        | Status::Running
        | Status::Cancelling => "response.incomplete",
    }
}

/// Ends an item.
pub(super) fn end(open: &mut Item, state: State, frames: &mut Frames) {
    if let ItemKind::Call(call) = &mut open.kind {
        // An agent runs a call that is done, whatever its status says.
        if state == State::Void {
            open.state = state;
            return;
        }
        let rest = call.finish();
        call_delta(open, &rest, frames);
    }
    content_done(open, frames);
    open.state = state;
    item("response.output_item.done", open, &open.json(), frames);
}

fn call_delta(item: &Item, said: &str, frames: &mut Frames) {
    let ItemKind::Call(call) = &item.kind else { return };
    let name = match &call.input {
        Some(_) => "response.custom_tool_call_input.delta",
        None => "response.function_call_arguments.delta",
    };
    if !said.is_empty() {
        delta(name, item, At::default(), (said, None), frames);
    }
}

/// A call whose arguments are whole.
fn is_complete(kind: &ItemKind) -> bool {
    match kind {
        ItemKind::Reasoning(_) | ItemKind::Message(_) | ItemKind::Foreign => false,
        ItemKind::Call(call) => {
            serde_json::from_str::<serde::de::IgnoredAny>(&call.arguments).is_ok()
        }
    }
}

/// Items that end where another begins.
pub(super) fn is_text(kind: &ItemKind) -> bool {
    match kind {
        ItemKind::Reasoning(_) | ItemKind::Message(_) => true,
        ItemKind::Call(_) | ItemKind::Foreign => false,
    }
}
