//! The server itself, and who asks.
use serde_json::json;

use super::operation::{Operation, Row, reference};

const ACCESS: &str = "access";
const SERVICE: &str = "service";

pub(super) fn operations() -> Vec<Row> {
    let mut rows = session();
    rows.extend(health());
    rows.extend([
        (
            "get",
            "/v1/models",
            Operation::new(SERVICE, "listModels", "The models that prompts can name").answers(
                200,
                "in OpenAI's shape",
                "ModelList",
            ),
        ),
        (
            "get",
            "/metrics",
            Operation::new(SERVICE, "readMetrics", "What this process counts")
                .says("Needs the scope `metrics`.")
                .with(
                    200,
                    "for Prometheus",
                    "application/openmetrics-text",
                    json!({ "type": "string" }),
                ),
        ),
        (
            "get",
            "/v1/ws",
            Operation::new("generations", "openSocket", "Many generations on one WebSocket")
                .says(
                    "See /asyncapi.json. What is wrong with a credential is told by a close code.",
                )
                .empty(101, "`lastword.v1`")
                .refuses(400, &["bad_handshake"])
                .refuses(426, &["upgrade_required"]),
        ),
        ("get", "/openapi.json", document("openApi", "This document")),
        ("get", "/asyncapi.json", document("asyncApi", "The WebSocket, in AsyncAPI 3.0")),
    ]);
    rows
}

fn document(id: &str, summary: &str) -> Operation {
    let schema = json!({ "type": "object" });
    Operation::public(SERVICE, id, summary).with(200, "the document", "application/json", schema)
}

fn health() -> [Row; 3] {
    [
        (
            "get",
            "/healthz",
            Operation::public(SERVICE, "isAlive", "The process answers")
                .answers(200, "it does", "Health"),
        ),
        (
            "get",
            "/health",
            Operation::public(SERVICE, "isHealthy", "The same, where load tools look for it")
                .answers(200, "it does", "Health"),
        ),
        (
            "get",
            "/readyz",
            Operation::public(SERVICE, "isReady", "New work can be taken")
                .answers(200, "it can", "Health")
                .refuses(503, &["storage_unavailable", "storage_read_only", "draining"]),
        ),
    ]
}

fn session() -> Vec<Row> {
    let no_key = &["invalid_api_key", "key_expired", "key_revoked"];
    vec![
        (
            "get",
            "/v1/session",
            Operation::new(ACCESS, "whoAmI", "Who asks").answers(
                200,
                "what the credential allows",
                "Session",
            ),
        ),
        (
            "post",
            "/v1/session",
            Operation::public(ACCESS, "signIn", "Sign a browser in")
                .body("SignIn", json!({ "key": "lw_…" }), crate::http::auth::SIGN_IN_BYTES)
                .answers(200, "with a cookie for 7 days", "Session")
                .tells(200, &[("Set-Cookie", "HttpOnly, SameSite=Strict")])
                .refuses(401, no_key)
                .refuses(500, &["internal"])
                .refuses(503, &["storage_unavailable", "overloaded"]),
        ),
        (
            "delete",
            "/v1/session",
            Operation::public(ACCESS, "signOut", "Sign a browser out")
                .empty(204, "nobody is signed in any more")
                .refuses(500, &["internal"])
                .refuses(503, &["storage_unavailable"]),
        ),
        (
            "post",
            "/v1/tickets",
            Operation::new(ACCESS, "newTicket", "For one connection of a page of another origin")
                .with(201, "good for once, for 30 s", "application/json", reference("Ticket")),
        ),
        (
            "post",
            "/v1/generations/{id}/tickets",
            Operation::new(
                ACCESS,
                "newGenerationTicket",
                "For an `EventSource` of a page of another origin, which comes back by itself",
            )
            .says("Reads this generation by GET until the key or session ends that asked for it.")
            .id("the generation")
            .answers(201, "good as often as it comes", "GenerationTicket"),
        ),
    ]
}
