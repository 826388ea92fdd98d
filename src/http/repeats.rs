//! A request of a protocol that is sent again: what makes it the same, and what its answer says.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest};

use super::problem::Problem;
use super::same_request::{MESSAGES, compared};
use super::{caller, tenant};
use crate::domain::source::{Source, WireProtocol};
use crate::engine::{Engine, Repeat, RequestRead};

/// The answer is that of an earlier request, taken over.
pub(super) const ATTACHED: HeaderName = HeaderName::from_static("lastword-attached");
/// Asks to take an earlier answer over, also where the client closed by itself.
const ATTACH: &str = "lastword-attach";
/// How often an SDK of OpenAI or Anthropic has tried this request before.
const RETRY_COUNT: &str = "x-stainless-retry-count";

/// The reader of the answer to this request, on its way to whoever reads.
struct Begun(RequestRead);

/// Whether the server ended the stream early.
pub(super) struct Cut(Arc<AtomicBool>);

impl Cut {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A body that may be sent again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent<'a> {
    /// Of two protocols with one body each gets its own answer.
    pub(super) protocol: &'static str,
    /// The model that is asked.
    pub(super) model: &'a str,
    /// As it came.
    pub(super) body: &'a str,
}

impl<'a> Sent<'a> {
    /// The body of a request to a protocol of a vendor.
    pub(super) fn of(source: Option<&'a Source>, model: &'a str) -> Option<Self> {
        let source = source?;
        let protocol = match source.protocol {
            WireProtocol::OpenaiChat => "OpenaiChat",
            WireProtocol::OpenaiResponses => "OpenaiResponses",
            WireProtocol::AnthropicMessages => MESSAGES,
        };
        Some(Self { protocol, model, body: &source.body })
    }
}

/// The properties that make `sent` a repeat of an earlier request; `None` where an idempotency key
/// decides.
pub(super) fn repeat(
    engine: &Engine,
    request: &HttpRequest,
    sent: Option<Sent<'_>>,
    has_key: bool,
) -> Result<Option<Repeat>, Problem> {
    let Some(Sent { protocol, model, body }) = sent.filter(|_| !has_key) else { return Ok(None) };
    let caller = caller(request)?;
    let key = caller.key().map(|key| key.0.to_string()).unwrap_or_default();
    let Some(compared) = compared([tenant(request).as_str(), &key, protocol, request.path()], body)
    else {
        return Ok(None);
    };
    let models = engine.models();
    let of_model =
        || models.find(Some(model)).and_then(|model| model.disconnect.attach_after_close);
    let wanted = caller.limits().attach_after_close.or_else(of_model).unwrap_or_default();
    let is_retry = wanted || compared.names_turn || is_retry(request.headers());
    let said = compared.without_said;
    Ok(Some(Repeat { hash: compared.hash, is_retry, said }))
}

fn is_retry(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let tried = text(RETRY_COUNT).and_then(|count| count.trim().parse::<u32>().ok());
    tried.is_some_and(|count| count > 0) || text(ATTACH).is_some_and(|word| word.trim() != "0")
}

/// Keeps the reader of this request's answer, to be taken by [`reader`].
pub(super) fn begin(request: &HttpRequest, read: Option<RequestRead>, attached: bool) {
    let Some(read) = read else { return };
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
