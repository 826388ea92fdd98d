//! Anthropic's Messages API over the same log.
mod blocks;
mod content;
mod context;
mod document;
mod error;
pub(in crate::http) mod error_object;
pub(crate) mod events;
mod json_end;
pub(super) mod models;
mod request;
mod routes;
mod signature;
mod tools;

use actix_web::HttpRequest;
use actix_web::middleware::from_fn;
use actix_web::web;

use crate::http::routes::endpoint;

const MESSAGES: &str = "/v1/messages";

/// The routes.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    let routes = [
        endpoint("/v1/messages").post(routes::create),
        endpoint("/v1/messages/count_tokens").post(routes::count_tokens),
        endpoint("/v1/messages/batches").get(routes::no_batches).post(routes::no_batches),
        endpoint("/v1/messages/batches/{path:.+}").get(routes::no_batches).post(routes::no_batches),
        endpoint("/v1/messages/{id}").stream(routes::get),
    ];
    for route in routes {
        config.service(route.into_resource().wrap(from_fn(error::with_request_id)));
    }
}

/// Whether the request is one of Anthropic's API. The paths of models are OpenAI's, too: there
/// the version that Anthropic's clients send decides.
pub(crate) fn speaks_anthropic(request: &HttpRequest) -> bool {
    let path = request.match_info().as_str();
    let below = |route: &str| {
        path.strip_prefix(route).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    below(MESSAGES) || (below("/v1/models") && has_version(request))
}

/// Whether the client says which version of Anthropic's API it speaks.
pub(super) fn has_version(request: &HttpRequest) -> bool {
    request.headers().contains_key("anthropic-version")
}
