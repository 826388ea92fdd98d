//! A request of OpenAI's becomes a generation, or the one that an earlier try made.
use super::elsewhere::Elsewhere;
use super::fields::{Fields, unsupported};
use crate::domain::conversation::TurnAsked;
use crate::domain::generation::{Generation, Request};
use crate::domain::id::GenerationId;
use crate::domain::json::JsonObject;
use crate::domain::prompt::Parameters;
use crate::engine::{Engine, Start, Started};
use crate::http::problem::Problem;
use crate::http::protocols::native::generations::{idempotency, idempotency_key, unknown_model};
use crate::http::protocols::native::prompt::check_metadata;
use crate::http::repeats::Sent;
use crate::http::{caller, leaving, repeats, tenant, trace};
use crate::ports::Address;
use actix_web::HttpRequest;

/// Starts a request, in a conversation where there is a turn. Returns the row, and whether a repeat
/// under the same key would be the same start.
pub(crate) async fn start(
    engine: &Engine,
    request: &HttpRequest,
    (asked, turn): (Request, Option<TurnAsked>),
    elsewhere: Elsewhere,
) -> Result<(Generation, bool), Problem> {
    check(engine, &asked, elsewhere)?;
    let key = idempotency_key(request)?;
    let idempotency = key.map(|key| idempotency(key, &asked, turn.as_ref()));
    let repeatable = idempotency.is_some();
    let asked = Request { trace: trace::of(request), ..leaving::bounded(engine, request, asked)? };
    let sent = Sent::of(asked.source.as_ref(), &asked.model);
    let repeat = repeats::repeat(engine, request, sent, repeatable)?;
    let start = Start { caller: caller(request)?, request: asked, idempotency, turn, repeat };
    let Started { generation, attached, read, .. } = engine.start(start).await?;
    repeats::begin(request, read, attached);
    Ok((generation, repeatable))
}

/// Whether its model is here and can do what is asked of it.
pub(crate) fn check(engine: &Engine, asked: &Request, elsewhere: Elsewhere) -> Result<(), Problem> {
    let models = engine.models();
    let Some(model) = models.find(Some(&asked.model)) else {
        return Err(unknown_model(engine, &asked.model));
    };
    let speaks = asked.source.as_ref().map(|source| source.protocol);
    let native = model.provider.speaks() == speaks;
    elsewhere.check(native, model.provider.speaks())?;
    only_for_openai(&asked.prompt.parameters, model.provider.name())
}

/// A field that would change the meaning if it was left out is refused.
fn only_for_openai(parameters: &Parameters, provider: &str) -> Result<(), Problem> {
    let format = parameters.openai.response_format.as_ref();
    let has_it = provider.starts_with("openai") || provider == "demo";
    let Some(format) = format.filter(|_| !has_it) else { return Ok(()) };
    if provider == "anthropic" && format["type"] == "json_schema" {
        return Ok(());
    }
    Err(unsupported("response_format", &format!("models of `{provider}` do not have it")))
}

/// The generation in the path, by its dialect's id. An improper id names nothing.
pub(crate) fn address(request: &HttpRequest, prefix: &str) -> Result<Address, Problem> {
    let id = request.match_info().get("id").and_then(|id| super::ids::parse(prefix, id));
    let id: GenerationId = id.ok_or_else(Problem::no_such_generation)?;
    Ok(Address { tenant: tenant(request), id })
}

/// The client's notes; OpenAI's are texts, ours may be more.
pub(crate) fn metadata(fields: &mut Fields) -> Result<JsonObject, Problem> {
    let metadata = fields.take("metadata")?.unwrap_or_default();
    check_metadata(&metadata)?;
    Ok(metadata)
}
