//! `/api/chat`: the AI SDK's chat, as its `useChat` and default transport speak it.
pub(crate) mod encoder;
mod request;

use actix_web::http::header::HeaderName;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::native::events::parse_cursor;
use super::native::generations::unknown_model;
use super::websocket;
use crate::domain::generation::{Generation, Request};
use crate::domain::id::{Seq, Tenant};
use crate::domain::trace::TraceParent;
use crate::engine::{Caller, Engine, RequestRead};
use crate::http::dialect::Frames;
use crate::http::dialect_reader::Reader;
use crate::http::problem::Problem;
use crate::http::repeats;
use crate::http::routes::endpoint;
use crate::http::start::{self, over_http};
use crate::http::{EngineData, body, sse, tenant};
use crate::ports::Address;
use encoder::UiMessage;
pub(super) use request::ChatBody;
use request::chat_id;

/// The header that tells the AI SDK's clients which protocol they read.
const VERSION: (HeaderName, &str) =
    (HeaderName::from_static("x-vercel-ai-ui-message-stream"), "v1");

const CHAT: &str = "/api/chat";
const STREAM: &str = "/api/chat/{id}/stream";
const SOCKET: &str = "/api/chat/ws";

/// The routes.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(endpoint(CHAT).post(send))
        .service(endpoint(SOCKET).stream(websocket::open_chat))
        .service(endpoint(STREAM).stream(resume).delete(stop));
}

/// Starts an answer and streams it.
async fn send(
    engine: EngineData,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let (body, text): (ChatBody, _) =
        body::json_and_text(&request, payload, body::limit(&engine)).await?;
    let asked = asked(&engine, body)?;
    let (row, _) = over_http(&engine, &request, (asked, None), Some(("AiSdk", &text))).await?;
    streamed(&engine, &row, Seq::ZERO, repeats::reader(&request)).await
}

/// The request of a chat.
fn asked(engine: &Engine, body: ChatBody) -> Result<Request, Problem> {
    let models = engine.models();
    let asked = body.check(models.default_name(), engine.limits().prompt_bytes)?;
    if models.find(Some(&asked.model)).is_none() {
        return Err(unknown_model(engine, &asked.model));
    }
    Ok(asked)
}

/// Starts the answer to a chat's messages, or finds the one that its key has started.
pub(super) async fn begin(
    engine: &Engine,
    caller: Caller,
    body: ChatBody,
    key_and_trace: (Option<String>, Option<TraceParent>),
) -> Result<Generation, Problem> {
    let asked = asked(engine, body)?;
    Ok(start::begin(engine, caller, (asked, None), key_and_trace).await?.generation)
}

#[derive(Debug, Deserialize)]
struct Query {
    after: Option<String>,
}

/// The running answer of a chat from its beginning, or behind `?after=`; 204 when there is none.
async fn resume(engine: EngineData, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let query = web::Query::<Query>::from_query(request.query_string())
        .map_err(|e| Problem::bad_request("invalid_query", e.to_string()))?;
    let after = query.after.as_deref().map_or(Ok(Seq::ZERO), parse_cursor)?;
    match active(&engine, &request).await? {
        Some(row) if after > row.last_seq => {
            let detail = "`after` is ahead of the answer";
            Err(Problem::bad_request("cursor_ahead", detail).with("field", "after"))
        }
        Some(row) => streamed(&engine, &row, after, None).await,
        None => Ok(HttpResponse::NoContent().finish()),
    }
}

/// Ends the running answer of a chat, if there is one: whatever page or device asks for it.
async fn stop(engine: EngineData, request: HttpRequest) -> Result<HttpResponse, Problem> {
    if let Some(row) = active(&engine, &request).await? {
        engine.cancel(&Address { tenant: row.tenant, id: row.id }).await?;
    }
    Ok(HttpResponse::NoContent().finish())
}

/// The chat's newest generation, if it runs.
async fn active(engine: &Engine, request: &HttpRequest) -> Result<Option<Generation>, Problem> {
    // As the client encoded it: the router leaves some letters of a path encoded.
    let encoded = request.uri().path().split('/').nth(3).unwrap_or_default();
    let decoded = web::Query::<std::collections::BTreeMap<String, String>>::from_query(&format!(
        "id={}",
        encoded.replace('+', "%2B")
    ));
    let id = decoded.ok().and_then(|mut query| query.remove("id")).unwrap_or_default();
    running(engine, &tenant(request), id).await
}

/// The newest generation of the chat of that id, if it runs.
pub(super) async fn running(
    engine: &Engine,
    tenant: &Tenant,
    chat: String,
) -> Result<Option<Generation>, Problem> {
    let row = engine.newest_of(tenant, &chat_id(chat)?).await?;
    Ok(row.filter(|row| !row.status.is_ended()))
}

async fn streamed(
    engine: &Engine,
    row: &Generation,
    after: Seq,
    read: Option<RequestRead>,
) -> Result<HttpResponse, Problem> {
    let frames = Frames::after(None);
    let reader = Reader::open_after(engine, row, UiMessage::of(row), frames, after).await?;
    let reader = reader.answering(read);
    let (name, version) = VERSION;
    Ok(sse::streaming(row.id, reader.into_body(), vec![(name, version.to_owned())]))
}
