//! The body of `POST /api/chat`, as the AI SDK's transports send it.
use serde::Deserialize;
use serde_json::{Map, Value};

use super::encoder::MESSAGE_ID;
use crate::domain::generation::{OnDisconnect, Request};
use crate::domain::json::JsonObject;
use crate::domain::prompt::{Image, Message, Parameters, Prompt, Role, Tool};
use crate::domain::thinking::{ThinkingBlock, Thought};
use crate::domain::transcript::ToolCall;
use crate::http::problem::Problem;
use crate::http::protocols::native::object::Object;

/// The longest name of a chat, in bytes: an id, not a text.
const CHAT_BYTES: usize = 512;

/// The transport's fields, and those of ours that an application may add by its `body`. Others are
/// the application's own and passed over.
#[derive(Debug, Deserialize)]
pub(in crate::http) struct ChatBody {
    id: String,
    messages: Vec<Object<UiMessage>>,
    model: Option<String>,
    system: Option<String>,
    temperature: Option<f64>,
    #[serde(alias = "maxOutputTokens")]
    max_output_tokens: Option<u32>,
    #[serde(default)]
    tools: Vec<Tool>,
}

#[derive(Debug, Deserialize)]
struct UiMessage {
    id: Option<String>,
    role: Role,
    parts: Vec<Object<UiPart>>,
}

/// A part of a message, in all of its kinds.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UiPart {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    media_type: Option<String>,
    url: Option<String>,
    tool_call_id: Option<String>,
    tool_name: Option<String>,
    state: Option<String>,
    input: Option<Value>,
    output: Option<Value>,
    error_text: Option<String>,
    provider_metadata: Option<Value>,
}

/// A checked name of a chat.
pub(super) fn chat_id(id: String) -> Result<String, Problem> {
    if id.is_empty() || id.len() > CHAT_BYTES || id.contains('\0') {
        let detail = format!("`id` is a text of 1 to {CHAT_BYTES} bytes");
        return Err(Problem::unprocessable("out_of_range", detail).with("field", "id"));
    }
    Ok(id)
}

impl ChatBody {
    /// The request in it; `default` is the model when none is named.
    pub(super) fn check(self, default: &str, prompt_bytes: usize) -> Result<Request, Problem> {
        let mut messages = Vec::new();
        if let Some(system) = self.system {
            messages.push(Message::text(Role::System, system));
        }
        let mut echo = Map::new();
        // An answer to the results of its own tools goes on in the same message.
        if let Some(Object(UiMessage { id: Some(id), role: Role::Assistant, .. })) =
            self.messages.last()
        {
            echo.insert(MESSAGE_ID.into(), id.as_str().into());
        }
        for (n, Object(message)) in self.messages.into_iter().enumerate() {
            read(n, message, &mut messages)?;
        }
        let parameters = Parameters {
            max_output_tokens: self.max_output_tokens,
            temperature: self.temperature,
            tools: self.tools,
            ..Parameters::default()
        };
        Ok(Request {
            model: self.model.unwrap_or_else(|| default.to_owned()),
            prompt: Prompt::parse(messages, parameters, prompt_bytes)?,
            metadata: JsonObject::default(),
            // To stop is said by DELETE; a page that is reloaded only goes away.
            on_disconnect: OnDisconnect::Continue,
            echo,
            chat: Some(chat_id(self.id)?),
            wall_s: None,
            continues: None,
            trace: None,
            source: None,
        })
    }
}

/// Adds what a message of the page says.
fn read(n: usize, message: UiMessage, messages: &mut Vec<Message>) -> Result<(), Problem> {
    let mut said = Message::text(message.role, "");
    let mut answers = Vec::new();
    for (at, Object(part)) in message.parts.into_iter().enumerate() {
        let unsupported = |why: String| {
            let field = format!("messages[{n}].parts[{at}].type");
            let detail = format!("`{field}`: {why}");
            Err(Problem::unprocessable("unsupported_value", detail).with("field", field))
        };
        match part.kind.as_str() {
            "text" => said.content.push_str(part.text.as_deref().unwrap_or_default()),
            "file" => match (part.media_type.as_deref(), part.url) {
                (Some(kind), Some(url)) if kind.starts_with("image/") => {
                    said.images.push(Image { url, detail: None });
                }
                _ => return unsupported("files other than pictures are not supported".into()),
            },
            kind if kind == "dynamic-tool" || kind.starts_with("tool-") => {
                tool(part, &mut said, &mut answers);
            }
            "step-start" => next_step(&mut said, &mut answers, messages),
            "reasoning" => {
                let after = said.content.len();
                let block = sealed(part).map(|block| Thought { after, block });
                said.thinking.extend(block.filter(|_| said.role == Role::Assistant));
            }
            // These parts are for the page, not for the model.
            kind if kind.starts_with("source-") => {}
            kind if kind.starts_with("data-") => {}
            kind => return unsupported(format!("parts of type `{kind}` are not supported")),
        }
    }
    next_step(&mut said, &mut answers, messages);
    Ok(())
}

/// The thinking of a part, if its vendor has sealed it.
fn sealed(part: UiPart) -> Option<ThinkingBlock> {
    let kept = part.provider_metadata?;
    let seal = |name: &str| kept["anthropic"][name].as_str().map(str::to_owned);
    let thinking = part.text.unwrap_or_default();
    let redacted = || seal("redactedData").map(|data| ThinkingBlock::RedactedThinking { data });
    let signed = seal("signature");
    signed.map(|signature| ThinkingBlock::Thinking { thinking, signature }).or_else(redacted)
}

/// A step's words and calls are one message, and the answers to its calls come behind it.
fn next_step(said: &mut Message, answers: &mut Vec<Message>, messages: &mut Vec<Message>) {
    if !said.is_empty() {
        let role = said.role;
        messages.push(std::mem::replace(said, Message::text(role, "")));
    }
    messages.append(answers);
}

/// A call that has no answer yet cannot be told: no upstream takes one.
fn tool(part: UiPart, said: &mut Message, answers: &mut Vec<Message>) {
    let answer = match part.state.as_deref() {
        Some("output-available") => part.output.map(|output| match output {
            Value::String(text) => text,
            other @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_)) => other.to_string(),
        }),
        Some("output-error") => Some(part.error_text.unwrap_or_default()),
        Some(_) | None => None,
    };
    let (Some(answer), Some(id)) = (answer, part.tool_call_id) else { return };
    let name = part.tool_name.or_else(|| part.kind.strip_prefix("tool-").map(str::to_owned));
    let arguments = part.input.map_or_else(|| "{}".to_owned(), |input| input.to_string());
    said.tool_calls.push(ToolCall {
        id: id.clone(),
        name: name.unwrap_or_default(),
        arguments,
        ..ToolCall::default()
    });
    answers.push(Message { tool_call_id: Some(id), ..Message::text(Role::Tool, answer) });
}
