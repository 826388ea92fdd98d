//! The clients' frames on the socket of `/v1/responses`, and the two answers that no response
//! gives.
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::http::body;
use crate::http::problem::Problem;
use crate::http::protocols::openai::fields;
use crate::http::protocols::openai::fields::{Body, missing, unsupported};

/// The longest `stream_id`, in bytes.
pub(super) const LANE_BYTES: usize = 128;
/// The words in a client frame's `type`.
pub(super) const TYPES: [&str; 4] =
    ["response.create", "response.retrieve", "response.cancel", "response.steer"];

/// The name of a lane: frames of one are worked on one after the other.
pub(super) type Lane = Option<String>;

/// A client's frame.
#[derive(Debug)]
pub(super) enum ClientFrame {
    /// Asks for a response.
    Create(Create),
    /// Reads a response behind the event of that number.
    Retrieve { response_id: String, starting_after: Option<u64> },
    /// Ends a response: the named one, or the one that runs in the lane.
    Cancel { response_id: Option<String> },
    /// More input for a running response, which is not taken.
    Steer { previous_response_id: String, input: Value },
}

/// A request: the body of `POST /v1/responses`.
#[derive(Debug)]
pub(super) struct Create {
    pub(super) body: Body,
    /// False where no model is to be asked yet.
    pub(super) generate: bool,
}

impl Create {
    /// The response that it continues.
    pub(super) fn continues(&self) -> Option<String> {
        let id = self.body.get("previous_response_id")?;
        serde_json::from_str(id.get()).ok()
    }
}

/// A text that is no frame, with its lane as far as that is known.
pub(super) type Malformed = (Lane, Box<Problem>);

/// A text as a frame, and its lane.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(text: &str) -> Result<(Lane, ClientFrame), Malformed> {
    let mut body: Body =
        body::parse(text.as_bytes()).map_err(|problem| (None, Box::new(problem)))?;
    let lane = lane(&mut body).map_err(|problem| (None, Box::new(problem)))?;
    match frame(body) {
        Ok(frame) => Ok((lane, frame)),
        Err(problem) => Err((lane, Box::new(problem))),
    }
}

fn lane(body: &mut Body) -> Result<Lane, Problem> {
    let lane: Lane = take(body, "stream_id")?;
    if lane.as_ref().is_some_and(|lane| lane.len() > LANE_BYTES) {
        return Err(unsupported("stream_id", &format!("at most {LANE_BYTES} bytes")));
    }
    Ok(lane)
}

fn frame(mut body: Body) -> Result<ClientFrame, Problem> {
    let kind: String = need(&mut body, "type")?;
    match kind.as_str() {
        "response.create" => create(body).map(ClientFrame::Create),
        "response.retrieve" => Ok(ClientFrame::Retrieve {
            response_id: need(&mut body, "response_id")?,
            starting_after: take(&mut body, "starting_after")?,
        }),
        "response.cancel" => {
            Ok(ClientFrame::Cancel { response_id: take(&mut body, "response_id")? })
        }
        "response.steer" => Ok(ClientFrame::Steer {
            previous_response_id: need(&mut body, "previous_response_id")?,
            input: need(&mut body, "input")?,
        }),
        _ => {
            let detail = format!("there are frames of type {}", TYPES.join(", "));
            Err(Problem::bad_request("unknown_type", detail).with("field", "type"))
        }
    }
}

fn create(mut body: Body) -> Result<Create, Problem> {
    if take(&mut body, "background")? == Some(true) {
        return Err(unsupported("background", "on a WebSocket a response is always streamed"));
    }
    let generate = take(&mut body, "generate")?.unwrap_or(true);
    Ok(Create { body, generate })
}

/// The field's value; SDKs send `null` for what is not set.
fn take<T: for<'de> Deserialize<'de>>(body: &mut Body, name: &str) -> Result<Option<T>, Problem> {
    let value: Option<Box<RawValue>> = body.remove(name).filter(|raw| raw.get() != "null");
    value.map(|raw| fields::read(name, &raw)).transpose()
}

fn need<T: for<'de> Deserialize<'de>>(body: &mut Body, name: &str) -> Result<T, Problem> {
    take(body, name)?.ok_or_else(|| missing(name))
}

/// The answer to `response.steer`, in the words of OpenAI: the input comes back.
pub(super) fn not_steered(lane: &Lane, response: &str, input: &Value) -> Map<String, Value> {
    let message = "a running response takes no input here: cancel it, or wait for its end, and \
                   send the input by `response.create`";
    let mut frame = Map::new();
    frame.insert("type".into(), "response.steer.failed".into());
    frame.insert("sequence_number".into(), 0.into());
    let error = json!({
        "type": "invalid_request_error", "code": "steering_not_supported", "message": message,
    });
    frame.insert("error".into(), error);
    frame.insert("steer".into(), json!({ "previous_response_id": response, "input": input }));
    in_lane(lane, frame)
}

/// Names the lane in a frame.
pub(super) fn in_lane(lane: &Lane, mut frame: Map<String, Value>) -> Map<String, Value> {
    if let Some(lane) = lane {
        frame.insert("stream_id".into(), lane.as_str().into());
    }
    frame
}

/// An event's JSON object with the name of its lane in it.
pub(super) fn named(lane: &str, event: &str) -> Option<String> {
    let head = event.strip_suffix('}')?;
    Some(format!("{head},\"stream_id\":{}}}", Value::from(lane)))
}

#[cfg(test)]
mod tests {
    use crate::http::protocols::websocket::responses::frames::*;

    #[test]
    fn frames_are_what_the_sdks_and_codex_send() {
        let create = json!({ "type": "response.create", "model": "m", "input": [], "stream": true,
            "generate": false, "stream_id": "a", "previous_response_id": "resp_1", "user": null });
        let (lane, frame) = parse(&create.to_string()).unwrap();
        let ClientFrame::Create(create) = frame else { panic!("{frame:?}") };
        assert_eq!((lane.as_deref(), create.generate), (Some("a"), false));
        assert_eq!(create.continues().as_deref(), Some("resp_1"));
        let left: Vec<&str> = create.body.keys().map(String::as_str).collect();
        assert_eq!(left, ["input", "model", "previous_response_id", "stream", "user"]);
        let (lane, frame) =
            parse(r#"{"type":"response.retrieve","response_id":"r","starting_after":3}"#).unwrap();
        assert!(
            lane.is_none()
                && matches!(frame, ClientFrame::Retrieve { starting_after: Some(3), .. })
        );
        for (text, lane, code) in [
            ("{", None, "invalid_json"),
            ("[]", None, "invalid_type"),
            (r#"{"stream_id":"a"}"#, Some("a"), "missing_field"),
            (r#"{"type":"response.stop","stream_id":"a"}"#, Some("a"), "unknown_type"),
            (r#"{"type":"response.create","background":true}"#, None, "unsupported_value"),
            (r#"{"type":"response.create","generate":"no"}"#, None, "invalid_type"),
            (r#"{"type":"response.retrieve"}"#, None, "missing_field"),
            (
                r#"{"type":"response.retrieve","response_id":"r","starting_after":-1}"#,
                None,
                "invalid_type",
            ),
            (r#"{"type":"response.steer","input":"x"}"#, None, "missing_field"),
        ] {
            let (found, problem) = parse(text).unwrap_err();
            assert_eq!((found.as_deref(), problem.code()), (lane, code), "{text}");
        }
        let long = json!({ "type": "response.create", "stream_id": "é".repeat(65) }).to_string();
        assert_eq!(parse(&long).unwrap_err().1.code(), "unsupported_value");
    }

    #[test]
    fn a_lane_is_named_in_what_it_says() {
        let event = named("a\"b", r#"{"type":"x","n":1}"#).unwrap();
        assert_eq!(event, r#"{"type":"x","n":1,"stream_id":"a\"b"}"#);
        let refused = not_steered(&Some("a".into()), "resp_1", &json!("more"));
        assert_eq!(refused["error"]["code"], "steering_not_supported");
        assert_eq!(
            (&refused["steer"]["input"], &refused["stream_id"]),
            (&json!("more"), &json!("a"))
        );
        assert!(!not_steered(&None, "r", &json!("")).contains_key("stream_id"));
    }
}
