//! The answers of chat completions and of the older completions: started, streamed, in one piece,
//! retrieved, erased.
use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::error::{held, of_ending};
use super::query::retrieve;
use super::start::{address, start};
use super::usage::INCLUDE_USAGE;
use super::{erase, frames_after, not_ahead};
use crate::domain::event::Done;
use crate::domain::generation::Generation;
use crate::domain::source::{Source, WireProtocol};
use crate::domain::transcript::Answer;
use crate::engine::Engine;
use crate::http::dialect::{Dialect, Frames};
use crate::http::dialect_reader::Reader;
use crate::http::problem::Problem;
use crate::http::protocols::openai_chat::request::Asked;
use crate::http::{large, repeats, sse, while_allowed};

/// The encoder of a completion, of either kind.
pub(crate) trait Completion: Dialect + 'static {
    /// The prefix of an id, in front of the generation's.
    const PREFIX: &'static str;
    /// The `object` of an erased one.
    const ERASED: &'static str;

    /// The encoder of a generation; `include_usage` adds a last chunk with the usage.
    fn of(row: &Generation, include_usage: bool) -> Self;

    /// The completion in one piece; `done` is absent while it runs.
    fn object(&self, answer: &Answer, done: Option<&Done>) -> Value;
}

/// Starts a completion; `body` is the one that goes up. The body's `stream` decides about the
/// answer's form, since OpenAI's SDKs ask for JSON in `Accept` also when they stream.
pub(crate) async fn create<C: Completion>(
    engine: &Engine,
    request: &HttpRequest,
    asked: Asked,
    body: Arc<str>,
) -> Result<HttpResponse, Problem> {
    let Asked { request: mut asked, stream, elsewhere } = asked;
    asked.source = Some(Source { protocol: WireProtocol::OpenaiChat, body, betas: Vec::new() });
    let (row, repeatable) = start(engine, request, (asked, None), elsewhere).await?;
    if stream {
        let encoder = C::of(&row, includes_usage(&row));
        let reader = Reader::open(engine, &row, encoder, Frames::after(None)).await?;
        let mut reader = reader.answering(repeats::reader(request));
        held(engine, request, &mut reader, (&row, repeatable)).await?;
        let limits = reader.rate_limits();
        return Ok(sse::streaming(row.id, reader.into_body(), limits));
    }
    let reader = Reader::open(engine, &row, C::of(&row, false), Frames::none()).await?;
    let mut reader = reader.answering(repeats::reader(request));
    let done = while_allowed(request, async { Ok(reader.finish().await.cloned()) }).await?;
    match of_ending(done.as_ref(), repeatable) {
        Some(problem) => Err(problem),
        None => {
            let _turn = large::turn(reader.answer()).await;
            let object = reader.dialect.object(reader.answer(), done.as_ref());
            Ok(sse::whole(row.id, &object, reader.rate_limits()))
        }
    }
}

/// A completion as it stands, or its chunks behind `starting_after`.
pub(crate) async fn get<C: Completion>(
    engine: &Engine,
    request: &HttpRequest,
) -> Result<HttpResponse, Problem> {
    let row = engine.generation(&address(request, C::PREFIX)?).await?;
    let query = retrieve(request)?;
    if query.stream {
        let frames = frames_after(&row, query.starting_after)?;
        let encoder = C::of(&row, query.include_usage || includes_usage(&row));
        let reader = Reader::open(engine, &row, encoder, frames).await?;
        not_ahead(&reader.frames)?;
        return Ok(sse::streaming(row.id, reader.into_body(), Vec::new()));
    }
    let reader = Reader::open(engine, &row, C::of(&row, false), Frames::none()).await?;
    let _turn = large::turn(reader.answer()).await;
    let mut object = reader.dialect.object(reader.answer(), reader.replay.done());
    // OpenAI stores nothing that has not completed, and so has no word for it.
    object["status"] = serde_json::to_value(row.status).unwrap_or_default();
    Ok(sse::whole(row.id, &object, Vec::new()))
}

/// Erases an ended one.
pub(crate) async fn delete<C: Completion>(
    engine: &Engine,
    request: &HttpRequest,
) -> Result<HttpResponse, Problem> {
    let at = address(request, C::PREFIX)?;
    erase(engine, &at).await?;
    let id = format!("{}{}", C::PREFIX, at.id);
    Ok(HttpResponse::Ok().json(json!({ "id": id, "object": C::ERASED, "deleted": true })))
}

fn includes_usage(row: &Generation) -> bool {
    row.request.echo.contains_key(INCLUDE_USAGE)
}
