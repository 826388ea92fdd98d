//! `/v1/completions`: a prompt and the text that follows. The model is asked as for a chat
//! completion, with the prompt as the user's message.
pub(super) mod encoder;
mod request;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::openai::error::{held, of_ending};
use super::openai::fields::Body;
use super::openai::ids::text_completion_id;
use super::openai::query::retrieve;
use super::openai::start::{address, start};
use super::openai_chat::{includes_usage, on_disconnect, request as chat};
use crate::domain::generation::Generation;
use crate::domain::source::{Source, WireProtocol};
use crate::http::dialect::Frames;
use crate::http::dialect_reader::Reader;
use crate::http::problem::Problem;
use crate::http::{EngineData, body, repeats, sse, while_allowed};
use encoder::Completion;

const PREFIX: &str = "cmpl-";

/// The fold of a generation to chunks.
pub(in crate::http) fn of(row: &Generation, include_usage: bool) -> Completion {
    Completion::of(row, include_usage)
}

/// Starts a completion; the body's `stream` decides about the answer's form.
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
    let default = engine.models();
    let asked = chat::parse(body, default.default_name(), limits.prompt_bytes, on_disconnect)?;
    let chat::Asked { request: mut asked, stream, elsewhere } = asked;
    asked.source =
        Some(Source { protocol: WireProtocol::OpenaiChat, body: text.into(), betas: Vec::new() });
    let (row, repeatable) = start(&engine, &request, (asked, None), elsewhere).await?;
    if stream {
        let reader =
            Reader::open(&engine, &row, of(&row, includes_usage(&row)), Frames::after(None));
        let mut reader = reader.await?.answering(repeats::reader(&request));
        held(&engine, &request, &mut reader, (&row, repeatable)).await?;
        return Ok(sse::streaming(row.id, reader.into_body(), Vec::new()));
    }
    let reader = Reader::open(&engine, &row, of(&row, false), Frames::none()).await?;
    let mut reader = reader.answering(repeats::reader(&request));
    let done = while_allowed(&request, async { Ok(reader.finish().await.cloned()) }).await?;
    match of_ending(done.as_ref(), repeatable) {
        Some(problem) => Err(problem),
        None => Ok(whole(&row, reader.dialect.object(reader.answer(), done.as_ref()))),
    }
}

/// A completion as it stands, or its chunks behind `starting_after`.
pub(super) async fn get(engine: EngineData, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let row = engine.generation(&address(&request, PREFIX)?).await?;
    let query = retrieve(&request)?;
    if query.stream {
        let frames = super::openai::frames_after(&row, query.starting_after)?;
        let include_usage = query.include_usage || includes_usage(&row);
        let reader = Reader::open(&engine, &row, of(&row, include_usage), frames).await?;
        super::openai::not_ahead(&reader.frames)?;
        return Ok(sse::streaming(row.id, reader.into_body(), Vec::new()));
    }
    let reader = Reader::open(&engine, &row, of(&row, false), Frames::none()).await?;
    let mut object = reader.dialect.object(reader.answer(), reader.replay.done());
    object["status"] = serde_json::to_value(row.status).unwrap_or_default();
    Ok(whole(&row, object))
}

/// Erases it.
pub(super) async fn delete(
    engine: EngineData,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let at = address(&request, PREFIX)?;
    super::openai::erase(&engine, &at).await?;
    Ok(HttpResponse::Ok().json(json!({
        "id": text_completion_id(at.id), "object": "text_completion.deleted", "deleted": true,
    })))
}

fn whole(row: &Generation, object: Value) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((sse::GENERATION, row.id.to_string()));
    response.json(object)
}
