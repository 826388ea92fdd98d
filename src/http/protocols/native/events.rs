//! `GET /v1/generations/{id}/events`: the log of a generation, from a cursor, live.
#[cfg(test)]
mod fuzz;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use crate::domain::id::Seq;
use crate::engine::Opened;
use crate::http::problem::Problem;
use crate::http::sse;
use crate::http::sse::Shape;
use crate::http::{EngineData, accept, address};

/// The query's names; others are ignored, as proxies and cache busters add them.
#[derive(Debug, Default, Deserialize)]
struct Query {
    after: Option<String>,
    /// The cursor of polyfills of `EventSource`, which send no header.
    #[serde(rename = "lastEventId")]
    last_event_id: Option<String>,
    coalesce: Option<String>,
}

/// Streams the events behind the cursor; 204 when there are none and never will be.
pub(super) async fn read(
    engine: EngineData,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let at = address(&request)?;
    let (cursor, shape) = wanted(&request)?;
    match engine.open(&at, cursor).await? {
        Opened::Complete => Ok(HttpResponse::NoContent().finish()),
        Opened::Events(session) => Ok(sse::response(at.id, *session, shape, Vec::new())),
    }
}

/// From where on a reader wants its events, and how.
pub(super) fn wanted(request: &HttpRequest) -> Result<(Seq, Shape), Problem> {
    if !accept::takes_events(request) {
        let detail = "this path answers text/event-stream";
        return Err(Problem::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", detail));
    }
    let query = web::Query::<Query>::from_query(request.query_string())
        .map_err(|e| Problem::bad_request("invalid_query", e.to_string()))?
        .into_inner();
    // All are read, so that no mistake is passed over; those that grow win: the header, and what
    // stands for it.
    let after = query.after.as_deref().map(parse_cursor).transpose()?;
    let last = query.last_event_id.as_deref().filter(|id| !id.is_empty());
    let last = last.map(parse_cursor).transpose()?;
    let cursor = header_cursor(request)?.or(last).or(after).unwrap_or(Seq::ZERO);
    Ok((cursor, Shape { coalesce: flag("coalesce", query.coalesce.as_deref())? }))
}

/// The cursor in `Last-Event-ID`, which browsers send by themselves; it wins over the query.
pub(super) fn header_cursor(request: &HttpRequest) -> Result<Option<Seq>, Problem> {
    let Some(value) = request.headers().get("last-event-id") else { return Ok(None) };
    parse_cursor(value.to_str().unwrap_or_default()).map(Some)
}

pub(crate) fn parse_cursor(text: &str) -> Result<Seq, Problem> {
    text.parse().map_err(|e| Problem::bad_request("invalid_cursor", format!("{e}")))
}

/// A flag of a query.
pub(super) fn flag(name: &str, value: Option<&str>) -> Result<bool, Problem> {
    match value {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1" | "") => Ok(true),
        Some(_) => Err(Problem::bad_request("invalid_query", format!("`{name}` is true or false"))),
    }
}
