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
use crate::http::protocols::openai_responses::sealed;

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
    for (n, mut item) in items.into_iter().enumerate() {
        let at = format!("items[{n}]");
        let mut elsewhere = Elsewhere::default();
        let mut said = Vec::new();
        sealed::uncarried(&at, &mut item)?;
        input::item(&at, item, &mut said, &mut elsewhere)?;
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
    error.written(written)
}

/// A message as it is stored.
pub(in crate::http) fn new_message(message: prompt::Message) -> NewMessage {
    let calls = !message.tool_calls.is_empty() || message.tool_call_id.is_some();
    let thought = !message.thinking.is_empty() || message.is_only_thought();
    let is_more = !message.is_text() || calls || thought;
    NewMessage {
        role: message.role,
        content: Content::Text(message.content.clone()),
        said: is_more.then(|| Box::new(message)),
    }
}

/// How the messages of a branch are shown as items.
pub(super) struct Shown<'a> {
    /// The calls of tools that take a text: their results have a type of their own.
    custom: HashSet<&'a str>,
}

impl<'a> Shown<'a> {
    pub(super) fn of(branch: &'a [Message]) -> Self {
        let calls = branch.iter().flat_map(|message| match &message.said {
            Some(said) => said.tool_calls.iter(),
            None => message.answer.as_ref().map(|a| a.tool_calls.iter()).unwrap_or_default(),
        });
        Self { custom: calls.filter(|call| call.custom).map(|call| call.id.as_str()).collect() }
    }

    /// The items of `messages`.
    pub(super) fn items<'m>(
        &self,
        messages: impl Iterator<Item = &'m Message>,
    ) -> impl Iterator<Item = Value> {
        messages.flat_map(move |message| self.of_message(message))
    }

    /// The items of a message. Each keeps its number, and so its id, when another is taken out.
    pub(super) fn of_message(&self, message: &Message) -> Vec<Value> {
        let mut items = Items {
            of: message.id.0.simple().to_string(),
            status: status(message),
            all: Vec::new(),
        };
        let said = whole(message);
        if let Some(call_id) = &said.tool_call_id {
            let custom = self.custom.contains(call_id.as_str());
            let prefix = if custom { "ctco" } else { "fco" };
            items.add((prefix, 0), input_items::result(&said, call_id, custom));
            return items.all;
        }
        if said.is_only_thought() {
            items.add(("rs", 0), input_items::thought(&said));
            return items.all;
        }
        let answer = message.answer.as_deref();
        let thought = answer.map(|answer| &answer.reasoning).filter(|text| !text.is_empty());
        if let Some(thought) = thought {
            let summary = json!([{ "type": "summary_text", "text": thought }]);
            items.add(("rs", 0), json!({ "type": "reasoning", "summary": summary }));
        }
        let mut content = input_items::parts(&said);
        let refusal = answer.map(|answer| &answer.refusal).filter(|text| !text.is_empty());
        content.extend(refusal.map(|refusal| json!({ "type": "refusal", "refusal": refusal })));
        let (has_thought, speaks) = (thought.is_some(), !content.is_empty());
        let made = message.made.as_deref();
        let first = usize::from(made.map_or(has_thought, |made| made.thought));
        if speaks {
            let item = json!({ "type": "message", "role": said.role, "content": content });
            items.add(("msg", first), item);
        }
        let first = first + usize::from(made.map_or(speaks, |made| made.spoke));
        for (n, call) in said.tool_calls.iter().enumerate() {
            let place = made.and_then(|made| made.calls.iter().position(|id| *id == call.id));
            let prefix = if call.custom { "ctc" } else { "fc" };
            items.add((prefix, first + place.unwrap_or(n)), input_items::call(call));
        }
        items.all
    }
}

struct Items {
    /// The message's id without hyphens.
    of: String,
    status: &'static str,
    all: Vec<Value>,
}

impl Items {
    /// Adds an item with the prefix of its id, and its number in the message.
    fn add(&mut self, (prefix, number): (&str, usize), mut item: Value) {
        item["id"] = format!("{prefix}_{}_{number}", self.of).into();
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
