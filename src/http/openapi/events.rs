//! The events of a generation.
use serde_json::{Value, json};
use strum::{IntoEnumIterator as _, VariantNames as _};

use super::operation::reference;
use super::schemas::{Named, boolean, count, id, object, or_null, status, string, time, words};
use crate::domain::event::{ErrorCode, FinishReason, SnapshotReason, Status};
use crate::domain::extra::Spot;
use crate::domain::source::WireProtocol;

/// An event: its seq, what it covers where texts were joined, its type, and these.
fn event<const R: usize, const O: usize>(
    kind: &str,
    required: [(&str, Value); R],
    optional: [(&str, Value); O],
) -> Value {
    let mut schema = object(required, optional);
    let seq = json!({ "type": "integer", "minimum": 1 });
    schema["properties"]["seq"] = seq;
    schema["properties"]["type"] = json!({ "const": kind });
    if let Some(names) = schema["required"].as_array_mut() {
        names.extend([json!("seq"), json!("type")]);
    }
    schema
}

/// A text, which may stand for several.
fn text(kind: &str) -> Value {
    let text = json!({ "type": "string", "minLength": 1 });
    let from =
        json!({ "type": "integer", "minimum": 1, "description": "the first seq that it covers" });
    event(kind, [("text", text)], [("from", from)])
}

fn extra() -> Value {
    event(
        "extra",
        [
            ("protocol", words(WireProtocol::VARIANTS)),
            ("at", words(Spot::VARIANTS)),
            ("data", json!({ "type": "object" })),
        ],
        [("index", count())],
    )
}

fn done() -> Value {
    let ended = Status::iter().filter(|status| status.is_ended()).map(Status::as_str);
    let ended: Vec<&str> = ended.collect();
    event(
        "done",
        [
            ("status", json!({ "type": "string", "enum": ended })),
            ("finish_reason", or_null(reference("FinishReason"))),
            ("usage", reference("Usage")),
        ],
        [("provider_finish_reason", string()), ("error", reference("Failure"))],
    )
}

pub(super) fn schemas() -> Vec<Named> {
    let mut schemas = parts();
    let reason = || words(["takeover", "upstream"]);
    let notice = [("code", string()), ("message", string())];
    let events = [
        (
            "Started",
            event(
                "started",
                [
                    ("generation", id()),
                    ("model", string()),
                    ("provider", string()),
                    ("created_at", time()),
                ],
                [],
            ),
        ),
        ("Delta", text("delta")),
        ("Reasoning", text("reasoning")),
        ("Refusal", text("refusal")),
        (
            "ToolCall",
            event(
                "tool_call",
                [("index", count()), ("arguments", string())],
                [
                    ("id", string()),
                    ("name", string()),
                    ("namespace", string()),
                    ("custom", boolean()),
                ],
            ),
        ),
        ("Superseded", event("superseded", [("after", count()), ("reason", reason())], [])),
        ("Resumed", event("resumed", [("reason", reason()), ("attempt", count())], [])),
        (
            "Snapshot",
            event(
                "snapshot",
                [
                    ("reason", words(SnapshotReason::VARIANTS)),
                    ("text", string()),
                    ("reasoning", string()),
                    ("status", status()),
                ],
                [],
            ),
        ),
        ("Notice", event("notice", notice, [])),
        ("Extra", extra()),
        ("Done", done()),
    ];
    let named = |name: &str| format!("{name}Event");
    let choice: Vec<Value> = events.iter().map(|(name, _)| reference(&named(name))).collect();
    let event = json!({
        "description": "one event, the same on SSE and the WebSocket; numbered 1, 2, 3 … n",
        "oneOf": choice,
    });
    schemas.push(("Event".into(), event));
    schemas.extend(events.map(|(name, schema)| (named(name), schema)));
    schemas
}

/// The parts that occur in events and elsewhere.
fn parts() -> Vec<Named> {
    let usage = object(
        [("input_tokens", count()), ("output_tokens", count()), ("exact", boolean())],
        [
            ("reasoning_tokens", count()),
            ("cached_input_tokens", count()),
            ("cache_write_input_tokens", count()),
        ],
    );
    let failure = object(
        [("code", words(ErrorCode::VARIANTS)), ("message", string()), ("retryable", boolean())],
        [("retry_after_ms", count()), ("upstream", reference("UpstreamRefusal"))],
    );
    let headers = json!({ "type": "object", "additionalProperties": string() });
    let refusal = object(
        [("status", count())],
        [("code", string()), ("type", string()), ("rate_limits", headers)],
    );
    let call = object(
        [("id", string()), ("name", string()), ("arguments", string())],
        [("namespace", string()), ("custom", boolean())],
    );
    vec![
        ("Usage".into(), usage),
        ("Failure".into(), failure),
        ("UpstreamRefusal".into(), refusal),
        ("ToolCall".into(), call),
        ("FinishReason".into(), words(FinishReason::VARIANTS)),
    ]
}
