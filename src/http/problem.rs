//! Every refusal: RFC 9457 problem details with a stable `code`.
use std::fmt;

use actix_web::http::header::{self, HeaderName};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde_json::{Map, Value, json};

use crate::domain::event::UpstreamRefusal;
use crate::domain::prompt::PromptError;
use crate::engine::{ConverseError, EngineError, StartError};
use crate::ports::LogError;

/// A refusal.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    /// Boxed, for every route returns a refusal by value.
    more: Box<Map<String, Value>>,
    /// Seconds, for the `Retry-After` header.
    retry_after: Option<u32>,
    /// Further headers.
    headers: Vec<(HeaderName, String)>,
    /// The hint for OpenAI's SDKs, which try again by themselves.
    should_retry: Option<bool>,
    /// The upstream's words, for clients of its protocol.
    upstream: Option<Box<UpstreamRefusal>>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let (detail, more) = (detail.into(), Box::default());
        Self {
            status,
            code,
            detail,
            more,
            retry_after: None,
            headers: Vec::new(),
            should_retry: None,
            upstream: None,
        }
    }

    pub(super) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub(super) fn unprocessable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// The same words for what is unknown, malformed or somebody else's.
    pub(super) fn no_such_generation() -> Self {
        Self::not_found("there is no generation of that id")
    }

    /// The same for conversations.
    pub(super) fn no_such_conversation() -> Self {
        Self::not_found("there is no conversation of that id")
    }

    pub(super) fn method_not_allowed(allowed: &[Method]) -> Self {
        let names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
        let allow = names.join(", ");
        let detail = format!("this path answers {allow}");
        let problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail);
        problem.header(header::ALLOW, allow)
    }

    /// Adds a member to the object.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.into(), value.into());
        self
    }

    /// Adds a header to the answer.
    pub(super) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Says whether a client that tries again by itself shall do so.
    pub(super) fn retry(mut self, should: bool) -> Self {
        self.should_retry = Some(should);
        self
    }

    /// Says it in the words of the upstream that refused, for clients of its protocol.
    pub(super) fn said_upstream(mut self, said: Option<UpstreamRefusal>) -> Self {
        self.upstream = said.map(Box::new);
        self
    }

    /// The same under another code, if it has this one.
    pub(super) fn renamed(mut self, code: &str, other: &'static str) -> Self {
        if self.code == code {
            self.code = other;
        }
        self
    }

    /// The field that it is about.
    pub(super) fn field(&self) -> Option<&str> {
        self.more.get("field")?.as_str()
    }

    /// Its code, its words, and what else there is to say: for an answer that is not HTTP's.
    pub(super) fn into_parts(mut self) -> (&'static str, String, Map<String, Value>) {
        if let Some(seconds) = self.retry_after {
            self.more.insert("retry_after_ms".into(), (seconds * 1000).into());
        }
        (self.code, self.detail, *self.more)
    }

    /// The name of the limit that was met, which is no number.
    fn limit(&self) -> Option<&Value> {
        self.more.get("limit").filter(|limit| limit.is_string())
    }

    /// Its stable name.
    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    /// Whether trying again helps, for protocols whose SDKs would go by the status. A temporary
    /// refusal says how long to wait, and a conflict lasts until somebody ends it.
    pub(super) fn retries(&self, status: StatusCode) -> Option<bool> {
        self.should_retry.or(match (self.retry_after, status) {
            (Some(_), _) => Some(true),
            (None, StatusCode::CONFLICT) => Some(false),
            (None, _) => None,
        })
    }

    /// The words of the model's server, if it is its refusal.
    pub(super) fn upstream(&self) -> Option<&UpstreamRefusal> {
        self.upstream.as_deref()
    }

    /// Its sentence.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// The field of the request that it is about, or the name of the limit that was met.
    pub(super) fn param(&self) -> Option<&Value> {
        self.more.get("field").or_else(|| self.limit())
    }

    /// The status and the headers, without a body.
    pub(super) fn head(&self) -> HttpResponseBuilder {
        let mut response = HttpResponse::build(self.status);
        if let Some(seconds) = self.retry_after {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        for (name, value) in &self.headers {
            response.insert_header((name, value.as_str()));
        }
        if let Some(said) = &self.upstream {
            for header in said.rate_limits.iter() {
                response.insert_header(header);
            }
        }
        response.insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 §15.5.2: a 401 says how to do better.
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"lastword\""));
        }
        response
    }

    /// Says after how many seconds to try again.
    pub(super) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.code, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let object = self.object();
        self.head().content_type("application/problem+json").body(object.to_string())
    }
}

impl Problem {
    /// Its body.
    pub(super) fn object(&self) -> Value {
        let mut object = json!({
            "type": format!("urn:lastword:problem:{}", self.code),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        if let Some(object) = object.as_object_mut() {
            object.extend((*self.more).clone());
        }
        object
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::NotFound => Self::no_such_generation(),
            EngineError::Log(error) => error.into(),
        }
    }
}

impl From<ConverseError> for Problem {
    fn from(error: ConverseError) -> Self {
        let detail = error.to_string();
        match error {
            ConverseError::NotFound => Self::no_such_conversation(),
            ConverseError::NoMessage => Self::not_found(detail),
            ConverseError::NoCursor => Self::bad_request("invalid_cursor", detail),
            ConverseError::Running(generation) => {
                Self::new(StatusCode::CONFLICT, "generation_running", detail)
                    .with("generation", generation.to_string())
            }
            ConverseError::NothingSaid => Self::new(StatusCode::CONFLICT, "nothing_said", detail),
            ConverseError::NoRandomness(_) => {
                tracing::error!("the system gives no random numbers");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
            }
            ConverseError::Log(error) => error.into(),
        }
    }
}

impl From<LogError> for Problem {
    /// The database's words stay in our log.
    fn from(error: LogError) -> Self {
        match error {
            LogError::Unavailable(why) => {
                tracing::warn!(why, "a request was refused: the log is out of reach");
                let detail =
                    "the database cannot be reached; nothing was changed that is not in it";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "storage_unavailable", detail)
                    .retry_after(1)
            }
            LogError::Conflict | LogError::Broken(_) | LogError::Doubled(_) => {
                tracing::error!(%error, "a request failed");
                let detail = "a fault of this server; its log says more";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
            }
        }
    }
}

impl From<StartError> for Problem {
    fn from(error: StartError) -> Self {
        let detail = error.to_string();
        match error {
            StartError::UnknownModel => Self::unprocessable("unknown_model", detail),
            StartError::CannotSee(_) => {
                Self::unprocessable("pictures_not_supported", detail).with("field", "model")
            }
            StartError::NoPicture(_) => Self::unprocessable("picture_not_found", detail),
            StartError::KeyReused => Self::unprocessable("idempotency_key_reused", detail),
            StartError::Overloaded => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail).retry_after(5)
            }
            StartError::Draining => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "draining", detail).retry_after(1)
            }
            StartError::NoConversation => Self::no_such_conversation(),
            StartError::NoMessage => Self::not_found(detail).with("field", "parent_id"),
            StartError::NotAQuestion => {
                Self::unprocessable("unsupported_value", detail).with("field", "parent_id")
            }
            StartError::NoQuestion => {
                Self::unprocessable("missing_field", detail).with("field", "prompt")
            }
            StartError::CannotContinue(_) => {
                Self::new(StatusCode::CONFLICT, "cannot_continue", detail)
            }
            StartError::Busy(generation) => {
                Self::new(StatusCode::CONFLICT, "conversation_busy", detail)
                    .with("generation", generation.to_string())
            }
            StartError::KeyBusy(_) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "concurrency_limit", detail)
                    .with("limit", "concurrent_generations")
                    .retry_after(1)
            }
            StartError::Unanswered(generation) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "storage_unavailable", detail)
                    .with("generation", generation.to_string())
                    .retry_after(1)
            }
            StartError::KeyLimits(error) => error.into(),
            StartError::Log(error) => error.into(),
        }
    }
}

impl From<PromptError> for Problem {
    fn from(error: PromptError) -> Self {
        let detail = error.to_string();
        match error {
            PromptError::Empty { field } => {
                Self::unprocessable("prompt_empty", detail).with("field", field)
            }
            PromptError::TooLong { limit, .. } | PromptError::MediaTooLarge { limit, .. } => {
                Self::unprocessable("prompt_too_long", detail).with("limit", limit)
            }
            PromptError::InvalidCharacter { field } => {
                Self::unprocessable("invalid_character", detail).with("field", field)
            }
            PromptError::OutOfRange { field, min, max } => {
                Self::unprocessable("out_of_range", detail)
                    .with("field", field)
                    .with("min", min)
                    .with("max", max)
            }
        }
    }
}
