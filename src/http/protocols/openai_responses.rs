//! `/v1/responses`: OpenAI's Responses, resumable all of them.
mod compaction;
mod count;
mod encoder;
mod extras;
mod frames;
mod in_conversation;
pub(super) mod input;
pub(super) mod input_items;
mod item;
pub(super) mod items;
mod object;
mod references;
mod request;
pub(super) mod sealed;
pub(in crate::http) mod socket;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::openai::error::of_ending;
use super::openai::ids::response_id;
use super::openai::query::retrieve;
use super::openai::start::{address, start};
use crate::domain::event::Status;
use crate::domain::generation::Generation;
use crate::engine::Engine;
use crate::http::dialect::Frames;
use crate::http::dialect_reader::Reader;
use crate::http::problem::Problem;
use crate::http::{EngineData, body, large, repeats, sse, tenant, while_allowed};
pub(super) use count::{compact, input_tokens};
use encoder::Responses;
use object::Head;
use request::{Asked, Known};
use sealed::Seal;

pub(super) const PREFIX: &str = "resp_";

/// The fold of a generation to a response.
pub(in crate::http) fn of(row: &Generation) -> Responses {
    Responses::new(Head::of(row))
}

/// The same with its thinking sealed, if its client asked for that.
fn sealing(engine: &Engine, row: &Generation) -> Responses {
    of(row).sealing(Seal::of(engine, row))
}

/// Starts a response: streamed, in the background, or waited for.
pub(super) async fn create(
    engine: EngineData,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let (body, text) = body::json_and_text(&request, payload, body::limit(&engine)).await?;
    let asked = request::asked(&engine, &tenant(&request), body, Known::default()).await?;
    let Asked { request: asked, turn, stream, background, elsewhere, .. } = asked.with_source(text);
    let (row, repeatable) = start(&engine, &request, (asked, turn), elsewhere).await?;
    if stream {
        let reader =
            Reader::open(&engine, &row, sealing(&engine, &row), Frames::after(None)).await?;
        let mut reader = reader.answering(repeats::reader(&request));
        super::openai::error::held(&engine, &request, &mut reader, (&row, repeatable)).await?;
        let limits = reader.rate_limits();
        return Ok(sse::streaming(row.id, reader.into_body(), limits));
    }
    let mut reader = silent(&engine, &row).await?.answering(repeats::reader(&request));
    if background {
        return Ok(sse::whole(row.id, &object(&reader, &row), Vec::new()));
    }
    let done = while_allowed(&request, async { Ok(reader.finish().await.cloned()) }).await?;
    if let Some(problem) = of_ending(done.as_ref(), repeatable) {
        return Err(problem);
    }
    // With the times of its end.
    let row = engine.generation(&super::openai::at(&row)).await?;
    let _turn = large::turn(reader.answer()).await;
    Ok(sse::whole(row.id, &object(&reader, &row), reader.rate_limits()))
}

/// A response as it stands, or its events behind `starting_after`.
pub(super) async fn get(engine: EngineData, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let row = engine.generation(&address(&request, PREFIX)?).await?;
    let query = retrieve(&request)?;
    if query.stream {
        return streamed(&engine, &row, super::openai::frames_after(&row, query.starting_after)?)
            .await;
    }
    let reader = silent(&engine, &row).await?;
    let _turn = large::turn(reader.answer()).await;
    Ok(sse::whole(row.id, &object(&reader, &row), Vec::new()))
}

/// Ends it; the answer is the response as it then is.
pub(super) async fn cancel(
    engine: EngineData,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let at = address(&request, PREFIX)?;
    while_allowed(&request, async { Ok(engine.cancel(&at).await?) }).await?;
    let row = engine.generation(&at).await?;
    let reader = silent(&engine, &row).await?;
    Ok(sse::whole(row.id, &object(&reader, &row), Vec::new()))
}

/// Erases it.
pub(super) async fn delete(
    engine: EngineData,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let at = address(&request, PREFIX)?;
    super::openai::erase(&engine, &at).await?;
    let id = response_id(at.id);
    Ok(HttpResponse::Ok().json(json!({ "id": id, "object": "response", "deleted": true })))
}

/// Answers with its input, as items, a page at a time.
pub(super) async fn input_items(
    engine: EngineData,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let row = engine.generation(&address(&request, PREFIX)?).await?;
    let items = input_items::items(row.id, &row.request.prompt.messages);
    Ok(HttpResponse::Ok().json(items::page(request.query_string(), items)?))
}

async fn streamed(
    engine: &Engine,
    row: &Generation,
    frames: Frames,
) -> Result<HttpResponse, Problem> {
    let reader = Reader::open(engine, row, sealing(engine, row), frames).await?;
    super::openai::not_ahead(&reader.frames)?;
    Ok(sse::streaming(row.id, reader.into_body(), Vec::new()))
}

async fn silent(engine: &Engine, row: &Generation) -> Result<Reader<Responses>, Problem> {
    Reader::open(engine, row, sealing(engine, row), Frames::none()).await
}

/// The same for ourselves: nothing is sealed in it.
async fn unsealed(engine: &Engine, row: &Generation) -> Result<Reader<Responses>, Problem> {
    Reader::open(engine, row, of(row), Frames::none()).await
}

/// The same with what its items need to be written out.
async fn written_out(engine: &Engine, row: &Generation) -> Result<Reader<Responses>, Problem> {
    let dialect = of(row).sealing(Some(Seal::ours(engine, row)));
    Reader::open(engine, row, dialect, Frames::none()).await
}

/// The object as the events so far make it, with the time of its end, which no event has.
fn object(reader: &Reader<Responses>, row: &Generation) -> Value {
    let mut object = reader.dialect.object(row.status);
    if row.status == Status::Completed {
        object["completed_at"] = row.finished_at.map(time::OffsetDateTime::unix_timestamp).into();
    }
    object
}
