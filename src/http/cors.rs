//! CORS for the listed origins, and for no other: what an unlisted page asks gets no header at all.
use actix_cors::Cors;
use actix_web::middleware::Condition;

use super::auth::Origins;

/// How long a browser may remember a preflight's answer, in seconds; browsers cap it themselves.
const REMEMBERED: usize = 600;

/// The headers that a page may read, beside those that every page may.
const EXPOSED: [&str; 14] = [
    "location",
    "retry-after",
    "etag",
    "x-request-id",
    "request-id",
    "lastword-left-out",
    "lastword-attached",
    "x-should-retry",
    "idempotency-replayed",
    "lastword-generation",
    "stream-next-offset",
    "stream-up-to-date",
    "stream-closed",
    "stream-cursor",
];

/// Wraps the routes, where any origin is listed: its headers are as long as the rest of a head.
pub fn cors(origins: &Origins) -> Condition<Cors> {
    let cors = origins.list().iter().fold(Cors::default(), |cors, o| cors.allowed_origin(o));
    let cors = cors
        .allowed_methods(["GET", "HEAD", "POST", "PATCH", "DELETE"])
        // The headers that were asked for, named again: SDKs have their own, and new ones.
        .allow_any_header()
        .expose_headers(EXPOSED)
        // A public page that asks a server on this machine or network is asked first.
        .allow_private_network_access()
        // A page on a sibling host sends our session along: SameSite counts sites, not origins.
        .supports_credentials()
        .max_age(REMEMBERED);
    Condition::new(!origins.list().is_empty(), cors)
}
