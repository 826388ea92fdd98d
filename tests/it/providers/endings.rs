//! Answers that are whole, however they are cut, and answers that are not.
use super::*;

#[tokio::test]
async fn a_whole_answer() {
    let upstream = Upstream::start(hello().complete()).await;
    let (deltas, loss) = ask(&upstream).await;
    assert_eq!(loss, None);
    let texts = [Delta::Text("Hel".into()), Delta::Text("lo".into())];
    assert_eq!(deltas, [&texts[..], &[stop(), usage()]].concat());
}

const EVENT: &str = r#"data: {"choices":[{"delta":{"content":"Hello é🦀"}}]}"#;
const END: &str = r#"data: {"choices":[{"delta":{},"finish_reason":"stop"}]}"#;

/// Each of these answers, with its name and text, is whole.
async fn all_whole(cases: Vec<(&str, Answer, &str)>) {
    for (name, answer, expected) in cases {
        let upstream = Upstream::start(answer).await;
        let (deltas, loss) = ask(&upstream).await;
        assert_eq!(loss, None, "{name}");
        assert!(deltas.contains(&stop()), "{name}: {deltas:?}");
        assert_eq!(text_of(&deltas), expected, "{name}");
        assert_eq!(upstream.connections(), 1, "{name}");
    }
}

#[tokio::test]
async fn whatever_says_that_it_is_complete_is() {
    all_whole(vec![
        ("finish reason, no [DONE]", hello().finish("stop"), "Hello"),
        ("[DONE] unended", hello().finish("stop").raw("data: [DONE]"), "Hello"),
        ("the last JSON unended", hello().raw(END), "Hello"),
        ("end by close", hello().finish("stop").done().close_delimited(), "Hello"),
        ("a cut behind the finish", hello().finish("stop").cut(), "Hello"),
        ("a reset behind the finish", hello().finish("stop").reset(), "Hello"),
        ("silence behind the finish", hello().finish("stop").stall(), "Hello"),
    ])
    .await;
}

fn with(end_of_line: &str) -> String {
    format!("{EVENT}\n\n{END}\n\n").replace('\n', end_of_line)
}

#[tokio::test]
async fn the_framing_does_not_matter() {
    let crab = EVENT.find('🦀').unwrap();
    all_whole(vec![
        ("byte order mark", Answer::sse().raw("\u{FEFF}").raw(with("\n")), "Hello é🦀"),
        (
            "byte order mark, cut",
            Answer::sse().split(format!("\u{FEFF}{}", with("\n")), &[1, 2]),
            "Hello é🦀",
        ),
        ("CRLF", Answer::sse().raw(with("\r\n")), "Hello é🦀"),
        ("CR", Answer::sse().raw(with("\r")), "Hello é🦀"),
        (
            "CRLF, cut",
            Answer::sse().split(with("\r\n"), &[EVENT.len() + 1, EVENT.len() + 3]),
            "Hello é🦀",
        ),
        (
            "a character cut at each byte",
            Answer::sse().split(with("\n"), &[crab, crab + 1, crab + 2, crab + 3]),
            "Hello é🦀",
        ),
        (
            "no space, comments, other fields",
            Answer::sse()
                .raw(": OPENROUTER PROCESSING\n\n:\nid: 7\nretry: 3\n")
                .raw(with("\n").replace("data: ", "data:")),
            "Hello é🦀",
        ),
        (
            "event names",
            Answer::sse().raw("event: keepalive\ndata: {}\n\nevent: chunk\n").raw(with("\n")),
            "Hello é🦀",
        ),
    ])
    .await;
}

#[tokio::test]
async fn odd_text_is_kept() {
    all_whole(vec![
        (
            "an invalid byte",
            Answer::sse()
                .raw(b"data: {\"choices\":[{\"delta\":{\"content\":\"caf\xE9 \"}}]}\n\n")
                .raw(with("\n")),
            "caf\u{FFFD} Hello é🦀",
        ),
        (
            "a character cut over two chunks",
            Answer::sse()
                .raw(b"data: {\"choices\":[{\"delta\":{\"content\":\"\xF0\x9F\"}}]}\n\n")
                .raw(b"data: {\"choices\":[{\"delta\":{\"content\":\"\xA6\x80\"}}]}\n\n")
                .finish("stop"),
            "🦀",
        ),
        (
            "a surrogate pair cut over two chunks",
            Answer::sse()
                .data(r#"{"choices":[{"delta":{"content":"a\ud83d"}}]}"#)
                .data(r#"{"choices":[{"delta":{"content":"\ude00b"}}]}"#)
                .finish("stop"),
            "a😀b",
        ),
        (
            "a lone surrogate and a NUL",
            Answer::sse()
                .data(r#"{"choices":[{"delta":{"content":"a\ud83d"}}]}"#)
                .data(r#"{"choices":[{"delta":{"content":"b\u0000"}}]}"#)
                .finish("stop"),
            "a\u{FFFD}b\u{FFFD}",
        ),
        (
            "odd fields",
            Answer::sse()
                .data(
                    r#"{"created":1.5,"service_tier":"on_demand","error":null,
                    "choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":""}]}"#
                        .replace('\n', "")
                        .as_str(),
                )
                .finish("stop"),
            "Hi",
        ),
    ])
    .await;
}

#[tokio::test]
async fn many_events_in_one_piece() {
    const EVENTS: usize = 20_000;
    let answer = Answer::sse().raw(format!("{EVENT}\n\n").repeat(EVENTS)).finish("stop");
    let (deltas, loss) = ask(&Upstream::start(answer).await).await;
    assert_eq!((deltas.len(), loss), (EVENTS + 1, None));
}

/// Each answer ends too early; its text before that is kept.
#[tokio::test]
async fn truncation_is_never_success() {
    let cases = [
        ("clean end without a marker", hello()),
        ("end by close without a marker", hello().close_delimited()),
        ("end in the middle of an event", hello().raw(r#"data: {"choices":[{"del"#)),
        ("cut", hello().cut()),
        ("reset", hello().reset()),
        ("broken chunked encoding", hello().write("nonsense\r\n")),
        ("vLLM abort", hello().finish("abort").done()),
        ("DeepSeek out of resources", hello().finish("insufficient_system_resource").done()),
        ("empty finish reason", hello().finish("")),
    ];
    for (name, answer) in cases {
        let upstream = Upstream::start(answer).await;
        let (deltas, loss) = ask(&upstream).await;
        let loss = loss.unwrap_or_else(|| panic!("{name}: no loss"));
        assert_eq!((loss.code, loss.retryable), (ErrorCode::UpstreamTruncated, true), "{name}");
        assert_eq!(text_of(&deltas), "Hello", "{name}");
        assert_eq!(upstream.requests().len(), 1, "{name}: not asked again");
    }
}

#[tokio::test]
async fn done_without_a_reason_is_an_end_with_a_notice() {
    let upstream = Upstream::start(hello().done()).await;
    let (deltas, loss) = ask(&upstream).await;
    assert_eq!(loss, None);
    assert!(matches!(deltas[2], Delta::Notice { code: "no_finish_reason", .. }));
    assert_eq!(deltas[3], Delta::Finish { reason: FinishReason::Other, raw: None });
}

#[tokio::test]
async fn a_bad_chunk_costs_itself_only() {
    let upstream = Upstream::start(hello().data("{oops}").data("oops").text("!").complete()).await;
    let (deltas, loss) = ask(&upstream).await;
    assert_eq!((text_of(&deltas).as_str(), loss), ("Hello!", None));
    let notices = deltas.iter().filter(|d| matches!(d, Delta::Notice { code: "bad_chunk", .. }));
    assert_eq!(notices.count(), 1, "told once");
}

#[tokio::test]
async fn thinking_refusals_and_tool_calls_come_through() {
    let call = json!({ "tool_calls": [{ "index": 0, "id": "c", "function": { "name": "f" } }] });
    let answer = Answer::sse()
        .delta(&json!({ "role": "assistant", "content": "" }))
        .delta(&json!({ "reasoning_content": "hm" }))
        .delta(&json!({ "reasoning": "hm", "content": null }))
        .delta(&json!({ "refusal": "no" }))
        .delta(&call)
        .finish("tool_calls")
        .done();
    let (deltas, loss) = ask(&Upstream::start(answer).await).await;
    assert_eq!(loss, None);
    assert_eq!(deltas[0], Delta::Reasoning("hm".into()));
    assert_eq!(deltas[1], Delta::Reasoning("hm".into()));
    assert_eq!(deltas[2], Delta::Refusal("no".into()));
    assert!(matches!(&deltas[3], Delta::ToolCall(call) if call.id.as_deref() == Some("c")));
    assert_eq!(deltas[4], Delta::Finish { reason: FinishReason::ToolCalls, raw: None });
}
