//! The schemas of what goes in and out. Answers may get more fields; bodies have these only.
use serde_json::{Map, Value, json};
use strum::VariantNames as _;

use super::operation::reference;
use super::{admin, events, talk};
use crate::domain::event::Status;
use crate::domain::key::Scope;
use crate::domain::prompt::Parameters;
use crate::http::protocols::native::prompt::METADATA_BYTES;

/// All of them by name.
pub(in crate::http) fn all() -> Map<String, Value> {
    let mut all = Map::new();
    all.extend(events::schemas());
    all.extend(talk::schemas());
    all.extend(super::pictures::schemas());
    all.extend(starts());
    all.extend(generations());
    all.extend(access());
    all.extend(service());
    all.extend(admin::schemas());
    all
}

/// A schema and its name.
pub(super) type Named = (String, Value);

/// An object that has all of `required`, and may have `optional`.
pub(super) fn object<const R: usize, const O: usize>(
    required: [(&str, Value); R],
    optional: [(&str, Value); O],
) -> Value {
    let names = required.each_ref().map(|(name, _)| *name);
    let properties: Map<String, Value> = required
        .into_iter()
        .chain(optional)
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect();
    json!({ "type": "object", "required": names.as_slice(), "properties": properties })
}

/// A body: nothing but these, each of which may be left out or, mostly, be null.
pub(super) fn closed(mut schema: Value) -> Value {
    schema["additionalProperties"] = false.into();
    schema
}

/// One of these words.
pub(super) fn words<'a>(words: impl AsRef<[&'a str]>) -> Value {
    json!({ "type": "string", "enum": words.as_ref() })
}

pub(super) fn string() -> Value {
    json!({ "type": "string" })
}

pub(super) fn boolean() -> Value {
    json!({ "type": "boolean" })
}

pub(super) fn id() -> Value {
    json!({ "type": "string", "format": "uuid" })
}

pub(super) fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

/// A whole number from 0 on.
pub(super) fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

pub(super) fn list(of: Value) -> Value {
    json!({ "type": "array", "items": of })
}

/// The same or null.
pub(super) fn or_null(schema: Value) -> Value {
    match schema.get("type").and_then(Value::as_str).filter(|_| schema.get("enum").is_none()) {
        Some(kind) => {
            let kinds = json!([kind, "null"]);
            let mut schema = schema;
            schema["type"] = kinds;
            schema
        }
        None => json!({ "anyOf": [schema, { "type": "null" }] }),
    }
}

/// A list's page.
pub(super) fn page(of: &str) -> Value {
    object([("data", list(reference(of))), ("next_cursor", or_null(string()))], [])
}

/// The client's own notes.
pub(super) fn metadata() -> Value {
    json!({ "type": "object", "description": format!("at most {METADATA_BYTES} bytes, given back as it came") })
}

/// The status words.
pub(super) fn status() -> Value {
    words(Status::VARIANTS)
}

fn starts() -> Vec<Named> {
    let texts = json!({
        "description": "a text, or parts",
        "anyOf": [
            { "type": "string" },
            { "type": "array", "items": super::pictures::part_or_text() },
        ],
    });
    let message = object(
        [("role", words(["system", "developer", "user", "assistant"])), ("content", texts)],
        [],
    );
    let several = json!({ "type": "array", "items": { "type": "string" }, "maxItems": Parameters::MAX_STOPS });
    let mut leave = object(
        [],
        [("cancel_after_s", json!({ "type": "integer", "minimum": 1, "maximum": u32::MAX }))],
    );
    leave["required"] = json!(["cancel_after_s"]);
    let number = |max: f64| or_null(json!({ "type": "number", "minimum": 0, "maximum": max }));
    let tokens = json!({ "type": "integer", "minimum": 1, "maximum": u32::MAX });
    let seed = json!({ "type": "integer", "minimum": i64::MIN, "maximum": i64::MAX });
    let start = object(
        [],
        [
            ("model", or_null(string())),
            ("prompt", or_null(json!({ "type": "string", "minLength": 1 }))),
            (
                "messages",
                or_null(
                    json!({ "type": "array", "minItems": 1, "items": reference("InputMessage") }),
                ),
            ),
            ("system", or_null(json!({ "type": "string", "minLength": 1 }))),
            ("max_output_tokens", or_null(tokens)),
            ("temperature", number(2.0)),
            ("top_p", number(1.0)),
            (
                "stop",
                json!({ "anyOf": [{ "type": "string", "minLength": 1 }, several, { "type": "null" }] }),
            ),
            ("seed", or_null(seed)),
            ("metadata", or_null(metadata())),
            (
                "on_disconnect",
                json!({ "anyOf": [{ "const": "continue" }, closed(leave), { "type": "null" }] }),
            ),
            ("conversation_id", or_null(id())),
            ("parent_id", or_null(id())),
            ("concurrent", or_null(boolean())),
        ],
    );
    let part = object([("type", json!({ "const": "text" })), ("text", string())], []);
    vec![
        ("Start".into(), closed(start)),
        ("InputMessage".into(), closed(message)),
        ("TextPart".into(), closed(part)),
    ]
}

fn generations() -> Vec<Named> {
    let links = object([("self", string()), ("events", string()), ("cancel", string())], []);
    let started = object(
        [
            ("id", id()),
            ("status", status()),
            ("model", string()),
            ("created_at", time()),
            ("last_seq", count()),
            ("links", links),
        ],
        [("conversation_id", id()), ("parent_id", id())],
    );
    let generation = object(
        [
            ("id", id()),
            ("status", status()),
            ("model", string()),
            ("provider", string()),
            ("conversation_id", or_null(id())),
            ("parent_id", or_null(id())),
            ("text", string()),
            ("reasoning", string()),
            ("refusal", string()),
            ("tool_calls", list(reference("ToolCall"))),
            ("last_seq", count()),
            ("usage", or_null(reference("Usage"))),
            ("finish_reason", or_null(reference("FinishReason"))),
            ("error", or_null(reference("Failure"))),
            ("attempts", count()),
            ("created_at", time()),
            ("started_at", or_null(time())),
            ("finished_at", or_null(time())),
            ("time_to_first_token_ms", or_null(json!({ "type": "number" }))),
            ("metadata", metadata()),
        ],
        [("continues", id()), ("unreadable", json!({ "type": "boolean" }))],
    );
    let mut receipt = generation.clone();
    receipt["properties"]["cancelled"] = json!({ "type": "boolean", "description": "false when it had ended otherwise, or has not ended yet" });
    if let Some(required) = receipt["required"].as_array_mut() {
        required.push("cancelled".into());
    }
    vec![
        ("Started".into(), started),
        ("Generation".into(), generation),
        ("Receipt".into(), receipt),
        ("GenerationList".into(), page("Generation")),
    ]
}

fn access() -> Vec<Named> {
    let most = || or_null(count());
    let limits = object(
        [
            ("requests_per_minute", most()),
            ("concurrent_generations", most()),
            ("prompt_bytes", most()),
            ("output_tokens", most()),
            ("wall_s", most()),
            ("disconnect_grace_s", most()),
            ("attach_after_close", or_null(json!({ "type": "boolean" }))),
        ],
        [],
    );
    let session = object(
        [
            ("tenant", string()),
            ("key", or_null(string())),
            ("name", or_null(string())),
            ("scopes", list(words(Scope::VARIANTS))),
            ("limits", limits),
            ("expires_in_s", or_null(count())),
        ],
        [],
    );
    let ticket = object([("ticket", string()), ("expires_in_s", count())], []);
    vec![
        ("SignIn".into(), closed(object([("key", string())], []))),
        ("Session".into(), session),
        ("Ticket".into(), ticket),
        ("GenerationTicket".into(), object([("ticket", string()), ("generation", id())], [])),
    ]
}

fn service() -> Vec<Named> {
    let mut problem = object(
        [
            ("type", json!({ "type": "string", "pattern": "^urn:lastword:problem:" })),
            ("title", string()),
            ("status", json!({ "type": "integer", "minimum": 400, "maximum": 599 })),
            ("code", json!({ "type": "string", "description": "stable, for programs" })),
            ("detail", string()),
        ],
        [("field", json!({ "type": "string", "description": "the field that it is about" }))],
    );
    // Such as `limit`, `min` and `max`, `known`, `generation`, `line`.
    problem["additionalProperties"] = true.into();
    let error = object(
        [
            ("message", string()),
            ("type", string()),
            ("param", or_null(string())),
            ("code", or_null(string())),
        ],
        [],
    );
    let refusal = object([("type", string()), ("message", string()), ("code", string())], []);
    let anthropic_error = object(
        [("type", json!({ "const": "error" })), ("error", refusal), ("request_id", string())],
        [],
    );
    let bytes = json!({ "type": "integer", "minimum": 0 });
    let limits_of_prompts = object([("prompt_bytes", bytes.clone()), ("media_bytes", bytes)], []);
    let models = object(
        [
            ("object", json!({ "const": "list" })),
            ("data", list(reference("Model"))),
            ("limits", limits_of_prompts),
        ],
        [],
    );
    let health = object(
        [("status", words(["ok", "ready"]))],
        [("detail", json!({ "type": "string" })), ("commits_wait_s", json!({ "type": "integer" }))],
    );
    let described = json!({ "type": "object", "description": "as its inventor describes it" });
    vec![
        ("Problem".into(), problem),
        ("OpenAiError".into(), object([("error", error)], [])),
        ("AnthropicError".into(), anthropic_error),
        ("Model".into(), model()),
        ("ModelList".into(), models),
        ("Health".into(), health),
        ("Object".into(), described),
    ]
}

/// A model in a list of them.
fn model() -> Value {
    object(
        [
            ("id", string()),
            ("object", json!({ "const": "model" })),
            ("created", count()),
            ("owned_by", string()),
            ("provider", string()),
            ("default", boolean()),
            ("continues", boolean()),
            ("continuation", string()),
        ],
        [
            (
                "pictures",
                json!({ "type": "boolean", "description": "whether it sees pictures, where it is known" }),
            ),
            (
                "context_length",
                json!({ "type": "integer", "description": "the window in tokens, where it is known" }),
            ),
            (
                "max_model_len",
                json!({ "type": "integer", "description": "the same, as vLLM names it" }),
            ),
        ],
    )
}
