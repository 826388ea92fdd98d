//! Conversations and their messages.
use serde_json::{Value, json};

use super::operation::reference;
use super::schemas::{
    Named, closed, id, list, metadata, object, or_null, page, status, string, time, words,
};
use crate::http::protocols::native::conversations::SHORT;
use crate::http::protocols::openai::conversations::MOST;

fn title() -> Value {
    or_null(json!({ "type": "string", "minLength": 1, "maxLength": SHORT }))
}

fn system() -> Value {
    or_null(json!({ "type": "string", "minLength": 1 }))
}

fn content() -> Value {
    json!({ "anyOf": [{ "type": "string" }, list(super::pictures::part())] })
}

pub(super) fn schemas() -> Vec<Named> {
    let notes = || or_null(metadata());
    let items =
        json!({ "type": ["array", "null"], "maxItems": MOST, "items": { "type": "object" } });
    let new = object(
        [],
        [("title", title()), ("system", system()), ("metadata", notes()), ("items", items)],
    );
    let change = object(
        [],
        [
            ("title", title()),
            ("system", system()),
            ("metadata", notes()),
            ("active_leaf", or_null(id())),
        ],
    );
    let conversation = object(
        [
            ("object", json!({ "const": "conversation" })),
            ("id", id()),
            ("title", or_null(string())),
            ("system", or_null(string())),
            ("metadata", metadata()),
            ("active_leaf", or_null(id())),
            ("created_at", json!({ "type": "integer", "description": "seconds since 1970" })),
            ("updated_at", time()),
            ("running", list(id())),
        ],
        [],
    );
    let new_share = object([], [("later_turns", json!({ "type": "boolean", "default": false }))]);
    let share = object([("token", string()), ("url", string())], []);
    let mut schemas = vec![
        ("NewConversation".into(), closed(new)),
        ("ConversationChange".into(), closed(change)),
        ("Conversation".into(), conversation),
        ("ConversationList".into(), page("Conversation")),
        ("NewShare".into(), closed(new_share)),
        ("Share".into(), share),
    ];
    schemas.extend(messages());
    schemas
}

fn messages() -> Vec<Named> {
    let role = words(["system", "developer", "user", "assistant", "tool"]);
    let message = object(
        [
            ("id", id()),
            ("parent_id", or_null(id())),
            ("role", role),
            ("content", content()),
            ("siblings", list(id())),
            ("created_at", time()),
        ],
        [
            ("generation_id", id()),
            ("model", string()),
            ("status", status()),
            ("finish_reason", or_null(reference("FinishReason"))),
            ("error", reference("Failure")),
            ("usage", reference("Usage")),
            ("reasoning", string()),
            ("refusal", string()),
            ("tool_calls", list(reference("ToolCall"))),
        ],
    );
    let running = object([("generation", id()), ("parent_id", id())], []);
    let messages = object(
        [
            ("data", list(reference("Message"))),
            ("next_cursor", or_null(string())),
            ("active_leaf", or_null(id())),
            ("running", list(running)),
        ],
        [],
    );
    let shared = object(
        [("role", words(["user", "assistant"])), ("content", content()), ("created_at", time())],
        [
            ("reasoning", string()),
            ("refusal", string()),
            ("tool_calls", list(reference("ToolCall"))),
            ("status", status()),
            ("model", string()),
        ],
    );
    let branch = object(
        [
            ("title", or_null(string())),
            ("messages", list(reference("SharedMessage"))),
            ("answering", json!({ "type": "boolean" })),
        ],
        [("turn", string())],
    );
    vec![
        ("Message".into(), message),
        ("MessageList".into(), messages),
        ("SharedMessage".into(), shared),
        ("Shared".into(), branch),
    ]
}
