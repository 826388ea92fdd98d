//! Situations that users of servers like this one reported, each reduced to a request.
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::raw::{Answer as Bytes, exchange, request};
use crate::upstream::{Answer, Script};

async fn post(app: &TestApp, path: &str, body: &str) -> Bytes {
    let head = "Content-Type: application/json\r\n";
    exchange(app.address, &request(&format!("POST {path}"), head, body.as_bytes())).await
}

/// Codex sends items of conversations whose `content` is null.
#[tokio::test(flavor = "multi_thread")]
async fn an_items_content_may_be_null() {
    let (app, upstream) = TestApp::scripted(Answer::sse().text("ok").complete(), |_| {}).await;
    let ask = |items: Value| json!({ "model": "scripted", "input": items }).to_string();
    let null = json!([{ "role": "user", "content": "a" },
        { "type": "message", "role": "assistant", "content": null }, { "role": "user", "content": "b" }]);
    let answer = post(&app, "/v1/responses", &ask(null)).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    let sent = upstream.requests()[0].body["messages"].clone();
    assert_eq!((&sent[0]["content"], &sent[2]["content"]), (&json!("a"), &json!("b")), "{sent}");
    let absent = post(&app, "/v1/responses", &ask(json!([{ "role": "user" }]))).await;
    assert_eq!(absent.json()["error"]["param"], "input[0].content", "absent is missing");
    app.stop().await;
}

/// Google's servers put an error into a list.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_a_list_keeps_its_words() {
    let list =
        r#"[{"error":{"code":400,"message":"API key not valid","status":"INVALID_ARGUMENT"}}]"#;
    let (app, _upstream) = TestApp::scripted(Answer::status(400).raw(list), |_| {}).await;
    let ask = r#"{"model":"scripted","messages":[{"role":"user","content":"q"}]}"#;
    let answer = post(&app, "/v1/chat/completions", ask).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["message"]),
        (400, &json!("API key not valid"))
    );
    app.stop().await;
}

/// Of several stop sequences, the model's server says which one it was.
#[tokio::test(flavor = "multi_thread")]
async fn the_stop_sequence_is_the_one_that_stopped_it() {
    let delta = json!({ "stop_reason": "stop_sequence", "stop_sequence": "END" });
    let usage = json!({ "output_tokens": 7 });
    let script = Answer::sse().message_start().says(&["a"]);
    let script =
        script.message("message_delta", json!({ "delta": delta, "usage": usage })).message_stop();
    let (app, _upstream) = TestApp::scripted(script, |config| {
        config.models[0].provider = serde_json::from_value(json!("anthropic")).unwrap();
    })
    .await;
    for stream in [false, true] {
        let ask = json!({ "model": "scripted", "max_tokens": 9, "stop_sequences": ["STOP", "END"],
            "messages": [{ "role": "user", "content": "q" }], "stream": stream });
        let answer = post(&app, "/v1/messages", &ask.to_string()).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(text.contains(r#""stop_sequence":"END""#), "{text}");
    }
    app.stop().await;
}

/// A seed of 64 bits without a sign is the model's matter.
#[tokio::test(flavor = "multi_thread")]
async fn a_seed_may_have_64_bits() {
    let (app, upstream) = TestApp::scripted(Answer::sse().text("ok").complete(), |_| {}).await;
    let ask = r#"{"model":"scripted","messages":[{"role":"user","content":"q"}],"seed":18446744073709551615}"#;
    assert_eq!(post(&app, "/v1/chat/completions", ask).await.status, 200);
    assert_eq!(upstream.requests()[0].body["seed"], u64::MAX);
    let wrong =
        post(&app, "/v1/chat/completions", &ask.replace("18446744073709551615", "1.5")).await;
    let error = &wrong.json()["error"];
    assert_eq!(error["param"], "seed");
    assert!(error["message"].as_str().unwrap().ends_with("a whole number"), "{error}");
    app.stop().await;
}

/// Calls as they come from a server, and the names and arguments that are right.
type Shape = (Vec<Value>, Vec<(&'static str, &'static str)>);

/// Other servers' shapes of calls: an index that begins at 1 or is taken twice, an id with every
/// piece, no id, empty arguments.
fn shapes() -> Vec<Shape> {
    let call = |index: u32, id: Value, name: &str, arguments: &str| {
        json!({ "index": index, "id": id, "type": "function",
            "function": { "name": name, "arguments": arguments } })
    };
    let two = vec![("f", "{}"), ("g", "{}")];
    vec![
        (vec![call(1, json!("a"), "f", "{}"), call(3, json!("b"), "g", "{}")], two.clone()),
        (vec![call(0, json!("a"), "f", "{}"), call(0, json!("b"), "g", "{}")], two),
        (vec![call(0, json!("a"), "f", "{"), call(0, json!("a"), "f", "}")], vec![("f", "{}")]),
        (vec![call(0, Value::Null, "f", "{}")], vec![("f", "{}")]),
        (vec![call(0, json!("a"), "f", "")], vec![("f", "")]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_every_servers_shape_arrive() {
    let script = Script::with(|_, number| {
        let (calls, _) = shapes().swap_remove(number);
        let delta = |answer: Answer, call: &Value| answer.delta(&json!({ "tool_calls": [call] }));
        calls.iter().fold(Answer::sse(), delta).finish("tool_calls").done()
    });
    let (app, _upstream) = TestApp::scripted(script, |_| {}).await;
    for (_, expected) in shapes() {
        let ask = r#"{"model":"scripted","messages":[{"role":"user","content":"q"}]}"#;
        let answer = post(&app, "/v1/chat/completions", ask).await.json();
        let calls = answer["choices"][0]["message"]["tool_calls"].as_array().unwrap();
        let said = |call: &Value| -> (String, String) {
            let function = &call["function"];
            let word = |name: &str| function[name].as_str().unwrap().to_owned();
            (word("name"), word("arguments"))
        };
        let got: Vec<_> = calls.iter().map(said).collect();
        let expected: Vec<_> = expected.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
        assert_eq!(got, expected, "{answer}");
        assert!(calls.iter().all(|call| !call["id"].as_str().unwrap().is_empty()), "{answer}");
    }
    app.stop().await;
}

/// Values that other servers take are for the model's server to judge.
#[tokio::test(flavor = "multi_thread")]
async fn values_that_other_servers_take_go_up_as_they_came() {
    let (app, upstream) = TestApp::scripted(Answer::sse().text("ok").complete(), |_| {}).await;
    let user = json!({ "role": "user", "content": "q" });
    let call =
        json!({ "id": "c", "type": "function", "function": { "name": "f", "arguments": null } });
    let calls = json!([user, { "role": "assistant", "content": null, "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "c", "content": "1" }]);
    let function = json!({ "function": { "name": "f" } });
    for (name, value) in [
        ("max_tokens", json!(-1)),
        ("max_completion_tokens", json!(100.0)),
        ("stop", json!("")),
        ("tools", json!([{ "googleSearch": {} }, function])),
        ("messages", calls),
        (
            "messages",
            json!([{ "role": "user", "content": "a" }, { "role": "user", "content": "" }]),
        ),
    ] {
        let mut ask = json!({ "model": "scripted", "messages": [user] });
        ask[name] = value.clone();
        let answer = post(&app, "/v1/chat/completions", &ask.to_string()).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.json());
        let sent = upstream.requests().pop().unwrap();
        assert_eq!(sent.body[name].to_string(), value.to_string(), "as it came");
    }
    let blank =
        json!({ "model": "scripted", "messages": [{ "role": "system", "content": "" }, user] });
    assert_eq!(post(&app, "/v1/chat/completions", &blank.to_string()).await.status, 200);
    let any = json!({ "model": "scripted", "messages": [user], "tools": [function], "tool_choice": "any" });
    assert_eq!(post(&app, "/v1/chat/completions", &any.to_string()).await.status, 200);
    for (name, value) in
        [("max_tokens", json!(1.5)), ("max_tokens", json!(-2)), ("max_tokens", json!("1"))]
    {
        let mut ask = json!({ "model": "scripted", "messages": [user] });
        ask[name] = value;
        let refused = post(&app, "/v1/chat/completions", &ask.to_string()).await;
        assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!(name)));
    }
    app.stop().await;
}
