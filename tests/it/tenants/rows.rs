//! Every operation of `/openapi.json`, and how it is asked for what is somebody else's.

/// One operation.
pub(super) struct Row {
    /// As the document has it.
    pub(super) operation: &'static str,
    pub(super) asks: Asks,
}

pub(super) enum Asks {
    /// It has nothing of a tenant's in it; the reason.
    Nothing(&'static str),
    /// A query (`?…`) or a header (`Name: value`), a body, and the status of what does not exist.
    Alike(&'static [(&'static str, &'static str, u16)]),
}

const fn row(operation: &'static str, asks: Asks) -> Row {
    Row { operation, asks }
}

const fn nothing(operation: &'static str, why: &'static str) -> Row {
    row(operation, Asks::Nothing(why))
}

const fn alike(operation: &'static str, asks: &'static [(&'static str, &'static str, u16)]) -> Row {
    row(operation, Asks::Alike(asks))
}

const PLAIN: &[(&str, &str, u16)] = &[("", "", 404)];
const RETRIEVE: &[(&str, &str, u16)] = &[
    ("", "", 404),
    ("?stream=true", "", 404),
    ("?stream=true&starting_after=1", "", 404),
    ("?stream=true&starting_after=9999", "", 404),
];
const NAMED: &[(&str, &str, u16)] = &[
    ("", r#"{"model":"demo","input":"hi","previous_response_id":"resp_{generation}"}"#, 400),
    ("", r#"{"model":"demo","input":[{"type":"item_reference","id":"msg_{generation}_0"}]}"#, 404),
    ("", r#"{"model":"demo","input":"hi","conversation":"{conversation}"}"#, 404),
];

pub(super) const ROWS: &[Row] = &[
    nothing("GET /openapi.json", "a document"),
    nothing("GET /asyncapi.json", "a document"),
    nothing("GET /healthz", "the process"),
    nothing("GET /health", "the process"),
    nothing("GET /readyz", "the process"),
    nothing("GET /metrics", "the process"),
    nothing("GET /v1/admin/overview", "for operators: all tenants alike"),
    nothing("GET /v1/admin/events", "for operators: all tenants alike"),
    // For operators: a tenant's key is refused whatever the id.
    alike("GET /v1/admin/generations/{id}/timeline", &[("", "", 403)]),
    alike("POST /v1/admin/generations/{id}/cancel", &[("", "", 403)]),
    nothing("GET /v1/session", "the caller"),
    nothing("POST /v1/session", "the caller"),
    nothing("DELETE /v1/session", "the caller"),
    nothing("POST /v1/tickets", "the caller"),
    nothing("GET /v1/models", "for all alike"),
    nothing("GET /v1/models/{model}", "for all alike"),
    nothing("GET /v1/ws", "its frames have rows of their own"),
    nothing("GET /api/chat/ws", "a chat's name is its client's own, as over HTTP"),
    nothing("GET /v1/responses", "tests/it/ws/responses.rs has the rows of its frames"),
    nothing("GET /v1/conversations", "the caller's own"),
    nothing("POST /v1/conversations", "a new one"),
    nothing("POST /v1/chat/completions", "takes no id"),
    nothing("POST /v1/completions", "takes no id"),
    // An id behind which the list has ended is only a place in one's own list.
    alike("GET /v1/generations", &[("?cursor={generation}", "", 200)]),
    alike(
        "POST /v1/generations",
        &[
            ("", r#"{"prompt":"hi","conversation_id":"{conversation}"}"#, 404),
            (
                "Accept: text/event-stream",
                r#"{"prompt":"hi","conversation_id":"{conversation}"}"#,
                404,
            ),
            (
                "",
                r#"{"prompt":"hi","conversation_id":"{conversation}","parent_id":"{message}"}"#,
                404,
            ),
            ("Idempotency-Key: a", r#"{"prompt":"hi","conversation_id":"{conversation}"}"#, 404),
        ],
    ),
    alike("GET /v1/generations/{id}", PLAIN),
    alike("DELETE /v1/generations/{id}", PLAIN),
    alike(
        "GET /v1/generations/{id}/events",
        &[
            ("", "", 404),
            ("?after=2", "", 404),
            ("?after=9999", "", 404),
            ("Last-Event-ID: 2", "", 404),
            ("Last-Event-ID: 9999", "", 404),
        ],
    ),
    alike("POST /v1/generations/{id}/cancel", &[("", "", 404), ("", "{}", 404)]),
    alike("POST /v1/generations/{id}/tickets", PLAIN),
    alike("POST /v1/generations/{id}/continue", &[("", "", 404), ("", "{}", 404)]),
    alike(
        "GET /v1/generations/{id}/stream",
        &[
            ("", "", 404),
            ("?offset=now", "", 404),
            ("?offset=9999", "", 404),
            ("?live=long-poll&offset=-1", "", 404),
            ("?live=sse&offset=-1", "", 404),
        ],
    ),
    alike("GET /v1/conversations/{id}", PLAIN),
    alike(
        "PATCH /v1/conversations/{id}",
        &[("", r#"{"title":"x"}"#, 404), ("", r#"{"active_leaf":"{message}"}"#, 404)],
    ),
    alike("POST /v1/conversations/{id}", &[("", r#"{"metadata":{}}"#, 404)]),
    alike("DELETE /v1/conversations/{id}", PLAIN),
    alike("GET /v1/conversations/{id}/items", &[("", "", 404), ("?limit=1", "", 404)]),
    alike(
        "POST /v1/conversations/{id}/items",
        &[("", r#"{"items":[{"role":"user","content":"x"}]}"#, 404)],
    ),
    alike("GET /v1/conversations/{id}/items/{item}", PLAIN),
    alike("DELETE /v1/conversations/{id}/items/{item}", PLAIN),
    alike(
        "GET /v1/conversations/{id}/messages",
        &[("", "", 404), ("?all=true", "", 404), ("?leaf={message}", "", 404)],
    ),
    alike(
        "POST /v1/conversations/{id}/shares",
        &[("", "", 404), ("", r#"{"later_turns":true}"#, 404)],
    ),
    alike("DELETE /v1/conversations/{id}/shares", PLAIN),
    nothing("POST /v1/pictures", "what is sent is the caller's"),
    alike("GET /v1/pictures/{picture}", PLAIN),
    alike("GET /v1/shared/{token}", PLAIN),
    alike("GET /v1/shared/{token}/pictures/{picture}", PLAIN),
    alike("GET /v1/shared/{token}/events", &[("", "", 404), ("?after=2", "", 404)]),
    alike(
        "POST /v1/responses",
        &[
            (
                "",
                r#"{"model":"demo","input":"hi","previous_response_id":"resp_{generation}"}"#,
                400,
            ),
            ("", r#"{"model":"demo","input":"hi","conversation":"{conversation}"}"#, 404),
            (
                "",
                r#"{"model":"demo","input":"hi","stream":true,"previous_response_id":"resp_{generation}"}"#,
                400,
            ),
            (
                "",
                r#"{"model":"demo","input":[{"type":"item_reference","id":"msg_{generation}_0"}]}"#,
                404,
            ),
        ],
    ),
    alike("POST /v1/responses/compact", NAMED),
    alike("POST /v1/responses/input_tokens", NAMED),
    alike("GET /v1/responses/{id}", RETRIEVE),
    alike("DELETE /v1/responses/{id}", PLAIN),
    alike("POST /v1/responses/{id}/cancel", PLAIN),
    alike("GET /v1/responses/{id}/input_items", PLAIN),
    alike("GET /v1/chat/completions/{id}", RETRIEVE),
    alike("DELETE /v1/chat/completions/{id}", PLAIN),
    alike("GET /v1/completions/{id}", RETRIEVE),
    alike("DELETE /v1/completions/{id}", PLAIN),
    nothing("POST /v1/messages", "its body holds the whole conversation and names nothing stored"),
    nothing("POST /v1/messages/count_tokens", "its body holds all that is counted"),
    nothing("GET /v1/messages/batches", "always refused"),
    nothing("POST /v1/messages/batches", "always refused"),
    nothing("GET /v1/messages/batches/{path}", "always refused"),
    nothing("POST /v1/messages/batches/{path}", "always refused"),
    alike("GET /v1/messages/{id}", RETRIEVE),
    // A chat's name is its client's own: a chat without any start is one without an answer.
    alike("POST /api/chat", &[("", r#"{"id":"{chat}","messages":[]}"#, 422)]),
    alike(
        "GET /api/chat/{id}/stream",
        &[("", "", 204), ("?after=1", "", 204), ("?after=9999", "", 204)],
    ),
    alike("DELETE /api/chat/{id}/stream", &[("", "", 204)]),
];

/// An operation with the name of what its path means.
pub(super) fn own(operation: &str) -> String {
    let path = operation.split(' ').nth(1).unwrap();
    let id = match path.split('/').skip(1).take(3).collect::<Vec<_>>()[..] {
        [_, "generations", "{id}"] => "{generation}",
        [_, "conversations", "{id}"] => "{conversation}",
        [_, "responses", "{id}"] => "resp_{generation}",
        [_, "messages", "{id}"] => "msg_{generation}",
        [_, "chat", "completions"] => "chatcmpl-{generation}",
        [_, "completions", "{id}"] => "cmpl-{generation}",
        ["api", "chat", "{id}"] => "{chat}",
        _ => "",
    };
    operation.replace("{id}", id)
}
