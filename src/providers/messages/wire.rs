//! Anthropic's Messages API on the wire, lenient in what it reads: new events and blocks appear,
//! and compatible servers leave fields out.
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{call_ids, schema};
use crate::domain::prompt::{Message, OpenAiOnly, Prompt, Role};
use crate::providers::chat::tools::{TurnBlock, blocks, messages_choice, messages_tools};
use crate::providers::upstream::rest::{always, says_something, with_rest};
use crate::providers::upstream::text::ChunkText;

/// The request's body.
#[derive(Debug, Serialize)]
pub(crate) struct MessagesRequest<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    messages: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Value>,
}

#[derive(Debug, Serialize)]
struct Turn<'a> {
    role: &'static str,
    content: TurnContent<'a>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum TurnContent<'a> {
    Text(Cow<'a, str>),
    Blocks(Vec<TurnBlock<'a>>),
}

impl<'a> Turn<'a> {
    fn text(role: &'static str, text: Cow<'a, str>) -> Self {
        Self { role, content: TurnContent::Text(text) }
    }

    fn of(role: &'static str, message: &'a Message) -> Self {
        let plain = message.is_one_text() && message.tool_calls.is_empty();
        if plain && message.tool_call_id.is_none() && message.thinking.is_empty() {
            return Self::text(role, message.content.as_str().into());
        }
        Self { role, content: TurnContent::Blocks(blocks(message)) }
    }

    /// Adds a message to the turn: calls and the text beside them are one.
    fn join(&mut self, message: &'a Message) {
        let mut all = match std::mem::replace(&mut self.content, TurnContent::Blocks(Vec::new())) {
            TurnContent::Text(text) => vec![TurnBlock::Text { text }],
            TurnContent::Blocks(all) => all,
        };
        all.extend(blocks(message));
        // A text belongs before the calls.
        all.sort_by_key(|block| matches!(block, TurnBlock::ToolUse { .. }));
        self.content = TurnContent::Blocks(all);
    }
}

impl<'a> MessagesRequest<'a> {
    /// The request for `prompt`, without what [`super::body`] adds to every body.
    pub(crate) fn new(model: &'a str, prompt: &'a Prompt) -> Self {
        let (system, messages) = split(&prompt.messages);
        let p = &prompt.parameters;
        Self {
            model,
            max_tokens: p.max_output_tokens,
            messages,
            system,
            // From 0 to 1 there, and newer models refuse both at once.
            temperature: p.temperature.map(|temperature| temperature.clamp(0.0, 1.0)),
            top_p: p.top_p.filter(|_| p.temperature.is_none()),
            stop_sequences: &p.stop,
            tools: messages_tools(&p.tools),
            tool_choice: messages_choice(p.tool_choice.as_ref(), p.parallel_tool_calls)
                .filter(|_| !p.tools.is_empty()),
            output_config: output_config(&p.openai),
            // Newer models think where they are not told otherwise.
            thinking: (p.openai.reasoning_effort.as_deref() == Some("none"))
                .then(|| json!({ "type": "disabled" })),
        }
    }
}

/// How hard to think and the shape of the answer, where the prompt says so.
fn output_config(openai: &OpenAiOnly) -> Option<Value> {
    let mut config = serde_json::Map::new();
    let effort = openai.reasoning_effort.as_deref().and_then(|effort| match effort {
        "none" => None,
        "minimal" => Some("low"),
        other => Some(other),
    });
    config.extend(effort.map(|effort| ("effort".to_owned(), effort.into())));
    if let Some(schema) = answer_schema(openai) {
        let mut schema = schema.clone();
        schema::close(&mut schema);
        let format = json!({ "type": "json_schema", "schema": schema });
        config.insert("format".into(), format);
    }
    (!config.is_empty()).then(|| config.into())
}

fn answer_schema(openai: &OpenAiOnly) -> Option<&Value> {
    openai.response_format.as_ref()?.pointer("/json_schema/schema")
}

/// Whether it asks for JSON without saying which: the API has no such form.
pub(crate) fn is_without_schema(openai: &OpenAiOnly) -> bool {
    openai.response_format.is_some() && answer_schema(openai).is_none()
}

/// Instructions stand beside the turns, not among them. Alone they are what there is to answer.
fn split(messages: &[Message]) -> (Option<String>, Vec<Turn<'_>>) {
    let mut system: Vec<&str> = Vec::new();
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for message in messages.iter().filter(|message| message.tools_item().is_none()) {
        match message.role {
            Role::System | Role::Developer => system.push(&message.content),
            // An empty turn is refused.
            Role::User | Role::Assistant if message.is_empty() => {}
            Role::User => turns.push(Turn::of("user", message)),
            Role::Assistant => match turns.last_mut() {
                Some(last) if last.role == "assistant" => last.join(message),
                Some(_) | None => turns.push(Turn::of("assistant", message)),
            },
            Role::Tool => answer(&mut turns, message),
        }
    }
    call_ids::unique(turns.iter_mut().filter_map(|turn| match &mut turn.content {
        TurnContent::Blocks(blocks) => Some(blocks),
        TurnContent::Text(_) => None,
    }));
    let system = system.join("\n\n");
    if turns.is_empty() {
        return (None, vec![Turn::text("user", system.into())]);
    }
    ((!system.is_empty()).then_some(system), turns)
}

/// Adds a tool's answer. The answers to the calls of one turn stand together in the next, although
/// a person may speak while tools run.
fn answer<'a>(turns: &mut Vec<Turn<'a>>, message: &'a Message) {
    let id = message.tool_call_id.as_deref().unwrap_or_default();
    let calls = |turn: &Turn<'_>| match &turn.content {
        TurnContent::Blocks(there) => there.iter().any(|block| block.is_call(id)),
        TurnContent::Text(_) => false,
    };
    let behind = turns.iter().rposition(calls).map_or(turns.len(), |at| at + 1);
    match turns.get_mut(behind) {
        Some(Turn { content: TurnContent::Blocks(there), .. })
            if there.iter().all(TurnBlock::is_result) =>
        {
            there.extend(blocks(message));
        }
        Some(_) | None => turns.insert(behind, Turn::of("user", message)),
    }
}

with_rest! {
    /// One event of the stream. Its name is repeated in `type`; the guard passes the data only.
    MessagesEvent {
        pub(crate) kind: String = "type",
        pub(crate) index: u32,
        pub(crate) message: MessageStart,
        pub(crate) content_block: Block,
        pub(crate) delta: BlockDelta,
        usage: Box<RawValue>,
        error: Box<RawValue>,
    }
    passed over: []
    kept: says_something
}

/// The fields of `message_start`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MessageStart {
    usage: Option<Box<RawValue>>,
}

with_rest! {
    /// The beginning of a content block.
    Block {
        pub(crate) kind: String = "type",
        pub(crate) text: ChunkText,
        pub(crate) thinking: ChunkText,
        /// Of `redacted_thinking`.
        pub(crate) data: String,
        pub(crate) id: String,
        pub(crate) name: String,
        /// Of a tool call; the API sends `{}` and then the pieces, others send it whole.
        pub(crate) input: Box<RawValue>,
    }
    passed over: []
    kept: always
}

with_rest! {
    /// The delta of a block in `content_block_delta`, and of the message in `message_delta`.
    BlockDelta {
        pub(crate) kind: String = "type",
        pub(crate) text: ChunkText,
        pub(crate) thinking: ChunkText,
        pub(crate) partial_json: ChunkText,
        pub(crate) signature: String,
        pub(crate) stop_reason: String,
        pub(crate) stop_details: StopDetails,
    }
    passed over: []
    kept: says_something
}

/// Why the model declined.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StopDetails {
    pub(crate) category: Option<String>,
    pub(crate) explanation: Option<ChunkText>,
}

/// Token counts as they come: each replaces the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) input: Option<u64>,
    pub(crate) cache_read: Option<u64>,
    pub(crate) cache_creation: Option<u64>,
    pub(crate) output: Option<u64>,
}

impl MessagesEvent {
    /// The report of tokens in this event.
    pub(crate) fn usage(&self) -> Option<&RawValue> {
        let start = self.message.as_ref().and_then(|message| message.usage.as_deref());
        self.usage.as_deref().or(start)
    }

    /// The counts of this event over `earlier` ones.
    pub(crate) fn counts(&self, earlier: Counts) -> Counts {
        let Some(value) =
            self.usage().and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok())
        else {
            return earlier;
        };
        let count = |name: &str, or: Option<u64>| value.get(name).and_then(Value::as_u64).or(or);
        Counts {
            input: count("input_tokens", earlier.input),
            cache_read: count("cache_read_input_tokens", earlier.cache_read),
            cache_creation: count("cache_creation_input_tokens", earlier.cache_creation),
            output: count("output_tokens", earlier.output),
        }
    }

    /// The error that the event carries, in the shape `{"error": …}`.
    pub(crate) fn error(&self) -> Option<Value> {
        let raw = self.error.as_deref()?;
        let error: Value = serde_json::from_str(raw.get()).unwrap_or_default();
        Some(json!({ "error": error }))
    }
}
