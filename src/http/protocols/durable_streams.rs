//! A generation as a stream of the Durable Streams protocol: its read side, in JSON mode.
//! <https://github.com/durable-streams/durable-streams/blob/main/PROTOCOL.md>
use std::convert::Infallible;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::http::header::{self, HeaderName};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use bytes::{BufMut, Bytes};
use futures_util::{Stream, stream};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, timeout, timeout_at};

use crate::domain::entry::{Entry, Kind};
use crate::domain::generation::Generation;
use crate::domain::id::Seq;
use crate::engine::{Engine, Item, Opened, Session};
use crate::http::frame::{EVENT_STREAM, KEEP_ALIVE, Mixed};
use crate::http::large;
use crate::http::problem::Problem;
use crate::http::routes::endpoint;
use crate::http::{EngineData, address, while_allowed};
use crate::metrics::Transport;
use crate::ports::Address;

/// How long a long-poll waits: shorter than proxies do.
const POLL: Duration = Duration::from_secs(20);
/// How long one live connection lasts, as the protocol asks for.
const LIVE: Duration = Duration::from_secs(60);

const PATH: &str = "/v1/generations/{id}/stream";
const NEXT: HeaderName = HeaderName::from_static("stream-next-offset");
const UP_TO_DATE: HeaderName = HeaderName::from_static("stream-up-to-date");
const CLOSED: HeaderName = HeaderName::from_static("stream-closed");
const CURSOR: HeaderName = HeaderName::from_static("stream-cursor");
const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The route.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(endpoint(PATH).stream(read).on(Method::HEAD, head));
}

#[derive(Debug, Deserialize)]
struct Query {
    offset: Option<String>,
    live: Option<String>,
    cursor: Option<u64>,
}

/// The state of the stream when a reader comes.
struct StreamState {
    row: Generation,
    /// The reader has everything up to this event.
    after: Seq,
    /// For the caches of live reads, of which there are none here: it only has to grow.
    cursor: u64,
}

impl StreamState {
    fn is_at_end(&self) -> bool {
        self.after == self.row.last_seq
    }

    fn is_closed(&self) -> bool {
        self.row.result.is_some()
    }
}

/// The events behind an offset: what there is, or by long-poll, or as server-sent events.
async fn read(engine: EngineData, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let query = web::Query::<Query>::from_query(request.query_string())
        .map_err(|e| Problem::bad_request("invalid_query", e.to_string()))?
        .into_inner();
    let row = engine.generation(&address(&request)?).await?;
    let live = query.live.as_deref();
    let after = offset(query.offset.as_deref(), live.is_some(), &row)?;
    let place = StreamState { row, after, cursor: query.cursor.unwrap_or(0).saturating_add(1) };
    if place.is_closed() && !place.row.events_retained && !place.is_at_end() {
        let detail = "its events are no longer retained; GET the generation for its answer";
        return Err(Problem::new(StatusCode::GONE, "cursor_expired", detail));
    }
    match live {
        None => {
            while_allowed(&request, catch_up(&engine, place)).await.map(|b| unless(&request, b))
        }
        Some("long-poll") => while_allowed(&request, long_poll(&engine, place)).await,
        Some("sse") => follow(&engine, place).await,
        Some(_) => {
            let detail = "`live` is long-poll or sse";
            Err(Problem::bad_request("invalid_query", detail).with("field", "live"))
        }
    }
}

/// Where the stream ends now, and whether for good.
async fn head(engine: EngineData, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let row = engine.generation(&address(&request)?).await?;
    let mut response = common(HttpResponse::Ok(), row.last_seq);
    response.insert_header((header::CONTENT_TYPE, "application/json"));
    if row.result.is_some() {
        response.insert_header((CLOSED, "true"));
    }
    Ok(response.finish())
}

async fn catch_up(engine: &Engine, place: StreamState) -> Result<HttpResponse, Problem> {
    let mut entries = Vec::new();
    if !place.is_at_end()
        && let Some(mut session) = open(engine, &place).await?
        && let Ok(Some(Item::Entries(ready))) = timeout(POLL, session.next()).await
    {
        entries = ready;
    }
    Ok(batch(&place, &entries))
}

async fn long_poll(engine: &Engine, place: StreamState) -> Result<HttpResponse, Problem> {
    if let Some(mut session) = open(engine, &place).await? {
        let deadline = Instant::now() + POLL;
        while let Ok(Some(item)) = timeout_at(deadline, session.next()).await {
            match item {
                Item::Entries(entries) => return Ok(batch(&place, &entries)),
                Item::Heartbeat => {}
            }
        }
    }
    let mut response = common(HttpResponse::NoContent(), place.after);
    response.insert_header((UP_TO_DATE, "true")).insert_header((CURSOR, place.cursor.to_string()));
    if place.is_at_end() && place.is_closed() {
        response.insert_header((CLOSED, "true"));
    }
    Ok(response.finish())
}

async fn follow(engine: &Engine, place: StreamState) -> Result<HttpResponse, Problem> {
    let session = open(engine, &place).await?;
    let mut response = common(HttpResponse::Ok(), place.after);
    response
        .insert_header((header::CONTENT_TYPE, EVENT_STREAM))
        .insert_header((header::CACHE_CONTROL, "no-cache, no-transform"))
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"));
    Ok(response.streaming(frames(place, session)))
}

/// A session behind the reader's offset; `None` if there is nothing more, ever.
async fn open(engine: &Engine, place: &StreamState) -> Result<Option<Session>, Problem> {
    let at = Address { tenant: place.row.tenant.clone(), id: place.row.id };
    Ok(match engine.open(&at, place.after).await? {
        Opened::Complete => None,
        Opened::Events(session) => Some(session.counted_as(Transport::Sse, "durable_streams")),
    })
}

/// `-1` is the beginning, `now` the end, anything else an offset that we gave out.
fn offset(text: Option<&str>, live: bool, row: &Generation) -> Result<Seq, Problem> {
    let invalid = || {
        let detail = "`offset` is -1, now, or a Stream-Next-Offset of this stream";
        Problem::bad_request("invalid_cursor", detail).with("field", "offset")
    };
    match text {
        None if live => Err(invalid()),
        None | Some("-1") => Ok(Seq::ZERO),
        Some("now") => Ok(row.last_seq),
        Some(text) => {
            let seq = text.parse::<Seq>().map_err(|_| invalid())?;
            if seq <= row.last_seq { Ok(seq) } else { Err(invalid()) }
        }
    }
}

/// As many digits always, so that offsets sort as texts.
fn token(seq: Seq) -> String {
    format!("{:018}", seq.0)
}

fn common(mut response: HttpResponseBuilder, next: Seq) -> HttpResponseBuilder {
    response
        .insert_header((NEXT, token(next)))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CORP, "cross-origin"));
    response
}

/// Some events as one answer.
fn batch(place: &StreamState, entries: &[Entry]) -> HttpResponse {
    let next = entries.last().map_or(place.after, |entry| entry.seq);
    let closed = ends(place, entries);
    let mut response = common(HttpResponse::Ok(), next);
    response
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .insert_header((CURSOR, place.cursor.to_string()))
        .insert_header((header::ETAG, format!("\"{}:{next}:{closed}\"", place.row.id)));
    if next >= place.row.last_seq {
        response.insert_header((UP_TO_DATE, "true"));
    }
    if closed {
        response.insert_header((CLOSED, "true"));
    }
    let mut body = Mixed::default();
    array(entries, &mut body);
    response.body(large::mixed(body))
}

/// The answer, or 304 if the client has this very one (RFC 9110 §13.1.2).
fn unless(request: &HttpRequest, mut response: HttpResponse) -> HttpResponse {
    let Some(etag) = response.headers().get(header::ETAG) else { return response };
    let has_it = |list: &str| {
        list.split(',').map(str::trim).any(|tag| {
            tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes()
        })
    };
    let lists = request.headers().get_all(header::IF_NONE_MATCH);
    if !lists.filter_map(|list| list.to_str().ok()).any(has_it) {
        return response;
    }
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response.headers_mut().remove(header::CONTENT_TYPE);
    response.map_body(|_, _| BoxBody::new(()))
}

/// Whether nothing follows these.
fn ends(place: &StreamState, entries: &[Entry]) -> bool {
    match entries.last() {
        Some(entry) => entry.kind == Kind::Done,
        None => place.is_at_end() && place.is_closed(),
    }
}

/// Writes entries as an array, without copies of large ones.
fn array(entries: &[Entry], to: &mut Mixed) {
    let small = entries.iter().filter(|entry| !entry.is_large());
    to.out.reserve(small.map(|entry| entry.json().len() + 1).sum::<usize>() + 2);
    to.out.put_u8(b'[');
    for (n, entry) in entries.iter().enumerate() {
        if n > 0 {
            to.out.put_u8(b',');
        }
        to.json(entry);
    }
    to.out.put_u8(b']');
}

/// A data event and its control event for each batch. An empty stream gets a control event at once,
/// so that the reader knows that it is up to date.
fn frames(
    place: StreamState,
    session: Option<Session>,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let deadline = Instant::now() + LIVE;
    let first = if place.is_at_end() { frame(&place, &[]) } else { Mixed::default() };
    stream::unfold((place, session, first), move |(place, mut session, mut ready)| async move {
        loop {
            let piece = ready.take();
            if !piece.is_empty() {
                return Some((Ok(piece), (place, session, ready)));
            }
            let mut reading = session.take()?;
            match timeout_at(deadline, reading.next()).await {
                Ok(Some(Item::Entries(entries))) => {
                    ready = frame(&place, &entries);
                    session = (!ends(&place, &entries)).then_some(reading);
                }
                Ok(Some(Item::Heartbeat)) => {
                    ready.out.put_slice(KEEP_ALIVE);
                    session = Some(reading);
                }
                Ok(None) | Err(_) => return None,
            }
        }
    })
}

fn frame(place: &StreamState, entries: &[Entry]) -> Mixed {
    let next = entries.last().map_or(place.after, |entry| entry.seq);
    let mut control = json!({
        "streamNextOffset": token(next),
        "streamCursor": place.cursor.to_string(),
    });
    if next >= place.row.last_seq {
        control["upToDate"] = true.into();
    }
    if ends(place, entries) {
        control["streamClosed"] = true.into();
    }
    let mut frame = Mixed::default();
    if !entries.is_empty() {
        frame.out.put_slice(b"event: data\ndata: ");
        array(entries, &mut frame);
        frame.out.put_slice(b"\n\n");
    }
    frame.out.put_slice(format!("event: control\ndata: {control}\n\n").as_bytes());
    frame
}
