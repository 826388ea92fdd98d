//! The routes of other protocols: what they take and answer is described where it was invented.
use serde_json::json;

use super::generations::{flag, most_bytes};
use super::operation::{Operation, Row};

const TAG: &str = "openai";

fn openai(id: &str, summary: &str) -> Operation {
    Operation::new(TAG, id, summary).openai_errors()
}

/// A retrieve: whole, or its events behind a cursor.
fn retrieve(id: &str, summary: &str) -> Operation {
    let number = json!({ "type": "integer", "minimum": 0, "maximum": i64::MAX });
    openai(id, summary)
        .id("its id")
        .query("stream", flag(), "its events")
        .query("starting_after", number, "behind the event of this number; with `stream=true`")
        .answers(200, "as it stands", "Object")
        .frames(200, "its events", json!({ "type": "string" }))
        .refuses(400, &["invalid_cursor", "cursor_ahead", "cursor_expired"])
}

fn erase(id: &str, summary: &str) -> Operation {
    openai(id, summary)
        .id("its id")
        .answers(200, "it is gone", "Object")
        .refuses(409, &["generation_running"])
}

/// A start: waited for, or streamed.
fn create(id: &str, summary: &str, body: serde_json::Value) -> Operation {
    let key = json!({ "type": "string", "pattern": "^[!-~]{1,255}$" });
    openai(id, summary)
        .header("Idempotency-Key", key, "a repeat with the same key is the same start")
        .body("Object", body, most_bytes())
        .answers(200, "the answer", "Object")
        .frames(200, "its events, with `stream: true`", json!({ "type": "string" }))
        .tells(200, &[("Lastword-Generation", "the generation's id")])
        .refuses(400, &["invalid_idempotency_key"])
        .refuses(404, &["model_not_found", "not_found"])
        .refuses(409, &["cancelled", "generation_running"])
        .refuses(429, &["concurrency_limit"])
        .refuses(429, &["upstream_rate_limited"])
        .refuses(502, &["upstream_rejected", "upstream_stalled", "upstream_protocol"])
        .refuses(502, &["upstream_truncated"])
        .refuses(503, &["stream_cut", "upstream_unavailable", "server_lost"])
        .refuses(504, &["upstream_timeout"])
}

/// The AI SDK's chat, and Durable Streams.
pub(super) fn others() -> Vec<Row> {
    const TAG: &str = "others";
    let frame = || json!({ "type": "string" });
    let body = json!({
        "id": "chat", "messages": [{ "role": "user", "parts": [{ "type": "text", "text": "/demo tokens=2 tps=0" }] }],
    });
    let key = json!({ "type": "string", "pattern": "^[!-~]{1,255}$" });
    let seq = json!({ "type": "integer", "minimum": 0, "maximum": i64::MAX });
    vec![
        (
            "post",
            "/api/chat",
            Operation::new(TAG, "sendChat", "The AI SDK's chat")
                .header("Idempotency-Key", key, "a repeat with the same key is the same start")
                .body("Object", body, most_bytes())
                .frames(200, "UI messages", frame())
                .refuses(400, &["invalid_idempotency_key"])
                .refuses(409, &["conversation_busy"])
                .refuses(422, &["prompt_empty", "prompt_too_long", "metadata_too_large"])
                .refuses(422, &["unknown_model", "idempotency_key_reused"])
                .refuses(429, &["concurrency_limit"]),
        ),
        ("get", "/api/chat/ws", chat_socket()),
        (
            "get",
            "/api/chat/{id}/stream",
            Operation::new(TAG, "resumeChat", "The running answer of a chat")
                .id("the chat")
                .query("after", seq, "behind the event of this seq")
                .frames(200, "UI messages", frame())
                .empty(204, "none runs")
                .refuses(400, &["invalid_cursor", "cursor_ahead"])
                .refuses(422, &["out_of_range"]),
        ),
        (
            "delete",
            "/api/chat/{id}/stream",
            Operation::new(TAG, "stopChat", "End the running answer of a chat")
                .id("the chat")
                .empty(204, "none runs any more")
                .refuses(422, &["out_of_range"]),
        ),
        (
            "get",
            "/v1/generations/{id}/stream",
            Operation::new(TAG, "readStream", "A generation as a Durable Stream")
                .id("the generation")
                .query(
                    "offset",
                    json!({ "type": "string", "pattern": "^(-1|now|[0-9]{1,18})$" }),
                    "the `Stream-Next-Offset` of the answer before, `-1` or `now`",
                )
                .query("live", super::schemas::words(["long-poll", "sse"]), "wait for what is new")
                .query(
                    "cursor",
                    json!({ "type": "integer", "minimum": 0, "maximum": i64::MAX }),
                    "the `Stream-Cursor` of the answer before",
                )
                .with(
                    200,
                    "events",
                    "application/json",
                    json!({ "type": "array", "items": { "type": "object" } }),
                )
                .frames(200, "events", frame())
                .empty(204, "nothing new in time")
                .refuses(400, &["invalid_cursor"])
                .refuses(410, &["cursor_expired"]),
        ),
    ]
}

pub(super) fn operations() -> Vec<Row> {
    let prompt = "/demo tokens=2 tps=0";
    let chat = json!({ "model": "demo", "messages": [{ "role": "user", "content": prompt }] });
    vec![
        (
            "get",
            "/v1/models/{model}",
            openai("getModel", "One model").place("model", "its name").answers(
                200,
                "the model",
                "Model",
            ),
        ),
        ("get", "/v1/responses", responses_socket()),
        (
            "post",
            "/v1/responses",
            create(
                "createResponse",
                "OpenAI's Responses",
                json!({ "model": "demo", "input": prompt }),
            )
            .refuses(400, &CONTINUED)
            .refuses(409, &["conversation_busy"]),
        ),
        ("get", "/v1/responses/{id}", retrieve("getResponse", "A response")),
        ("delete", "/v1/responses/{id}", erase("deleteResponse", "Erase an ended response")),
        (
            "post",
            "/v1/responses/{id}/cancel",
            openai("cancelResponse", "End a response").id("its id").answers(
                200,
                "as it then is",
                "Object",
            ),
        ),
        ("get", "/v1/responses/{id}/input_items", input_items()),
        (
            "post",
            "/v1/chat/completions",
            create("createCompletion", "OpenAI's chat completions", chat)
                .header(
                    "Lastword-On-Disconnect",
                    super::schemas::words(["continue", "cancel"]),
                    "what happens when the client goes away",
                )
                .refuses(400, &["invalid_header"]),
        ),
        (
            "get",
            "/v1/chat/completions/{id}",
            retrieve("getCompletion", "A completion").query(
                "include_usage",
                flag(),
                "a chunk with the usage",
            ),
        ),
        (
            "delete",
            "/v1/chat/completions/{id}",
            erase("deleteCompletion", "Erase an ended completion"),
        ),
    ]
}

fn input_items() -> Operation {
    openai("listInputItems", "What a response was asked")
        .id("its id")
        .query("order", super::schemas::words(["asc", "desc"]), "`desc`: the newest first")
        .query("limit", json!({ "type": "integer", "minimum": 1, "maximum": 100 }), "20")
        .query("after", json!({ "type": "string" }), "behind the item of this id")
        .answers(200, "as items", "Object")
}

/// `/v1/completions`.
pub(super) fn texts() -> Vec<Row> {
    let body = json!({ "model": "demo", "prompt": "/demo tokens=2 tps=0" });
    let create = create("createTextCompletion", "OpenAI's completions, older than chat", body)
        .header(
            "Lastword-On-Disconnect",
            super::schemas::words(["continue", "cancel"]),
            "what happens when the client goes away",
        )
        .refuses(400, &["invalid_header"]);
    let get = retrieve("getTextCompletion", "A text completion").query(
        "include_usage",
        flag(),
        "a chunk with the usage",
    );
    let path = "/v1/completions/{id}";
    vec![
        ("post", "/v1/completions", create),
        ("get", path, get),
        ("delete", path, erase("deleteTextCompletion", "Erase an ended text completion")),
    ]
}

/// The refusals of what an input brings back.
const CONTINUED: [&str; 3] =
    ["previous_response_not_found", "tool_call_not_found", "invalid_encrypted_content"];

/// The operations that ask no model.
pub(super) fn without_model() -> Vec<Row> {
    let row = |path, id, summary, answer| {
        let operation = openai(id, summary)
            .body("Object", json!({ "model": "demo", "input": "hi" }), most_bytes())
            .answers(200, answer, "Object")
            .refuses(400, &CONTINUED)
            .refuses(404, &["model_not_found", "not_found"])
            .refuses(409, &["generation_running"]);
        ("post", path, operation)
    };
    vec![
        row(
            "/v1/responses/compact",
            "compactResponse",
            "What was said before as one item",
            "the user's messages and the item",
        ),
        row(
            "/v1/responses/input_tokens",
            "countResponseTokens",
            "The tokens of an input, by our estimate",
            "`input_tokens`",
        ),
    ]
}

/// The socket of Responses, where a GET is a handshake.
fn responses_socket() -> Operation {
    openai("openResponsesSocket", "Responses on a WebSocket")
        .says("As the SDKs' `responses.connect()` and Codex speak it: docs/protocol.md, `/asyncapi.json`.")
        .empty(101, "OpenAI's events as text frames")
        .refuses(400, &["bad_handshake"])
        .refuses(426, &["upgrade_required"])
}

fn chat_socket() -> Operation {
    Operation::new("others", "openChatSocket", "The AI SDK's chat on a WebSocket")
        .says("For `WebSocketChatTransport`, whose frames it speaks.")
        .empty(101, "the transport's frames")
        .refuses(400, &["bad_handshake"])
        .refuses(426, &["upgrade_required"])
}
