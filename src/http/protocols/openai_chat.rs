//! `/v1/chat/completions`: OpenAI's chat completions, and what they cannot do: be resumed.
mod calls;
pub(super) mod choices;
pub(super) mod encoder;
pub(super) mod extras;
pub(super) mod request;

use actix_web::{HttpRequest, HttpResponse, web};

use super::openai::completion;
use crate::http::leaving::on_disconnect;
use crate::http::problem::Problem;
use crate::http::{EngineData, body};
pub(in crate::http) use encoder::Chat;

/// Starts a completion.
pub(super) async fn create(
    engine: EngineData,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let limits = engine.limits();
    let (body, text) = body::json_and_text(&request, payload, body::limit(&engine)).await?;
    let on_disconnect = on_disconnect(&request)?;
    let models = engine.models();
    let asked = request::parse(body, models.default_name(), limits.prompt_bytes, on_disconnect)?;
    completion::create::<Chat>(&engine, &request, asked, text).await
}

/// A completion as it stands, or its chunks behind `starting_after`.
pub(super) async fn get(engine: EngineData, request: HttpRequest) -> Result<HttpResponse, Problem> {
    completion::get::<Chat>(&engine, &request).await
}

/// Erases it.
pub(super) async fn delete(
    engine: EngineData,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    completion::delete::<Chat>(&engine, &request).await
}
