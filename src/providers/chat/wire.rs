//! OpenAI chat completions on the wire, as every server that "speaks it" really does.
//!
//! All of a chunk is optional and lenient: a field of an odd type must not cost the text beside
//! it. So the parts that matter less are kept raw and parsed on their own.
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::body::Dialect;
use super::tools::{Called, ChatFunctionOf, WireContent, calls, choice, content, tools};
use crate::domain::event::Usage;
use crate::domain::prompt::{Message, OpenAiOnly, Prompt, Role, Tool, current_reasoning};
use crate::providers::upstream::rest::{says_something, with_rest};
use crate::providers::upstream::text::{ChunkContent, ChunkText};

/// The request's body.
#[derive(Debug, Serialize)]
pub(crate) struct ChatRequest<'a> {
    model: &'a str,
    messages: Vec<ChatMessage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ChatFunctionOf<'a, &'a Tool>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(flatten)]
    openai: &'a OpenAiOnly,
}

#[derive(Debug, Serialize)]
struct ChatMessage<'a> {
    role: Role,
    content: Option<WireContent<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ChatFunctionOf<'a, Called<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
    /// DeepSeek, llama.cpp and SGLang read the one name, vLLM, Groq and OpenRouter the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<&'a str>,
}

impl<'a> ChatMessage<'a> {
    fn of(message: &'a Message, reasoning: Option<&'a str>) -> Self {
        Self {
            role: message.role,
            content: content(message),
            tool_calls: calls(&message.tool_calls),
            tool_call_id: message.tool_call_id.as_deref(),
            reasoning_content: reasoning,
            reasoning,
        }
    }
}

impl<'a> ChatRequest<'a> {
    /// The request for `prompt`, without what [`super::body`] adds to every body.
    pub(crate) fn new(dialect: Dialect<'a>, prompt: &'a Prompt) -> Self {
        let reasoning = current_reasoning(&prompt.messages);
        let reasoning = reasoning.into_iter().map(|text| text.filter(|_| !dialect.is_openai));
        let messages = prompt.messages.iter().zip(reasoning);
        let messages = messages.filter(|(message, _)| message.tools_item().is_none());
        let messages = messages.map(|(message, text)| ChatMessage::of(message, text)).collect();
        let p = &prompt.parameters;
        Self {
            model: dialect.model,
            messages,
            max_completion_tokens: p.max_output_tokens.filter(|_| dialect.is_openai),
            max_tokens: p.max_output_tokens.filter(|_| !dialect.is_openai),
            temperature: p.temperature,
            top_p: p.top_p,
            stop: &p.stop,
            seed: p.seed,
            tools: tools(&p.tools),
            tool_choice: p.tool_choice.as_ref().map(choice),
            parallel_tool_calls: p.parallel_tool_calls.filter(|_| !p.tools.is_empty()),
            openai: &p.openai,
        }
    }
}

with_rest! {
    /// One chunk of the answer.
    ChatChunk {
        pub(crate) choices: Vec<ChatChoice>,
        pub(crate) usage: Box<RawValue>,
        /// llama.cpp.
        pub(crate) timings: Box<RawValue>,
        error: Box<RawValue>,
        detail: Box<RawValue>,
        /// `error` in old vLLM, with `message` and `code` beside it.
        object: ChunkText,
        message: Box<RawValue>,
        code: Box<RawValue>,
    }
    // An answer's name and time are ours; padding against listeners is for one connection.
    passed over: ["id", "created", "model", "obfuscation", "sequence_number"]
    kept: says_something
}

with_rest! {
    /// A piece of one of several answers.
    ChatChoice {
        index: Box<RawValue>,
        delta: ChatDelta,
        pub(crate) finish_reason: ChunkText,
        pub(crate) native_finish_reason: ChunkText,
        error: Box<RawValue>,
        pub(crate) usage: Box<RawValue>,
        /// In an answer in one piece, what is `delta` in a stream.
        message: ChatDelta,
    }
    passed over: []
    kept: says_something
}

with_rest! {
    /// The delta of a chunk.
    ChatDelta {
        pub(crate) content: ChunkContent,
        pub(crate) refusal: ChunkText,
        /// DeepSeek, llama.cpp, SGLang. Some servers send two of the three names at once.
        reasoning_content: ChunkText,
        /// vLLM, OpenRouter.
        reasoning: ChunkText,
        /// Ollama.
        thinking: ChunkText,
        tool_calls: Box<RawValue>,
    }
    passed over: ["role", "function_call"]
    kept: says_something
}

with_rest! {
    /// A fragment of a tool call.
    ChatToolCall {
        pub(crate) index: u32,
        pub(crate) id: String,
        pub(crate) function: ChatFunction,
        pub(crate) custom: ChatCustom,
    }
    passed over: ["type"]
    kept: says_something
}

/// Its function.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ChatFunction {
    pub(crate) name: Option<String>,
    pub(crate) arguments: Option<ChunkText>,
}

/// A tool that takes a text.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ChatCustom {
    pub(crate) name: Option<String>,
    pub(crate) input: Option<ChunkText>,
}

impl ChatChunk {
    /// Tokens used, if the chunk says it.
    pub(crate) fn usage(&self) -> Option<Usage> {
        usage(self.usage.as_deref()?)
    }

    /// Whether it says nothing before the end of the answer.
    pub(crate) fn is_late(&self) -> bool {
        let ends = |choice: &ChatChoice| {
            let reason = choice.finish_reason.as_ref();
            reason.is_some_and(|reason| !reason.0.is_empty())
        };
        let silent = |choice: &ChatChoice| !choice.delta.as_ref().is_some_and(ChatDelta::speaks);
        self.choices.iter().flatten().all(|choice| ends(choice) || silent(choice))
    }

    /// The error that takes the chunk's place, in the shape `{"error": …}`.
    pub(crate) fn error(&self) -> Option<Value> {
        if let Some(error) = self.error.as_deref().and_then(meant) {
            return Some(serde_json::json!({ "error": error }));
        }
        if self.choices.is_some() {
            return None;
        }
        if let Some(detail) = self.detail.as_deref().and_then(meant) {
            return Some(serde_json::json!({ "detail": detail }));
        }
        let marked = self.object.as_ref().is_some_and(|object| object.0 == b"error");
        let part = |raw: &Option<Box<RawValue>>| raw.as_deref().and_then(parse);
        let error = serde_json::json!({ "message": part(&self.message), "code": part(&self.code) });
        marked.then_some(error)
    }
}

impl ChatChoice {
    /// Which of several answers it is a piece of; 0 is the one that counts as the answer.
    pub(crate) fn index(&self) -> Option<u32> {
        let Some(index) = self.index.as_deref() else { return Some(0) };
        let number = index.get().trim_matches('"');
        number.strip_suffix(".0").unwrap_or(number).parse().ok()
    }

    /// Tokens used: some servers say it here.
    pub(crate) fn usage(&self) -> Option<Usage> {
        usage(self.usage.as_deref()?)
    }

    /// The delta.
    pub(crate) fn take_delta(&mut self) -> Option<ChatDelta> {
        self.delta.take().or(self.message.take())
    }

    /// OpenRouter puts the reason of the finish reason `error` here.
    pub(crate) fn error(&self) -> Option<Value> {
        let error = self.error.as_deref().and_then(meant)?;
        Some(serde_json::json!({ "error": error }))
    }
}

impl ChatDelta {
    fn speaks(&self) -> bool {
        let texts = [&self.refusal, &self.reasoning_content, &self.reasoning, &self.thinking];
        let content = self.content.as_ref();
        self.tool_calls.is_some()
            || content
                .is_some_and(|content| !content.text.0.is_empty() || content.thoughts.is_some())
            || texts.into_iter().flatten().any(|text| !text.0.is_empty())
    }

    /// The thinking, whatever the server calls it.
    pub(crate) fn take_reasoning(&mut self) -> Option<ChunkText> {
        // Mistral.
        let inside = self.content.as_mut().and_then(|content| content.thoughts.take());
        [&mut self.reasoning_content, &mut self.reasoning, &mut self.thinking]
            .into_iter()
            .filter_map(Option::take)
            .chain(inside)
            .find(|piece| !piece.0.is_empty())
    }

    /// The fragments of tool calls as they came, if there are any.
    pub(crate) fn take_calls(&mut self) -> Option<Box<RawValue>> {
        self.tool_calls.take().filter(|calls| says_something(calls))
    }

    /// The fragments of tool calls, or `None` if they cannot be understood.
    pub(crate) fn tool_calls(&self) -> Option<Vec<ChatToolCall>> {
        match self.tool_calls.as_deref() {
            None => Some(Vec::new()),
            Some(raw) => serde_json::from_str(raw.get()).ok().or_else(|| lenient(raw)),
        }
    }
}

/// The calls of servers that send the arguments as the object itself.
fn lenient(raw: &RawValue) -> Option<Vec<ChatToolCall>> {
    let mut calls: Vec<Value> = serde_json::from_str(raw.get()).ok()?;
    for call in &mut calls {
        let arguments = call.pointer_mut("/function/arguments").filter(|value| value.is_object());
        if let Some(arguments) = arguments {
            *arguments = arguments.to_string().into();
        }
    }
    serde_json::from_str(&serde_json::to_string(&calls).ok()?).ok()
}

fn usage(raw: &RawValue) -> Option<Usage> {
    let value = parse(raw).filter(Value::is_object)?;
    let count = |path: &str| {
        let number = value.pointer(path)?;
        number.as_u64().or_else(|| whole(number.as_f64()?))
    };
    Some(Usage {
        input_tokens: count("/prompt_tokens").unwrap_or(0),
        output_tokens: count("/completion_tokens").unwrap_or(0),
        reasoning_tokens: count("/completion_tokens_details/reasoning_tokens"),
        cached_input_tokens: count("/prompt_tokens_details/cached_tokens"),
        cache_write_input_tokens: None,
        exact: true,
    })
}

fn parse(raw: &RawValue) -> Option<Value> {
    serde_json::from_str(raw.get()).ok()
}

/// An error field is often there and empty.
fn meant(raw: &RawValue) -> Option<Value> {
    if matches!(raw.get(), "\"\"" | "{}" | "[]" | "false") {
        return None;
    }
    Some(parse(raw).unwrap_or_default())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of tokens that came as a float"
)]
fn whole(number: f64) -> Option<u64> {
    (number >= 0.0).then_some(number as u64)
}
