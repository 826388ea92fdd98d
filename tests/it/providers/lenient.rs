//! Upstreams that are slightly off, and that the provider understands.
use lastword::domain::event::ToolCallDelta;
use lastword::providers::responses::Responses;

use super::*;

#[tokio::test]
async fn a_stream_is_one_whatever_it_is_declared_as() {
    for kind in ["text/plain", "application/json", "application/octet-stream"] {
        let stream = Answer::status(200).header("content-type", kind).text("Hel").text("lo");
        let upstream = Upstream::start(stream.complete()).await;
        let (deltas, loss) = ask(&upstream).await;
        assert_eq!((text_of(&deltas).as_str(), loss), ("Hello", None), "{kind}");
        assert!(deltas.contains(&usage()), "{kind}");
    }
}

#[tokio::test]
async fn an_answer_in_one_piece_is_an_answer() {
    let json =
        |body: &str| Answer::status(200).header("content-type", "application/json").raw(body);
    let chat = r#"{ "id": "x", "object": "chat.completion",
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": "Hello",
            "tool_calls": [{ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" } }] },
            "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 1, "completion_tokens": 2 } }"#;
    let upstream = Upstream::start(json(chat)).await;
    let (deltas, loss) = ask(&upstream).await;
    let call = ToolCallDelta {
        index: 0,
        id: Some("c".into()),
        name: Some("f".into()),
        arguments: "{}".into(),
        ..ToolCallDelta::default()
    };
    let finish = Delta::Finish { reason: FinishReason::ToolCalls, raw: Some("stop".into()) };
    let expected = [usage(), Delta::Text("Hello".into()), Delta::ToolCall(call), finish];
    assert_eq!((deltas.as_slice(), loss), (expected.as_slice(), None));
    let response = r#"{"object":"response","status":"completed","output":[{"type":"message",
        "content":[{"type":"output_text","text":"Hello"}]}]}"#;
    let upstream = Upstream::start(json(response)).await;
    let provider = Responses::new(settings(&upstream)).unwrap();
    let (deltas, loss) = drain(provider.start(attempt("hi", "")).await).await;
    assert_eq!((deltas.as_slice(), loss), ([Delta::Text("Hello".into()), stop()].as_slice(), None));
}

#[tokio::test]
async fn a_parameter_is_asked_again_once_under_its_newer_name() {
    let refusal = r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","code":"unsupported_parameter"}}"#;
    let refusing = || Answer::status(400).raw(refusal);
    let limited = || {
        let mut attempt = attempt("hi", "");
        attempt.prompt.parameters.max_output_tokens = Some(9);
        attempt
    };
    let upstream = Upstream::start(vec![refusing(), hello().complete()]).await;
    let (deltas, loss) = drain(patient(&upstream).start(limited()).await).await;
    assert_eq!((text_of(&deltas).as_str(), loss), ("Hello", None));
    let second = upstream.requests().remove(1).body;
    assert_eq!((&second["max_completion_tokens"], second.get("max_tokens")), (&json!(9), None));
    let upstream = Upstream::start(refusing()).await;
    let (_, loss) = drain(patient(&upstream).start(limited()).await).await;
    assert_eq!(loss.unwrap().code, ErrorCode::UpstreamRejected);
    assert_eq!(upstream.requests().len(), 2, "once");
}

#[tokio::test]
async fn thoughts_between_tags_are_no_text() {
    let pieces = ["<th", "ink>", "step one", "</thi", "nk>", "\n\nAnswer"];
    let answer = pieces.iter().fold(Answer::sse(), |answer, piece| answer.text(piece));
    let upstream = Upstream::start(answer.complete()).await;
    let (deltas, _) = ask(&upstream).await;
    assert_eq!(text_of(&deltas), "Answer");
    assert!(deltas.contains(&Delta::Reasoning("step one".into())), "{deltas:?}");
    let off = Adjust {
        think_tags: Some(lastword::providers::upstream::adjust::ThinkTags::Off),
        ..Adjust::default()
    };
    let provider = OpenAi::new(Settings { adjust: off, ..settings(&upstream) }).unwrap();
    let (deltas, _) = drain(provider.start(attempt("hi", "")).await).await;
    assert_eq!(text_of(&deltas), "<think>step one</think>\n\nAnswer");
}

#[tokio::test]
async fn keep_alives_before_the_first_event_are_life() {
    // In all much longer than the limit between events.
    let pings = Answer::sse().paced_raw(vec![b": ping\n\n".to_vec(); 20], 40.0);
    let upstream = Upstream::start(pings.text("Hello").complete()).await;
    let idle_events = Duration::from_millis(300);
    let timeouts = Timeouts { idle_events, ..Timeouts::default() };
    let provider = OpenAi::new(Settings { timeouts, ..settings(&upstream) }).unwrap();
    let (deltas, loss) = drain(provider.start(attempt("hi", "")).await).await;
    assert_eq!((text_of(&deltas).as_str(), loss), ("Hello", None));
}
