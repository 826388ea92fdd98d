//! A request of OpenAI's becomes a generation, or the one that an earlier try made.
use super::elsewhere::Elsewhere;
use super::fields::{Fields, unsupported};
use crate::domain::generation::{Generation, Request};
use crate::domain::id::GenerationId;
use crate::domain::json::JsonObject;
use crate::domain::prompt::Parameters;
use crate::engine::Engine;
use crate::http::problem::Problem;
use crate::http::protocols::native::generations::unknown_model;
use crate::http::protocols::native::prompt::check_metadata;
use crate::http::start::{Wanted, over_http};
use crate::http::tenant;
use crate::ports::Address;
use actix_web::HttpRequest;

/// Starts a request, in a conversation where there is a turn. Returns the row, and whether a repeat
/// under the same key would be the same start.
pub(crate) async fn start(
    engine: &Engine,
    request: &HttpRequest,
    wanted: Wanted,
    elsewhere: Elsewhere,
) -> Result<(Generation, bool), Problem> {
    check(engine, &wanted.0, elsewhere)?;
    Ok(over_http(engine, request, wanted, None).await?)
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
