//! The Anthropic provider's reading of the Messages API, and of other content from there.
use lastword::domain::event::ToolCallDelta;
use lastword::providers::messages::Anthropic;

use super::*;

fn anthropic(upstream: &Upstream, continuation: Continuation) -> Anthropic {
    Anthropic::new(Settings { continuation, ..settings(upstream) }).unwrap()
}

async fn ask_anthropic(answer: Answer) -> (Vec<Delta>, Option<ProviderError>) {
    let upstream = Upstream::start(answer).await;
    let provider = anthropic(&upstream, Continuation::Instruct);
    let heard = drain(provider.start(attempt("the secret prompt", "")).await).await;
    assert_eq!(upstream.requests().len(), 1, "no hidden retry");
    heard
}

fn counted(output_tokens: u64, exact: bool) -> Delta {
    Delta::Usage(Usage {
        input_tokens: 115,
        output_tokens,
        reasoning_tokens: None,
        cached_input_tokens: Some(100),
        cache_write_input_tokens: Some(5),
        exact,
    })
}

fn finish(reason: FinishReason, raw: Option<&str>) -> Delta {
    Delta::Finish { reason, raw: raw.map(Into::into) }
}

#[tokio::test]
async fn a_whole_message() {
    let (deltas, loss) = ask_anthropic(Answer::whole_message(&["Hel", "lo"])).await;
    assert_eq!(loss, None);
    let texts = [Delta::Text("Hel".into()), Delta::Text("lo".into())];
    let expected = [&[counted(1, false)], &texts[..], &[counted(7, true), stop_end()]].concat();
    assert_eq!(deltas, expected);
}

fn stop_end() -> Delta {
    finish(FinishReason::Stop, Some("end_turn"))
}

#[tokio::test]
async fn the_request_to_anthropic() {
    let upstream = Upstream::start(Answer::whole_message(&["a"])).await;
    let mut asked = attempt("hi", "");
    asked.prompt.parameters =
        Parameters { max_output_tokens: Some(9), stop: vec!["END".into()], ..Default::default() };
    drain(anthropic(&upstream, Continuation::Instruct).start(asked).await).await;
    let request = upstream.requests().remove(0);
    assert_eq!(request.line, "POST /v1/messages HTTP/1.1");
    assert_eq!(request.header("x-api-key"), Some(KEY));
    assert_eq!(request.header("anthropic-version"), Some("2023-06-01"));
    assert_eq!(request.header("authorization"), None);
    let expected = json!({
        "model": "llama", "max_tokens": 9, "stream": true, "stop_sequences": ["END"],
        "messages": [{ "role": "user", "content": "hi" }],
    });
    assert_eq!(request.body, expected);
}

/// Models from Claude Opus 4.7 on (2026-04) refuse `temperature` in these words; an effort is only
/// for some.
#[tokio::test]
async fn a_hint_that_the_model_refuses_is_left_out_told_and_not_sent_again() {
    let refuses = |message: &str| {
        let error = json!({ "type": "invalid_request_error", "message": message });
        Answer::status(400).raw(json!({ "type": "error", "error": error }).to_string())
    };
    let whole = Answer::whole_message(&["a"]);
    let script = vec![
        refuses("`temperature` is deprecated for this model."),
        refuses("output_config.effort: Input should be 'low', 'medium' or 'high'"),
        whole.clone(),
        whole,
        refuses("messages: text content blocks must be non-empty"),
    ];
    let upstream = Upstream::start(script).await;
    let provider = anthropic(&upstream, Continuation::Instruct);
    let mut asked = attempt("hi", "");
    asked.prompt.parameters.temperature = Some(1.3);
    asked.prompt.parameters.openai.reasoning_effort = Some("xhigh".into());
    let message = "not sent to the model: temperature, reasoning_effort".to_owned();
    let told = Delta::Notice { code: "left_out", message };
    for _ in 0..2 {
        let (deltas, loss) = drain(provider.start(asked.clone()).await).await;
        assert_eq!((deltas.first(), loss), (Some(&told), None));
    }
    assert!(provider.start(asked).await.is_err(), "a refusal about something else");
    let effort = json!({ "effort": "xhigh" });
    let sent: Vec<_> = upstream.requests().into_iter().map(|request| request.body).collect();
    let sent: Vec<_> =
        sent.iter().map(|b| (b.get("temperature"), b.get("output_config"))).collect();
    let (one, none) = (json!(1.0), None);
    assert_eq!(
        sent,
        [
            (Some(&one), Some(&effort)),
            (none, Some(&effort)),
            (none, none),
            (none, none),
            (none, none)
        ]
    );
}

#[tokio::test]
async fn every_stop_reason_has_its_word() {
    let cases = [
        ("end_turn", FinishReason::Stop),
        ("stop_sequence", FinishReason::Stop),
        ("max_tokens", FinishReason::Length),
        ("tool_use", FinishReason::ToolCalls),
        ("pause_turn", FinishReason::Pause),
        ("model_context_window_exceeded", FinishReason::ContextWindow),
        ("something_new", FinishReason::Other),
    ];
    for (raw, reason) in cases {
        let answer = Answer::sse().message_start().says(&["a"]).stop_reason(raw).message_stop();
        let (deltas, loss) = ask_anthropic(answer).await;
        assert_eq!((deltas.last(), loss), (Some(&finish(reason, Some(raw))), None), "{raw}");
    }
    let refused = json!({
        "delta": {
            "stop_reason": "refusal",
            "stop_details": { "type": "refusal", "category": "cyber", "explanation": "I can't." },
        },
        "usage": { "output_tokens": 7 },
    });
    let (deltas, _) =
        ask_anthropic(Answer::sse().message_start().message("message_delta", refused)).await;
    let expected = [
        counted(1, false),
        Delta::Refusal("I can't.".into()),
        counted(7, true),
        finish(FinishReason::Refusal, Some("cyber")),
    ];
    assert_eq!(deltas, expected);
}

#[tokio::test]
async fn thinking_and_its_signature_come_beside_the_text() {
    let answer = Answer::sse()
        .message_start()
        .block(0, json!({ "type": "thinking", "thinking": "" }))
        .piece(0, json!({ "type": "thinking_delta", "thinking": "hm" }))
        .piece(0, json!({ "type": "signature_delta", "signature": "c2ln" }))
        .block_stop(0)
        .block(1, json!({ "type": "redacted_thinking", "data": "eHh4" }))
        .block_stop(1)
        .block(2, json!({ "type": "text", "text": "" }))
        .message("ping", json!({}))
        .piece(2, json!({ "type": "text_delta", "text": "An\u{1F980}" }))
        .piece(2, json!({ "type": "citations_delta", "citation": { "cited_text": "no" } }))
        .message("something_new", json!({ "delta": 5, "index": "odd" }))
        .data(r#"{"type":"ping"}"#)
        .block_stop(2)
        .stop_reason("end_turn")
        .message_stop();
    let (deltas, loss) = ask_anthropic(answer).await;
    assert_eq!(loss, None);
    let notice = |code, message: &str| Delta::Notice { code, message: message.into() };
    assert_eq!(deltas[1], Delta::Reasoning("hm".into()));
    assert_eq!(deltas[2], notice("thinking_signature", "c2ln"));
    assert_eq!(deltas[3], notice("redacted_thinking", "eHh4"));
    assert_eq!(text_of(&deltas), "An\u{1F980}");
    assert_eq!(deltas.last(), Some(&stop_end()));
}

/// This part grew without a bound, because it is one event and comes in pieces.
#[tokio::test]
async fn a_signature_that_does_not_end_is_not_kept_in_memory() {
    let piece = json!({ "type": "signature_delta", "signature": "x".repeat(300_000) });
    let thinking = json!({ "type": "thinking", "thinking": "" });
    let mut answer = Answer::sse().message_start().block(0, thinking);
    for _ in 0..8 {
        answer = answer.piece(0, piece.clone());
    }
    let (_, loss) = ask_anthropic(answer.stall()).await;
    assert_eq!(loss.map(|loss| loss.code), Some(ErrorCode::UpstreamProtocol));
}

#[tokio::test]
async fn tool_calls_are_numbered_from_nought() {
    let call = |index: u32, id: Option<&str>, name: Option<&str>, arguments: &str| {
        let (id, name) = (id.map(Into::into), name.map(Into::into));
        Delta::ToolCall(ToolCallDelta {
            index,
            id,
            name,
            arguments: arguments.into(),
            ..ToolCallDelta::default()
        })
    };
    let tool =
        |id: &str, input| json!({ "type": "tool_use", "id": id, "name": "f", "input": input });
    let json_piece = |text: &str| json!({ "type": "input_json_delta", "partial_json": text });
    let answer = Answer::sse()
        .message_start()
        .says(&["Let me see."])
        .block(1, tool("t1", json!({})))
        .piece(1, json_piece(""))
        .piece(1, json_piece("{\"city\":"))
        .piece(1, json_piece("\"Köln\"}"))
        .block_stop(1)
        .block(2, tool("t2", json!({})))
        .block_stop(2)
        .block(3, tool("t3", json!({ "whole": true })))
        .block_stop(3)
        .stop_reason("tool_use")
        .message_stop();
    let (deltas, loss) = ask_anthropic(answer).await;
    assert_eq!(loss, None);
    let calls: Vec<_> = deltas.into_iter().filter(|d| matches!(d, Delta::ToolCall(_))).collect();
    let expected = [
        call(0, Some("t1"), Some("f"), ""),
        call(0, None, None, "{\"city\":"),
        call(0, None, None, "\"Köln\"}"),
        call(1, Some("t2"), Some("f"), ""),
        call(1, None, None, "{}"),
        call(2, Some("t3"), Some("f"), ""),
        call(2, None, None, "{\"whole\":true}"),
    ];
    assert_eq!(calls, expected);
}

#[tokio::test]
async fn only_a_stop_is_an_end() {
    use ErrorCode::{UpstreamStalled as Stalled, UpstreamTruncated as Truncated};
    let begun = || Answer::sse().message_start().says(&["Hel", "lo"]);
    let cases = [
        ("clean end", begun(), Truncated),
        ("cut", begun().cut(), Truncated),
        ("reset", begun().reset(), Truncated),
        ("half an event", begun().raw("event: message_delta\ndata: {\"ty"), Truncated),
        ("silence", begun().stall(), Stalled),
        (
            "only pings",
            begun().paced_raw(
                vec![b"event: ping\ndata: {\"type\": \"ping\"}\n\n".to_vec(); 200],
                40.0,
            ),
            Stalled,
        ),
    ];
    for (name, answer, code) in cases {
        let (deltas, loss) = ask_anthropic(answer).await;
        let loss = loss.unwrap_or_else(|| panic!("{name}: no loss"));
        assert_eq!((loss.code, loss.retryable), (code, true), "{name}: {loss}");
        assert_eq!(text_of(&deltas), "Hello", "{name}");
    }
    for answer in [begun().stop_reason("end_turn"), begun().stop_reason("end_turn").cut()] {
        let (deltas, loss) = ask_anthropic(answer).await;
        assert_eq!((deltas.last(), loss), (Some(&stop_end()), None), "the stop reason is enough");
    }
    let (deltas, loss) = ask_anthropic(begun().message_stop()).await;
    assert_eq!((deltas.last(), loss), (Some(&finish(FinishReason::Other, None)), None));
}

#[tokio::test]
async fn an_error_of_anthropic_keeps_its_meaning() {
    use ErrorCode::{
        UpstreamRateLimited as Limited, UpstreamRejected as Rejected,
        UpstreamUnavailable as Unavailable,
    };
    let error = |kind: &str| json!({ "type": "error", "error": { "type": kind, "message": "no" } });
    let status = |status: u16, kind: &str| Answer::status(status).raw(error(kind).to_string());
    let within = |kind: &str| {
        let error = error(kind)["error"].clone();
        Answer::sse().message_start().says(&["Hi"]).message("error", json!({ "error": error }))
    };
    let cases = [
        (status(529, "overloaded_error").header("request-id", "req_8"), Limited, true, "req_8", ""),
        (status(429, "rate_limit_error").header("retry-after", "2"), Limited, true, "no", ""),
        (status(401, "authentication_error"), Rejected, false, "no", ""),
        (status(400, "invalid_request_error"), Rejected, false, "no", ""),
        (status(500, "api_error"), Unavailable, false, "no", ""),
        (within("overloaded_error"), Limited, true, "no", "Hi"),
        (within("rate_limit_error"), Limited, true, "no", "Hi"),
        (within("api_error"), Unavailable, false, "no", "Hi"),
        (within("invalid_request_error"), Rejected, false, "no", "Hi"),
    ];
    for (answer, code, retryable, words, text) in cases {
        let name = format!("{:.200}", format!("{answer:?}"));
        let (deltas, loss) = ask_anthropic(answer).await;
        let loss = loss.unwrap_or_else(|| panic!("{name}: no loss"));
        assert_eq!((loss.code, loss.retryable), (code, retryable), "{name}: {loss}");
        assert!(loss.message.contains(words), "{loss}");
        assert_eq!(text_of(&deltas), text, "{name}");
    }
    let (_, loss) = ask_anthropic(status(429, "x").header("retry-after", "2")).await;
    assert_eq!(loss.unwrap().retry_after, Some(Duration::from_secs(2)));
}

#[tokio::test]
async fn the_framing_does_not_matter_here_either() {
    let event = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"é🦀\"}}\n\n";
    let end = "data:{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}";
    let text = format!("\u{FEFF}: hi\n{event}{end}");
    for end_of_line in ["\n", "\r\n", "\r"] {
        let bytes = text.replace('\n', end_of_line).into_bytes();
        let cuts: Vec<usize> = (1..bytes.len()).collect();
        let (deltas, loss) = ask_anthropic(Answer::sse().split(&bytes, &cuts)).await;
        assert_eq!((text_of(&deltas).as_str(), loss), ("é🦀", None), "{end_of_line:?}");
        assert_eq!(deltas.last(), Some(&stop_end()));
    }
}

#[tokio::test]
async fn dropping_the_message_closes_the_upstream() {
    let upstream = Upstream::start(Answer::sse().message_start().says(&["a"]).stall()).await;
    let provider = anthropic(&upstream, Continuation::Instruct);
    let mut deltas = provider.start(attempt("x", "")).await.unwrap();
    assert!(deltas.next().await.is_some());
    drop(deltas);
    upstream.closed().await;
}

#[tokio::test]
async fn a_lost_message_is_continued_without_a_repetition() {
    let upstream =
        Upstream::start(Answer::whole_message(&["stormy ni", "ght; and", " then"])).await;
    let provider = anthropic(&upstream, Continuation::Instruct);
    let so_far = "a dark and stormy night; ";
    let (deltas, loss) = drain(provider.start(attempt("x", so_far)).await).await;
    assert_eq!((text_of(&deltas).as_str(), loss), ("and then", None));
    let messages = upstream.requests().remove(0).body["messages"].clone();
    assert_eq!(messages[1], json!({ "role": "assistant", "content": so_far.trim_end() }));
    assert!(messages[2]["content"].as_str().unwrap().ends_with("without repeating."));
    let provider = anthropic(&upstream, Continuation::Prefix);
    let (deltas, _) = drain(provider.start(attempt("x", "a dark and\n\n")).await).await;
    assert_eq!(text_of(&deltas), "stormy night; and then");
    assert_eq!(upstream.requests()[1].body["messages"].as_array().unwrap().len(), 2);
}
