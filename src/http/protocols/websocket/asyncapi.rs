//! `GET /asyncapi.json`: the frames of the socket in AsyncAPI 3.0. tests/it/openapi.rs holds it
//! against the frames of [`super::frames`].
use std::sync::LazyLock;

use actix_web::HttpResponse;
use serde_json::{Map, Value, json};

use super::frames::{CloseCode, PROTOCOL, REF_BYTES};
use crate::engine::SocketLimits;
use crate::http::openapi;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// The document.
pub(in crate::http) async fn asyncapi() -> HttpResponse {
    openapi::answer(&DOCUMENT)
}

const CHANNEL: &str = "#/channels/socket";

fn document() -> Value {
    let client = client();
    let server = server();
    // Both sides have a `typing`.
    let of = |side: &str, frames: &[Frame]| -> Vec<Value> {
        let name =
            |frame: &Frame| json!({ "$ref": format!("{CHANNEL}/messages/{side}-{}", frame.kind) });
        frames.iter().map(name).collect()
    };
    let (responses, more_operations, more_messages) = super::responses::asyncapi::describe();
    let mut operations = json!({
        "hear": { "action": "receive", "channel": { "$ref": CHANNEL }, "messages": of("client", &client),
            "summary": "what a client says; each frame gets one answer with its `ref`" },
        "say": { "action": "send", "channel": { "$ref": CHANNEL }, "messages": of("server", &server),
            "summary": "what the server says" },
    });
    for (name, operation) in more_operations {
        operations[name] = operation;
    }
    let sides = [("client", &client), ("server", &server)];
    let every: Vec<(String, &Frame)> = sides
        .iter()
        .flat_map(|(side, frames)| frames.iter().map(move |f| (format!("{side}-{}", f.kind), f)))
        .collect();
    let mut messages: Map<String, Value> =
        every.iter().map(|(name, f)| (name.clone(), f.message())).collect();
    let references: Map<String, Value> =
        every.iter().map(|(name, _)| (name.clone(), reference("messages", name))).collect();
    messages.extend(more_messages);
    let mut schemas = openapi::schemas::all();
    schemas.insert("Ref".into(), mark());
    let schemas = used(&messages, schemas);
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "lastword, the WebSockets",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Text frames, each one JSON object with a `type`. Fields that are not known are ignored.",
        },
        "servers": servers(),
        "defaultContentType": "application/json",
        "channels": { "socket": {
            "address": "/v1/ws",
            "description": format!("subprotocol `{PROTOCOL}`"),
            "messages": references,
            "bindings": { "ws": { "method": "GET", "bindingVersion": "0.1.0" } },
            "x-close-codes": close_codes(),
        }, "responses": responses },
        "operations": operations,
        "components": {
            "messages": messages, "schemas": schemas, "securitySchemes": security_schemes(),
        },
    })
}

/// The credentials of a handshake; a `hello` may bring the key as well.
const CREDENTIALS: [&str; 4] = ["key", "header", "session", "ticket"];

/// This server, in the clear or over TLS.
fn servers() -> Value {
    let server = |protocol: &str| {
        json!({
            "host": "{host}",
            "protocol": protocol,
            "variables": { "host": { "default": "localhost:7878", "description": "host and port" } },
            "security": CREDENTIALS.map(|name| reference("securitySchemes", name)),
        })
    };
    json!({ "plain": server("ws"), "encrypted": server("wss") })
}

fn security_schemes() -> Value {
    let scheme = |place: &str, name: &str, text: &str| json!({ "type": "httpApiKey", "in": place, "name": name, "description": text });
    json!({
        "key": { "type": "http", "scheme": "bearer", "bearerFormat": "lw_…" },
        "header": scheme("header", "X-Api-Key", "the same key in the header of other clients"),
        "session": scheme("cookie", "lastword", "of POST /v1/session"),
        "ticket": scheme("query", "ticket", "of POST /v1/tickets, for one connection"),
    })
}

/// The schemas that these messages refer to, and those that those refer to.
fn used(messages: &Map<String, Value>, mut all: Map<String, Value>) -> Map<String, Value> {
    let mut kept = Map::new();
    let mut texts: Vec<String> = messages.values().map(Value::to_string).collect();
    while let Some(text) = texts.pop() {
        for part in text.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap_or_default();
            if let Some(schema) = all.remove(name) {
                texts.push(schema.to_string());
                kept.insert(name.to_owned(), schema);
            }
        }
    }
    kept
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

fn schema(name: &str) -> Value {
    reference("schemas", name)
}

fn mark() -> Value {
    json!({
        "description": "the client's own mark, given back with the answer",
        "anyOf": [
            { "type": "string", "description": format!("at most {REF_BYTES} bytes") },
            { "type": "integer" },
        ],
    })
}

/// One kind of frame.
struct Frame {
    kind: &'static str,
    summary: &'static str,
    /// Its fields beside `type` and `ref`, each with whether it must be there.
    fields: Vec<(String, bool, Value)>,
    /// Whether it has a `ref`.
    marked: bool,
    /// Whether it has more than is named here.
    open: bool,
}

impl Frame {
    fn new(kind: &'static str, summary: &'static str) -> Self {
        Self { kind, summary, fields: Vec::new(), marked: true, open: false }
    }

    fn with(mut self, name: &'static str, schema: Value) -> Self {
        self.fields.push((name.into(), true, schema));
        self
    }

    fn may(mut self, name: &'static str, schema: Value) -> Self {
        self.fields.push((name.into(), false, schema));
        self
    }

    /// The fields of an object that HTTP has, too; `must` if it has them always.
    fn like_on_http(mut self, name: &str, must: bool) -> Self {
        let all = openapi::schemas::all();
        let of = &all[name];
        let required = of["required"].as_array().filter(|_| must);
        for (name, schema) in of["properties"].as_object().into_iter().flatten() {
            let must = required.is_some_and(|required| required.iter().any(|r| r == name));
            self.fields.push((name.clone(), must, schema.clone()));
        }
        self
    }

    fn message(&self) -> Value {
        let mut properties = Map::new();
        properties.insert("type".into(), json!({ "const": self.kind }));
        if self.marked {
            properties.insert("ref".into(), schema("Ref"));
        }
        let mut required = vec!["type"];
        for (name, must, schema) in &self.fields {
            properties.insert(name.clone(), schema.clone());
            if *must {
                required.push(name);
            }
        }
        let mut payload =
            json!({ "type": "object", "required": required, "properties": properties });
        if self.open {
            payload["additionalProperties"] = true.into();
        }
        json!({ "name": self.kind, "summary": self.summary, "payload": payload })
    }
}

fn id() -> Value {
    json!({ "type": "string", "format": "uuid" })
}

fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn flag() -> Value {
    json!({ "type": "boolean" })
}

fn client() -> Vec<Frame> {
    let text = || json!({ "type": ["string", "null"] });
    let joined = |frame: Frame| frame.with("conversation", json!({ "type": "string" }));
    let named = |frame: Frame| frame.with("generation", json!({ "type": "string" }));
    let generate =
        Frame::new("generate", "start a generation and follow it: the body of a start, and this")
            .like_on_http("Start", false)
            .may("idempotency_key", json!({ "type": "string", "pattern": "^[!-~]{1,255}$" }))
            .may("traceparent", json!({ "type": "string" }))
            .may("after", count())
            .may("coalesce", flag());
    vec![
        Frame::new("hello", "who is there; needed where the request brought no credential")
            .may("token", text())
            .may("client", json!({ "type": ["object", "null"], "properties": { "id": text(), "name": text() } })),
        generate,
        named(Frame::new("subscribe", "the events behind a cursor, then live"))
            .may("after", count())
            .may("coalesce", flag()),
        named(Frame::new("unsubscribe", "no event of it comes behind the answer")),
        named(Frame::new("cancel", "end it, with a receipt")),
        joined(Frame::new("join", "who is there and who types in a conversation")),
        joined(Frame::new("leave", "nothing more of it")),
        joined(Frame::new("typing", "passed on to the others; answered only if it is wrong"))
            .with("state", json!({ "type": "string", "enum": ["active", "paused"] })),
        Frame::new("ping", "answered by a pong"),
    ]
}

fn participant() -> Value {
    let text = || json!({ "type": "string" });
    json!({
        "type": "object",
        "required": ["id", "name", "kind"],
        "properties": { "id": text(), "name": text(), "kind": { "enum": ["user", "model"] } },
    })
}

fn server() -> Vec<Frame> {
    let limits = SocketLimits::default();
    let shown = json!({
        "type": "object",
        "required": ["frame_bytes", "subscriptions", "joins", "frames_per_s"],
        "properties": {
            "frame_bytes": { "type": "integer", "default": limits.frame_bytes },
            "subscriptions": { "type": "integer", "default": limits.subscriptions },
            "joins": { "type": "integer", "default": limits.joins },
            "frames_per_s": { "type": "integer", "default": limits.frames_per_s },
        },
    });
    let mut welcome = Frame::new("welcome", "the first frame")
        .with("connection", json!({ "type": "string" }))
        .with("heartbeat_s", count())
        .with("limits", shown);
    welcome.marked = false;
    let mut event = Frame::new("event", "the very object of SSE's `data`")
        .with("generation", id())
        .with("event", schema("Event"));
    event.marked = false;
    let ack = Frame::new("ack", "it was done; of a start with its receipt")
        .like_on_http("Started", false)
        .may("generation", id())
        .may("conversation", id())
        .may("participant", participant())
        .may("replayed", flag())
        .may("complete", flag());
    let cancelled = Frame::new("cancelled", "the receipt of a cancel")
        .like_on_http("Receipt", true)
        .with("generation", id());
    let people = || json!({ "type": "array", "items": participant() });
    let mut presence = Frame::new("presence", "who is there: the whole list")
        .with("conversation", id())
        .with("participants", people());
    presence.marked = false;
    let mut typing = Frame::new("typing", "who of the others types: the whole list")
        .with("conversation", id())
        .with("who", people())
        .with("ttl_ms", count());
    typing.marked = false;
    let mut error =
        Frame::new("error", "it was not done; without a `ref` something ended that was going on")
            .may("generation", id())
            .with("code", json!({ "type": "string", "description": "stable, as on HTTP" }))
            .with("message", json!({ "type": "string" }));
    error.open = true;
    let pong = Frame::new("pong", "the answer to a ping");
    vec![welcome, ack, event, presence, typing, cancelled, error, pong]
}

fn close_codes() -> Vec<Value> {
    let code = |code: CloseCode| {
        let (number, reason) = code.wire();
        json!({ "code": number, "reason": reason, "reconnect": (4000..4500).contains(&number) })
    };
    let all = [
        CloseCode::Protocol,
        CloseCode::Binary,
        CloseCode::NotUtf8,
        CloseCode::TooLarge,
        CloseCode::Draining,
        CloseCode::TooSlow,
        CloseCode::NoPong,
        CloseCode::TooOld,
        CloseCode::Rate,
        CloseCode::BadFrames,
        CloseCode::Credential,
        CloseCode::Origin,
        CloseCode::Subprotocol,
        CloseCode::NoHello,
    ];
    all.into_iter().map(code).collect()
}
