//! Several choices of one chat completion (`n` above 1).
use serde_json::{Value, json};

use super::Pair;
use crate::harness::TestApp;
use crate::upstream::{Answer, Script, Upstream};

const PATH: &str = "/v1/chat/completions";

fn body() -> Value {
    json!({
        "messages": [{ "role": "user", "content": "hi" }], "n": 3, "model": "scripted",
        "stream_options": { "include_usage": true },
    })
}

fn says(index: u32, delta: &Value) -> String {
    json!({ "choices": [{ "index": index, "delta": delta }] }).to_string()
}

fn text(index: u32, word: &str) -> String {
    says(index, &json!({ "content": word }))
}

fn ends(index: u32, reason: &str) -> String {
    json!({ "choices": [{ "index": index, "delta": {}, "finish_reason": reason }] }).to_string()
}

fn call(arguments: &str, named: bool) -> Value {
    let mut call = json!({ "index": 0, "function": { "arguments": arguments } });
    if named {
        (call["id"], call["type"]) = (json!("call_2"), json!("function"));
        call["function"]["name"] = json!("f");
    }
    json!({ "tool_calls": [call] })
}

/// Choice 0 ends first, 1 has log probabilities, 2 calls a tool.
fn three() -> Answer {
    let logprobs = json!({ "content": [{ "token": "b", "logprob": -0.5 }] });
    let token = json!({ "index": 1, "delta": { "content": "b" }, "logprobs": logprobs });
    Answer::sse()
        .data(&says(0, &json!({ "role": "assistant", "content": "" })))
        .data(&says(1, &json!({ "role": "assistant", "content": "" })))
        .data(&text(0, "Hel"))
        .data(&json!({ "choices": [token] }).to_string())
        .data(&says(2, &call("{\"a\"", true)))
        .data(&text(0, "lo"))
        .data(&ends(0, "stop"))
        .data(&text(1, "ye"))
        .data(&says(2, &call(":1}", false)))
        .data(&ends(1, "length"))
        .data(&ends(2, "tool_calls"))
        .usage(7, 9)
        .done()
}

fn id(frames: &[Value]) -> String {
    frames[0]["id"].as_str().unwrap().to_owned()
}

/// All choices of the chunks, of one index.
fn of(frames: &[Value], index: u64) -> Vec<Value> {
    let all = frames.iter().filter_map(|frame| frame["choices"].as_array()).flatten();
    all.filter(|choice| choice["index"] == index).cloned().collect()
}

fn said(choices: &[Value]) -> String {
    choices.iter().filter_map(|choice| choice.pointer("/delta/content")?.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_choice_is_streamed_replayed_and_kept() {
    let pair = Pair::start(PATH, "openai", three()).await;
    let (live, whole) = pair.all_ways(id, &body()).await;
    assert_eq!(pair.upstream.requests()[0].body["n"], 3);
    assert_eq!([0, 1, 2].map(|index| said(&of(&live, index))), ["Hello", "bye", ""]);
    for (index, reason) in [(0, "stop"), (1, "length"), (2, "tool_calls")] {
        let pieces = of(&live, index);
        assert_eq!(pieces[0]["delta"]["role"], "assistant", "SDKs want it of each: {index}");
        assert_eq!(pieces.last().unwrap()["finish_reason"], reason);
        assert_eq!(pieces.iter().filter(|c| !c["finish_reason"].is_null()).count(), 1);
    }
    assert_eq!(of(&live, 1)[0]["logprobs"]["content"][0]["token"], "b");
    assert_eq!(of(&live, 2)[0]["delta"]["tool_calls"], call("{\"a\"", true)["tool_calls"]);
    let choices = whole["choices"].as_array().unwrap();
    let message = |index: usize| &choices[index]["message"];
    assert_eq!(choices.len(), 3);
    assert_eq!((&message(0)["content"], &message(1)["content"]), (&json!("Hello"), &json!("bye")));
    assert_eq!(choices[1]["logprobs"]["content"][0]["logprob"], -0.5);
    let called = json!([{ "id": "call_2", "type": "function",
        "function": { "name": "f", "arguments": "{\"a\":1}" } }]);
    assert_eq!((&message(2)["content"], &message(2)["tool_calls"]), (&Value::Null, &called));
    assert_eq!(choices[2]["finish_reason"], "tool_calls");
    assert_eq!((&whole["usage"]["completion_tokens"]), &json!(9), "of all choices");

    let mut at_once = pair.ask(&body()).await.remove(0);
    pair.forget().await;
    let mut kept: Value = serde_json::from_slice(&pair.get(&id(&live), "").await).unwrap();
    assert_eq!(kept, whole, "when its events are gone");
    let again = super::frames(&pair.get(&id(&live), "?stream=true").await);
    assert_eq!([0, 1, 2].map(|index| said(&of(&again, index))), ["Hello", "bye", ""]);
    for name in ["id", "created", "status"] {
        at_once[name] = Value::Null;
        kept[name] = Value::Null;
    }
    assert_eq!(at_once, kept, "asked for in one piece");
    pair.stop().await;
}

async fn broken(scripts: Script, continuation: &str) -> (TestApp, Upstream, Value) {
    let (app, upstream) = TestApp::scripted(scripts, |config| {
        let model = config.models.last_mut().unwrap();
        model.max_attempts = 2;
        model.continuation = serde_json::from_value(json!(continuation)).unwrap();
    })
    .await;
    let whole: Value = app.client.post(PATH, &body()).await.json().await.unwrap();
    (app, upstream, whole)
}

async fn notices(app: &TestApp, whole: &Value) -> String {
    let id = whole["id"].as_str().unwrap().trim_start_matches("chatcmpl-");
    let events = app.client.all(id, 0).await;
    events.iter().filter(|e| e.name == "notice").map(|e| e.data.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_loss_the_first_choice_goes_on_and_the_others_stay() {
    let cut = Answer::sse().data(&text(0, "one two three")).data(&text(1, "eins"));
    let scripts = vec![cut.cut(), Answer::sse().text(" three").text(" four").complete()];
    let (app, upstream, whole) = broken(scripts.into(), "prefix").await;
    let choices = whole["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 2, "{whole}");
    assert_eq!(choices[0]["message"]["content"], "one two three four");
    assert_eq!(choices[1]["message"]["content"], "eins");
    assert_eq!(
        (&choices[0]["finish_reason"], &choices[1]["finish_reason"]),
        (&json!("stop"), &json!("length"))
    );
    let requests = upstream.requests();
    assert_eq!((&requests[0].body["n"], requests[1].body.get("n")), (&json!(3), None));
    assert!(notices(&app, &whole).await.contains("choices_cut"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_choice_that_is_whole_is_not_asked_for_again() {
    let cut =
        Answer::sse().data(&text(0, "whole")).data(&ends(0, "stop")).data(&text(1, "ha")).cut();
    let (app, upstream, whole) = broken(vec![cut].into(), "prefix").await;
    let choices = whole["choices"].as_array().unwrap();
    let of =
        |index: usize| (&choices[index]["message"]["content"], &choices[index]["finish_reason"]);
    assert_eq!(of(0), (&json!("whole"), &json!("stop")));
    assert_eq!(of(1), (&json!("ha"), &json!("length")));
    assert_eq!(upstream.requests().len(), 1);
    assert!(notices(&app, &whole).await.contains("choices_cut"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_answer_has_all_its_choices_anew() {
    let cut = Answer::sse().data(&text(0, "lost")).data(&text(1, "lost")).cut();
    let (app, upstream, whole) = broken(vec![cut, three()].into(), "none").await;
    let texts: Vec<&Value> =
        whole["choices"].as_array().unwrap().iter().map(|c| &c["message"]["content"]).collect();
    assert_eq!(texts, [&json!("Hello"), &json!("bye"), &Value::Null]);
    assert_eq!(upstream.requests()[1].body["n"], 3);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_knows_one_choice_only_is_not_waited_for() {
    let (app, _upstream, whole) = broken(Answer::sse().text("a").complete().into(), "none").await;
    assert_eq!(whole["choices"].as_array().unwrap().len(), 1);
    assert_eq!(notices(&app, &whole).await, "");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_completion_has_its_choices_too() {
    let (app, upstream) = TestApp::scripted(three(), |_| {}).await;
    let asked = json!({ "model": "scripted", "prompt": "hi", "n": 2, "stream": true });
    let answer = app.client.post("/v1/completions", &asked).await.bytes().await.unwrap();
    let live = super::frames(&answer);
    let said = |index| -> String {
        of(&live, index).iter().map(|choice| choice["text"].as_str().unwrap()).collect()
    };
    assert_eq!((said(0), said(1)), ("Hello".into(), "bye".into()));
    assert_eq!(of(&live, 1)[0]["logprobs"]["text_offset"], json!([0]));
    let path = format!("/v1/completions/{}", live[0]["id"].as_str().unwrap());
    let whole: Value = app.client.get(&path).await.json().await.unwrap();
    assert_eq!(
        (&whole["choices"][1]["text"], &whole["choices"][1]["finish_reason"]),
        (&json!("bye"), &json!("length"))
    );
    assert_eq!(
        (whole["choices"].as_array().unwrap().len(), &upstream.requests()[0].body["n"]),
        (2, &json!(2))
    );
    app.stop().await;
}
