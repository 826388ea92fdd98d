//! The body of `POST /v1/messages`: lenient, because it is a vendor's own and grows. A field that
//! changes the answer and is not supported is refused by name. Other unknown fields are left out
//! and told.
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::content::{Content, Reading, Told, Turn};
use super::context;
use super::tools::{WireChoice, WireTool, choice, tools};
use crate::domain::generation::{OnDisconnect, Request};
use crate::domain::json::JsonObject;
use crate::domain::key::SigningKey;
use crate::domain::prompt::{
    BYTES_PER_TOKEN, Message, OpenAiOnly, Parameters, Prompt, PromptError,
};
use crate::domain::source::WireProtocol;
use crate::http::problem::Problem;
use crate::http::protocols::native::prompt::check_metadata;
use crate::http::protocols::openai::fields::{missing, unsupported};

/// Fields that say nothing to the model.
const HARMLESS: [&str; 3] = ["service_tier", "user_profile_id", "workspace_id"];

/// A request as it comes.
#[derive(Debug, Deserialize)]
pub(super) struct Body {
    pub(super) model: Option<String>,
    max_tokens: Option<u32>,
    messages: Option<Vec<Turn>>,
    system: Option<Content>,
    stream: Option<bool>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    stop_sequences: Option<Vec<String>>,
    tools: Option<Vec<WireTool>>,
    tool_choice: Option<WireChoice>,
    metadata: Option<Map<String, Value>>,
    output_config: Option<OutputConfig>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct OutputConfig {
    effort: Option<Value>,
    format: Option<Value>,
}

/// The model that is asked, as far as that matters here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) model: &'a str,
    /// The kind of its upstream.
    pub(super) provider: &'a str,
    /// The protocol that it speaks.
    pub(super) speaks: Option<WireProtocol>,
    /// The limit of a prompt, in bytes.
    pub(super) prompt_bytes: usize,
    /// The fate of the generation when its reader goes away.
    pub(super) on_disconnect: OnDisconnect,
    /// The key that signs our thinking.
    pub(super) signing: SigningKey,
}

/// A checked request, how it wants its answer, and what the model is not told.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) request: Request,
    pub(super) stream: bool,
    pub(super) told: Told,
}

/// Checks a body for a generation.
pub(super) fn parse(body: Body, asked: Asked<'_>) -> Result<Parsed, Problem> {
    if body.max_tokens.is_none() {
        return Err(missing("max_tokens"));
    }
    let mut told = Told::default();
    let stream = body.stream.unwrap_or(false);
    let metadata = Value::Object(body.metadata.clone().unwrap_or_default()).to_string();
    let metadata: JsonObject = serde_json::from_str(&metadata).unwrap_or_default();
    check_metadata(&metadata)?;
    let prompt = prompt(body, asked, &mut told)?;
    let request = Request {
        model: asked.model.to_owned(),
        prompt,
        metadata,
        on_disconnect: asked.on_disconnect,
        echo: Map::new(),
        chat: None,
        wall_s: None,
        continues: None,
        trace: None,
        source: None,
    };
    Ok(Parsed { request, stream, told })
}

/// The prompt for the model.
pub(super) fn prompt(body: Body, asked: Asked<'_>, told: &mut Told) -> Result<Prompt, Problem> {
    let native = asked.provider == "anthropic";
    let turns = body.messages.ok_or_else(|| missing("messages"))?;
    let mut reading = Reading { native, speaks: asked.speaks, told, signing: asked.signing };
    let mut messages: Vec<Message> = Vec::with_capacity(turns.len() + 1);
    if let Some(system) = body.system {
        messages.extend(reading.system(system)?);
    }
    if turns.is_empty() {
        return Err(PromptError::Empty { field: "messages".into() }.into());
    }
    for (n, turn) in turns.into_iter().enumerate() {
        messages.extend(reading.turn(n, turn)?);
    }
    let mut left_out = Told::default();
    let tools = tools(body.tools.unwrap_or_default(), &mut left_out)?;
    let (tool_choice, parallel_tool_calls) = choice(body.tool_choice, &tools, native)?;
    for name in body.rest.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name) {
        if !HARMLESS.contains(&name.as_str()) {
            left_out.left_out(name);
        }
    }
    let openai = output(body.output_config, asked.provider, &mut left_out)?;
    if !native {
        told.extend(left_out);
    }
    let parameters = Parameters {
        client_tools: Vec::new(),
        max_output_tokens: body.max_tokens,
        temperature: body.temperature,
        top_p: body.top_p,
        stop: body.stop_sequences.unwrap_or_default(),
        seed: None,
        tools,
        tool_choice,
        parallel_tool_calls,
        openai,
    };
    Prompt::parse(messages, parameters, asked.prompt_bytes).map_err(refusal)
}

/// The form of the answer, where OpenAI's API has it. Effort is a hint that many models refuse.
fn output(
    config: Option<OutputConfig>,
    provider: &str,
    told: &mut Told,
) -> Result<OpenAiOnly, Problem> {
    let Some(OutputConfig { effort, format }) = config else { return Ok(OpenAiOnly::default()) };
    if effort.is_some() {
        told.left_out("output_config.effort");
    }
    let Some(format) = format else { return Ok(OpenAiOnly::default()) };
    let schema = format.get("schema").filter(|_| format["type"] == "json_schema");
    match (provider, schema) {
        ("anthropic", _) => Ok(OpenAiOnly::default()),
        (_, None) => Err(unsupported("output_config.format", "a `json_schema` with its `schema`")),
        (provider, Some(schema)) if provider.starts_with("openai") || provider == "demo" => {
            let named = json!({ "name": "answer", "schema": schema, "strict": true });
            let format = json!({ "type": "json_schema", "json_schema": named });
            Ok(OpenAiOnly { response_format: Some(format), ..OpenAiOnly::default() })
        }
        (provider, Some(_)) => {
            let why = format!("models of `{provider}` do not have it");
            Err(unsupported("output_config.format", &why))
        }
    }
}

/// A refused prompt, with the words for one that is too long which Claude Code reads.
pub(super) fn refusal(error: PromptError) -> Problem {
    match error {
        PromptError::TooLong { bytes, limit } => {
            let tokens = |bytes: usize| bytes as u64 / BYTES_PER_TOKEN;
            let words = context::too_long(tokens(bytes).max(tokens(limit) + 1), tokens(limit));
            Problem::unprocessable("prompt_too_long", words).with("limit", limit)
        }
        other @ (PromptError::Empty { .. }
        | PromptError::MediaTooLarge { .. }
        | PromptError::InvalidCharacter { .. }
        | PromptError::OutOfRange { .. }) => other.into(),
    }
}
