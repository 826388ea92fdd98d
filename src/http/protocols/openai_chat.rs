//! `/v1/chat/completions`: OpenAI's chat completions, and what they cannot do: be resumed.
mod calls;
pub(super) mod encoder;
pub(super) mod extras;
pub(super) mod request;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::openai::error::of_ending;
use super::openai::ids::completion_id;
use super::openai::query::retrieve;
use super::openai::start::{address, start};
use super::openai::usage::INCLUDE_USAGE;
use crate::domain::generation::{Generation, OnDisconnect};
use crate::domain::source::{Source, WireProtocol};
use crate::engine::Engine;
use crate::http::dialect::Frames;
use crate::http::dialect_reader::Reader;
use crate::http::leaving::ON_DISCONNECT;
use crate::http::problem::Problem;
use crate::http::{EngineData, body, repeats, sse, while_allowed};
use encoder::Chat;
use request::Asked;

/// A plain client's generation is cancelled so many seconds after it went away. A retry can still
/// find it, and an unread answer costs little.
const GRACE_S: u32 = 10;

const PREFIX: &str = "chatcmpl-";

/// The fold of a generation to chunks.
pub(in crate::http) fn of(row: &Generation, include_usage: bool) -> Chat {
    Chat::of(row, include_usage)
}

/// Starts a completion; the body's `stream` decides about the answer's form, since OpenAI's SDKs
/// ask for JSON in `Accept` also when they stream.
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
    let Asked { request: mut asked, stream, elsewhere } = asked;
    asked.source =
        Some(Source { protocol: WireProtocol::OpenaiChat, body: text, betas: Vec::new() });
    let (row, repeatable) = start(&engine, &request, (asked, None), elsewhere).await?;
    if stream {
        let chat = of(&row, includes_usage(&row));
        let reader = Reader::open(&engine, &row, chat, Frames::after(None)).await?;
        let mut reader = reader.answering(repeats::reader(&request));
        super::openai::error::held(&engine, &request, &mut reader, (&row, repeatable)).await?;
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
        return streamed(&engine, &row, frames, include_usage).await;
    }
    let reader = Reader::open(&engine, &row, of(&row, false), Frames::none()).await?;
    let mut object = reader.dialect.object(reader.answer(), reader.replay.done());
    // OpenAI stores nothing that has not completed, and so has no word for it.
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
        "id": completion_id(at.id), "object": "chat.completion.deleted", "deleted": true,
    })))
}

async fn streamed(
    engine: &Engine,
    row: &Generation,
    frames: Frames,
    include_usage: bool,
) -> Result<HttpResponse, Problem> {
    let reader = Reader::open(engine, row, of(row, include_usage), frames).await?;
    super::openai::not_ahead(&reader.frames)?;
    Ok(sse::streaming(row.id, reader.into_body(), Vec::new()))
}

fn whole(row: &Generation, object: Value) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((sse::GENERATION, row.id.to_string()));
    response.json(object)
}

pub(super) fn includes_usage(row: &Generation) -> bool {
    row.request.echo.contains_key(INCLUDE_USAGE)
}

/// The value of `Lastword-On-Disconnect`; without it the generation ends a while after its reader.
pub(in crate::http) fn on_disconnect(request: &HttpRequest) -> Result<OnDisconnect, Problem> {
    match request.headers().get(ON_DISCONNECT).map(|value| value.as_bytes()) {
        Some(b"continue") => Ok(OnDisconnect::Continue),
        None | Some(b"cancel") => Ok(OnDisconnect::CancelAfter(GRACE_S)),
        Some(_) => {
            let detail = "Lastword-On-Disconnect is `continue` or `cancel`";
            let code = "invalid_header";
            Err(Problem::new(StatusCode::BAD_REQUEST, code, detail))
        }
    }
}
