//! The head of an upstream's answer: an event stream, or why there is none.
use std::time::Duration;

use futures_util::StreamExt;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use tokio::time::Instant;

use super::guard::lost;
use super::refusal::{Said, one_line, retry_after};
use crate::domain::event::ErrorCode;
use crate::ports::ProviderError;

/// Of an error's body, no more is read, in bytes …
const MAX_ERROR_BODY: usize = 64 * 1024;

/// … and no longer.
const ERROR_BODY_TIME: Duration = Duration::from_secs(5);

/// The answer, if its body is an event stream.
///
/// # Errors
/// A status that is no success, another kind of body, a compressed one.
pub(crate) async fn expect_stream(
    response: reqwest::Response,
) -> Result<reqwest::Response, ProviderError> {
    if !response.status().is_success() {
        return Err(refused(response).await);
    }
    if !is_event_stream(response.headers()) {
        return Err(not_a_stream(response).await);
    }
    let encoding = response.headers().get(CONTENT_ENCODING).and_then(|v| v.to_str().ok());
    match encoding.filter(|e| !e.eq_ignore_ascii_case("identity")) {
        None => Ok(response),
        Some(encoding) => {
            let what = "the model's stream is compressed, which was not asked for";
            let message = format!("{what}: {}", one_line(encoding));
            Err(lost(ErrorCode::UpstreamProtocol, message, false))
        }
    }
}

fn is_event_stream(headers: &http::HeaderMap) -> bool {
    const WANTED: &str = "text/event-stream";
    // Some servers leave it out; what is no stream then ends without any event.
    let Some(value) = headers.get(CONTENT_TYPE) else { return true };
    let start = value.as_bytes().get(..WANTED.len());
    start.is_some_and(|s| s.eq_ignore_ascii_case(WANTED.as_bytes()))
}

/// A status that is no success.
async fn refused(response: reqwest::Response) -> ProviderError {
    let status = response.status().as_u16();
    let wait = retry_after(response.headers());
    let said = Said::in_body(&beginning(response).await);
    let loss = said.with_status(status);
    ProviderError { retry_after: wait.filter(|_| loss.retryable), ..loss }
}

/// A success without a stream: a login page, or a server that ignores `stream`.
async fn not_a_stream(response: reqwest::Response) -> ProviderError {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let kind = one_line(kind.unwrap_or("something else"));
    let body = beginning(response).await;
    let json = serde_json::from_slice::<serde_json::Value>(&body).ok();
    if let Some(value) = json.as_ref().filter(|v| v.get("error").is_some_and(|e| !e.is_null())) {
        return Said::in_value(value).in_stream();
    }
    let answered = json.is_some_and(|v| v.get("choices").or(v.get("output")).is_some());
    let quote = one_line(&String::from_utf8_lossy(&body));
    let message = if answered {
        // The quote would be the answer's text.
        format!("the model answered with {kind} in one piece, not with a stream")
    } else {
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
