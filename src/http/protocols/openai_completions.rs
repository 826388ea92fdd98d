//! `/v1/completions`: a prompt and the text that follows. The model is asked as for a chat
//! completion, with the prompt as the user's message.
pub(super) mod encoder;
mod request;

use actix_web::{HttpRequest, HttpResponse, web};

use super::openai::completion;
use super::openai::fields::Body;
use super::openai_chat::request as chat;
use crate::http::leaving::on_disconnect;
use crate::http::problem::Problem;
use crate::http::{EngineData, body};
pub(in crate::http) use encoder::TextCompletion;

/// Starts a completion.
pub(super) async fn create(
    engine: EngineData,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let limits = engine.limits();
    let body: Body = body::json(&request, payload, body::limit(&engine)).await?;
    let body = request::as_chat(body)?;
    let text = serde_json::to_string(&body).map_err(|_| Problem::internal())?;
    let on_disconnect = on_disconnect(&request)?;
    let models = engine.models();
    let asked = chat::parse(body, models.default_name(), limits.prompt_bytes, on_disconnect)?;
    completion::create::<TextCompletion>(&engine, &request, asked, text.into()).await
}

/// A completion as it stands, or its chunks behind `starting_after`.
pub(super) async fn get(engine: EngineData, request: HttpRequest) -> Result<HttpResponse, Problem> {
    completion::get::<TextCompletion>(&engine, &request).await
}

/// Erases it.
pub(super) async fn delete(
    engine: EngineData,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    completion::delete::<TextCompletion>(&engine, &request).await
}
