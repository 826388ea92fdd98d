//! The words of events on the wire.
use strum::IntoEnumIterator as _;

use super::*;

#[test]
fn a_status_is_its_word() {
    for status in Status::iter() {
        assert_eq!(Status::parse(status.as_str()), Some(status));
        assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
    }
    assert_eq!(Status::parse("done"), None);
}

#[test]
fn the_wire_form_of_an_ending() {
    let done = Event::Done(Done {
        status: Status::Completed,
        finish_reason: Some(FinishReason::Stop),
        provider_finish_reason: None,
        usage: Usage { input_tokens: 3, output_tokens: 5, exact: true, ..Usage::default() },
        error: None,
    });
    assert_eq!(
        serde_json::to_string(&done).unwrap(),
        r#"{"type":"done","status":"completed","finish_reason":"stop","usage":{"input_tokens":3,"output_tokens":5,"exact":true}}"#
    );
}
