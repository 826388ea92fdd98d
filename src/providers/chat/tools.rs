//! Tools, calls and pictures, as chat completions and as the Messages API write them.
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::documents;
use crate::domain::json::JsonObject;
use crate::domain::prompt::{AttachmentKind, Image, Message, MessagePart, Tool, ToolChoice};
use crate::domain::source::WireProtocol;
use crate::domain::thinking::ThinkingBlock;
use crate::domain::transcript::ToolCall;

/// The content of a chat message: a text alone, or with pictures.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum WireContent<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<Part<'a>>),
}

/// A piece of a chat message.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Part<'a> {
    Text {
        text: &'a str,
    },
    ImageUrl {
        image_url: &'a Image,
    },
    File {
        file: File<'a>,
    },
    InputAudio {
        input_audio: Value,
    },
    #[serde(untagged)]
    Own(&'a JsonObject),
}

/// A file with its bytes.
#[derive(Debug, Serialize)]
pub(crate) struct File<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<&'a str>,
    file_data: &'a str,
}

/// The content of a chat message; `None` where it says nothing but calls.
pub(crate) fn content(message: &Message) -> Option<WireContent<'_>> {
    if message.content.is_empty() && !message.tool_calls.is_empty() {
        return None;
    }
    if message.is_text() {
        return Some(WireContent::Text(message.content.as_str().into()));
    }
    Some(WireContent::Parts(message.parts().into_iter().filter_map(part).collect()))
}

fn part(part: MessagePart<'_>) -> Option<Part<'_>> {
    Some(match part {
        MessagePart::Text("") => return None,
        MessagePart::Text(text) => Part::Text { text },
        MessagePart::Image(image_url) => Part::ImageUrl { image_url },
        MessagePart::Attachment(attachment, name) => match (attachment.kind, attachment.inline()) {
            (AttachmentKind::File, Some(_)) => {
                let filename = attachment.name.as_deref();
                Part::File { file: File { filename, file_data: &attachment.url } }
            }
            (AttachmentKind::Audio, Some((_, data))) => {
                Part::InputAudio { input_audio: json!({ "data": data, "format": attachment.name }) }
            }
            (AttachmentKind::File | AttachmentKind::Audio, None) => Part::Text { text: name },
        },
        MessagePart::Own(own, _) if own.protocol == WireProtocol::OpenaiChat => {
            Part::Own(&own.data)
        }
        MessagePart::Own(_, text) => Part::Text { text },
    })
}

/// A function in a chat request, or a call of it: `{"type":"function","function":{…}}`.
#[derive(Debug, Serialize)]
pub(crate) struct ChatFunctionOf<'a, T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'static str,
    function: T,
}

/// A call that the model made before.
#[derive(Debug, Serialize)]
pub(crate) struct Called<'a> {
    name: Cow<'a, str>,
    arguments: &'a str,
}

/// The tools of a chat request.
pub(crate) fn tools(tools: &[Tool]) -> Vec<ChatFunctionOf<'_, &Tool>> {
    let tool = |function| ChatFunctionOf { id: None, kind: "function", function };
    tools.iter().map(tool).collect()
}

/// The calls of a chat message.
pub(crate) fn calls(calls: &[ToolCall]) -> Vec<ChatFunctionOf<'_, Called<'_>>> {
    calls.iter().map(called).collect()
}

fn called(call: &ToolCall) -> ChatFunctionOf<'_, Called<'_>> {
    let function = Called { name: call.function_name(), arguments: &call.arguments };
    ChatFunctionOf { id: Some(&call.id), kind: "function", function }
}

/// The choice in a chat request.
pub(crate) fn choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Function(name) => json!({ "type": "function", "function": { "name": name } }),
    }
}

/// The tools of a Messages request.
pub(crate) fn messages_tools(tools: &[Tool]) -> Vec<Value> {
    let tool = |tool: &Tool| {
        let mut schema = tool.parameters.clone().unwrap_or_else(|| json!({}));
        // Any other type is refused: none, null, or a list such as `["object", "null"]`.
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("type".into(), "object".into());
        }
        let mut value = json!({ "name": tool.name, "input_schema": schema });
        if let Some(description) = &tool.description {
            value["description"] = description.as_str().into();
        }
        if tool.strict == Some(true) {
            value["strict"] = true.into();
        }
        value
    };
    tools.iter().map(tool).collect()
}

/// The choice in a Messages request.
/// <https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/implement-tool-use>
pub(crate) fn messages_choice(
    choice: Option<&ToolChoice>,
    parallel: Option<bool>,
) -> Option<Value> {
    let mut value = match choice {
        None if parallel != Some(false) => return None,
        None | Some(ToolChoice::Auto) => json!({ "type": "auto" }),
        Some(ToolChoice::None) => return Some(json!({ "type": "none" })),
        Some(ToolChoice::Required) => json!({ "type": "any" }),
        Some(ToolChoice::Function(name)) => json!({ "type": "tool", "name": name }),
    };
    if parallel == Some(false) {
        value["disable_parallel_tool_use"] = true.into();
    }
    Some(value)
}

/// A piece of a turn in a Messages request.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum TurnBlock<'a> {
    Text {
        text: Cow<'a, str>,
    },
    Image {
        source: Value,
    },
    Document {
        source: Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<&'a str>,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: Cow<'a, str>,
        input: Cow<'a, RawValue>,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        content: ResultContent<'a>,
    },
    #[serde(untagged)]
    Thinking(&'a ThinkingBlock),
}

impl TurnBlock<'_> {
    /// Whether it is the call of that id.
    pub(crate) fn is_call(&self, wanted: &str) -> bool {
        matches!(self, Self::ToolUse { id, .. } if *id == wanted)
    }

    /// Whether it is a tool's result.
    pub(crate) fn is_result(&self) -> bool {
        matches!(self, Self::ToolResult { .. })
    }
}

/// The result of a tool: a text, or with pictures.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum ResultContent<'a> {
    Text(&'a str),
    Blocks(Vec<TurnBlock<'a>>),
}

/// The blocks of a message that is more than text; ids of calls as they came.
pub(crate) fn blocks(message: &Message) -> Vec<TurnBlock<'_>> {
    if let Some(id) = &message.tool_call_id {
        let content = if message.is_one_text() {
            ResultContent::Text(&message.content)
        } else {
            ResultContent::Blocks(said(message))
        };
        return vec![TurnBlock::ToolResult { tool_use_id: id.as_str().into(), content }];
    }
    let calls = message.tool_calls.iter().map(|call| TurnBlock::ToolUse {
        id: call.id.as_str().into(),
        name: call.function_name(),
        input: input(&call.arguments),
    });
    said(message).into_iter().chain(calls).collect()
}

/// The blocks of a message beside its calls. Thinking stands at its place in the text.
fn said(message: &Message) -> Vec<TurnBlock<'_>> {
    let mut all = Vec::new();
    let mut told = 0;
    for thought in &message.thinking {
        let piece = message.content.get(told..thought.after).filter(|_| message.is_one_text());
        if let Some(piece) = piece {
            all.extend(block(MessagePart::Text(piece)));
            told = thought.after;
        }
        all.push(TurnBlock::Thinking(&thought.block));
    }
    if told > 0 {
        let rest = message.content.get(told..).unwrap_or_default();
        all.extend(block(MessagePart::Text(rest)));
    } else {
        all.extend(message.parts().into_iter().filter_map(block));
    }
    all
}

fn block(part: MessagePart<'_>) -> Option<TurnBlock<'_>> {
    Some(match part {
        // The API refuses an empty text.
        MessagePart::Text(text) if text.trim().is_empty() => return None,
        MessagePart::Text(text) | MessagePart::Own(_, text) => {
            TurnBlock::Text { text: text.into() }
        }
        MessagePart::Image(image) => TurnBlock::Image { source: source(&image.url) },
        MessagePart::Attachment(attachment, name) => match documents::source(attachment) {
            Some(source) => TurnBlock::Document { source, title: attachment.name.as_deref() },
            None => TurnBlock::Text { text: name.into() },
        },
    })
}

pub(super) fn source(url: &str) -> Value {
    match url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
        Some((kind, data)) => json!({ "type": "base64", "media_type": kind, "data": data }),
        None => json!({ "type": "url", "url": url }),
    }
}

/// The arguments as the object that the API wants; what is none becomes an empty one.
fn input(arguments: &str) -> Cow<'_, RawValue> {
    let object = arguments.trim_start().starts_with('{');
    match serde_json::from_str::<&RawValue>(arguments) {
        Ok(raw) if object => Cow::Borrowed(raw),
        Ok(_) | Err(_) => Cow::Owned(RawValue::from_string("{}".into()).unwrap_or_default()),
    }
}
