//! Every refusal in Anthropic's shape: `{"type":"error","error":{type,message},"request_id"}`.
//! <https://docs.anthropic.com/en/api/errors>
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse};
use serde_json::{Value, json};

use super::context;
use crate::domain::event::{Done, ErrorCode, Status};
use crate::domain::id::GenerationId;
use crate::http::problem::Problem;
use crate::http::protocols::openai::error::of_ending;

/// Names a request for its client and for whoever reads the log.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// A name for a request.
pub(crate) fn new_request_id() -> String {
    format!("req_{}", GenerationId::random().0.simple())
}

/// Gives a [`Problem`] of these routes the shape that Anthropic's SDKs read, and every answer a
/// `request-id`.
pub(super) async fn in_anthropics_shape<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    match next.call(request).await {
        Ok(response) => {
            let shaped = response.response().error().and_then(shaped);
            Ok(match shaped {
                Some(shaped) => response.into_response(shaped),
                None => named(response.map_into_boxed_body()),
            })
        }
        Err(error) => match shaped(&error) {
            Some(response) => {
                Err(actix_web::error::InternalError::from_response(error, response).into())
            }
            None => Err(error),
        },
    }
}

fn shaped(error: &Error) -> Option<HttpResponse> {
    error.as_error::<Problem>().map(|problem| problem.anthropic(&new_request_id()))
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
            Some(in_stream(kind(code), code.as_str(), message))
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
