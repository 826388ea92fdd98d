//! The input of a response: a text or items, to messages and back.
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::compaction;
use crate::domain::left_out::RECORDS;
use crate::domain::nearest;
use crate::domain::prompt::{Message, Role, arguments_of};
use crate::domain::source::WireProtocol;
use crate::domain::thinking::{ThinkingBlock, Thought};
use crate::domain::transcript::ToolCall;
use crate::http::problem::Problem;
use crate::http::protocols::openai::client_tools;
use crate::http::protocols::openai::content::Content;
use crate::http::protocols::openai::elsewhere::Elsewhere;
use crate::http::protocols::openai::fields;
use crate::http::protocols::openai::fields::{missing, unsupported};
use crate::http::protocols::openai::texts::{Arguments, TextOr};

const RESPONSES: WireProtocol = WireProtocol::OpenaiResponses;

/// A text, or items.
pub(super) type Input = TextOr<Item>;

/// An item, in all of its kinds: what a field holds depends on the kind.
#[derive(Debug, Deserialize)]
pub(crate) struct Item {
    #[serde(rename = "type")]
    kind: Option<String>,
    id: Option<Box<RawValue>>,
    role: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "null_too")]
    content: Option<Box<RawValue>>,
    call_id: Option<Box<RawValue>>,
    name: Option<Box<RawValue>>,
    namespace: Option<Box<RawValue>>,
    arguments: Option<Box<RawValue>>,
    input: Option<Box<RawValue>>,
    output: Option<Box<RawValue>>,
    encrypted_content: Option<Box<RawValue>>,
    tools: Option<Box<RawValue>>,
    /// The thinking in an item that only lastword can read.
    #[serde(skip)]
    pub(super) thought: Option<String>,
    /// The same in blocks that their vendor has sealed.
    #[serde(skip)]
    pub(super) blocks: Vec<ThinkingBlock>,
}

/// A field's value: Codex sends `"content": null`, which is not a missing field.
fn null_too<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(deserializer).map(Some)
}

/// A part of an item of thinking.
#[derive(Debug, Deserialize)]
struct ThoughtPart {
    #[serde(rename = "type")]
    kind: Option<String>,
    text: Option<String>,
}

impl Item {
    /// The id that an `item_reference` names; `None` for other items.
    pub(super) fn refers(&self, n: usize) -> Result<Option<String>, Problem> {
        if self.kind.as_deref() != Some("item_reference") {
            return Ok(None);
        }
        need(&format!("input[{n}].id"), self.id.as_deref()).map(Some)
    }

    /// The encrypted content of an item of thinking.
    pub(super) fn encrypted_thought(&self) -> Option<String> {
        let content = self.encrypted_content.as_deref();
        let content = content.filter(|_| self.kind.as_deref() == Some("reasoning"))?;
        serde_json::from_str(content.get()).ok()
    }

    /// The thinking in plain words; nothing where there is only a summary of it.
    fn thought(self) -> String {
        let parts = self.content.and_then(|raw| serde_json::from_str(raw.get()).ok());
        let parts: Vec<ThoughtPart> = parts.unwrap_or_default();
        let raw = parts.into_iter().filter(|part| part.kind.as_deref() == Some("reasoning_text"));
        self.thought.unwrap_or_else(|| raw.filter_map(|part| part.text).collect())
    }
}

/// Adds what the input says to `messages`.
pub(super) fn read(
    input: Input,
    messages: &mut Vec<Message>,
    elsewhere: &mut Elsewhere,
) -> Result<(), Problem> {
    match input {
        Input::Text(text) => messages.push(Message::text(Role::User, text)),
        Input::List(items) => {
            for (n, item) in items.into_iter().enumerate() {
                self::item(&format!("input[{n}]"), item, messages, elsewhere)?;
            }
            messages.retain(|message| !message.is_only_thought());
        }
    }
    Ok(())
}

/// Checks that each tool's answer is one to a call.
///
/// # Errors
/// 400 for an answer to nothing, as OpenAI has it.
pub(super) fn check_answers(messages: &[Message]) -> Result<(), Problem> {
    let calls = messages.iter().flat_map(|message| &message.tool_calls).map(|call| &call.id);
    let answers = messages.iter().filter_map(|message| message.tool_call_id.as_ref());
    for answer in answers {
        if !calls.clone().any(|call| call == answer) {
            let answer = nearest::shown(answer);
            let detail = format!("no call was made that has the call_id `{answer}`");
            return Err(Problem::bad_request("tool_call_not_found", detail).with("field", "input"));
        }
    }
    Ok(())
}

/// The field that an item of its kind has.
fn need<T: DeserializeOwned>(field: &str, value: Option<&RawValue>) -> Result<T, Problem> {
    fields::read(field, value.ok_or_else(|| missing(field))?)
}

/// Adds what an item says to `messages`; `at` is its place in the request.
pub(crate) fn item(
    at: &str,
    item: Item,
    messages: &mut Vec<Message>,
    elsewhere: &mut Elsewhere,
) -> Result<(), Problem> {
    let field = |name: &str| format!("{at}.{name}");
    match item.kind.as_deref() {
        None | Some("message") => {
            let role: Role = need(&field("role"), item.role.as_deref())?;
            if role == Role::Tool {
                let why = "send a function_call_output";
                return Err(unsupported(&field("role"), why));
            }
            let content: Option<Content> = need(&field("content"), item.content.as_deref())?;
            let content = content.unwrap_or_else(|| Content::Text(String::new()));
            let said = content.read(RESPONSES, &field("content"), elsewhere)?.message(role);
            match messages.last_mut().filter(|last| last.is_only_thought()) {
                Some(last) if role == Role::Assistant => {
                    let reasoning = std::mem::take(&mut last.reasoning);
                    let thinking = std::mem::take(&mut last.thinking);
                    *last = Message { reasoning, thinking, ..said };
                }
                Some(_) | None => messages.push(said),
            }
        }
        Some("function_call" | "custom_tool_call") => call(at, &item, messages)?,
        Some("function_call_output" | "custom_tool_call_output") => {
            let id = need(&field("call_id"), item.call_id.as_deref())?;
            let output: Content = need(&field("output"), item.output.as_deref())?;
            let parts = output.read(RESPONSES, &field("output"), elsewhere)?;
            let said = parts.message(Role::Tool);
            messages.push(Message { tool_call_id: Some(id), ..said });
        }
        Some("reasoning") => {
            let mut item = item;
            let blocks = std::mem::take(&mut item.blocks);
            thinking(item.thought(), blocks, messages);
        }
        Some("additional_tools") => messages.push(added_tools(&field("tools"), &item)?),
        Some(kind) if RECORDS.contains(&kind) => {
            let content = item.encrypted_content.as_deref();
            let content = content.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
            messages.extend(content.and_then(|content| compaction::read(&content)));
        }
        Some(kind) => {
            let kind = nearest::shown(kind);
            let why = format!("this model gets no items of type `{kind}`");
            elsewhere.refuse(unsupported(&field("type"), &why));
            // Its place, for a chain of responses that is written out.
            messages.push(Message::text(Role::Assistant, format!("[{kind}]")));
        }
    }
    Ok(())
}

/// An item that adds tools, which are read with those of the request.
fn added_tools(field: &str, item: &Item) -> Result<Message, Problem> {
    client_tools::check(field, need(field, item.tools.as_deref())?)?;
    let role = item.role.as_deref();
    let written = json!({ "type": item.kind, "role": role, "tools": item.tools });
    let written = to_raw_value(&written).map_err(|_| missing(field))?;
    Ok(Message::adding_tools(fields::read(field, &written)?))
}

/// Thinking is told with what it led to, which comes behind it.
fn thinking(text: String, blocks: Vec<ThinkingBlock>, messages: &mut Vec<Message>) {
    let blocks = blocks.into_iter().map(|block| Thought { after: 0, block });
    match messages.last_mut().filter(|last| last.is_only_thought()) {
        Some(last) => {
            last.reasoning.push_str(&text);
            last.thinking.extend(blocks);
        }
        None if text.is_empty() && blocks.len() == 0 => {}
        None => messages.push(Message {
            reasoning: text,
            thinking: blocks.collect(),
            ..Message::text(Role::Assistant, "")
        }),
    }
}

/// A call of a function, or of a tool that takes a text. The calls of one turn are one message.
fn call(at: &str, item: &Item, messages: &mut Vec<Message>) -> Result<(), Problem> {
    let field = |name: &str| format!("{at}.{name}");
    let custom = item.kind.as_deref() == Some("custom_tool_call");
    let arguments = if custom {
        arguments_of(&need::<String>(&field("input"), item.input.as_deref())?)
    } else {
        need::<Arguments>(&field("arguments"), item.arguments.as_deref())?.0
    };
    let id = need(&field("call_id"), item.call_id.as_deref())?;
    let name = need(&field("name"), item.name.as_deref())?;
    let namespace = item.namespace.as_deref();
    let namespace =
        namespace.map(|raw| fields::read(&field("namespace"), raw)).transpose()?.flatten();
    let call = ToolCall { id, name, namespace, custom, arguments };
    match messages.last_mut() {
        Some(last) if last.role == Role::Assistant => last.tool_calls.push(call),
        Some(_) | None => {
            let mut message = Message::text(Role::Assistant, "");
            message.tool_calls.push(call);
            messages.push(message);
        }
    }
    Ok(())
}
