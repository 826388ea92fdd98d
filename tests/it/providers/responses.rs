//! The provider's reading of the Responses API, and of other content from there.
use lastword::domain::event::ToolCallDelta;
use lastword::domain::transcript::{Answer as Said, ToolCall};
use lastword::ports::Resume;
use lastword::providers::responses::Responses;
use serde_json::Value;

use super::*;
use crate::upstream::{Events, Keeper};

fn responses(upstream: &Upstream, continuation: Continuation) -> Responses {
    Responses::new(Settings { continuation, ..settings(upstream) }).unwrap()
}

async fn ask_responses(script: impl Into<Script>) -> (Vec<Delta>, Option<ProviderError>) {
    let upstream = Upstream::start(script).await;
    let provider = responses(&upstream, Continuation::None);
    let heard = drain(provider.start(attempt("the secret prompt", "")).await).await;
    assert_eq!(upstream.requests().len(), 1, "no hidden retry");
    heard
}

fn counted() -> Delta {
    Delta::Usage(Usage {
        input_tokens: 7,
        output_tokens: 40,
        reasoning_tokens: Some(4),
        cached_input_tokens: Some(1),
        cache_write_input_tokens: None,
        exact: true,
    })
}

fn finish(reason: FinishReason, raw: Option<&str>) -> Delta {
    Delta::Finish { reason, raw: raw.map(Into::into) }
}

fn text(text: &str) -> Delta {
    Delta::Text(text.into())
}

fn call(index: u32, id: Option<&str>, arguments: &str) -> Delta {
    let (id, name) = (id.map(Into::into), id.map(|_| "f".into()));
    Delta::ToolCall(ToolCallDelta {
        index,
        id,
        name,
        arguments: arguments.into(),
        ..ToolCallDelta::default()
    })
}

#[tokio::test]
async fn a_whole_response() {
    let (deltas, loss) = ask_responses(Events::whole("resp_1", "Hel lo").all()).await;
    assert_eq!(loss, None);
    assert_eq!(deltas, [text("Hel "), text("lo"), counted(), stop()]);
}

#[tokio::test]
async fn the_requests_to_responses() {
    let keeper = Keeper::new("a b", &[]);
    let upstream = Upstream::start(keeper.script()).await;
    let provider = responses(&upstream, Continuation::ProviderResume);
    let mut asked = attempt("hi", "");
    asked.prompt.parameters = Parameters {
        max_output_tokens: Some(9),
        temperature: Some(0.5),
        stop: vec!["END".into()],
        ..Default::default()
    };
    // A notice names what this API does not have: `stop`.
    let is_notice = |delta: &Delta| matches!(delta, Delta::Notice { code: "left_out", .. });
    let (mut deltas, _) = drain(provider.start(asked.clone()).await).await;
    deltas.retain(|delta| !is_notice(delta));
    assert_eq!(deltas[0], Delta::Background("resp_1".into()), "before anything that is said");
    let request = upstream.requests().remove(0);
    assert_eq!(request.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    let expected = json!({
        "model": "llama", "stream": true, "background": true, "store": true,
        "input": [{ "role": "user", "content": "hi" }],
        "max_output_tokens": 9, "temperature": 0.5,
    });
    assert_eq!(request.body, expected);

    let heard = Said { text: "a ".into(), ..Said::default() };
    asked.resume = Some(Resume { kept: "resp_1".into(), heard });
    let (mut deltas, loss) = drain(provider.start(asked).await).await;
    deltas.retain(|delta| !is_notice(delta));
    assert_eq!((deltas, loss), (vec![text("b"), counted(), stop()], None));
    provider.abandon("resp_1").await;
    assert_eq!(keeper.log(), ["new", "rest after 0", "cancel"]);
    for request in &upstream.requests()[1..] {
        assert_eq!(request.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    }

    let plain = Upstream::start(Events::whole("resp_1", "a").all()).await;
    let provider = responses(&plain, Continuation::None);
    let (deltas, _) = drain(provider.start(attempt("hi", "")).await).await;
    assert_eq!(deltas[0], text("a"), "nothing is kept");
    let body = plain.requests().remove(0).body;
    assert_eq!((&body["store"], body.get("background")), (&json!(false), None));
}

#[tokio::test]
async fn every_kind_of_event() {
    let summary = |events: Events, place: u32, pieces: &[&str]| {
        let at = |mut fields: Value| {
            fields["summary_index"] = json!(place);
            fields["item_id"] = json!("rs");
            fields
        };
        let part = at(json!({ "part": { "type": "summary_text", "text": "" } }));
        let events = events.event("response.reasoning_summary_part.added", part);
        let events = pieces.iter().fold(events, |events, piece| {
            events.event("response.reasoning_summary_text.delta", at(json!({ "delta": piece })))
        });
        let whole = at(json!({ "text": pieces.concat() }));
        events.event("response.reasoning_summary_text.done", whole)
    };
    let begun = Events::begin("resp_1").item(0, "added", json!({ "type": "reasoning" }));
    let thought = summary(summary(begun, 0, &["one ", "two"]), 1, &["three"]);
    let refused = thought
        .of(1, "response.reasoning_text.delta", json!({ "delta": "raw" }))
        .of(2, "response.web_search_call.searching", json!({}))
        .event("response.something_new", json!({ "delta": { "odd": 1 }, "output_index": "x" }))
        .of(3, "response.refusal.delta", json!({ "delta": "I can" }))
        .of(3, "response.refusal.delta", json!({ "delta": "'t." }))
        .of(3, "response.refusal.done", json!({ "refusal": "I can't." }))
        .end("resp_1", "completed", json!({}));
    let (mut deltas, loss) = ask_responses(refused.all()).await;
    assert_eq!(loss, None);
    let is_extra = |delta: &Delta| matches!(delta, Delta::Extra(_));
    let extras = deltas.iter().filter(|delta| is_extra(delta)).count();
    assert_eq!(extras, 2, "the event of a tool that the provider runs, and one of a later kind");
    deltas.retain(|delta| !is_extra(delta));
    let thoughts = ["one ", "two", "\n\n", "three", "raw"].map(|t| Delta::Reasoning(t.into()));
    let refusal = ["I can", "'t."].map(|t| Delta::Refusal(t.into()));
    let ending = [counted(), finish(FinishReason::Refusal, None)];
    assert_eq!(deltas, [&thoughts[..], &refusal, &ending].concat());
}

#[tokio::test]
async fn functions_are_called_in_their_order() {
    let events = Events::begin("resp_1")
        .says(0, ["Let me"].into_iter())
        .calls(1, "call_a", &["{\"x\"", ":1}"])
        .calls(2, "call_b", &[])
        .item(
            3,
            "done",
            json!({
                "type": "function_call", "call_id": "call_c", "name": "f", "arguments": "[]",
            }),
        )
        .end("resp_1", "completed", json!({}));
    let expected = [
        text("Let me"),
        call(0, Some("call_a"), ""),
        call(0, None, "{\"x\""),
        call(0, None, ":1}"),
        call(1, Some("call_b"), ""),
        call(2, Some("call_c"), ""),
        call(2, None, "[]"),
        counted(),
        finish(FinishReason::ToolCalls, None),
    ];
    let (deltas, loss) = ask_responses(events.all()).await;
    assert_eq!((deltas.as_slice(), loss), (&expected[..], None));
    // The same without ids, and the same with ids and one place for all.
    let frames = events.frames(0, events.len());
    let without_ids = frames.replace("\"item_id\"", "\"x\"").replace("\"id\":\"item_", "\"x\":\"");
    let (deltas, _) = ask_responses(Answer::sse().raw(without_ids)).await;
    assert_eq!(deltas, expected);
    let one_place = (1..4).fold(frames, |frames, place| {
        frames.replace(&format!("\"output_index\":{place}"), "\"output_index\":0")
    });
    let (deltas, _) = ask_responses(Answer::sse().raw(one_place)).await;
    assert_eq!(deltas, expected);
}

#[tokio::test]
async fn every_ending_has_its_word() {
    let ends = |status: &str, response: Value| {
        Events::begin("resp_1").says(0, ["a"].into_iter()).end("resp_1", status, response).all()
    };
    let incomplete =
        |reason: &str| ends("incomplete", json!({ "incomplete_details": { "reason": reason } }));
    let cases = [
        (incomplete("max_output_tokens"), FinishReason::Length, Some("max_output_tokens")),
        (incomplete("content_filter"), FinishReason::ContentFilter, None),
        (incomplete("steered"), FinishReason::Pause, Some("steered")),
    ];
    for (answer, reason, raw) in cases {
        let (deltas, loss) = ask_responses(answer).await;
        assert_eq!((deltas.last(), loss), (Some(&finish(reason, raw)), None));
    }
    let failed = |code: &str| ends("failed", json!({ "error": { "code": code, "message": "x" } }));
    let error = |fields: Value| Events::begin("r").event("error", fields);
    let flat = error(json!({ "code": "rate_limit_exceeded", "message": "slow", "param": null }));
    let nested = error(json!({ "error": { "code": "server_error", "message": "cuda" } }));
    let unnamed = |events: &Events| {
        let data = events.frames(0, events.len()).replace("event: error\n", "");
        Answer::sse().raw(data)
    };
    let cases = [
        (failed("server_error"), ErrorCode::UpstreamUnavailable),
        (failed("rate_limit_exceeded"), ErrorCode::UpstreamRateLimited),
        (failed("invalid_prompt"), ErrorCode::UpstreamRejected),
        (ends("cancelled", json!({})), ErrorCode::UpstreamTruncated),
        (flat.all(), ErrorCode::UpstreamRateLimited),
        (unnamed(&flat), ErrorCode::UpstreamRateLimited),
        (nested.all(), ErrorCode::UpstreamUnavailable),
        (Events::begin("r").says(0, ["a"].into_iter()).all(), ErrorCode::UpstreamTruncated),
        (Answer::status(404).raw("{}"), ErrorCode::UpstreamRejected),
        (Answer::status(503).raw("{}"), ErrorCode::UpstreamUnavailable),
    ];
    for (number, (answer, code)) in cases.into_iter().enumerate() {
        let (_, loss) = ask_responses(answer).await;
        let loss = loss.unwrap_or_else(|| panic!("{number}"));
        assert_eq!(loss.code, code, "{number}: {loss}");
        assert!(!loss.message.contains("secret"), "{loss}");
    }
}

#[tokio::test]
async fn what_other_servers_leave_out() {
    let bare = |events: &[Value]| {
        events.iter().fold(Answer::sse(), |answer, event| answer.data(&event.to_string()))
    };
    let completed = json!({ "type": "response.completed", "response": { "status": "completed" } });
    let delta =
        json!({ "type": "response.output_text.delta", "delta": "a", "sequence_number": 1.5 });
    let done = json!({ "type": "response.output_text.done", "text": "a" });
    let output = json!([
        { "type": "reasoning", "content": [{ "type": "x", "text": "no" }] },
        { "type": "message", "content": [{ "type": "output_text", "text": "a" }] },
    ]);
    let with_output = json!({ "type": "response.completed", "response": { "output": output } });
    for events in [
        vec![delta.clone(), completed.clone()],
        vec![delta.clone(), done.clone(), completed.clone()],
        vec![done, completed.clone()],
        vec![with_output.clone()],
        vec![delta.clone(), with_output],
        vec![json!({ "type": 5 }), json!([1]), delta, completed],
    ] {
        let (deltas, loss) = ask_responses(bare(&events)).await;
        assert_eq!((text_of(&deltas).as_str(), loss), ("a", None), "{events:?}");
        assert_eq!(deltas.last(), Some(&stop()));
    }
}

/// Its text would be lost beside a call, which says something, too.
#[tokio::test]
async fn items_that_say_all_at_their_end() {
    let item = |end: &str, place: u32, item: &Value| {
        let kind = format!("response.output_item.{end}");
        json!({ "type": kind, "output_index": place, "item": item })
    };
    let thought = json!({ "type": "reasoning", "id": "r", "summary": [
        { "type": "summary_text", "text": "one" }, { "type": "summary_text", "text": "two" } ] });
    let said = json!({ "type": "message", "id": "m", "content": [
        { "type": "output_text", "text": "Look" }, { "type": "refusal", "refusal": "no" } ] });
    let called = json!({ "type": "function_call", "id": "f", "call_id": "c", "name": "f",
        "arguments": "{}" });
    let piece = json!({ "type": "response.output_text.delta", "item_id": "other", "output_index": 1,
        "delta": "Look" });
    let completed = json!({ "type": "response.completed", "response": { "status": "completed" } });
    let all = [item("done", 0, &thought), item("added", 1, &json!({ "type": "message" }))];
    let rest = [item("done", 2, &called), completed];
    let expected = |refused: Option<Delta>| {
        let thought = Delta::Reasoning("one\n\ntwo".into());
        let finish = finish(FinishReason::ToolCalls, None);
        let before = [Some(thought), Some(text("Look")), refused].into_iter().flatten();
        let called = [call(0, Some("c"), ""), call(0, None, "{}")];
        before.chain(called).chain([finish]).collect::<Vec<_>>()
    };
    // Where the text came in pieces, under whatever id, its end says nothing new.
    for (pieces, refused) in [(vec![], Some(Delta::Refusal("no".into()))), (vec![piece], None)] {
        let events = all.iter().chain(&pieces).cloned().chain([item("done", 1, &said)]);
        let events = events.chain(rest.iter().cloned());
        let answer = events.fold(Answer::sse(), |all, event| all.data(&event.to_string()));
        let (deltas, loss) = ask_responses(answer).await;
        assert_eq!((deltas, loss), (expected(refused), None));
    }
}

/// The last events repeat all of the answer.
#[tokio::test]
async fn a_long_answer_is_repeated_at_its_end() {
    let long = "é🦀\n ".repeat(300_000);
    let response = json!({
        "output": [{ "type": "message", "content": [{ "type": "output_text", "text": long }] }],
    });
    let events = Events::begin("r").says(0, [long.as_str()].into_iter());
    let (deltas, loss) = ask_responses(events.end("r", "completed", response).all()).await;
    assert_eq!((text_of(&deltas).len(), loss), (long.len(), None));
    assert_eq!(deltas.last(), Some(&stop()));
}

#[tokio::test]
async fn a_name_that_does_not_fit_into_a_path_is_none() {
    for id in ["../files", "a/b", "a?b", "", "a b", "é"] {
        let upstream = Upstream::start(Events::whole(id, "a").all()).await;
        let provider = responses(&upstream, Continuation::ProviderResume);
        let (deltas, _) = drain(provider.start(attempt("hi", "")).await).await;
        assert_eq!(deltas[0], text("a"), "{id}");
    }
}

#[tokio::test]
async fn calls_are_heard_on_with_where_they_broke_off() {
    let events = Events::begin("resp_1")
        .says(0, ["Let me"].into_iter())
        .calls(1, "call_a", &["{}"])
        .calls(2, "call_b", &["{\"x\"", ":1}"])
        .end("resp_1", "completed", json!({}));
    let upstream = Upstream::start(Keeper::of(events, &[]).script()).await;
    let provider = responses(&upstream, Continuation::ProviderResume);
    let known = |id: &str, arguments: &str| ToolCall {
        id: id.into(),
        name: "f".into(),
        arguments: arguments.into(),
        ..ToolCall::default()
    };
    let tool_calls = vec![known("call_a", "{}"), known("call_b", "{\"x\"")];
    let heard = Said { text: "Let me".into(), tool_calls, ..Said::default() };
    let mut asked = attempt("hi", "Let me");
    asked.resume = Some(Resume { kept: "resp_1".into(), heard });
    let (deltas, _) = drain(provider.start(asked).await).await;
    let ending = [counted(), finish(FinishReason::ToolCalls, None)];
    assert_eq!(deltas, [&[call(1, None, ":1}")], &ending[..]].concat());
}
