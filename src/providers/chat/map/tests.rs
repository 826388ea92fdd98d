//! Tests of the mapping.
use crate::providers::chat::map::*;

fn map(chunks: &[&str], done: bool) -> (Vec<Delta>, Result<(), ProviderError>) {
    let mut map = ChatMap::default();
    let mut end = Ok(());
    for json in chunks {
        match serde_json::from_str(json) {
            Ok(chunk) => end = end.and(map.chunk(chunk)),
            Err(_) => map.bad_chunk(),
        }
    }
    let end = end.and_then(|()| map.end(done, None));
    (map.out.into(), end)
}

fn text(text: &str) -> Delta {
    Delta::Text(text.into())
}

fn deltas(chunk: &str) -> Vec<Delta> {
    map(&[chunk], false).0
}

#[test]
fn every_finish_reason_has_its_meaning() {
    let finish = |raw: &str| {
        let chunk = format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"{raw}"}}]}}"#);
        map(&[&chunk], true)
    };
    let cases = [
        ("stop", FinishReason::Stop, None),
        ("end_turn", FinishReason::Stop, Some("end_turn")),
        ("length", FinishReason::Length, None),
        ("tool_calls", FinishReason::ToolCalls, None),
        ("function_call", FinishReason::ToolCalls, Some("function_call")),
        ("content_filter", FinishReason::ContentFilter, None),
        ("brand_new", FinishReason::Other, Some("brand_new")),
    ];
    for (raw, reason, shown) in cases {
        let expected = Delta::Finish { reason, raw: shown.map(Into::into) };
        assert_eq!(finish(raw), (vec![expected], Ok(())), "{raw}");
    }
    for raw in ["abort", "insufficient_system_resource"] {
        let loss = finish(raw).1.unwrap_err();
        assert_eq!((loss.code, loss.retryable), (ErrorCode::UpstreamTruncated, true), "{raw}");
    }
    assert_eq!(finish("error").1.unwrap_err().code, ErrorCode::UpstreamProtocol);
}

#[test]
fn only_a_marker_makes_an_ending() {
    let hello = r#"{"choices":[{"delta":{"content":"hi"},"finish_reason":""}]}"#;
    let (out, end) = map(&[hello], false);
    assert_eq!((out, end.unwrap_err().code), (vec![text("hi")], ErrorCode::UpstreamTruncated));
    let (out, end) = map(&[hello], true);
    assert_eq!(end, Ok(()));
    assert!(matches!(out[1], Delta::Notice { code: "no_finish_reason", .. }));
    assert_eq!(out[2], Delta::Finish { reason: FinishReason::Other, raw: None });
}

#[test]
fn odd_fields_do_not_cost_the_text() {
    let chunks = [
        r#"{"id":7,"created":1.5,"service_tier":"x","choices":[{"delta":{"content":"a"}}]}"#,
        r#"{"choices":[{"index":0.0,"delta":{"content":"a","role":null},"logprobs":[]}]}"#,
        r#"{"choices":[{"delta":{"content":"a"}}],"usage":"none","error":null,"detail":""}"#,
        r#"{"choices":[{"delta":{"content":"a","tool_calls":[]}}],"error":{}}"#,
        r#"{"choices":[{"delta":{"content":[{"type":"text","text":"a"}]}}]}"#,
    ];
    for chunk in chunks {
        let mut said = deltas(chunk);
        said.retain(|delta| !matches!(delta, Delta::Extra(_)));
        assert_eq!(said, [text("a")], "{chunk}");
    }
    assert_eq!(deltas(r#"{"choices":[{"delta":{"content":""}}]}"#), []);
    assert_eq!(deltas(r#"{"choices":[{"index":1,"delta":{"content":"b"}}]}"#), []);
    assert_eq!(deltas(r#"{"choices":null}"#), []);
}

#[test]
fn thinking_has_three_names() {
    for name in ["reasoning_content", "reasoning", "thinking"] {
        let chunk = format!(r#"{{"choices":[{{"delta":{{"{name}":"hm"}}}}]}}"#);
        assert_eq!(deltas(&chunk), [Delta::Reasoning("hm".into())], "{name}");
    }
    let twice = r#"{"choices":[{"delta":{"reasoning_content":"hm","reasoning":"hm"}}]}"#;
    assert_eq!(deltas(twice), [Delta::Reasoning("hm".into())]);
}

#[test]
fn calls_that_end_with_stop_end_as_calls() {
    let call = r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{}"}}]}}]}"#;
    let stop = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
    let (reason, raw) = (FinishReason::ToolCalls, Some("stop".into()));
    assert_eq!(map(&[call, stop], true).0.pop(), Some(Delta::Finish { reason, raw }));
}

#[test]
fn usage_comes_with_and_without_choices() {
    let usage = r#""usage":{"prompt_tokens":3,"completion_tokens":5.0,
        "completion_tokens_details":{"reasoning_tokens":2}}"#;
    let expected = Delta::Usage(Usage {
        input_tokens: 3,
        output_tokens: 5,
        reasoning_tokens: Some(2),
        cached_input_tokens: None,
        cache_write_input_tokens: None,
        exact: true,
    });
    let alone = format!(r#"{{"choices":[],{usage}}}"#);
    assert_eq!(deltas(&alone), std::slice::from_ref(&expected));
    let inside = format!(r#"{{"choices":[{{"delta":{{}},{usage}}}]}}"#);
    assert_eq!(deltas(&inside), std::slice::from_ref(&expected), "as Moonshot has it");
    assert_eq!(map(&[&alone, &alone], false).0, [expected], "the same again is no news");
}

#[test]
fn what_is_no_tool_call_costs_a_notice_only() {
    let out = deltas(r#"{"choices":[{"delta":{"tool_calls":"?","content":"a"}}]}"#);
    assert_eq!(out[0], text("a"));
    assert!(matches!(out[1], Delta::Notice { code: "bad_chunk", .. }));
}

#[test]
fn an_error_in_the_stream_is_a_loss() {
    let cases = [
        (r#"{"error":{"message":"x","type":"server_error"}}"#, ErrorCode::UpstreamUnavailable),
        (r#"{"error":"boom"}"#, ErrorCode::UpstreamUnavailable),
        (r#"{"error":{"code":429,"message":"slow"}}"#, ErrorCode::UpstreamRateLimited),
        (r#"{"detail":"nope"}"#, ErrorCode::UpstreamUnavailable),
        (r#"{"object":"error","message":"x","code":400}"#, ErrorCode::UpstreamRejected),
    ];
    for (chunk, code) in cases {
        assert_eq!(map(&[chunk], true).1.unwrap_err().code, code, "{chunk}");
    }
}

#[test]
fn what_follows_the_finish_is_no_error() {
    let finish = r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}"#;
    let late = r#"{"choices":[{"delta":{"content":"b"}}]}"#;
    let (out, end) = map(&[finish, late, r#"{"error":"late"}"#, "{"], false);
    assert_eq!(end, Ok(()));
    assert_eq!(out, [text("a"), Delta::Finish { reason: FinishReason::Stop, raw: None }]);
}

#[test]
fn arguments_that_are_an_object_and_thoughts_among_the_parts_are_read() {
    let call = r#"{"choices":[{"delta":{"tool_calls":[{"id":"c","function":{"name":"f","arguments":{"b":1,"a":2}}}]}}]}"#;
    let Delta::ToolCall(call) = deltas(call).remove(0) else { panic!("a call") };
    assert_eq!((call.id.as_deref(), call.arguments.as_str()), (Some("c"), r#"{"b":1,"a":2}"#));
    let parts = r#"{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"a"}]}}]}"#;
    assert_eq!(deltas(parts), [Delta::Reasoning("hm".into()), text("a")]);
}

/// llama.cpp 11549 adds them to each chunk where `timings_per_token` asks for that.
#[test]
fn timings_count_tokens_and_are_told_to_those_who_asked() {
    let middle =
        r#"{"choices":[{"delta":{"content":"a"}}],"timings":{"prompt_n":3,"predicted_n":2}}"#;
    let late = r#"{"choices":[],"timings":{"prompt_n":3,"predicted_n":2}}"#;
    let told = |told: bool, json: &str| {
        let mut map = ChatMap::default().with_timings(told);
        map.chunk(serde_json::from_str(json).unwrap()).unwrap();
        let is_extra = |delta: &&Delta| matches!(delta, Delta::Extra(_));
        (map.out.iter().filter(is_extra).count(), map.out)
    };
    let counted = Usage { input_tokens: 3, output_tokens: 2, ..Usage::default() };
    let (extras, out) = told(false, middle);
    assert_eq!((extras, &out[0], &out[1]), (0, &Delta::Usage(counted), &text("a")));
    assert_eq!(told(true, middle).0, 1);
    assert_eq!(told(false, late).0, 1, "the last ones were always told");
}

#[test]
fn usage_before_the_end_is_not_the_last() {
    let usage = r#""usage":{"prompt_tokens":3,"completion_tokens":2}"#;
    let exact = |choices: &str| {
        deltas(&format!(r#"{{"choices":{choices},{usage}}}"#))
            .iter()
            .any(|delta| matches!(delta, Delta::Usage(usage) if usage.exact))
    };
    assert!(!exact(r#"[{"delta":{"content":"a"}}]"#));
    assert!(exact(r#"[{"delta":{"content":"a"},"finish_reason":"stop"}]"#));
    assert!(exact("[]"));
}
