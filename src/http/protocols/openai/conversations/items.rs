//! Items of a conversation to messages, and back.
use std::collections::HashSet;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::domain::conversation::{Content, Message, NewMessage};
use crate::domain::event::Status;
use crate::domain::prompt::{self, Parameters, Prompt, PromptError, Role};
use crate::engine::Engine;
use crate::http::problem::Problem;
use crate::http::protocols::openai::elsewhere::Elsewhere;
use crate::http::protocols::openai::fields;
use crate::http::protocols::openai_responses::input::{self, Item};
use crate::http::protocols::openai_responses::input_items;

/// The most items that are added at once, as with OpenAI.
pub(in crate::http) const MOST: usize = 20;

/// The messages of `items`, each item one, so that it can be taken out by itself.
pub(super) fn read(engine: &Engine, items: &RawValue) -> Result<Vec<NewMessage>, Problem> {
    let items: Vec<Item> = fields::read("items", items)?;
    if items.len() > MOST {
        let detail = format!("`items` has at most {MOST} items");
        let problem = Problem::unprocessable("out_of_range", detail);
        return Err(problem.with("field", "items").with("min", 0).with("max", MOST));
    }
    let mut messages = Vec::new();
    for (n, item) in items.into_iter().enumerate() {
        let mut elsewhere = Elsewhere::default();
        let mut said = Vec::new();
        input::item(&format!("items[{n}]"), item, &mut said, &mut elsewhere)?;
        elsewhere.check(false, None)?;
        messages.append(&mut said);
    }
    let limits = engine.limits();
    let prompt = Prompt::parse_turn(messages, Parameters::default(), limits.prompt_bytes);
    let prompt = prompt.map_err(as_written)?;
    let bytes = prompt.media_bytes();
    if bytes > limits.media_bytes {
        return Err(PromptError::MediaTooLarge { bytes, limit: limits.media_bytes }.into());
    }
    Ok(prompt.messages.into_iter().map(new_message).collect())
}

/// The refusal with the field as the client wrote it.
fn as_written(error: PromptError) -> PromptError {
    let written = |field: String| field.replacen("messages[", "items[", 1);
    match error {
        PromptError::Empty { field } => PromptError::Empty { field: written(field) },
        PromptError::InvalidCharacter { field } => {
            PromptError::InvalidCharacter { field: written(field) }
        }
        other @ (PromptError::TooLong { .. }
        | PromptError::MediaTooLarge { .. }
        | PromptError::OutOfRange { .. }) => other,
    }
}

/// A message as it is stored.
pub(in crate::http) fn new_message(message: prompt::Message) -> NewMessage {
    let is_more =
        !message.is_text() || !message.tool_calls.is_empty() || message.tool_call_id.is_some();
    NewMessage {
        role: message.role,
        content: Content::Text(message.content.clone()),
        said: is_more.then(|| Box::new(message)),
    }
}

/// The items of a branch, each with the message that it is a part of.
pub(super) fn of_branch(branch: &[Message]) -> Vec<(&Message, Value)> {
    let mut customs = HashSet::new();
    let mut all = Vec::new();
    for message in branch {
        all.extend(of(message, &customs).into_iter().map(|item| (message, item)));
        let said = message.said.as_ref().map(|said| &said.tool_calls);
        let calls = said.or_else(|| Some(&message.answer.as_ref()?.tool_calls));
        let calls = calls.into_iter().flatten().filter(|call| call.custom);
        customs.extend(calls.map(|call| call.id.as_str()));
    }
    all
}

/// The items of a message; `customs` are the calls before it of tools that take a text.
fn of(message: &Message, customs: &HashSet<&str>) -> Vec<Value> {
    let mut items =
        Items { of: message.id.0.simple().to_string(), status: status(message), all: Vec::new() };
    let said = whole(message);
    let answer = message.answer.as_deref().filter(|_| message.said.is_none());
    if let Some(thought) = answer.map(|answer| &answer.reasoning).filter(|text| !text.is_empty()) {
        let summary = json!([{ "type": "summary_text", "text": thought }]);
        items.add("rs", json!({ "type": "reasoning", "summary": summary }));
    }
    if let Some(call_id) = &said.tool_call_id {
        let custom = customs.contains(call_id.as_str());
        let kind = if custom { "ctco" } else { "fco" };
        items.add(kind, input_items::result(&said, call_id, custom));
        return items.all;
    }
    let mut content = input_items::parts(&said);
    let refusal = answer.map(|answer| &answer.refusal).filter(|text| !text.is_empty());
    content.extend(refusal.map(|refusal| json!({ "type": "refusal", "refusal": refusal })));
    if !content.is_empty() {
        items.add("msg", json!({ "type": "message", "role": said.role, "content": content }));
    }
    for call in &said.tool_calls {
        items.add(if call.custom { "ctc" } else { "fc" }, input_items::call(call));
    }
    items.all
}

struct Items {
    /// The message's id without hyphens.
    of: String,
    status: &'static str,
    all: Vec<Value>,
}

impl Items {
    fn add(&mut self, kind: &str, mut item: Value) {
        item["id"] = format!("{kind}_{}_{}", self.of, self.all.len()).into();
        item["status"] = self.status.into();
        self.all.push(item);
    }
}

fn status(message: &Message) -> &'static str {
    match message.answer.as_deref().map(|answer| answer.status) {
        None | Some(Status::Completed) => "completed",
        Some(
            Status::Incomplete
            | Status::Failed
            | Status::Interrupted
            | Status::Cancelled
            | Status::Queued
            | Status::Running
            | Status::Cancelling,
        ) => "incomplete",
    }
}

/// The message as a model is told it.
fn whole(message: &Message) -> prompt::Message {
    if let Some(said) = &message.said {
        return (**said).clone();
    }
    let mut said = prompt::Message::text(message.role, message.content.text());
    if let Some(answer) = &message.answer {
        said.tool_calls.clone_from(&answer.tool_calls);
    }
    said
}

/// The rest of a message without one of its items; `None` if nothing is left.
pub(super) fn without(message: &Message, item: &Value) -> Option<prompt::Message> {
    let mut said = whole(message);
    match item["type"].as_str() {
        Some("function_call" | "custom_tool_call") => {
            let place = said.tool_calls.iter().position(|call| item["call_id"] == call.id.as_str());
            if let Some(place) = place {
                said.tool_calls.remove(place);
            }
        }
        // A thought is not told again; the rest of its message is.
        Some("reasoning") => {}
        Some(_) | None => {
            said.silence();
        }
    }
    (said.role == Role::Assistant && !said.is_empty()).then_some(said)
}
