//! A request of a protocol that is sent again: what makes it the same, and what its answer says.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::problem::Problem;
use super::{caller, tenant};
use crate::domain::source::Source;
use crate::engine::{Engine, Repeat, RequestRead};
use crate::ports::Address;

/// The answer is that of an earlier request, taken over.
pub(super) const ATTACHED: HeaderName = HeaderName::from_static("lastword-attached");
/// Asks to take an earlier answer over, also where the client closed by itself.
const ATTACH: &str = "lastword-attach";
/// How often an SDK of OpenAI or Anthropic has tried this request before.
const RETRY_COUNT: &str = "x-stainless-retry-count";

/// Fields that say how the answer is delivered, not what it is.
const DELIVERY: [&str; 2] = ["stream", "stream_options"];

/// The reader of the answer to this request, on its way to whoever reads.
struct Begun(RequestRead);

/// Whether the server ended the stream early.
pub(super) struct Cut(Arc<AtomicBool>);

impl Cut {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The properties that make `source` a repeat of an earlier request; `None` where an idempotency
/// key decides.
pub(super) fn repeat(
    request: &HttpRequest,
    source: Option<&Source>,
    has_key: bool,
) -> Result<Option<Repeat>, Problem> {
    let Some(source) = source.filter(|_| !has_key) else { return Ok(None) };
    let Ok(Value::Object(mut body)) = serde_json::from_str(&source.body) else { return Ok(None) };
    if body.get("background") == Some(&Value::Bool(true)) {
        return Ok(None);
    }
    DELIVERY.iter().for_each(|name| drop(body.remove(*name)));
    let key = caller(request)?.key().map(|key| key.0.to_string()).unwrap_or_default();
    let mut hash = Sha256::new();
    for part in [tenant(request).as_str(), &key, request.path()] {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.update(serde_json::to_vec(&sorted(Value::Object(body))).unwrap_or_default());
    Ok(Some(Repeat { hash: hash.finalize().to_vec(), is_retry: is_retry(request.headers()) }))
}

fn is_retry(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let tried = text(RETRY_COUNT).and_then(|count| count.trim().parse::<u32>().ok());
    tried.is_some_and(|count| count > 0) || text(ATTACH).is_some_and(|word| word.trim() != "0")
}

/// The same value with the keys of every object in order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<(String, Value)> = fields.into_iter().collect();
            fields.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(fields.into_iter().map(|(k, v)| (k, sorted(v))).collect::<Map<_, _>>())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

/// Notes the reader of this request's answer, to be taken by [`reader`].
pub(super) fn begin(engine: &Engine, request: &HttpRequest, at: &Address, attached: bool) {
    let read = engine.request_read(at.id);
    let mut extensions = request.extensions_mut();
    extensions.insert(Cut(read.cut()));
    extensions.insert(Begun(read));
    if attached {
        extensions.insert(Attached);
    }
}

/// The reader that [`begin`] noted.
pub(super) fn reader(request: &HttpRequest) -> Option<RequestRead> {
    request.extensions_mut().remove::<Begun>().map(|Begun(read)| read)
}

/// Marks a request whose answer is that of an earlier one.
pub(super) struct Attached;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::source::WireProtocol;
    use crate::engine::Caller;
    use actix_web::test::TestRequest;

    fn hash(body: &str) -> Vec<u8> {
        let request = TestRequest::post().to_http_request();
        request.extensions_mut().insert(Caller::anonymous());
        let source =
            Source { protocol: WireProtocol::OpenaiChat, body: body.into(), betas: Vec::new() };
        repeat(&request, Some(&source), false).unwrap().unwrap().hash
    }

    #[test]
    fn a_repeat_is_the_same_json_value_however_it_is_delivered() {
        let first =
            hash(r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true}"#);
        assert_eq!(first, hash(r#"{ "messages":[{"content":"hi","role":"user"}], "model":"m" }"#));
        assert_ne!(first, hash(r#"{"model":"m","messages":[{"role":"user","content":"hj"}]}"#));
        let spelled_out = r#"{"model":"m","n":1,"messages":[{"role":"user","content":"hi"}]}"#;
        assert_ne!(first, hash(spelled_out), "a default that is spelled out is another body");
    }

    #[test]
    fn another_route_is_another_request() {
        let hash = |path: &str| {
            let request = TestRequest::post().uri(path).to_http_request();
            request.extensions_mut().insert(Caller::anonymous());
            let source =
                Source { protocol: WireProtocol::OpenaiChat, body: "{}".into(), betas: Vec::new() };
            repeat(&request, Some(&source), false).unwrap().unwrap().hash
        };
        assert_ne!(hash("/v1/completions"), hash("/v1/chat/completions"));
    }
}
