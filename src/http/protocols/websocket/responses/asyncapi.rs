//! The socket of `/v1/responses` in `/asyncapi.json`. OpenAI describes its own part there.
use serde_json::{Map, Value, json};

use super::frames::{LANE_BYTES, TYPES};

const CHANNEL: &str = "#/channels/responses";

/// The channel, its two operations, and its messages by name.
pub(in crate::http::protocols::websocket) fn describe()
-> (Value, [(&'static str, Value); 2], Map<String, Value>) {
    let client: Vec<(String, Value)> = TYPES.into_iter().map(client).collect();
    let server = server();
    let names = |messages: &[(String, Value)]| -> Vec<Value> {
        let name =
            |(name, _): &(String, Value)| json!({ "$ref": format!("{CHANNEL}/messages/{name}") });
        messages.iter().map(name).collect()
    };
    let channel = json!({ "$ref": CHANNEL });
    let operations = [
        (
            "hearResponses",
            json!({ "action": "receive", "channel": channel, "messages": names(&client),
            "summary": "what a client of OpenAI's Responses says" }),
        ),
        (
            "sayResponses",
            json!({ "action": "send", "channel": channel, "messages": names(&server),
            "summary": "OpenAI's events, and refusals" }),
        ),
    ];
    let messages: Map<String, Value> = client.into_iter().chain(server).collect();
    let references: Map<String, Value> = messages
        .keys()
        .map(|name| (name.clone(), json!({ "$ref": format!("#/components/messages/{name}") })))
        .collect();
    let channel = json!({
        "address": "/v1/responses",
        "description": "OpenAI's Responses; close codes in docs/protocol.md",
        "messages": references,
        "bindings": { "ws": { "method": "GET", "bindingVersion": "0.1.0" } },
    });
    (channel, operations, messages)
}

fn client(kind: &str) -> (String, Value) {
    let text = || json!({ "type": "string" });
    let (summary, required, fields) = match kind {
        "response.create" => (
            "the body of POST /v1/responses, and this",
            vec!["input"],
            json!({ "input": {}, "generate": { "type": ["boolean", "null"], "description": "false: no model is asked" } }),
        ),
        "response.retrieve" => (
            "a response behind the event of that number, then live",
            vec!["response_id"],
            json!({ "response_id": text(), "starting_after": { "type": ["integer", "null"], "minimum": 0 } }),
        ),
        "response.cancel" => (
            "end a response: the named one, or what runs in the lane",
            Vec::new(),
            json!({ "response_id": { "type": ["string", "null"] } }),
        ),
        _ => (
            "answered by response.steer.failed",
            vec!["previous_response_id", "input"],
            json!({ "previous_response_id": text(), "input": {} }),
        ),
    };
    let lane = json!({ "type": ["string", "null"], "maxLength": LANE_BYTES, "description": "frames of a lane are answered one after the other" });
    (format!("responses-client-{kind}"), message(kind, summary, required, with_lane(fields, lane)))
}

fn server() -> Vec<(String, Value)> {
    let count = || json!({ "type": "integer", "minimum": 0 });
    let object = || json!({ "type": "object" });
    let lane = || json!({ "type": "string" });
    let fields = json!({ "status": { "type": "integer" }, "error": object(), "response_id": lane(),
        "sequence_number": count() });
    let error = message(
        "error",
        "it was not done, or not told to its end",
        vec!["status", "error"],
        with_lane(fields, lane()),
    );
    let kind = "response.steer.failed";
    let fields = json!({ "sequence_number": count(), "error": object(), "steer": object() });
    let required = vec!["sequence_number", "error", "steer"];
    let steer = message(kind, "the input comes back", required, with_lane(fields, lane()));
    let fields = json!({ "sequence_number": count() });
    let mut event = message(
        "event",
        "an event of a response, as over SSE",
        vec!["sequence_number"],
        with_lane(fields, lane()),
    );
    event["payload"]["properties"]["type"] = json!({ "type": "string", "pattern": "^response\\." });
    [("event", event), ("error", error), (kind, steer)]
        .map(|(name, message)| (format!("responses-server-{name}"), message))
        .into()
}

fn with_lane(mut fields: Value, lane: Value) -> Value {
    fields["stream_id"] = lane;
    fields
}

fn message(kind: &str, summary: &str, fields: Vec<&str>, mut properties: Value) -> Value {
    properties["type"] = json!({ "const": kind });
    let required: Vec<&str> = std::iter::once("type").chain(fields).collect();
    json!({ "name": kind, "summary": summary, "payload": {
        "type": "object", "required": required, "properties": properties, "additionalProperties": true,
    } })
}
