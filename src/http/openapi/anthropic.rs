//! The routes of Anthropic's API.
use serde_json::json;

use super::generations::{flag, most_bytes};
use super::operation::{Operation, Row};
use super::schemas::words;

fn anthropic(id: &str, summary: &str) -> Operation {
    Operation::new("anthropic", id, summary).anthropic_errors()
}

pub(super) fn operations() -> Vec<Row> {
    let content = "/demo tokens=2 tps=0";
    let body = json!({
        "model": "demo", "max_tokens": 100, "messages": [{ "role": "user", "content": content }],
    });
    vec![
        ("post", "/v1/messages", create(body.clone())),
        (
            "post",
            "/v1/messages/count_tokens",
            anthropic("countTokens", "The tokens of a prompt, by our estimate")
                .body("Object", body, most_bytes())
                .answers(200, "`input_tokens`", "Object")
                .refuses(404, &["unknown_model"]),
        ),
        ("get", "/v1/messages/{id}", retrieve()),
        ("get", "/v1/messages/batches", no_batches("listBatches")),
        ("post", "/v1/messages/batches", no_batches("createBatch")),
        (
            "get",
            "/v1/messages/batches/{path}",
            no_batches("getBatch").place("path", "a batch, or its results"),
        ),
        (
            "post",
            "/v1/messages/batches/{path}",
            no_batches("cancelBatch").place("path", "a batch and `/cancel`"),
        ),
    ]
}

fn create(body: serde_json::Value) -> Operation {
    let key = json!({ "type": "string", "pattern": "^[!-~]{1,255}$" });
    anthropic("createMessage", "Anthropic's Messages")
        .says("What the model is not told is named in `Lastword-Left-Out`; nothing unknown is refused.")
        .header("Idempotency-Key", key, "a repeat with the same key is the same start")
        .header("anthropic-beta", json!({ "type": "string" }), "goes on to an Anthropic upstream")
        .header(
            "Lastword-On-Disconnect",
            words(["continue", "cancel"]),
            "what happens when the client goes away",
        )
        .body("Object", body, most_bytes())
        .answers(200, "the message", "Object")
        .frames(200, "its events, with `stream: true`", json!({ "type": "string" }))
        .tells(
            200,
            &[
                ("Lastword-Generation", "the generation's id"),
                ("Lastword-Left-Out", "names of what the model is not told"),
                ("request-id", "the request's name"),
            ],
        )
        .refuses(400, &["invalid_idempotency_key", "invalid_header", "prompt_too_long"])
        .refuses(400, &["context_length_exceeded"])
        .refuses(404, &["unknown_model"])
        .refuses(409, &["cancelled"])
        .refuses(429, &["concurrency_limit", "upstream_rate_limited"])
        .refuses(502, &["upstream_rejected", "upstream_stalled", "upstream_protocol"])
        .refuses(502, &["upstream_truncated"])
        .refuses(503, &["stream_cut", "upstream_unavailable", "server_lost"])
        .refuses(504, &["upstream_timeout"])
}

fn retrieve() -> Operation {
    let number = json!({ "type": "integer", "minimum": 0 });
    anthropic("getMessage", "A message, which Anthropic's own API cannot be asked for")
        .id("its id")
        .query("stream", flag(), "its events")
        .query("starting_after", number, "behind the event of this id; with `stream=true`")
        .answers(200, "as it stands", "Object")
        .frames(200, "its events", json!({ "type": "string" }))
        .refuses(400, &["invalid_cursor", "cursor_ahead", "cursor_expired"])
}

fn no_batches(id: &str) -> Operation {
    anthropic(id, "Not supported").refuses(404, &["not_found"])
}
