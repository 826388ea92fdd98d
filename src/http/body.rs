//! A JSON body: its type, size and time are limited, and what is wrong with it is said clearly.
mod budget;
mod coding;

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::time::{Instant, timeout_at};

use super::problem::Problem;
use super::protocols::native::object::Object;
use super::sound;
use crate::domain::escapes::mended;
use crate::domain::nearest::unknown_name;
use crate::engine::{Engine, Limits};
pub use budget::Bodies;
pub(super) use budget::Share;
use coding::Coding;

/// A slower body is an attack: actix itself has no limit.
const BODY_TIME: Duration = Duration::from_secs(30);
/// A large body has a second more for so many bytes: half a megabit per second is a slow phone.
const BYTES_PER_S: usize = 64 * 1024;
/// A larger body is parsed off the worker, whose streams must not wait for it.
const AT_ONCE: usize = 256 * 1024;
/// Some editors and .NET programs put it in front. Python's servers pass over it, and so do we.
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// The largest body of a start, in bytes.
pub(super) fn limit(engine: &Engine) -> usize {
    most(engine.limits())
}

/// The same by the limits: JSON escapes can double a text, never a picture, and what is around it
/// is small.
pub fn most(limits: &Limits) -> usize {
    limits.prompt_bytes * 2 + limits.media_bytes + 64 * 1024
}

/// Reads and parses the body, of at most `limit` bytes.
pub(super) async fn json<T: DeserializeOwned + Send + 'static>(
    request: &HttpRequest,
    payload: web::Payload,
    limit: usize,
) -> Result<T, Problem> {
    read(request, payload, limit, |bytes| parse(&bytes)).await
}

/// The same where a request may have no body: it then says what the default says.
pub(super) async fn json_or_nothing<T: DeserializeOwned + Default + Send + 'static>(
    request: &HttpRequest,
    payload: web::Payload,
    limit: usize,
) -> Result<T, Problem> {
    let kind = check_type(request);
    bytes(request, payload, limit, |body| match body.is_empty() {
        true => Ok(T::default()),
        false => kind.and_then(|()| parse(body.strip_prefix(BOM).unwrap_or(&body))),
    })
    .await
}

/// The same, and the body's text as it came, but for characters that no text can hold.
pub(super) async fn json_and_text<T: DeserializeOwned + Send + 'static>(
    request: &HttpRequest,
    payload: web::Payload,
    limit: usize,
) -> Result<(T, Arc<str>), Problem> {
    let parse = |bytes: Bytes| {
        let bytes = mended(&bytes);
        Ok((parse(&bytes)?, String::from_utf8_lossy(&bytes).into()))
    };
    read(request, payload, limit, parse).await
}

/// Reads the body and has `parse` make of it what is wanted, off the worker where it is large.
async fn read<T: Send + 'static>(
    request: &HttpRequest,
    payload: web::Payload,
    limit: usize,
    parse: impl FnOnce(Bytes) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    check_type(request)?;
    bytes(request, payload, limit, |mut body| {
        if body.starts_with(BOM) {
            drop(body.split_to(BOM.len()));
        }
        parse(body)
    })
    .await
}

/// The same for a body of any type.
pub(super) async fn bytes<T: Send + 'static>(
    request: &HttpRequest,
    payload: web::Payload,
    limit: usize,
    parse: impl FnOnce(Bytes) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let coding = Coding::of(request)?;
    let mut share = Share::of(request);
    let bytes = collect(payload, limit, &mut share).await?;
    if coding == Coding::Identity && bytes.len() <= AT_ONCE {
        return parse(bytes);
    }
    let parsed = web::block(move || parse(coding.decode(bytes, limit, &mut share)?));
    parsed.await.unwrap_or_else(|_| Err(Problem::internal()))
}

fn check_type(request: &HttpRequest) -> Result<(), Problem> {
    let text = |name| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
    let kind = text(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let detail = "send Content-Type: application/json";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Problem::new(status, "unsupported_media_type", detail));
    }
    Ok(())
}

async fn collect(
    mut payload: web::Payload,
    limit: usize,
    share: &mut Share,
) -> Result<Bytes, Problem> {
    let began = Instant::now();
    let mut bytes = BytesMut::new();
    loop {
        let time = BODY_TIME + Duration::from_secs((bytes.len() / BYTES_PER_S) as u64);
        let Ok(next) = timeout_at(began + time, payload.next()).await else {
            let detail = format!("the body did not arrive within {} s", time.as_secs());
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", detail));
        };
        let Some(chunk) = next else { return Ok(bytes.freeze()) };
        let chunk =
            chunk.map_err(|e| Problem::bad_request("invalid_body", format!("body: {e}")))?;
        if bytes.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        share.take(chunk.len())?;
        bytes.extend_from_slice(&chunk);
    }
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("the body is larger than {limit} bytes");
    let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", detail);
    problem.with("limit", limit)
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
