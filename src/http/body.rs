//! A JSON body: its type, size and time are limited, and what is wrong with it is said clearly.
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::time::timeout;

use super::escapes::mended;
use super::object::Object;
use super::problem::Problem;
use super::sound;
use crate::domain::nearest::unknown_name;
use crate::engine::Engine;

/// A slower body is an attack: actix itself has no limit.
const BODY_TIME: Duration = Duration::from_secs(30);

/// The largest body of a start, in bytes: JSON escapes can double a text, and what is around it
/// is small.
pub(super) fn limit(engine: &Engine) -> usize {
    engine.limits().prompt_bytes * 2 + 64 * 1024
}

/// Reads and parses the body, of at most `limit` bytes.
pub(super) async fn json<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: web::Payload,
    limit: usize,
) -> Result<T, Problem> {
    parse(&read(request, payload, limit).await?)
}

/// The same, and the body's text as it came, but for characters that no text can hold.
pub(super) async fn json_and_text<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: web::Payload,
    limit: usize,
) -> Result<(T, Arc<str>), Problem> {
    let bytes = read(request, payload, limit).await?;
    let bytes = mended(&bytes);
    let body = parse(&bytes)?;
    Ok((body, String::from_utf8_lossy(&bytes).into()))
}

async fn read(
    request: &HttpRequest,
    payload: web::Payload,
    limit: usize,
) -> Result<Bytes, Problem> {
    check_type(request)?;
    timeout(BODY_TIME, collect(payload, limit)).await.map_err(|_| {
        let detail = format!("the body did not arrive within {} s", BODY_TIME.as_secs());
        Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", detail)
    })?
}

fn check_type(request: &HttpRequest) -> Result<(), Problem> {
    let text = |name| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
    let kind = text(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let detail = "send Content-Type: application/json";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Problem::new(status, "unsupported_media_type", detail));
    }
    let encoding = text(header::CONTENT_ENCODING).trim();
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") {
        let detail = "send the body without Content-Encoding";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Problem::new(status, "unsupported_content_encoding", detail));
    }
    Ok(())
}

async fn collect(mut payload: web::Payload, limit: usize) -> Result<Bytes, Problem> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk =
            chunk.map_err(|e| Problem::bad_request("invalid_body", format!("body: {e}")))?;
        if bytes.len() + chunk.len() > limit {
            let detail = format!("the body is larger than {limit} bytes");
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Err(Problem::new(status, "payload_too_large", detail).with("limit", limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// First whether it is JSON at all, then whether it says what we understand.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let bytes = mended(bytes);
    sound::check(&bytes)?;
    object(&bytes)
}

/// Parses the few fields of `T` alone, whatever the others say: a refusal of these can then be
/// addressed.
pub(super) fn mark<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let bytes = mended(bytes);
    serde_json::from_slice::<IgnoredAny>(&bytes).map_err(|e| not_json(&e))?;
    object(&bytes)
}

fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let Object(body) = serde_path_to_error::deserialize(&mut json).map_err(|e| {
        let path = e.path().to_string();
        misunderstood(&path, e.inner())
    })?;
    Ok(body)
}

pub(super) fn not_json(error: &serde_json::Error) -> Problem {
    Problem::bad_request("invalid_json", error.to_string())
        .with("line", error.line())
        .with("column", error.column())
}

fn misunderstood(path: &str, error: &serde_json::Error) -> Problem {
    if !error.is_data() {
        return not_json(error);
    }
    let whole = error.to_string();
    let said = whole.split(" at line ").next().unwrap_or_default();
    // serde names the field only in its words; a test notices when they change.
    let named = |prefix| said.strip_prefix(prefix).and_then(|s: &str| s.split('`').next());
    if named("duplicate field `").is_some() {
        return not_json(error);
    }
    if let Some(field) = named("missing field `") {
        return Problem::unprocessable("missing_field", format!("`{field}` is missing"))
            .with("field", field);
    }
    if said.starts_with("invalid value: integer") {
        return Problem::unprocessable("out_of_range", format!("`{path}` is out of range"))
            .with("field", path);
    }
    let Some((name, known)) = unknown_name(said) else {
        return Problem::unprocessable("invalid_type", format!("`{path}`: {said}"))
            .with("field", path);
    };
    let hint = known.map(|k| format!(" Did you mean `{k}`?")).unwrap_or_default();
    if said.starts_with("unknown variant") {
        let detail = format!("`{path}`: `{name}` is not supported.{hint}");
        return Problem::unprocessable("unsupported_value", detail).with("field", path);
    }
    Problem::unprocessable("unknown_field", format!("`{name}` is not known here.{hint}"))
        .with("field", name)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use actix_web::{FromRequest, ResponseError, dev};
    use futures_util::stream::pending;
    use serde_json::Value;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let kind = (header::CONTENT_TYPE, "application/json");
        let request = TestRequest::post().insert_header(kind).to_http_request();
        let mut payload = dev::Payload::Stream { payload: pending().boxed_local() };
        let payload = web::Payload::from_request(&request, &mut payload).await.unwrap();
        let problem = json::<Value>(&request, payload, 100).await.unwrap_err();
        assert_eq!(problem.status_code(), StatusCode::REQUEST_TIMEOUT);
    }
}
