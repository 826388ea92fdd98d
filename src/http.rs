//! The routes: a prompt comes in, events go out. Parses, calls the engine, maps the answer.
mod accept;
mod body;
mod events;
mod frame;
mod generation;
mod generations;
mod health;
mod models;
mod object;
mod problem;
mod prompt;
mod sse;
mod welcome;

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, Resource, Route, guard, web};

use crate::domain::id::Tenant;
use crate::engine::Engine;
use crate::ports::Address;
use problem::Problem;

/// The table of routes, for the app and its tests.
pub fn configure(config: &mut web::ServiceConfig) {
    config
        .service(resource("/", vec![get().to(welcome::welcome)]))
        .service(resource("/healthz", vec![get().to(health::alive)]))
        .service(resource("/readyz", vec![get().to(health::ready)]))
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
        .default_service(web::to(not_found));
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
        "/v1/generations/{id}" => &[Method::GET, Method::HEAD, Method::DELETE],
        "/v1/generations/{id}/events" => &[Method::GET],
        "/v1/generations/{id}/cancel" => &[Method::POST],
        _ => &[Method::GET, Method::HEAD],
    }
}

async fn not_found() -> Result<HttpResponse, Problem> {
    Err(Problem::not_found("there is nothing at this path"))
}

/// The engine that the app put there.
type Shared = web::Data<Engine>;

/// Whose request it is: one tenant until keys arrive.
fn tenant(_request: &HttpRequest) -> Tenant {
    Tenant::anonymous()
}

/// The generation in the path. What is not a proper id does not exist either.
fn address(request: &HttpRequest) -> Result<Address, Problem> {
    // One spelling: hyphens, as we give ids out.
    const LENGTH: usize = 36;
    let id = request.match_info().get("id").filter(|id| id.len() == LENGTH);
    let id = id.and_then(|id| id.parse().ok());
    let id = id.ok_or_else(Problem::no_such_generation)?;
    Ok(Address { tenant: tenant(request), id })
}
