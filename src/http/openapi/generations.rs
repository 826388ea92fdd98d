//! `/v1/generations` and below.
use serde_json::{Value, json};
use strum::VariantNames as _;

use super::operation::{Operation, Row};
use super::schemas::words;
use crate::domain::event::Status;
use crate::engine::Limits;
use crate::http::body::most;
use crate::http::protocols::native::generations::{PAGE, USUAL_PAGE};

const TAG: &str = "generations";

/// The largest body with the usual limits: see `body::limit`.
pub(super) fn most_bytes() -> usize {
    most(&Limits::default())
}

/// The `limit` of a list.
pub(super) fn page() -> Value {
    json!({ "type": "integer", "minimum": PAGE.start(), "maximum": PAGE.end(), "default": USUAL_PAGE })
}

/// A cursor of a list.
pub(super) fn cursor() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

/// A cursor of the list of generations: the last one's id.
fn id_cursor() -> Value {
    json!({ "type": "string", "format": "uuid" })
}

/// A flag of a query.
pub(super) fn flag() -> Value {
    json!({ "type": "boolean", "default": false })
}

/// The cursor of a reader.
pub(super) fn seq() -> Value {
    json!({ "type": "integer", "minimum": 0, "maximum": i64::MAX })
}

pub(super) fn operations() -> Vec<Row> {
    vec![
        ("get", "/v1/generations", list()),
        ("post", "/v1/generations", start()),
        (
            "get",
            "/v1/generations/{id}",
            Operation::new(TAG, "getGeneration", "A generation as it stands")
                .id("the generation")
                .answers(200, "what it has come to", "Generation"),
        ),
        (
            "delete",
            "/v1/generations/{id}",
            Operation::new(TAG, "deleteGeneration", "Erase an ended generation with its events")
                .id("the generation")
                .empty(204, "it is gone")
                .refuses(409, &["generation_running"]),
        ),
        ("get", "/v1/generations/{id}/events", events()),
        (
            "post",
            "/v1/generations/{id}/cancel",
            Operation::new(TAG, "cancelGeneration", "End it, with a receipt")
                .says("Answers when the model's connection is closed and `done` is durable. Twice is the same as once.")
                .id("the generation")
                .answers(200, "the receipt", "Receipt")
                .answers(202, "it takes longer: `done` will tell", "Receipt"),
        ),
        ("post", "/v1/generations/{id}/continue", go_on()),
    ]
}

fn list() -> Operation {
    Operation::new(TAG, "listGenerations", "Generations, newest first")
        .query("status", words(Status::VARIANTS), "only these")
        .query(
            "conversation_id",
            json!({ "type": "string", "format": "uuid" }),
            "only of this conversation",
        )
        .query("limit", page(), "the most to show")
        .query("cursor", id_cursor(), "`next_cursor` of the page before")
        .answers(200, "a page", "GenerationList")
        .refuses(400, &["invalid_cursor"])
        .refuses(422, &["out_of_range"])
}

fn start() -> Operation {
    let key = json!({ "type": "string", "pattern": "^[!-~]{1,255}$" });
    Operation::new(TAG, "startGeneration", "Start a generation")
        .says("With `Accept: text/event-stream` the response is the event stream itself.")
        .header("Idempotency-Key", key, "a repeat with the same key is the same start")
        .header("Last-Event-ID", seq(), "a reconnect's cursor; needs the key")
        .header("traceparent", json!({ "type": "string" }), "W3C Trace Context, passed on")
        .body("Start", json!({ "prompt": "/demo tokens=2 tps=0" }), most_bytes())
        .answers(201, "it is durable and runs", "Started")
        .answers(200, "it had been started before by this key, or the stream", "Started")
        .streams(200, "its events")
        .empty(204, "it has ended and the cursor is at its end")
        .tells(201, &[("Location", "the generation"), ("Lastword-Generation", "its id")])
        .tells(200, &[("Lastword-Generation", "its id"), ("Idempotency-Replayed", "`true`")])
        .refuses(400, &["invalid_idempotency_key", "idempotency_key_required", "invalid_cursor"])
        .refuses(404, &["not_found"])
        .refuses(409, &["conversation_busy"])
        .refuses(422, &["conflicting_fields", "prompt_empty", "prompt_too_long"])
        .refuses(422, &["metadata_too_large", "unknown_model", "idempotency_key_reused"])
        .refuses(429, &["concurrency_limit"])
}

fn go_on() -> Operation {
    let key = json!({ "type": "string", "pattern": "^[!-~]{1,255}$" });
    Operation::new(TAG, "continueGeneration", "Go on from an answer that ended early")
        .says("A new generation whose message is a sibling that begins with the earlier text. With `Accept: text/event-stream` the response is its event stream.")
        .id("the generation whose answer was cut, stopped or lost")
        .header("Idempotency-Key", key, "a repeat with the same key is the same start")
        .header("Last-Event-ID", seq(), "a reconnect's cursor; needs the key")
        .header("traceparent", json!({ "type": "string" }), "W3C Trace Context, passed on")
        .answers(201, "it is durable and runs", "Started")
        .answers(200, "it had been started before by this key, or the stream", "Started")
        .streams(200, "its events")
        .empty(204, "it has ended and the cursor is at its end")
        .tells(201, &[("Location", "the generation"), ("Lastword-Generation", "its id")])
        .tells(200, &[("Lastword-Generation", "its id"), ("Idempotency-Replayed", "`true`")])
        .refuses(400, &["invalid_idempotency_key", "idempotency_key_required", "invalid_cursor"])
        .refuses(409, &["cannot_continue", "conversation_busy"])
        .refuses(422, &["unknown_model", "idempotency_key_reused", "out_of_range"])
        .refuses(422, &["prompt_too_long"])
        .refuses(429, &["concurrency_limit"])
}

fn events() -> Operation {
    Operation::new(TAG, "readEvents", "The events behind a cursor, then live")
        .says("Ends with `done`. A stream of any status but 200 ends an EventSource for good.")
        .id("the generation")
        .header("Last-Event-ID", seq(), "the cursor; wins over `after`")
        .query("after", seq(), "the cursor: the seq of the last event that was applied")
        .query("lastEventId", seq(), "the header's place in polyfills; wins over `after`")
        .query("coalesce", flag(), "joins neighbouring texts of the backlog")
        .streams(200, "the events")
        .tells(
            200,
            &[("Lastword-Generation", "the generation's id"), ("Cache-Control", "not stored")],
        )
        .empty(204, "it has ended and the cursor is at its end: do not come back")
        .refuses(400, &["invalid_cursor"])
        .refuses(406, &["not_acceptable"])
}
