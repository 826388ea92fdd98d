//! `/v1/generations`: start one, list them.
use actix_web::http::header::{self, HeaderName};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use time::format_description::well_known::Rfc3339;

use super::events::header_cursor;
use super::problem::Problem;
use super::prompt::StartBody;
use super::sse::{self, GENERATION, Shape};
use super::{Shared, accept, body, tenant};
use crate::domain::event::Status;
use crate::domain::generation::{Idempotency, Request};
use crate::domain::id::{GenerationId, Seq};
use crate::domain::nearest;
use crate::engine::{Engine, Opened, Start, StartError, Started};
use crate::ports::{Address, Filter};

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Most generations of one page, and how many there are unless asked otherwise.
const PAGE: std::ops::RangeInclusive<u32> = 1..=100;
const USUAL_PAGE: u32 = 20;

/// Starts a generation. With `Accept: text/event-stream` the response is its event stream.
pub(super) async fn start(
    engine: Shared,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let limits = engine.limits();
    // JSON escapes can double a text; what is around it is small.
    let most = limits.prompt_bytes * 2 + 64 * 1024;
    let body: StartBody = body::json(&request, payload, most).await?;
    let asked = body.check(engine.models().default_name(), limits.prompt_bytes)?;
    if engine.models().find(Some(&asked.model)).is_none() {
        return Err(unknown_model(&engine, &asked.model));
    }
    let idempotency = idempotency(&request, &asked)?;
    let cursor = header_cursor(&request)?;
    if cursor.is_some() && idempotency.is_none() {
        let detail = "this looks like a reconnect, which would start a second generation: send an \
                      Idempotency-Key, or GET the events of the first";
        return Err(Problem::bad_request("idempotency_key_required", detail));
    }
    let start = Start { tenant: tenant(&request), request: asked, idempotency };
    let started = engine.start(start).await?;
    if accept::wants_events(&request) {
        stream(&engine, &request, started, cursor.unwrap_or_default()).await
    } else {
        Ok(receipt(&started))
    }
}

fn receipt(started: &Started) -> HttpResponse {
    let row = &started.generation;
    let path = path(row.id);
    let mut response = if started.replayed { HttpResponse::Ok() } else { HttpResponse::Created() };
    if started.replayed {
        response.insert_header((REPLAYED, "true"));
    }
    response
        .insert_header((header::LOCATION, path.as_str()))
        .insert_header((GENERATION, row.id.to_string()))
        .json(json!({
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
        }))
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

fn unknown_model(engine: &Engine, asked: &str) -> Problem {
    let known: Vec<&str> = engine.models().iter().map(|m| m.name.as_str()).collect();
    let hint = nearest::hint(asked, &known);
    let detail = format!("{}: `{}`.{hint}", StartError::UnknownModel, nearest::shown(asked));
    Problem::unprocessable("unknown_model", detail).with("field", "model").with("known", known)
}

/// The client's key, and a hash of what it asks, so that a reuse for something else is noticed.
fn idempotency(request: &HttpRequest, asked: &Request) -> Result<Option<Idempotency>, Problem> {
    let mut keys = request.headers().get_all("idempotency-key");
    let Some(value) = keys.next() else { return Ok(None) };
    let bytes = value.as_bytes();
    let visible = bytes.iter().all(u8::is_ascii_graphic);
    if !(1..=255).contains(&bytes.len()) || !visible || keys.next().is_some() {
        let detail = "one Idempotency-Key of 1 to 255 visible ASCII characters";
        return Err(Problem::bad_request("invalid_idempotency_key", detail));
    }
    let canonical = serde_json::to_vec(asked).unwrap_or_default();
    Ok(Some(Idempotency {
        key: String::from_utf8_lossy(bytes).into_owned(),
        fingerprint: Sha256::digest(canonical).to_vec(),
    }))
}

#[derive(Debug, Deserialize)]
struct Query {
    status: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// Lists the tenant's generations, newest first; `next_cursor` leads to older ones.
pub(super) async fn list(engine: Shared, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let query = web::Query::<Query>::from_query(request.query_string())
        .map_err(|e| Problem::bad_request("invalid_query", e.to_string()))?
        .into_inner();
    let filter = Filter {
        status: query.status.as_deref().map(status).transpose()?,
        before: query.cursor.as_deref().map(cursor).transpose()?,
        limit: query.limit.as_deref().map_or(Ok(USUAL_PAGE), limit)?,
    };
    let (views, more) = engine.list(&tenant(&request), filter).await?;
    let next = views.last().filter(|_| more).map(|view| view.id);
    Ok(HttpResponse::Ok().json(json!({ "data": views, "next_cursor": next })))
}

fn status(word: &str) -> Result<Status, Problem> {
    let words = Status::ALL.map(Status::as_str);
    Status::parse(word).ok_or_else(|| {
        let hint = nearest::hint(word, &words);
        let detail = format!("`status` is one of {}.{hint}", words.join(", "));
        Problem::bad_request("invalid_query", detail).with("field", "status")
    })
}

fn cursor(text: &str) -> Result<GenerationId, Problem> {
    let detail = "`cursor` is the `next_cursor` of an earlier page";
    text.parse().map_err(|_| Problem::bad_request("invalid_cursor", detail))
}

fn limit(text: &str) -> Result<u32, Problem> {
    text.parse().ok().filter(|n| PAGE.contains(n)).ok_or_else(|| {
        let detail = format!("`limit` is between {} and {}", PAGE.start(), PAGE.end());
        Problem::unprocessable("out_of_range", detail)
            .with("field", "limit")
            .with("min", *PAGE.start())
            .with("max", *PAGE.end())
    })
}
