//! The meaning of frames, in each protocol.
use super::{Reading, Wire, of};
use crate::history::{Ending, Event};
use crate::sse::Framer;

fn read(wire: &dyn Wire, stream: &str) -> Vec<Event> {
    let mut reading = Reading::default();
    let frames = Framer::default().feed(stream.as_bytes());
    frames.iter().flat_map(|frame| wire.read(frame, &mut reading)).collect()
}

fn ending(protocol: &str, stream: &str) -> Option<Ending> {
    let wire = of(protocol, None).unwrap();
    read(wire.as_ref(), stream).iter().find_map(|event| event.ending)
}

#[test]
fn done_without_a_finish_reason_is_no_success() {
    let text = "data: {\"id\":\"c\",\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n";
    let stop = "data: {\"id\":\"c\",\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    let done = "data: [DONE]\n\n";
    assert_eq!(ending("chat", &format!("{text}{done}")), Some(Ending::Incomplete));
    assert_eq!(ending("chat", &format!("{text}{stop}")), None, "the body has to end with [DONE]");
    assert_eq!(ending("chat", &format!("{text}{stop}{done}")), Some(Ending::Success));
    let error = "data: {\"error\":{\"message\":\"away\"}}\n\n";
    assert_eq!(ending("chat", &format!("{text}{error}")), Some(Ending::Failed));
    // Many servers close with [DONE] behind an error, too: that is no second ending.
    let wire = of("chat", None).unwrap();
    let events = read(wire.as_ref(), &format!("{text}{error}{done}"));
    let lasting: Vec<_> = events.iter().filter(|event| !event.transient).collect();
    assert_eq!(lasting.last().and_then(|event| event.ending), Some(Ending::Failed), "{lasting:?}");
}

#[test]
fn each_protocol_has_its_own_ending() {
    let incomplete = "data: {\"type\":\"response.incomplete\",\"sequence_number\":4,\"response\":{\"id\":\"r\",\"status\":\"cancelled\"}}\n\n";
    assert_eq!(ending("responses", incomplete), Some(Ending::Cancelled));
    let stops = format!("{incomplete}data: [DONE]\n\n");
    assert_eq!(read(of("responses", None).unwrap().as_ref(), &stops).len(), 1, "and nothing more");
    let reason = "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n";
    let stop = "data: {\"type\":\"message_stop\"}\n\n";
    assert_eq!(ending("messages", &format!("{reason}{stop}")), Some(Ending::Success));
    assert_eq!(ending("messages", stop), Some(Ending::Incomplete));
    let (finish, abort) = ("data: {\"type\":\"finish\"}\n\n", "data: {\"type\":\"abort\"}\n\n");
    assert_eq!(ending("ui", &format!("{finish}data: [DONE]\n\n")), Some(Ending::Success));
    assert_eq!(ending("ui", &format!("{abort}data: [DONE]\n\n")), Some(Ending::Cancelled));
}

#[test]
fn what_is_asked_for_in_one_piece_says_what_the_stream_says() {
    let seen = |protocol: &str, body: &str| {
        let view = of(protocol, None).unwrap().seen(&serde_json::from_str(body).unwrap());
        (view.ending, view.text, view.used)
    };
    let chat = r#"{"choices":[{"message":{"content":"Hello"},"finish_reason":"length"}],"usage":{"completion_tokens":3},"status":"completed"}"#;
    assert_eq!(seen("chat", chat), (Some(Ending::Incomplete), Some("Hello".into()), Some(3)));
    let running =
        r#"{"choices":[{"message":{"content":"Hel"},"finish_reason":null}],"status":"running"}"#;
    assert_eq!(seen("chat", running), (None, None, None));
    let cancelled = running.replace("running", "cancelled");
    assert_eq!(seen("chat", &cancelled), (Some(Ending::Cancelled), Some("Hel".into()), None));
    let message = r#"{"content":[{"type":"text","text":"Hel"},{"type":"text","text":"lo"}],"stop_reason":"end_turn","usage":{"output_tokens":2}}"#;
    assert_eq!(seen("messages", message), (Some(Ending::Success), Some("Hello".into()), Some(2)));
    let items = r#"[{"text":"Hel"},{"text":"lo"}]"#;
    assert_eq!(seen("durable", items), (None, Some("Hello".into()), None));
}

#[test]
fn a_closed_durable_stream_ends_behind_its_last_offset() {
    let wire = of("durable", None).unwrap();
    let stream = "event: data\ndata: [{\"text\":\"Hel\"},{\"text\":\"lo\"}]\n\nevent: control\ndata: {\"streamNextOffset\":\"7\",\"streamClosed\":true}\n\n";
    let events = read(wire.as_ref(), stream);
    let cursors: Vec<_> = events.iter().map(|event| event.cursor.as_deref()).collect();
    assert_eq!(cursors, [None, None, Some("7"), None]);
    assert_eq!(events[3].ending, Some(Ending::Success));
    assert!(events[2].transient);
}

#[test]
fn an_unknown_protocol_and_a_missing_mapping_are_told() {
    assert!(of("grpc", None).is_err_and(|why| why.contains("responses")));
    assert!(of("sse", None).is_err_and(|why| why.contains("--map")));
}
