//! Refusals that come of an answer's ending, and names of requests.
use actix_web::Error;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use serde_json::{Value, json};

use super::context;
use crate::domain::event::{Done, ErrorCode, Status};
use crate::domain::id::GenerationId;
use crate::http::problem::Problem;
use crate::http::protocols::error_shape::ErrorShape;
use crate::http::protocols::openai::error::of_ending;

/// Names a request for its client and for whoever reads the log.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// The API's own types of errors: clients decide by them what to do next.
const KINDS: [&str; 9] = [
    "invalid_request_error",
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "rate_limit_error",
    "timeout_error",
    "api_error",
    "overloaded_error",
];

/// A name for a request.
pub(crate) fn new_request_id() -> String {
    format!("req_{}", GenerationId::random().0.simple())
}

/// Gives every answer of these routes a `request-id`; a refusal has one already.
pub(super) async fn with_request_id<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let response = ErrorShape::Anthropic.wrap(request, next).await?;
    Ok(if response.headers().contains_key(REQUEST_ID) { response } else { named(response) })
}

fn named(mut response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    if let Ok(id) = HeaderValue::from_str(&new_request_id()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The refusal that an ending amounts to for a client that waits for an answer in one piece.
pub(super) fn of_whole(done: Option<&Done>, repeatable: bool, tokens: u64) -> Option<Problem> {
    let problem = of_ending(done, repeatable)?;
    let failure = done.and_then(|done| done.error.as_ref());
    let full = failure.and_then(|failure| context::refused(&failure.message, tokens));
    Some(match full {
        Some(words) => Problem::bad_request("context_length_exceeded", words).retry(false),
        None => problem,
    })
}

/// The ending as an `error` event, unless it is an answer's.
pub(super) fn failure(done: &Done, tokens: u64) -> Option<Value> {
    match done.status {
        Status::Completed | Status::Incomplete => None,
        Status::Cancelled => {
            Some(in_stream("api_error", "cancelled", "the generation was cancelled"))
        }
        Status::Failed
        | Status::Interrupted
        | Status::Queued
        | Status::Running
        | Status::Cancelling => {
            let message = done.error.as_ref().map_or("it failed", |e| e.message.as_str());
            if let Some(words) = context::refused(message, tokens) {
                return Some(in_stream("invalid_request_error", "context_length_exceeded", &words));
            }
            let code = done.error.as_ref().map_or(ErrorCode::Internal, |e| e.code);
            let said = done.error.as_ref().and_then(|e| e.upstream.as_ref()?.kind.as_deref());
            let said = said.and_then(|said| KINDS.into_iter().find(|kind| *kind == said));
            Some(in_stream(said.unwrap_or_else(|| kind(code)), code.as_str(), message))
        }
    }
}

/// An `error` event; `code` is ours.
pub(super) fn in_stream(kind: &str, code: &str, message: &str) -> Value {
    json!({ "type": "error", "error": { "type": kind, "message": message, "code": code } })
}

fn kind(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::UpstreamRateLimited => "rate_limit_error",
        ErrorCode::UpstreamTimeout => "timeout_error",
        ErrorCode::UpstreamUnavailable | ErrorCode::StorageUnavailable => "overloaded_error",
        ErrorCode::UpstreamRejected => "invalid_request_error",
        ErrorCode::UpstreamStalled
        | ErrorCode::UpstreamProtocol
        | ErrorCode::UpstreamTruncated
        | ErrorCode::ServerLost
        | ErrorCode::Internal => "api_error",
    }
}
