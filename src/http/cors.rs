//! CORS for the listed origins, and for no other: what an unlisted page asks gets no header at all.
use actix_cors::Cors;
use actix_web::http::header;

use super::auth::Origins;

/// How long a browser may remember a preflight's answer, in seconds; browsers cap it themselves.
const REMEMBERED: usize = 600;

/// Wraps the routes.
pub fn cors(origins: &Origins) -> Cors {
    let cors = origins.list().iter().fold(Cors::default(), |cors, o| cors.allowed_origin(o));
    cors.allowed_methods(["GET", "HEAD", "POST", "PATCH", "DELETE"])
        .allowed_headers([header::AUTHORIZATION, header::CONTENT_TYPE, header::ACCEPT])
        .allowed_headers(["x-api-key", "last-event-id", "idempotency-key"])
        .allowed_headers(["anthropic-version", "anthropic-beta"])
        .allowed_headers(["anthropic-dangerous-direct-browser-access", "lastword-on-disconnect"])
        .expose_headers(["location", "retry-after", "lastword-generation", "idempotency-replayed"])
        .expose_headers(["request-id", "x-should-retry", "lastword-left-out"])
        // A page on a sibling host sends our session along: SameSite counts sites, not origins.
        .supports_credentials()
        .max_age(REMEMBERED)
}
