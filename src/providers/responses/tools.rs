//! Turns, tools, calls and pictures as the Responses API writes them: each call and each answer of
//! a tool is an item of its own.
use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use crate::domain::json::JsonObject;
use crate::domain::prompt::{
    Attachment, AttachmentKind, Message, MessagePart, OpenAiOnly, Parameters, Role, Tool,
    ToolChoice, current_reasoning, input_of,
};
use crate::domain::source::WireProtocol;
use crate::domain::transcript::ToolCall;
use crate::providers::upstream::overlap;

/// One item of the input.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Item<'a> {
    Turn {
        role: Role,
        content: WireContent<'a>,
    },
    Call {
        r#type: &'static str,
        call_id: &'a str,
        name: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        arguments: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        input: Option<String>,
    },
    Answer {
        r#type: &'static str,
        call_id: &'a str,
        output: WireContent<'a>,
    },
    /// As the client wrote it.
    Own(&'a JsonObject),
    Thinking {
        r#type: &'static str,
        summary: [(); 0],
        content: [Thought<'a>; 1],
    },
}

/// A text of thinking.
#[derive(Debug, Serialize)]
pub(crate) struct Thought<'a> {
    r#type: &'static str,
    text: &'a str,
}

/// How calls are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    /// As those of functions, which is what the model was given.
    OfFunctions,
    /// In the client's own form.
    AsTheyWere,
}

/// The content of a turn or of a tool's answer: a text alone, or with pictures and files.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum WireContent<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<Part<'a>>),
}

/// A piece of a turn.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Part<'a> {
    InputText {
        text: &'a str,
    },
    OutputText {
        text: &'a str,
    },
    InputImage {
        image_url: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<&'a str>,
    },
    InputFile {
        #[serde(skip_serializing_if = "Option::is_none")]
        filename: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_data: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_url: Option<&'a str>,
    },
    InputAudio {
        input_audio: Value,
    },
    #[serde(untagged)]
    Own(&'a JsonObject),
}

/// A turn that is text and nothing else.
pub(crate) fn text<'a>(role: Role, text: impl Into<Cow<'a, str>>) -> Item<'a> {
    Item::Turn { role, content: WireContent::Text(text.into()) }
}

/// The items of these messages.
pub(crate) fn items(messages: &[Message], form: Calls) -> Vec<Item<'_>> {
    let mut items = Vec::new();
    let thoughts = current_reasoning(messages);
    for (n, (message, thought)) in messages.iter().zip(thoughts).enumerate() {
        items.extend(thought.map(thinking));
        if message.role == Role::Tool {
            let call_id = message.tool_call_id.as_deref().unwrap_or_default();
            let mut before = messages.iter().take(n).flat_map(|message| &message.tool_calls);
            let custom = before.rfind(|call| call.id == call_id).is_some_and(|call| call.custom);
            let r#type = match form {
                Calls::AsTheyWere if custom => "custom_tool_call_output",
                Calls::AsTheyWere | Calls::OfFunctions => "function_call_output",
            };
            items.push(Item::Answer { r#type, call_id, output: content(message) });
            continue;
        }
        if let Some(item) = message.tools_item() {
            // As functions they stand beside the input.
            items.extend((form == Calls::AsTheyWere).then_some(Item::Own(item)));
            continue;
        }
        let silent = message.content.is_empty() && message.is_text();
        if !silent || message.tool_calls.is_empty() {
            items.push(turn(message));
        }
        items.extend(message.tool_calls.iter().map(|call| self::call(call, form)));
    }
    items
}

fn thinking(text: &str) -> Item<'_> {
    let content = [Thought { r#type: "reasoning_text", text }];
    Item::Thinking { r#type: "reasoning", summary: [], content }
}

fn call(call: &ToolCall, form: Calls) -> Item<'_> {
    let (call_id, arguments) = (call.id.as_str(), call.arguments.as_str());
    let plain = (call.function_name(), None);
    let own = (call.name.as_str().into(), call.namespace.as_deref());
    let (name, namespace) = if form == Calls::AsTheyWere { own } else { plain };
    let (r#type, arguments, input) = match form {
        Calls::AsTheyWere if call.custom => ("custom_tool_call", None, Some(input_of(arguments))),
        Calls::AsTheyWere | Calls::OfFunctions => ("function_call", Some(arguments), None),
    };
    Item::Call { r#type, call_id, name, namespace, arguments, input }
}

/// Adds the text so far as an unfinished message of the assistant, and returns that message's text.
/// It joins a trailing turn of the assistant. vLLM 0.32 and llama.cpp 11434 go on behind it.
pub(crate) fn begin(input: &mut Vec<Box<RawValue>>, so_far: &str) -> String {
    let own = input.last().and_then(|last| assistant_text(last));
    if own.is_some() {
        input.pop();
    }
    let own = own.filter(|own| !overlap::is_echoed(own, so_far)).unwrap_or_default();
    let text = own + so_far;
    let item = json!({
        "type": "message", "role": "assistant", "status": "incomplete",
        "content": [{ "type": "output_text", "text": text, "annotations": [] }],
    });
    input.extend(to_raw_value(&item));
    text
}

/// The text of an assistant's turn, if it is text alone.
fn assistant_text(item: &RawValue) -> Option<String> {
    let item: Value = serde_json::from_str(item.get()).ok()?;
    if item.get("role")? != "assistant" {
        return None;
    }
    match item.get("content")? {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            parts.iter().map(|part| part.get("text")?.as_str().map(str::to_owned)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

fn turn(message: &Message) -> Item<'_> {
    Item::Turn { role: message.role, content: content(message) }
}

/// A text alone, or parts in their order.
fn content(message: &Message) -> WireContent<'_> {
    if message.is_one_text() {
        return WireContent::Text(message.content.as_str().into());
    }
    let said = |part| self::part(message.role, part);
    WireContent::Parts(message.parts().into_iter().filter_map(said).collect())
}

fn part(role: Role, part: MessagePart<'_>) -> Option<Part<'_>> {
    Some(match part {
        MessagePart::Text("") => return None,
        MessagePart::Text(text) if role == Role::Assistant => Part::OutputText { text },
        MessagePart::Text(text) => Part::InputText { text },
        MessagePart::Image(image) => {
            Part::InputImage { image_url: &image.url, detail: image.detail.as_deref() }
        }
        MessagePart::Attachment(attachment, _) => attached(attachment),
        MessagePart::Own(own, _) if own.protocol == WireProtocol::OpenaiResponses => {
            Part::Own(&own.data)
        }
        MessagePart::Own(_, text) => Part::InputText { text },
    })
}

fn attached(attachment: &Attachment) -> Part<'_> {
    let (url, name) = (attachment.url.as_str(), attachment.name.as_deref());
    match (attachment.kind, attachment.inline()) {
        (AttachmentKind::Audio, inline) => {
            let data = inline.map_or("", |(_, data)| data);
            Part::InputAudio { input_audio: json!({ "data": data, "format": name }) }
        }
        (AttachmentKind::File, Some(_)) => {
            Part::InputFile { filename: name, file_data: Some(url), file_url: None }
        }
        // An address has its name.
        (AttachmentKind::File, None) => {
            Part::InputFile { filename: None, file_data: None, file_url: Some(url) }
        }
    }
}

/// The fields about tools and about the shape of the answer.
#[derive(Debug, Serialize)]
pub(crate) struct Tools<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Effort<'a>>,
}

#[derive(Debug, Serialize)]
struct Effort<'a> {
    effort: &'a str,
}

impl<'a> Tools<'a> {
    /// Those of these parameters. The API has no penalties.
    pub(crate) fn of(parameters: &'a Parameters) -> Self {
        let OpenAiOnly { response_format, reasoning_effort, .. } = &parameters.openai;
        Self {
            tools: parameters.tools.iter().map(tool).collect(),
            tool_choice: parameters.tool_choice.as_ref().map(choice),
            parallel_tool_calls: parameters
                .parallel_tool_calls
                .filter(|_| !parameters.tools.is_empty()),
            text: response_format.as_ref().map(format),
            reasoning: reasoning_effort.as_deref().map(|effort| Effort { effort }),
        }
    }
}

fn tool(tool: &Tool) -> Value {
    let mut value = serde_json::to_value(tool).unwrap_or_default();
    value["type"] = "function".into();
    // Both are required there; chat completions take what is missing for these.
    if tool.strict.is_none() {
        value["strict"] = false.into();
    }
    if tool.parameters.is_none() {
        value["parameters"] = json!({ "type": "object", "properties": {} });
    }
    value
}

fn choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Function(name) => json!({ "type": "function", "name": name }),
    }
}

/// Fields that chat completions hold in an object of their own stand here beside the type.
fn format(response_format: &Value) -> Value {
    let mut format = response_format.clone();
    if let Some(Value::Object(schema)) = format.get_mut("json_schema").map(Value::take)
        && let Some(format) = format.as_object_mut()
    {
        format.remove("json_schema");
        format.extend(schema);
    }
    json!({ "format": format })
}

#[cfg(test)]
mod tests {
    use crate::domain::prompt::Image;
    use crate::providers::responses::tools::*;

    fn value(of: impl Serialize) -> Value {
        serde_json::to_value(of).unwrap()
    }

    fn plain(message: &Message) -> Vec<Item<'_>> {
        items(std::slice::from_ref(message), Calls::OfFunctions)
    }

    #[test]
    fn a_call_has_its_own_form_or_that_of_a_function() {
        let call = ToolCall {
            id: "c1".into(),
            name: "sh".into(),
            namespace: Some("os".into()),
            custom: true,
            arguments: r#"{"input":"ls"}"#.into(),
        };
        let mut asked = Message::text(Role::Assistant, "");
        asked.tool_calls.push(call);
        let mut answer = Message::text(Role::Tool, "a.txt");
        answer.tool_call_id = Some("c1".into());
        let messages = [asked, answer];
        let own = json!([
            { "type": "custom_tool_call", "call_id": "c1", "name": "sh", "namespace": "os",
                "input": "ls" },
            { "type": "custom_tool_call_output", "call_id": "c1", "output": "a.txt" },
        ]);
        assert_eq!(value(items(&messages, Calls::AsTheyWere)), own);
        let function = json!([
            { "type": "function_call", "call_id": "c1", "name": "os__sh",
                "arguments": r#"{"input":"ls"}"# },
            { "type": "function_call_output", "call_id": "c1", "output": "a.txt" },
        ]);
        assert_eq!(value(items(&messages, Calls::OfFunctions)), function);
    }

    #[test]
    fn calls_answers_and_pictures_are_items_and_parts() {
        let mut asked = Message::text(Role::Assistant, "");
        asked.tool_calls = vec![ToolCall {
            id: "c1".into(),
            name: "f".into(),
            arguments: "{}".into(),
            ..ToolCall::default()
        }];
        let call =
            json!({ "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}" });
        assert_eq!(value(plain(&asked)), json!([call]));
        asked.content = "Let me".into();
        let said = json!({ "role": "assistant", "content": "Let me" });
        assert_eq!(value(plain(&asked)), json!([said, call]));
        let mut answer = Message::text(Role::Tool, "42");
        answer.tool_call_id = Some("c1".into());
        let output = json!({ "type": "function_call_output", "call_id": "c1", "output": "42" });
        assert_eq!(value(plain(&answer)), json!([output]));
        let mut seen = Message::text(Role::User, "see");
        seen.images = vec![Image { url: "data:x".into(), detail: None }];
        let parts = json!([
            { "type": "input_text", "text": "see" }, { "type": "input_image", "image_url": "data:x" },
        ]);
        assert_eq!(value(plain(&seen)), json!([{ "role": "user", "content": parts }]));
    }

    #[test]
    fn tools_and_formats_are_flat() {
        let parameters: Parameters = serde_json::from_value(json!({
            "tools": [{ "name": "f", "parameters": { "type": "object" } }],
            "tool_choice": { "function": "f" },
            "parallel_tool_calls": false,
            "openai": {
                "response_format": { "type": "json_schema", "json_schema": { "name": "n", "schema": {} } },
                "reasoning_effort": "low",
            },
        }))
        .unwrap();
        let expected = json!({
            "tools": [{
                "type": "function", "name": "f", "parameters": { "type": "object" }, "strict": false,
            }],
            "tool_choice": { "type": "function", "name": "f" },
            "parallel_tool_calls": false,
            "text": { "format": { "type": "json_schema", "name": "n", "schema": {} } },
            "reasoning": { "effort": "low" },
        });
        assert_eq!(value(Tools::of(&parameters)), expected);
        assert_eq!(value(Tools::of(&Parameters::default())), json!({}));
    }
}
