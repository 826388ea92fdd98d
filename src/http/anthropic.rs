//! Anthropic's Messages API over the same log.
mod blocks;
mod content;
mod context;
mod document;
mod error;
pub(super) mod events;
mod json_end;
pub(super) mod models;
mod request;
mod routes;
mod signature;
mod tools;

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::web;

use super::{get, resource};
pub(super) use error::new_request_id;

const MESSAGES: &str = "/v1/messages";

/// The routes.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    let batches = || vec![get().to(routes::no_batches), web::post().to(routes::no_batches)];
    let routes = [
        resource("/v1/messages", vec![web::post().to(routes::create)]),
        resource("/v1/messages/count_tokens", vec![web::post().to(routes::count_tokens)]),
        resource("/v1/messages/batches", batches()),
        resource("/v1/messages/batches/{path:.+}", batches()),
        resource("/v1/messages/{id}", vec![web::get().to(routes::get)]),
    ];
    for route in routes {
        config.service(route.wrap(from_fn(error::in_anthropics_shape)));
    }
}

/// The methods of a path.
pub(super) fn allowed(path: &str) -> Option<&'static [Method]> {
    Some(match path {
        "/v1/messages" | "/v1/messages/count_tokens" => &[Method::POST],
        "/v1/messages/batches" | "/v1/messages/batches/{path:.+}" => {
            &[Method::GET, Method::HEAD, Method::POST]
        }
        "/v1/messages/{id}" => &[Method::GET],
        _ => return None,
    })
}

/// Whether the request is one of Anthropic's API. The paths of models are OpenAI's, too: there
/// the version that Anthropic's clients send decides.
pub(super) fn speaks_anthropic(request: &HttpRequest) -> bool {
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
