//! The answer of unknown paths, in the words of the likely client.
use actix_web::{HttpRequest, HttpResponse, ResponseError};

use super::problem::Problem;
use super::protocols::error_shape::ErrorShape;
use super::protocols::openai::error_object;

/// Parts of OpenAI's API that are not here, each with what to use in their place.
const ELSEWHERE: [(&str, &str); 9] = [
    ("/v1/embeddings", "ask the server that has the embedding model"),
    ("/v1/files", "put pictures into the request as `data:` URLs"),
    ("/v1/moderations", "ask the provider"),
    ("/v1/batches", "start generations one by one; each is durable"),
    ("/v1/images", "ask the provider"),
    ("/v1/audio", "ask the provider"),
    ("/v1/assistants", "use /v1/responses, or /v1/conversations with /v1/generations"),
    ("/v1/threads", "use /v1/responses, or /v1/conversations with /v1/generations"),
    ("/v1/realtime", "use /v1/responses, or the WebSocket at /v1/ws"),
];
/// The paths of base URLs without their `/v1`.
const WITHOUT_VERSION: [&str; 4] = ["/chat/completions", "/completions", "/responses", "/models"];

/// 404, in OpenAI's shape for its clients.
pub(super) async fn not_found(request: HttpRequest) -> HttpResponse {
    let path = request.path();
    if let Some(rest) = path.strip_prefix("/v1/v1") {
        let detail =
            format!("`/v1` is there twice: the path is /v1{rest}, the base URL ends in /v1");
        return error_object::response(&Problem::not_found(detail));
    }
    if WITHOUT_VERSION.iter().any(|at| below(path, at)) {
        let detail = format!("`/v1` is missing: the path is /v1{path}, the base URL ends in /v1");
        return error_object::response(&Problem::not_found(detail));
    }
    if super::accept::wants_page(&request) {
        // A browser was led here: a page for people.
        return super::assets::nowhere(&request).unwrap_or_else(|problem| problem.error_response());
    }
    let shape = ErrorShape::of(&request);
    if shape != ErrorShape::OpenAi {
        return shape.response(&Problem::not_found("there is nothing at this path"));
    }
    let detail = match ELSEWHERE.iter().find(|(at, _)| below(path, at)) {
        Some((at, instead)) => format!("{at} is not served here: {instead}"),
        None => format!("there is no {} {path}", request.method()),
    };
    error_object::response(&Problem::not_found(detail))
}

fn below(path: &str, route: &str) -> bool {
    path.strip_prefix(route).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
