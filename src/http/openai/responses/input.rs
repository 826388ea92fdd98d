//! The input of a response: a text or items, to messages and back.
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::fields::{missing, unsupported};
use super::super::ids::short;
use super::super::start::Content;
use super::super::texts::{Arguments, TextOr};
use crate::domain::id::GenerationId;
use crate::domain::prompt::{Image, Message, Role};
use crate::domain::transcript::ToolCall;
use crate::http::problem::Problem;

/// A text, or items.
pub(super) type Input = TextOr<Item>;

/// An item, in all of its kinds.
#[derive(Debug, Deserialize)]
pub(super) struct Item {
    #[serde(rename = "type")]
    kind: Option<String>,
    role: Option<Role>,
    content: Option<Content>,
    call_id: Option<String>,
    name: Option<String>,
    arguments: Option<Arguments>,
    output: Option<Content>,
}

/// Adds what the input says to `messages`.
pub(super) fn read(input: Input, messages: &mut Vec<Message>) -> Result<(), Problem> {
    match input {
        Input::Text(text) => messages.push(Message::text(Role::User, text)),
        Input::List(items) => {
            for (n, item) in items.into_iter().enumerate() {
                self::item(n, item, messages)?;
            }
        }
    }
    Ok(())
}

fn item(n: usize, item: Item, messages: &mut Vec<Message>) -> Result<(), Problem> {
    let field = |name: &str| format!("input[{n}].{name}");
    let need = |name: &str, value: Option<String>| value.ok_or_else(|| missing(&field(name)));
    match item.kind.as_deref() {
        None | Some("message") => {
            let role = item.role.ok_or_else(|| missing(&field("role")))?;
            if role == Role::Tool {
                let why = "send a function_call_output";
                return Err(unsupported(&field("role"), why));
            }
            let content = item.content.ok_or_else(|| missing(&field("content")))?;
            let (text, images) = content.read(&field("content"))?;
            messages.push(Message { images, ..Message::text(role, text) });
        }
        Some("function_call") => {
            let call = ToolCall {
                id: need("call_id", item.call_id)?,
                name: need("name", item.name)?,
                arguments: need("arguments", item.arguments.map(|a| a.0))?,
            };
            // The calls of one turn are one message.
            match messages.last_mut() {
                Some(last) if last.role == Role::Assistant => last.tool_calls.push(call),
                Some(_) | None => {
                    let mut message = Message::text(Role::Assistant, "");
                    message.tool_calls.push(call);
                    messages.push(message);
                }
            }
        }
        Some("function_call_output") => {
            let id = need("call_id", item.call_id)?;
            let output = item.output.ok_or_else(|| missing(&field("output")))?;
            let (text, images) = output.read(&field("output"))?;
            let text = Message::text(Role::Tool, text);
            messages.push(Message { tool_call_id: Some(id), images, ..text });
        }
        // What the model thought is not said again to any upstream.
        Some("reasoning") => {}
        Some(_) => {
            let why = "message, function_call, function_call_output and reasoning are supported";
            return Err(unsupported(&field("type"), why));
        }
    }
    Ok(())
}

/// Messages as input items.
pub(super) fn items(generation: GenerationId, messages: &[Message]) -> Vec<Value> {
    let mut items = Vec::new();
    for message in messages {
        let id = format!("in_{}_{}", short(generation), items.len());
        if let Some(call_id) = &message.tool_call_id {
            items.push(json!({ "id": id, "type": "function_call_output", "status": "completed",
                "call_id": call_id, "output": message.content }));
            continue;
        }
        if !message.content.is_empty() || !message.images.is_empty() {
            items.push(json!({ "id": id, "type": "message", "status": "completed",
                "role": message.role, "content": parts(message) }));
        }
        for call in &message.tool_calls {
            let id = format!("in_{}_{}", short(generation), items.len());
            items.push(json!({ "id": id, "type": "function_call", "status": "completed",
                "call_id": call.id, "name": call.name, "arguments": call.arguments }));
        }
    }
    items
}

fn parts(message: &Message) -> Vec<Value> {
    let assistant = message.role == Role::Assistant;
    let text = if assistant {
        json!({ "type": "output_text", "text": message.content, "annotations": [] })
    } else {
        json!({ "type": "input_text", "text": message.content })
    };
    let image = |image: &Image| {
        let detail = image.detail.as_deref().unwrap_or("auto");
        json!({ "type": "input_image", "image_url": image.url, "detail": detail })
    };
    let text = (!message.content.is_empty()).then_some(text);
    text.into_iter().chain(message.images.iter().map(image)).collect()
}
