//! The head of an upstream's answer: an event stream, or why there is none.
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use tokio::time::Instant;

use super::guard::lost;
use super::json_body::Object;
use super::refusal::{RefusalBody, one_line, retry_after};
use crate::domain::event::ErrorCode;
use crate::domain::rate_limits::RateLimits;
use crate::ports::ProviderError;

/// Of an error's body, no more is read, in bytes …
const MAX_ERROR_BODY: usize = 64 * 1024;

/// … and no longer.
const ERROR_BODY_TIME: Duration = Duration::from_secs(5);

/// The bytes of an answer's events.
pub(crate) type Body = BoxStream<'static, reqwest::Result<Bytes>>;

/// The possible first bytes of an event stream.
const FIELDS: [&[u8]; 6] = [b"data:", b"event:", b"id:", b"retry:", b"error:", b":"];

/// The events of the answer: its body, whatever it is declared as, or the one that an answer in
/// one piece amounts to. A body that is declared as something else has to be told by `deadline`,
/// within `limit` bytes.
///
/// # Errors
/// A status that is no success, another kind of body, a compressed one.
pub(crate) async fn expect_stream(
    response: reqwest::Response,
    limit: usize,
    deadline: Instant,
) -> Result<Body, ProviderError> {
    if !response.status().is_success() {
        return Err(refused(response).await);
    }
    let encoding = response.headers().get(CONTENT_ENCODING).and_then(|v| v.to_str().ok());
    if let Some(encoding) = encoding.filter(|e| !e.eq_ignore_ascii_case("identity")) {
        let what = "the model's stream is compressed, which was not asked for";
        let message = format!("{what}: {}", one_line(encoding));
        return Err(lost(ErrorCode::UpstreamProtocol, message, false));
    }
    if is_event_stream(response.headers()) {
        return Ok(response.bytes_stream().boxed());
    }
    let kind = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let kind = one_line(kind.unwrap_or("something else"));
    let mut rest = response.bytes_stream().boxed();
    let mut read = Vec::new();
    while read.len() < limit {
        match tokio::time::timeout_at(deadline, rest.next()).await {
            Ok(Some(Ok(bytes))) => read.extend_from_slice(&bytes),
            Ok(Some(Err(_)) | None) | Err(_) => break,
        }
        if FIELDS.iter().any(|field| read.trim_ascii_start().starts_with(field)) {
            return Ok(stream::iter([Ok(Bytes::from(read))]).chain(rest).boxed());
        }
    }
    match in_one_piece(&read) {
        Some(event) => Ok(stream::iter([Ok(event)]).boxed()),
        None => Err(not_a_stream(&kind, &read)),
    }
}

/// The events that an answer in one piece amounts to: some servers ignore `stream`.
fn in_one_piece(body: &[u8]) -> Option<Bytes> {
    let text = std::str::from_utf8(body).ok()?;
    let object = Object::parse(text)?;
    if object.has("error") {
        return None;
    }
    let event = if object.has("choices") {
        object
    } else if object.read::<String>("object").as_deref() == Some("response") {
        Object::of(&serde_json::json!({ "type": "response.completed", "response": object }))
    } else {
        return None;
    };
    let line = serde_json::to_string(&event).ok()?.replace(['\n', '\r'], " ");
    Some(Bytes::from(format!("data: {line}\n\ndata: [DONE]\n\n")))
}

fn is_event_stream(headers: &http::HeaderMap) -> bool {
    const WANTED: &str = "text/event-stream";
    // Some servers leave it out; what is no stream then ends without any event.
    let Some(value) = headers.get(CONTENT_TYPE) else { return true };
    let start = value.as_bytes().get(..WANTED.len());
    start.is_some_and(|s| s.eq_ignore_ascii_case(WANTED.as_bytes()))
}

/// The rate limits in these headers.
pub(crate) fn rate_limits(headers: &http::HeaderMap) -> RateLimits {
    RateLimits::of(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
}

/// A status that is no success.
async fn refused(response: reqwest::Response) -> ProviderError {
    let status = response.status().as_u16();
    let wait = retry_after(response.headers());
    let limits = rate_limits(response.headers());
    let said = RefusalBody::in_body(&beginning(response).await);
    let mut loss = said.with_status(status);
    if let Some(refusal) = &mut loss.upstream {
        refusal.rate_limits = limits;
    }
    ProviderError { retry_after: wait.filter(|_| loss.retryable), ..loss }
}

/// A success without a stream: a login page, or what another API answers.
fn not_a_stream(kind: &str, body: &[u8]) -> ProviderError {
    let json = serde_json::from_slice::<serde_json::Value>(body).ok();
    if let Some(value) = json.as_ref().filter(|v| v.get("error").is_some_and(|e| !e.is_null())) {
        return RefusalBody::in_value(value).in_stream();
    }
    let answered =
        json.is_some_and(|v| v.get("choices").or(v.get("output")).or(v.get("content")).is_some());
    let message = if answered {
        // The quote would be the answer's text.
        format!("the model answered with {kind} in one piece, not with a stream")
    } else {
        let quote = one_line(&String::from_utf8_lossy(body));
        format!("the model answered with {kind}, not with a stream; it begins: {quote}")
    };
    lost(ErrorCode::UpstreamProtocol, message, false)
}

/// The beginning of a body that is not a stream: as much as comes in time and fits.
async fn beginning(response: reqwest::Response) -> Vec<u8> {
    let deadline = Instant::now() + ERROR_BODY_TIME;
    let mut stream = response.bytes_stream();
    let mut body = Vec::new();
    while let Ok(Some(Ok(bytes))) = tokio::time::timeout_at(deadline, stream.next()).await {
        body.extend_from_slice(&bytes);
        if body.len() >= MAX_ERROR_BODY {
            body.truncate(MAX_ERROR_BODY);
            break;
        }
    }
    body
}

/// The request did not get an answer: before the connection, or after it.
pub(crate) fn no_answer(error: reqwest::Error) -> ProviderError {
    let connected = !error.is_connect();
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let what = if connected { "the model closed the connection" } else { "cannot connect" };
    let message = format!("{what}: {}", one_line(&cause.to_string()));
    lost(ErrorCode::UpstreamUnavailable, message, !connected)
}
