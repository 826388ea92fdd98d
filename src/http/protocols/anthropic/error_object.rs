//! A refusal as Anthropic's object: `{"type":"error","error":{type,message},"request_id"}`.
//! <https://docs.anthropic.com/en/api/errors>
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use serde_json::json;

use super::error::{REQUEST_ID, new_request_id};
use crate::http::problem::Problem;

/// The answer, under a name for its request.
pub(in crate::http) fn response(problem: &Problem) -> HttpResponse {
    let request_id = new_request_id();
    let status = status(problem);
    let kind = match status.as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        408 | 504 => "timeout_error",
        529 => "overloaded_error",
        500..=599 => "api_error",
        _ => "invalid_request_error",
    };
    let error = json!({ "type": kind, "message": problem.detail(), "code": problem.code() });
    let mut head = problem.head();
    if let Some(retries) = problem.retries(status) {
        head.insert_header(("x-should-retry", retries.to_string()));
    }
    head.insert_header((REQUEST_ID, request_id.as_str()));
    let object = json!({ "type": "error", "error": error, "request_id": request_id });
    head.status(status).json(object)
}

fn status(problem: &Problem) -> StatusCode {
    // Anthropic's own status for a server that has too much to do.
    let overloaded = StatusCode::from_u16(529).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    match (problem.status_code(), problem.code()) {
        (_, "unknown_model") => StatusCode::NOT_FOUND,
        (_, "overloaded" | "draining") => overloaded,
        // An upstream's own stays as it is.
        (StatusCode::UNPROCESSABLE_ENTITY, _) if problem.upstream().is_none() => {
            StatusCode::BAD_REQUEST
        }
        (status, _) => status,
    }
}
