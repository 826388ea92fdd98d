//! Faults of a body, on every way by which it comes.
use serde_json::{Value, json};

use super::PROMPT;

/// Bodies that are not JSON, or not JSON that is safe to read.
pub(super) fn not_json() -> Vec<(&'static str, Vec<u8>)> {
    let bad = |name, body: &[u8]| (name, body.to_vec());
    vec![
        bad("empty", b""),
        bad("words", b"hello"),
        bad("truncated", b"{\"prompt\":\"hi\""),
        bad("something behind it", b"{\"prompt\":\"hi\"}{"),
        bad("invalid UTF-8", b"{\"prompt\":\"\xff\xfe\"}"),
        bad("invalid UTF-8 in a name", b"{\"\xff\":1}"),
        bad("invalid UTF-8 in metadata", b"{\"prompt\":\"x\",\"metadata\":{\"a\":\"\xc3\"}}"),
        bad("a control character", b"{\"prompt\":\"a\x01\"}"),
        bad("a name twice", b"{\"prompt\":\"a\",\"prompt\":\"b\"}"),
        bad("a name twice in a message", b"{\"messages\":[{\"role\":\"user\",\"role\":\"user\"}]}"),
        bad("NaN", b"{\"prompt\":\"a\",\"temperature\":NaN}"),
        bad("a comma too many", b"{\"prompt\":\"a\",}"),
    ]
}

/// Fields that make no sense, and their codes.
pub(super) const FIELDS: &[(&str, &str)] = &[
    ("{}", "missing_field"),
    (r#"{"prompt":null}"#, "missing_field"),
    (r#"{"messages":[{"role":"user"}]}"#, "missing_field"),
    (r#"{"messages":[{"role":"user","content":"a","nam":"b"}]}"#, "unknown_field"),
    (r#"{"prompt":5}"#, "invalid_type"),
    (r#"{"prompt":["hi"]}"#, "invalid_type"),
    (r#"{"prompt":"hi","metadata":[]}"#, "invalid_type"),
    (r#"{"prompt":"hi","temperature":"1"}"#, "invalid_type"),
    (r#"{"prompt":"hi","max_output_tokens":1.5}"#, "invalid_type"),
    (r#"{"messages":"hi"}"#, "invalid_type"),
    (r#"{"messages":[{"role":"user","content":7}]}"#, "invalid_type"),
    (r#"{"messages":[["user","hi"]]}"#, "invalid_type"),
    ("[]", "invalid_type"),
    (r#""hi""#, "invalid_type"),
    ("null", "invalid_type"),
    (r#"{"messages":[{"role":"usr","content":"hi"}]}"#, "unsupported_value"),
    (r#"{"prompt":"hi","on_disconnect":"stop"}"#, "unsupported_value"),
    (r#"{"prompt":"hi","on_disconnect":{"cancel_after":1}}"#, "unsupported_value"),
    (r#"{"prompt":"hi","temperature":2.5}"#, "out_of_range"),
    (r#"{"prompt":"hi","top_p":-0.1}"#, "out_of_range"),
    (r#"{"prompt":"hi","max_output_tokens":0}"#, "out_of_range"),
    (r#"{"prompt":"hi","max_output_tokens":-1}"#, "out_of_range"),
    (r#"{"prompt":"hi","max_output_tokens":4294967296}"#, "out_of_range"),
    (r#"{"prompt":"hi","on_disconnect":{"cancel_after_s":-1}}"#, "out_of_range"),
    (r#"{"prompt":"hi","metadata":{"a":1e400}}"#, "out_of_range"),
    (r#"{"prompt":"hi","messages":[]}"#, "conflicting_fields"),
    (r#"{"prompt":""}"#, "prompt_empty"),
    (r#"{"prompt":" \n\t "}"#, "prompt_empty"),
    (r#"{"messages":[]}"#, "prompt_empty"),
    (r#"{"messages":[{"role":"user","content":[]}]}"#, "prompt_empty"),
    (r#"{"prompt":"hi","system":" "}"#, "prompt_empty"),
    (r#"{"prompt":"hi","model":"dem"}"#, "unknown_model"),
    (r#"{"prompt":"hi","model":""}"#, "unknown_model"),
    (r#"[null,"hi",null,null,null,null,null,null,null,null,null]"#, "invalid_type"),
];

/// Fields that nobody knows: refused in a request, ignored in a frame, whose writer may be newer.
pub(super) const UNKNOWN_FIELDS: &[(&str, &str)] = &[
    (r#"{"promt":"hi"}"#, "unknown_field"),
    (r#"{"prompt":"hi","stream":true}"#, "unknown_field"),
];

/// Bodies with too much of something, and their codes.
pub(super) fn too_much() -> [(&'static str, Value, &'static str); 3] {
    [
        ("a prompt", json!({"prompt": "x".repeat(PROMPT + 1)}), "prompt_too_long"),
        (
            "metadata",
            json!({"prompt": "hi", "metadata": {"a": "x".repeat(17_000)}}),
            "metadata_too_large",
        ),
        ("stops", json!({"prompt": "hi", "stop": vec!["x"; 17]}), "out_of_range"),
    ]
}
