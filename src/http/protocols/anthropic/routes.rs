//! `/v1/messages`: Anthropic's Messages API, and what it has not: an answer that is read again.
use actix_web::http::header::HeaderName;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::content::Told;
use super::error::of_whole;
use super::events::Messages;
use super::request::{self, Asked, Body, Parsed};
use crate::domain::generation::{Generation, OnDisconnect, Request};
use crate::domain::source::{Source, WireProtocol};
use crate::engine::{Engine, Model};
use crate::http::dialect::Frames;
use crate::http::dialect_reader::Reader;
use crate::http::leaving::on_disconnect;
use crate::http::problem::Problem;
use crate::http::protocols::native::generations::unknown_model;
use crate::http::protocols::openai::ids;
use crate::http::protocols::openai::query::retrieve;
use crate::http::protocols::openai::{frames_after, not_ahead};
use crate::http::start::{NotStarted, over_http};
use crate::http::{EngineData, body, large, repeats, sse, tenant, while_allowed};
use crate::ports::Address;

/// Names what of the request the model is not told.
const LEFT_OUT: HeaderName = HeaderName::from_static("lastword-left-out");
/// More names of trial features than any client sends, and longer ones, are a mistake.
const MOST_BETAS: usize = 64;

/// Starts a message: streamed or waited for, as the body's `stream` says.
pub(super) async fn create(
    engine: EngineData,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let (body, text): (Body, _) =
        body::json_and_text(&request, payload, body::limit(&engine)).await?;
    let on_disconnect = on_disconnect(&request)?;
    let model = model(&engine, &body)?;
    let Parsed { request: mut asked, stream, told } =
        request::parse(body, about(&engine, &model, on_disconnect))?;
    let protocol = WireProtocol::AnthropicMessages;
    asked.source = Some(Source { protocol, body: text, betas: betas(&request) });
    let (row, repeatable) = start(&engine, &request, asked).await?;
    let tokens = row.request.prompt.estimated_input();
    if stream {
        let messages = Messages::of(&row, false, &engine.secrets().signing_key());
        let reader = Reader::open(&engine, &row, messages, Frames::after(None)).await?;
        let mut reader = reader.answering(repeats::reader(&request));
        let at = Address { tenant: row.tenant.clone(), id: row.id };
        // A refusal of the model's server is a status, as from the server itself.
        let failed = while_allowed(&request, async { Ok(reader.hold(&engine, &at).await) }).await?;
        if let Some(refusal) = failed.and_then(|done| of_whole(Some(done), repeatable, tokens)) {
            return Err(refusal);
        }
        return Ok(body_of(&row, reader, &told));
    }
    let reader = Reader::open(
        &engine,
        &row,
        Messages::of(&row, true, &engine.secrets().signing_key()),
        Frames::none(),
    )
    .await?;
    let mut reader = reader.answering(repeats::reader(&request));
    let done = while_allowed(&request, async { Ok(reader.finish().await.cloned()) }).await?;
    match of_whole(done.as_ref(), repeatable, tokens) {
        Some(problem) => Err(problem),
        None => {
            let _turn = large::turn(reader.answer()).await;
            let object = reader.dialect.object(done.as_ref());
            Ok(sse::whole(row.id, &object, headers(&reader, &told)))
        }
    }
}

/// Our estimate of a prompt's tokens: no model is asked.
pub(super) async fn count_tokens(
    engine: EngineData,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let body: Body = body::json(&request, payload, body::limit(&engine)).await?;
    let model = model(&engine, &body)?;
    let mut told = Told::default();
    let asked = about(&engine, &model, OnDisconnect::default());
    let prompt = request::prompt(body, asked, &mut told)?;
    Ok(HttpResponse::Ok().json(json!({ "input_tokens": prompt.estimated_input() })))
}

/// A message as it stands, or its events behind `starting_after`.
pub(super) async fn get(engine: EngineData, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let id = request.match_info().get("id").and_then(|id| ids::parse("msg_", id));
    let id = id.ok_or_else(Problem::no_such_generation)?;
    let row = engine.generation(&Address { tenant: tenant(&request), id }).await?;
    let query = retrieve(&request)?;
    if query.stream {
        let frames = frames_after(&row, query.starting_after)?;
        return streamed(&engine, &row, frames, &Told::default()).await;
    }
    let reader = Reader::open(
        &engine,
        &row,
        Messages::of(&row, true, &engine.secrets().signing_key()),
        Frames::none(),
    )
    .await?;
    let _turn = large::turn(reader.answer()).await;
    let mut object = reader.dialect.object(reader.replay.done());
    // Anthropic keeps no message, and so has no word for one that is not at its end.
    object["status"] = serde_json::to_value(row.status).unwrap_or_default();
    Ok(sse::whole(row.id, &object, Vec::new()))
}

/// Batches are another service than streams.
pub(super) async fn no_batches() -> Result<HttpResponse, Problem> {
    let detail = "`/v1/messages/batches` is not supported here: POST each request to /v1/messages";
    Err(Problem::not_found(detail))
}

fn model(engine: &Engine, body: &Body) -> Result<Model, Problem> {
    let models = engine.models();
    let name = body.model.as_deref();
    models.find(name).cloned().ok_or_else(|| unknown_model(engine, name.unwrap_or_default()))
}

fn about<'a>(engine: &Engine, model: &'a Model, on_disconnect: OnDisconnect) -> Asked<'a> {
    let prompt_bytes = engine.limits().prompt_bytes;
    let (name, provider) = (&model.name, model.provider.name());
    let (speaks, signing) = (model.provider.speaks(), engine.secrets().signing_key());
    Asked { model: name, provider, speaks, prompt_bytes, on_disconnect, signing }
}

/// The trial features that the client names, for an upstream of the same protocol.
fn betas(request: &HttpRequest) -> Vec<String> {
    let values = request.headers().get_all("anthropic-beta").filter_map(|v| v.to_str().ok());
    let names = values.flat_map(|value| value.split(',')).map(str::trim);
    let is_name = |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
    names.filter(is_name).take(MOST_BETAS).map(str::to_owned).collect()
}

/// The row, and whether a repeat under the same key would be the same start.
async fn start(
    engine: &Engine,
    request: &HttpRequest,
    asked: Request,
) -> Result<(Generation, bool), Problem> {
    over_http(engine, request, (asked, None), None).await.map_err(|not_started| match not_started {
        NotStarted::KeyLimits(error) => request::refusal(error),
        NotStarted::Other(problem) => problem,
    })
}

async fn streamed(
    engine: &Engine,
    row: &Generation,
    frames: Frames,
    told: &Told,
) -> Result<HttpResponse, Problem> {
    let reader = Reader::open(
        engine,
        row,
        Messages::of(row, false, &engine.secrets().signing_key()),
        frames,
    )
    .await?;
    not_ahead(&reader.frames)?;
    Ok(body_of(row, reader, told))
}

fn body_of(row: &Generation, reader: Reader<Messages>, told: &Told) -> HttpResponse {
    let headers = headers(&reader, told);
    sse::streaming(row.id, reader.into_body(), headers)
}

/// The names of fields that the model is not told, and the limits of its server.
fn headers(reader: &Reader<Messages>, told: &Told) -> Vec<(HeaderName, String)> {
    let left_out = told.header().map(|names| (LEFT_OUT, names));
    left_out.into_iter().chain(reader.rate_limits()).collect()
}
