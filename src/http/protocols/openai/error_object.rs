//! A refusal as OpenAI's object: `{"error":{message,type,param,code}}`.
//! <https://platform.openai.com/docs/guides/error-codes>
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use serde_json::{Value, json};

use crate::http::problem::Problem;

/// The answer of a route whose clients know no other shape.
pub(in crate::http) fn response(problem: &Problem) -> HttpResponse {
    let (status, error) = error(problem);
    let mut head = problem.head();
    if let Some(retries) = problem.retries(status) {
        // OpenAI's SDKs obey it; without it they try any conflict or server's fault again.
        head.insert_header(("x-should-retry", retries.to_string()));
    }
    head.status(status).json(json!({ "error": error }))
}

/// The answer of a route that both kinds of clients ask: our problem, and their `error` in it.
pub(in crate::http) fn beside(problem: &Problem) -> HttpResponse {
    let mut object = problem.object();
    object["error"] = error(problem).1;
    problem.head().content_type("application/problem+json").body(object.to_string())
}

/// The status and the `error` object. Missing things are 404, and every other fault of a request
/// is 400.
pub(in crate::http) fn error(problem: &Problem) -> (StatusCode, Value) {
    let upstream = problem.upstream();
    let (status, code) = match (problem.status_code(), problem.code()) {
        // As its server said it.
        both if upstream.is_some() => both,
        (_, "unknown_model") => (StatusCode::NOT_FOUND, "model_not_found"),
        (StatusCode::UNPROCESSABLE_ENTITY, code) => (StatusCode::BAD_REQUEST, code),
        both => both,
    };
    let kind = match status {
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        status if status.is_server_error() => "server_error",
        _ => "invalid_request_error",
    };
    let error = json!({
        "message": problem.detail(),
        "type": upstream.and_then(|said| said.kind.as_deref()).unwrap_or(kind),
        "param": upstream
            .and_then(|said| said.param.as_deref().map(Value::from))
            .or_else(|| problem.param().cloned()),
        "code": upstream.and_then(|said| said.code.as_deref()).unwrap_or(code),
    });
    (status, error)
}
