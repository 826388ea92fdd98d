//! The words of the AI SDK's `WebSocketChatTransport`.
//! <https://ai-sdk.dev/docs/reference/ai-sdk-ui/websocket-chat-transport>
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::http::body;
use crate::http::problem::Problem;
use crate::http::protocols::ai_sdk::ChatBody;

/// A client's frame. Its `headers` are for gateways: a credential comes with the handshake.
#[derive(Debug)]
pub(super) enum ClientFrame {
    /// Starts an answer to a chat's messages.
    Send(Box<ChatBody>),
    /// The running answer of a chat, behind a sequence number or from its beginning.
    Resume { id: String, last_sequence: Option<u64> },
    /// Ends what that request is about, on the server, too.
    Abort,
}

/// A frame that is none of theirs, and the request that it names.
pub(super) type Malformed = (Option<String>, Box<Problem>);

/// A frame, and the request that it begins or is about.
///
/// # Errors
/// What is wrong with it, and the request if it has one: without one nobody could be answered.
pub(super) fn parse(text: &str) -> Result<(String, ClientFrame), Malformed> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Marked {
        request_id: String,
    }
    let bytes = text.as_bytes();
    let Marked { request_id } = body::mark(bytes).map_err(|problem| (None, Box::new(problem)))?;
    match frame(bytes) {
        Ok(frame) => Ok((request_id, frame)),
        Err(problem) => Err((Some(request_id), Box::new(problem))),
    }
}

fn frame(bytes: &[u8]) -> Result<ClientFrame, Problem> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        #[serde(rename = "type")]
        kind: String,
        id: Option<String>,
        messages: Option<Value>,
        body: Option<Map<String, Value>>,
        last_sequence: Option<u64>,
    }
    let Typed { kind, id, messages, body, last_sequence } = body::parse(bytes)?;
    match kind.as_str() {
        "abort" => Ok(ClientFrame::Abort),
        "resume" => {
            let missing = || Problem::unprocessable("missing_field", "`id` is missing");
            let id = id.ok_or_else(|| missing().with("field", "id"))?;
            Ok(ClientFrame::Resume { id, last_sequence })
        }
        "send" => {
            // As the transport over HTTP sends it: what the application adds stands beside.
            let mut whole = body.unwrap_or_default();
            whole.extend(id.map(|id| ("id".to_owned(), id.into())));
            whole.extend(messages.map(|messages| ("messages".to_owned(), messages)));
            let whole = serde_json::to_vec(&whole).unwrap_or_default();
            body::parse(&whole).map(Box::new).map(ClientFrame::Send)
        }
        _ => {
            let detail = "there are frames of type `send`, `resume` and `abort`";
            Err(Problem::bad_request("unknown_type", detail).with("field", "type"))
        }
    }
}

/// A server's frame.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub(super) enum ServerFrame<'a> {
    /// There is an answer to resume.
    Start { request_id: &'a str },
    /// A part of it. The numbers of an answer's parts follow from its log.
    Chunk { request_id: &'a str, sequence: u64, chunk: &'a RawValue },
    /// Nothing follows.
    End { request_id: &'a str },
    /// It was not done.
    Error { request_id: &'a str, error_text: &'a str },
    /// There is no running answer.
    NoActive { request_id: &'a str },
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::http::protocols::websocket::chat::frames::*;

    #[test]
    fn frames_are_what_the_transport_sends_and_reads() {
        let send = json!({ "type": "send", "requestId": "r", "id": "c", "trigger": "submit-message",
            "messages": [], "headers": {}, "body": { "model": "demo", "id": "not this" } });
        let (request, frame) = parse(&send.to_string()).unwrap();
        assert!(request == "r" && matches!(frame, ClientFrame::Send(_)), "{frame:?}");
        let resume = json!({ "type": "resume", "requestId": "r", "id": "c", "lastSequence": 3 });
        let (_, frame) = parse(&resume.to_string()).unwrap();
        assert!(matches!(frame, ClientFrame::Resume { last_sequence: Some(3), .. }), "{frame:?}");
        let (_, frame) = parse(r#"{"type":"abort","requestId":"r"}"#).unwrap();
        assert!(matches!(frame, ClientFrame::Abort), "{frame:?}");
        for (frame, request, code) in [
            ("{", None, "invalid_json"),
            (r#"{"type":"abort"}"#, None, "missing_field"),
            (r#"{"requestId":"r"}"#, Some("r"), "missing_field"),
            (r#"{"type":"stop","requestId":"r"}"#, Some("r"), "unknown_type"),
            (r#"{"type":"resume","requestId":"r"}"#, Some("r"), "missing_field"),
            (r#"{"type":"send","requestId":"r","id":"c"}"#, Some("r"), "missing_field"),
        ] {
            let (found, problem) = parse(frame).unwrap_err();
            assert_eq!((found.as_deref(), problem.code()), (request, code), "{frame}");
        }
        let chunk = RawValue::from_string("{}".into()).unwrap();
        let said = ServerFrame::Chunk { request_id: "r", sequence: 7, chunk: &chunk };
        let said = serde_json::to_string(&said).unwrap();
        assert_eq!(said, r#"{"type":"chunk","requestId":"r","sequence":7,"chunk":{}}"#);
        let none = serde_json::to_string(&ServerFrame::NoActive { request_id: "r" }).unwrap();
        assert_eq!(none, r#"{"type":"no-active","requestId":"r"}"#);
    }
}
