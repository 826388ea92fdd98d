//! The routes: a prompt comes in, events go out. Parses, calls the engine, maps the answer.
//!
//! - `protocols`: what clients speak, a room each: requests, encoder, errors, routes
//! - the rest is what they share, and what is no protocol: the page, health, metrics, the
//!   operators' API
mod accept;
mod admin;
mod answer;
mod assets;
mod auth;
mod body;
mod connections;
mod cors;
mod dialect;
mod dialect_reader;
#[cfg(test)]
mod dialect_tests;
pub mod frame;
mod health;
mod large;
mod lean;
mod leaving;
mod metrics;
mod openapi;
mod problem;
mod protocols;
mod public;
mod repeats;
mod request;
mod routes;
mod same_request;
mod sound;
mod sse;
mod start;
mod trace;
mod unknown;
mod welcome;

use actix_web::web;

pub use answer::answer;
pub use auth::{InvalidOrigin, Origins, guard};
pub use body::{Bodies, most as most_of_a_body};
pub use connections::{ConnectionPermit, Connections, Encrypted};
pub use cors::cors;
pub use public::{InvalidAddress, PublicAddress, public};
use request::{
    EngineData, address, caller, conversation_at, conversation_id, proper_id, tenant, while_allowed,
};
use routes::endpoint;

/// The table of routes, for the app and its tests.
pub fn configure(config: &mut web::ServiceConfig) {
    config
        .service(endpoint("/").get(assets::root))
        .service(endpoint("/c/{id}").get(assets::index))
        .service(endpoint("/shared/{token}").get(assets::shared))
        .service(endpoint("/docs").get(assets::docs))
        .service(endpoint("/worker.js").get(assets::worker))
        .service(endpoint("/static/{path:.*}").get(assets::file))
        .service(endpoint("/healthz").get(health::alive))
        .service(endpoint("/health").get(health::alive))
        .service(endpoint("/readyz").get(health::ready))
        .service(endpoint("/metrics").get(metrics::read))
        .service(endpoint("/v1/session").get(auth::who).post(auth::sign_in).delete(auth::sign_out))
        .service(endpoint("/v1/tickets").post(auth::ticket))
        .service(endpoint("/openapi.json").get(openapi::read))
        .configure(admin::configure)
        .configure(protocols::configure)
        .default_service(web::to(unknown::not_found));
}
