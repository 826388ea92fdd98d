//! `/v1/generations`: start one, list them.
#[cfg(test)]
mod fuzz;

use actix_web::http::header::{self, HeaderName};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use strum::VariantNames as _;
use time::format_description::well_known::Rfc3339;

use super::events::header_cursor;
use super::prompt::StartBody;
use crate::domain::conversation::TurnAsked;
use crate::domain::event::Status;
use crate::domain::generation::{Idempotency, Request};
use crate::domain::id::{ConversationId, GenerationId, Seq};
use crate::domain::nearest;
use crate::domain::trace::TraceParent;
use crate::engine::{Caller, Engine, Opened, StartError, Started};
use crate::http::problem::Problem;
use crate::http::sse;
use crate::http::sse::{GENERATION, Shape};
use crate::http::start;
use crate::http::{EngineData, accept, body, caller, tenant, trace};
use crate::ports::{Address, Filter};

pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Most generations of one page, and how many there are unless asked otherwise.
pub(crate) const PAGE: std::ops::RangeInclusive<u32> = 1..=100;
pub(crate) const USUAL_PAGE: u32 = 20;

/// Starts a generation. With `Accept: text/event-stream` the response is its event stream.
pub(super) async fn start(
    engine: EngineData,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let body: StartBody = body::json(&request, payload, body::limit(&engine)).await?;
    let key = idempotency_key(&request)?;
    let cursor = header_cursor(&request)?;
    if cursor.is_some() && key.is_none() {
        return Err(looks_like_a_reconnect());
    }
    let started = begin(&engine, caller(&request)?, body, key, trace::of(&request)).await?;
    answer(&engine, &request, started, cursor).await
}

/// The refusal of a start with a cursor and without a key.
pub(super) fn looks_like_a_reconnect() -> Problem {
    let detail = "this looks like a reconnect, which would start a second generation: send an \
                  Idempotency-Key, or GET the events of the first";
    Problem::bad_request("idempotency_key_required", detail)
}

/// The answer to a start: its receipt, or the event stream where the client asks for it.
pub(super) async fn answer(
    engine: &Engine,
    request: &HttpRequest,
    started: Started,
    cursor: Option<Seq>,
) -> Result<HttpResponse, Problem> {
    if accept::wants_events(request) {
        stream(engine, request, started, cursor.unwrap_or_default()).await
    } else {
        Ok(receipt(&started))
    }
}

/// Starts what `body` asks for, or finds what `key` has started. For clients that speak our own
/// protocol, over HTTP or a WebSocket; each vendor's protocol builds its own start.
pub(crate) async fn begin(
    engine: &Engine,
    caller: Caller,
    body: StartBody,
    key: Option<String>,
    trace: Option<TraceParent>,
) -> Result<Started, Problem> {
    let (request, turn) =
        body.check(engine.models().default_name(), engine.limits().prompt_bytes)?;
    if engine.models().find(Some(&request.model)).is_none() {
        return Err(unknown_model(engine, &request.model));
    }
    Ok(start::begin(engine, caller, (request, turn), (key, trace)).await?)
}

fn receipt(started: &Started) -> HttpResponse {
    let id = started.generation.id;
    let mut response = if started.replayed { HttpResponse::Ok() } else { HttpResponse::Created() };
    if started.replayed {
        response.insert_header((REPLAYED, "true"));
    }
    response
        .insert_header((header::LOCATION, path(id)))
        .insert_header((GENERATION, id.to_string()))
        .json(receipt_json(started))
}

/// The receipt of a start.
pub(crate) fn receipt_json(started: &Started) -> Value {
    let row = &started.generation;
    let path = path(row.id);
    let mut receipt = json!({
        "id": row.id,
        "status": row.status,
        "model": row.request.model,
        "created_at": row.created_at.format(&Rfc3339).unwrap_or_default(),
        "last_seq": row.last_seq,
        "links": {
            "self": path,
            "events": format!("{path}/events"),
            "cancel": format!("{path}/cancel"),
        },
    });
    if let (Some(place), Some(receipt)) = (row.place, receipt.as_object_mut()) {
        receipt.insert("conversation_id".into(), json!(place.conversation));
        receipt.insert("parent_id".into(), json!(place.parent));
    }
    receipt
}

async fn stream(
    engine: &Engine,
    request: &HttpRequest,
    started: Started,
    cursor: Seq,
) -> Result<HttpResponse, Problem> {
    let id = started.generation.id;
    let at = Address { tenant: tenant(request), id };
    let mut extra = vec![(header::LOCATION, path(id))];
    if started.replayed {
        extra.push((REPLAYED, "true".into()));
    }
    match engine.open(&at, cursor).await? {
        Opened::Complete => Ok(HttpResponse::NoContent().finish()),
        Opened::Events(session) => Ok(sse::response(id, *session, Shape::default(), extra)),
    }
}

fn path(id: GenerationId) -> String {
    format!("/v1/generations/{id}")
}

pub(crate) fn unknown_model(engine: &Engine, asked: &str) -> Problem {
    let models = engine.models();
    let known: Vec<&str> = models.iter().map(|m| m.name.as_str()).collect();
    let hint = nearest::hint(asked, &known);
    let detail = format!("{}: `{}`.{hint}", StartError::UnknownModel, nearest::shown(asked));
    Problem::unprocessable("unknown_model", detail).with("field", "model").with("known", known)
}

/// The client's key, if it sent one.
pub(crate) fn idempotency_key(request: &HttpRequest) -> Result<Option<String>, Problem> {
    let mut keys = request.headers().get_all("idempotency-key");
    let Some(value) = keys.next() else { return Ok(None) };
    match (std::str::from_utf8(value.as_bytes()), keys.next()) {
        (Ok(key), None) => checked_key(key.to_owned()).map(Some),
        (Ok(_) | Err(_), _) => Err(invalid_key()),
    }
}

/// The key, if it is one.
pub(crate) fn checked_key(key: String) -> Result<String, Problem> {
    let visible = key.bytes().all(|b| b.is_ascii_graphic());
    if visible && (1..=255).contains(&key.len()) { Ok(key) } else { Err(invalid_key()) }
}

fn invalid_key() -> Problem {
    let detail = "one Idempotency-Key of 1 to 255 visible ASCII characters";
    Problem::bad_request("invalid_idempotency_key", detail)
}

/// The client's key, and a hash of what it asks, so that a reuse for something else is noticed.
pub(crate) fn idempotency(key: String, asked: &Request, turn: Option<&TurnAsked>) -> Idempotency {
    let fingerprint = match turn {
        None => fingerprint(&asked.canonical()),
        Some(turn) => fingerprint(&(asked.canonical(), turn)),
    };
    Idempotency { key, fingerprint }
}

/// A hash of what is asked.
pub(super) fn fingerprint(asked: &impl Serialize) -> Vec<u8> {
    Sha256::digest(serde_json::to_vec(asked).unwrap_or_default()).to_vec()
}

#[derive(Debug, Deserialize)]
struct Query {
    status: Option<String>,
    conversation_id: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// Lists the tenant's generations, newest first; `next_cursor` leads to older ones.
pub(super) async fn list(
    engine: EngineData,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let query = web::Query::<Query>::from_query(request.query_string())
        .map_err(|e| Problem::bad_request("invalid_query", e.to_string()))?
        .into_inner();
    let filter = Filter {
        status: query.status.as_deref().map(status).transpose()?,
        conversation: query.conversation_id.as_deref().map(conversation).transpose()?,
        before: query.cursor.as_deref().map(cursor).transpose()?,
        limit: page_limit(query.limit.as_deref())?,
    };
    let (views, more) = engine.list(&tenant(&request), filter).await?;
    let next = views.last().filter(|_| more).map(|view| view.id);
    Ok(HttpResponse::Ok().json(json!({ "data": views, "next_cursor": next })))
}

fn status(word: &str) -> Result<Status, Problem> {
    Status::parse(word).ok_or_else(|| {
        let words = Status::VARIANTS;
        let hint = nearest::hint(word, words);
        let detail = format!("`status` is one of {}.{hint}", words.join(", "));
        Problem::bad_request("invalid_query", detail).with("field", "status")
    })
}

fn conversation(text: &str) -> Result<ConversationId, Problem> {
    let detail = "`conversation_id` is the id of a conversation";
    text.parse()
        .map_err(|_| Problem::bad_request("invalid_query", detail).with("field", "conversation_id"))
}

fn cursor(text: &str) -> Result<GenerationId, Problem> {
    let detail = "`cursor` is the `next_cursor` of an earlier page";
    text.parse().map_err(|_| Problem::bad_request("invalid_cursor", detail))
}

/// The length of a page that is asked for.
pub(super) fn page_limit(text: Option<&str>) -> Result<u32, Problem> {
    text.map_or(Ok(USUAL_PAGE), |text| limit(text, *PAGE.end()))
}

/// A `limit` of at most `max`.
pub(crate) fn limit(text: &str, max: u32) -> Result<u32, Problem> {
    let min = *PAGE.start();
    text.parse().ok().filter(|n| (min..=max).contains(n)).ok_or_else(|| {
        let detail = format!("`limit` is between {min} and {max}");
        Problem::unprocessable("out_of_range", detail)
            .with("field", "limit")
            .with("min", min)
            .with("max", max)
    })
}
