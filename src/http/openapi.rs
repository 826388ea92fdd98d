//! `GET /openapi.json`: what the routes take and answer, in OpenAPI 3.1. Built from the routes' own
//! words and limits, and by hand rather than by derive. Most answers are of the domain, which shall
//! not know its documentation. tests/it/openapi.rs holds it against the routes and what they really
//! answer.
mod admin;
mod anthropic;
mod conversations;
mod dialects;
mod events;
mod generations;
mod operation;
mod pictures;
pub(super) mod schemas;
mod service;
mod talk;

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header;
use serde_json::{Map, Value, json};

/// The document, which never changes while the process runs.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// The document.
pub(super) async fn read() -> HttpResponse {
    answer(&DOCUMENT)
}

/// A document of this server, for whoever asks: pages of other origins may show it, too.
pub(super) fn answer(document: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .content_type("application/json")
        .body(document)
}

const ABOUT: &str = "Durable LLM token streaming: every event is stored before anyone sees it, and a \
    reader that comes back with its cursor gets exactly the rest. Whatever answers GET answers HEAD, except \
    streams. Refusals are RFC 9457 problems with a stable `code`; those of the OpenAI dialects have \
    OpenAI's shape, those below /v1/messages Anthropic's. The WebSocket is described by /asyncapi.json.";

fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "lastword",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "MIT", "identifier": "MIT" },
        },
        "servers": [{ "url": "/", "description": "this server" }],
        "tags": tags(),
        // The last: without any, where the server allows it.
        "security": [{ "key": [] }, { "header": [] }, { "session": [] }, { "ticket": [] }, {}],
        "paths": paths(),
        "components": {
            "schemas": schemas::all(),
            "securitySchemes": {
                "key": { "type": "http", "scheme": "bearer", "bearerFormat": "lw_…",
                    "description": "an API key" },
                "header": { "type": "apiKey", "in": "header", "name": "X-Api-Key",
                    "description": "the same key in the header of other clients" },
                "session": { "type": "apiKey", "in": "cookie", "name": "lastword",
                    "description": "of POST /v1/session; `__Host-lastword` under TLS" },
                "ticket": { "type": "apiKey", "in": "query", "name": "ticket",
                    "description": "of POST /v1/tickets, for one connection" },
            },
        },
    })
}

fn tags() -> Value {
    json!([
        { "name": "generations", "description": "start, read, cancel" },
        { "name": "conversations", "description": "messages as a tree" },
        { "name": "access", "description": "who asks" },
        { "name": "service", "description": "the server itself" },
        { "name": "admin", "description": "what all tenants run, for operators" },
        { "name": "openai", "description": "OpenAI's APIs over the same log" },
        { "name": "anthropic", "description": "Anthropic's API over the same log" },
        { "name": "others", "description": "other protocols over the same log" },
    ])
}

fn paths() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    let all = generations::operations()
        .into_iter()
        .chain(conversations::operations())
        .chain(pictures::operations())
        .chain(service::operations())
        .chain(admin::operations())
        .chain(dialects::operations())
        .chain(dialects::texts())
        .chain(dialects::without_model())
        .chain(dialects::others())
        .chain(anthropic::operations());
    for (method, path, operation) in all {
        paths.entry(path).or_insert_with(|| json!({}))[method] = operation.build();
    }
    Value::Object(paths)
}
