//! The routes: a prompt comes in, events go out. Parses, calls the engine, maps the answer.
mod accept;
mod admin;
mod ai_sdk;
mod answer;
mod anthropic;
mod assets;
mod auth;
mod body;
mod connections;
mod continued;
mod conversation;
mod conversations;
mod cors;
mod dialect;
mod dialect_reader;
#[cfg(test)]
mod dialect_tests;
mod durable;
mod escapes;
mod events;
pub mod frame;
mod generation;
mod generations;
mod health;
mod metrics;
mod models;
mod object;
mod openai;
mod openapi;
mod problem;
mod prompt;
mod repeats;
mod shares;
mod sound;
mod sse;
mod trace;
mod unknown;
mod welcome;
mod ws;

use std::str::FromStr;

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, Resource, Route, guard, web};

use crate::domain::id::Tenant;
use crate::engine::{Caller, Engine};
use crate::ports::{Address, ConversationAt};
pub use answer::answer;
pub use auth::{InvalidOrigin, Origins, guard};
pub use body::{Bodies, most as most_of_a_body};
pub use connections::{ConnectionPermit, Connections, Encrypted};
pub use cors::cors;
use problem::Problem;

/// The table of routes, for the app and its tests.
pub fn configure(config: &mut web::ServiceConfig) {
    config
        .service(resource("/", vec![get().to(assets::root)]))
        .service(resource("/c/{id}", vec![get().to(assets::index)]))
        .service(resource("/shared/{token}", vec![get().to(assets::shared)]))
        .service(resource("/docs", vec![get().to(assets::docs)]))
        .service(resource("/worker.js", vec![get().to(assets::worker)]))
        .service(resource("/static/{path:.*}", vec![get().to(assets::file)]))
        .service(resource("/healthz", vec![get().to(health::alive)]))
        .service(resource("/health", vec![get().to(health::alive)]))
        .service(resource("/readyz", vec![get().to(health::ready)]))
        .service(resource(
            "/v1/session",
            vec![
                get().to(auth::who),
                web::post().to(auth::sign_in),
                web::delete().to(auth::sign_out),
            ],
        ))
        .service(resource("/v1/tickets", vec![web::post().to(auth::ticket)]))
        .service(resource("/metrics", vec![get().to(metrics::read)]))
        .service(resource("/v1/models", vec![get().to(models::list)]))
        .service(resource(
            "/v1/generations",
            vec![get().to(generations::list), web::post().to(generations::start)],
        ))
        .service(resource(
            "/v1/generations/{id}",
            vec![get().to(generation::get), web::delete().to(generation::delete)],
        ))
        .service(resource("/v1/generations/{id}/events", vec![web::get().to(events::read)]))
        .service(resource("/v1/generations/{id}/cancel", vec![web::post().to(generation::cancel)]))
        .service(resource("/v1/generations/{id}/continue", vec![web::post().to(continued::start)]))
        .service(resource("/v1/ws", vec![web::get().to(ws::open)]))
        .service(resource("/openapi.json", vec![get().to(openapi::read)]))
        .service(resource("/asyncapi.json", vec![get().to(ws::asyncapi)]))
        .configure(conversation_routes)
        .configure(admin::configure)
        .configure(openai::configure)
        .configure(anthropic::configure)
        .configure(ai_sdk::configure)
        .configure(durable::configure)
        .default_service(web::to(unknown::not_found));
}

fn conversation_routes(config: &mut web::ServiceConfig) {
    config
        .service(resource(
            "/v1/conversations",
            vec![get().to(conversations::list), web::post().to(conversations::create)],
        ))
        .service(resource(
            "/v1/conversations/{id}",
            vec![
                get().to(conversation::get),
                web::patch().to(conversation::change),
                web::delete().to(conversation::delete),
            ],
        ))
        .service(resource(
            "/v1/conversations/{id}/messages",
            vec![get().to(conversation::messages)],
        ))
        .service(resource(
            "/v1/conversations/{id}/shares",
            vec![web::post().to(shares::create), web::delete().to(shares::revoke)],
        ))
        .service(resource("/v1/shared/{token}", vec![get().to(shares::get)]))
        .service(resource("/v1/shared/{token}/events", vec![web::get().to(shares::follow)]));
}

/// GET, and HEAD as every server shall answer it; actix leaves the body out. Not for a stream,
/// whose body would run unseen.
fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// A resource that answers a wrong method with 405 and `Allow`; actix alone answers 404.
fn resource(path: &str, routes: Vec<Route>) -> Resource {
    let mut resource = web::resource(path);
    for route in routes {
        resource = resource.route(route);
    }
    let path = path.to_owned();
    resource.default_service(web::to(move || {
        let problem = Problem::method_not_allowed(allowed(&path));
        async move { Err::<HttpResponse, _>(problem) }
    }))
}

/// The methods of a path.
fn allowed(path: &str) -> &'static [Method] {
    match path {
        "/v1/generations" => &[Method::GET, Method::HEAD, Method::POST],
        "/v1/conversations" => &[Method::GET, Method::HEAD, Method::POST],
        "/v1/conversations/{id}" => &[Method::GET, Method::HEAD, Method::PATCH, Method::DELETE],
        "/v1/conversations/{id}/shares" => &[Method::POST, Method::DELETE],
        "/v1/session" => &[Method::GET, Method::HEAD, Method::POST, Method::DELETE],
        "/v1/tickets" => &[Method::POST],
        "/v1/generations/{id}" => &[Method::GET, Method::HEAD, Method::DELETE],
        "/v1/generations/{id}/events" | "/v1/shared/{token}/events" | "/v1/ws" => &[Method::GET],
        "/v1/generations/{id}/cancel" | "/v1/generations/{id}/continue" => &[Method::POST],
        other => openai::allowed(other)
            .or_else(|| anthropic::allowed(other))
            .or_else(|| ai_sdk::allowed(other))
            .or_else(|| durable::allowed(other))
            .or_else(|| admin::allowed(other))
            .unwrap_or(&[Method::GET, Method::HEAD]),
    }
}

/// The engine that the app put there.
type EngineData = web::Data<Engine>;

/// Whose request it is, by what [`guard`] found out.
fn tenant(request: &HttpRequest) -> Tenant {
    auth::tenant(request)
}

/// Who asks. Every route but the public ones has a caller.
fn caller(request: &HttpRequest) -> Result<Caller, Problem> {
    auth::caller(request).ok_or_else(Problem::internal)
}

/// What takes long is waited for as long as the caller may be here: a key that is revoked meanwhile
/// gets no answer, as it gets no further event.
async fn while_allowed<T>(
    request: &HttpRequest,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let caller = caller(request)?;
    tokio::select! {
        biased;
        () = caller.over() => Err(Problem::ended(&caller)),
        done = work => done,
    }
}

/// The generation in the path. What is not a proper id does not exist either.
fn address(request: &HttpRequest) -> Result<Address, Problem> {
    let id = request.match_info().get("id").and_then(proper_id);
    let id = id.ok_or_else(Problem::no_such_generation)?;
    Ok(Address { tenant: tenant(request), id })
}

/// The conversation in the path.
fn conversation_at(request: &HttpRequest) -> Result<ConversationAt, Problem> {
    let id = request.match_info().get("id").and_then(proper_id);
    let id = id.ok_or_else(Problem::no_such_conversation)?;
    Ok(ConversationAt { tenant: tenant(request), id })
}

/// An id in the one spelling in which we give them out.
fn proper_id<T: FromStr>(text: &str) -> Option<T> {
    // With hyphens.
    const LENGTH: usize = 36;
    Some(text).filter(|id| id.len() == LENGTH)?.parse().ok()
}
