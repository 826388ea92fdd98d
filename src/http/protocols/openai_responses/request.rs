//! The body of `POST /v1/responses`.
use std::sync::Arc;

use actix_web::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::input::Input;
use super::sealed::Opened;
use super::{PREFIX, in_conversation, input, references, sealed};
use crate::domain::conversation::TurnAsked;
use crate::domain::generation::{OnDisconnect, Request};
use crate::domain::id::Tenant;
use crate::domain::prompt::{Message, OpenAiOnly, Parameters, Prompt, PromptError, Role};
use crate::domain::source::{Source, WireProtocol};
use crate::engine::Engine;
use crate::http::problem::Problem;
use crate::http::protocols::openai::client_tools::tooling;
use crate::http::protocols::openai::elsewhere::Elsewhere;
use crate::http::protocols::openai::fields::{Body, Fields, missing, unsupported};
use crate::http::protocols::openai::start::metadata;
use crate::ports::Address;

/// The request's fields that a response shows again.
const SHOWN: [&str; 12] = [
    "top_logprobs",
    "instructions",
    "background",
    "previous_response_id",
    "store",
    "user",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "reasoning",
    "text",
    "truncation",
];

/// A checked request, and how it wants its answer.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: Request,
    /// The turn that it adds to a conversation.
    pub(super) turn: Option<TurnAsked>,
    pub(super) stream: bool,
    pub(super) background: bool,
    /// The parts that a model of another protocol refuses.
    pub(super) elsewhere: Elsewhere,
    /// The thinking that came back sealed.
    pub(super) opened: Opened,
}

impl Asked {
    /// Adds the client's own body to the request, for an upstream of the same protocol.
    pub(super) fn with_source(mut self, body: Arc<str>) -> Self {
        let body = sealed::in_plain_words(body, std::mem::take(&mut self.opened));
        let protocol = WireProtocol::OpenaiResponses;
        self.request.source = Some(Source { protocol, body, betas: Vec::new() });
        self
    }
}

#[derive(Debug, Default, Deserialize)]
struct Text {
    format: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
struct Reasoning {
    effort: Option<String>,
}

/// The facts about a request beside its body.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// The response that `previous_response_id` names.
    pub(super) before: Before,
    /// Whether it may say nothing: no model is asked.
    pub(super) may_be_empty: bool,
}

/// The response that a request continues, as far as its connection knows it.
#[derive(Clone, Debug, Default)]
pub(in crate::http) enum Before {
    /// The log has it.
    #[default]
    InLog,
    /// The log has it, but the connection does not: with `store: false` it is not found.
    IfStored,
    /// It was only prepared: its messages.
    Prepared(Arc<[Message]>),
}

/// Checks a body, with what its `previous_response_id` leads to.
pub(super) async fn asked(
    engine: &Engine,
    tenant: &Tenant,
    body: Body,
    known: Known,
) -> Result<Asked, Problem> {
    let mut fields = Fields::new(body);
    let mut echo = echo(&fields);
    let model = fields.take("model")?;
    let model = model.unwrap_or_else(|| engine.models().default_name().to_owned());
    if !is_native(engine, &model) {
        echo = held(echo);
    }
    let mut messages = Vec::new();
    let instructions = fields.take::<String>("instructions")?;
    if let Some(instructions) = &instructions {
        messages.push(Message::text(Role::System, instructions.as_str()));
    }
    let conversation = in_conversation::named(engine, tenant, &mut fields).await?;
    let continues = fields.take::<String>("previous_response_id")?;
    if let Some(id) = &continues {
        messages.extend(before(engine, tenant, id, known.before).await?);
    }
    let mut elsewhere = Elsewhere::default();
    let nothing = known.may_be_empty.then(|| Input::List(Vec::new()));
    let said = fields.take("input")?.or(nothing).ok_or_else(|| missing("input"))?;
    let mut said = references::resolved(engine, tenant, said).await?;
    let opened = sealed::opened(engine, (tenant, &model), &mut said)?;
    input::read(said, &mut messages, &mut elsewhere)?;
    if continues.is_some() {
        input::check_answers(&messages)?;
    }
    let stream = fields.take("stream")?.unwrap_or(false);
    let background = fields.take("background")?.unwrap_or(false);
    let parameters = parameters(&mut fields, &messages, &mut elsewhere)?;
    let metadata = metadata(&mut fields)?;
    if fields.has("prompt") {
        elsewhere.refuse(unsupported("prompt", "its text is not known to this model's server"));
    }
    let parse = if known.may_be_empty { Prompt::parse_turn } else { Prompt::parse };
    let prompt = parse(messages, parameters, engine.limits().prompt_bytes);
    let prompt = prompt.map_err(|error| as_written(error, instructions.is_some()))?;
    let turn = match conversation {
        None => None,
        Some((conversation, shown)) => {
            echo.insert("conversation".into(), shown);
            Some(in_conversation::turn(conversation, instructions, &prompt.messages))
        }
    };
    // Nobody's going away ends a response: that is what makes each of them resumable.
    let on_disconnect = OnDisconnect::Continue;
    let request = Request {
        model,
        prompt,
        metadata,
        on_disconnect,
        echo,
        chat: None,
        wall_s: None,
        continues: None,
        trace: None,
        source: None,
    };
    Ok(Asked { request, turn, stream, background, elsewhere, opened })
}

/// The refusal with the field as the client wrote it. The place of an item is not known any more:
/// messages of earlier responses come first.
fn as_written(error: PromptError, instructed: bool) -> PromptError {
    let written = |field: String| {
        let first = instructed && field.starts_with("messages[0]");
        match field.strip_prefix("messages") {
            Some(_) => if first { "instructions" } else { "input" }.to_owned(),
            None => field,
        }
    };
    error.written(written)
}

fn echo(fields: &Fields) -> Map<String, Value> {
    let shown = SHOWN.iter().filter_map(|name| {
        let value = fields.peek(name)?;
        Some(((*name).to_owned(), value))
    });
    let mut echo: Map<String, Value> = shown.collect();
    // The parsed request has only the tools that are allowed.
    if let Some(choice) =
        fields.peek("tool_choice").filter(|choice| choice["type"] == "allowed_tools")
    {
        echo.insert("tool_choice".into(), choice);
        echo.extend(fields.peek("tools").map(|tools| ("tools".into(), tools)));
    }
    echo
}

/// Whether the model's server gets the client's own body.
fn is_native(engine: &Engine, model: &str) -> bool {
    let models = engine.models();
    let speaks = models.find(Some(model)).and_then(|model| model.provider.speaks());
    speaks == Some(WireProtocol::OpenaiResponses)
}

/// The same without what a model of another protocol is not told: the response says what holds.
fn held(mut echo: Map<String, Value>) -> Map<String, Value> {
    for name in ["service_tier", "truncation", "top_logprobs"] {
        echo.shift_remove(name);
    }
    if let Some(reasoning) = echo.get_mut("reasoning") {
        let effort = reasoning.get("effort").cloned().unwrap_or_default();
        *reasoning = json!({ "effort": effort, "summary": null });
    }
    if let Some(Value::Object(text)) = echo.get_mut("text") {
        text.shift_remove("verbosity");
        text.entry("format").or_insert_with(|| json!({ "type": "text" }));
    }
    echo
}

fn parameters(
    fields: &mut Fields,
    messages: &[Message],
    elsewhere: &mut Elsewhere,
) -> Result<Parameters, Problem> {
    let text: Text = fields.take("text")?.unwrap_or_default();
    let reasoning: Reasoning = fields.take("reasoning")?.unwrap_or_default();
    Ok(Parameters {
        max_output_tokens: fields.take("max_output_tokens")?,
        temperature: fields.take("temperature")?,
        top_p: fields.take("top_p")?,
        openai: OpenAiOnly {
            response_format: text.format.and_then(format),
            reasoning_effort: reasoning.effort,
            presence_penalty: fields.take("presence_penalty")?.filter(|p| *p != 0.0),
            frequency_penalty: fields.take("frequency_penalty")?.filter(|p| *p != 0.0),
        },
        ..tooling(fields, messages, elsewhere)?
    })
}

/// The format of an answer, as chat completions have it: one level deeper.
fn format(format: Value) -> Option<Value> {
    match format["type"].as_str() {
        Some("text") | None => None,
        Some("json_schema") => {
            let mut schema = format;
            schema.as_object_mut()?.shift_remove("type");
            Some(json!({ "type": "json_schema", "json_schema": schema }))
        }
        Some(_) => Some(format),
    }
}

/// The messages up to and with an earlier response: its own prompt and its answer. Its instructions
/// do not carry over.
async fn before(
    engine: &Engine,
    tenant: &Tenant,
    id: &str,
    known: Before,
) -> Result<Vec<Message>, Problem> {
    let if_stored = match known {
        Before::Prepared(messages) => return Ok(messages.to_vec()),
        Before::InLog => false,
        Before::IfStored => true,
    };
    let unknown = || {
        let detail = "there is no response of that `previous_response_id`";
        Problem::new(StatusCode::BAD_REQUEST, "previous_response_not_found", detail)
            .with("field", "previous_response_id")
    };
    let id = crate::http::protocols::openai::ids::parse(PREFIX, id).ok_or_else(unknown)?;
    let at = Address { tenant: tenant.clone(), id };
    let row = match engine.generation(&at).await {
        Err(crate::engine::EngineError::NotFound) => return Err(unknown()),
        row => row?,
    };
    if if_stored && row.request.echo.get("store") == Some(&Value::Bool(false)) {
        return Err(unknown());
    }
    if row.result.is_none() {
        let detail = "the response of that `previous_response_id` has not ended";
        return Err(Problem::new(StatusCode::CONFLICT, "generation_running", detail)
            .with("field", "previous_response_id"));
    }
    let had_instructions = row.request.echo.contains_key("instructions");
    let reader = super::unsealed(engine, &row).await?;
    let mut messages = row.request.prompt.messages;
    if had_instructions {
        messages.remove(0);
    }
    messages.extend(reader.dialect.message());
    Ok(messages)
}
