//! `/v1/completions` over a server of chat completions: its requests, and the answers.
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::raw::{Answer as Bytes, RawStream, exchange, request};
use crate::upstream::{Answer, Gate};

const PATH: &str = "/v1/completions";

fn bytes(body: &Value, head: &str) -> Vec<u8> {
    let head = format!("Content-Type: application/json\r\n{head}");
    request(&format!("POST {PATH}"), &head, body.to_string().as_bytes())
}

async fn post(app: &TestApp, body: &Value) -> Bytes {
    exchange(app.address, &bytes(body, "")).await
}

fn chunks(answer: &Bytes) -> Vec<Value> {
    let text = std::str::from_utf8(&answer.body).unwrap();
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn token(word: &str) -> Value {
    let top = json!([{ "token": word, "logprob": -0.5, "bytes": null }]);
    json!({ "token": word, "logprob": -0.5, "bytes": null, "top_logprobs": top })
}

fn says(word: &str) -> String {
    let logprobs = json!({ "content": [token(word)], "refusal": null });
    json!({ "choices": [{ "index": 0, "delta": { "content": word }, "logprobs": logprobs }] })
        .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_model_is_asked_and_its_answer_is_a_text() {
    let script = Answer::sse().data(&says("Hel")).data(&says("lo")).complete();
    let (app, upstream) = TestApp::scripted(script, |_| {}).await;
    let body = json!({
        "model": "scripted", "prompt": ["Say hello"], "max_tokens": 9, "ignore_eos": true,
        "logprobs": 1, "stream": true,
        "stream_options": { "include_usage": true, "continuous_usage_stats": true },
    });
    let streamed = post(&app, &body).await;
    assert_eq!(streamed.status, 200);
    let asked = upstream.requests().remove(0);
    let messages = json!([{ "role": "user", "content": "Say hello" }]);
    assert_eq!(asked.body["messages"], messages);
    assert_eq!((&asked.body["ignore_eos"], &asked.body["max_tokens"]), (&json!(true), &json!(9)));
    assert_eq!((&asked.body["logprobs"], &asked.body["top_logprobs"]), (&json!(true), &json!(1)));
    assert_eq!(asked.body["stream_options"], json!({ "include_usage": true }));
    assert!(asked.body.get("prompt").is_none());

    let all = chunks(&streamed);
    let said: String = all.iter().filter_map(|c| c["choices"][0]["text"].as_str()).collect();
    assert_eq!(said, "Hello");
    for (n, chunk) in all.iter().enumerate() {
        assert_eq!(
            (&chunk["object"], &chunk["sequence_number"]),
            (&json!("text_completion"), &json!(n))
        );
        assert!(chunk["usage"]["completion_tokens"].is_u64(), "{chunk}");
    }
    let offsets = all.iter().filter_map(|c| c["choices"][0]["logprobs"]["text_offset"][0].as_u64());
    assert_eq!(offsets.collect::<Vec<_>>(), [0, 3]);
    let id = all[0]["id"].as_str().unwrap();
    let rest = request(&format!("GET {PATH}/{id}?stream=true&starting_after=0"), "", b"");
    let rest = exchange(app.address, &rest).await;
    assert_eq!(chunks(&rest), all[1..], "a resume is the rest");

    let whole = exchange(app.address, &request(&format!("GET {PATH}/{id}"), "", b"")).await.json();
    let choice = &whole["choices"][0];
    assert_eq!((&choice["text"], &choice["finish_reason"]), (&json!("Hello"), &json!("stop")));
    assert_eq!(choice["logprobs"]["tokens"], json!(["Hel", "lo"]));
    assert_eq!(choice["logprobs"]["top_logprobs"][1], json!({ "lo": -0.5 }));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_takes_the_running_text_over() {
    let gate = Gate::default();
    let script = Answer::sse().text("Hel").wait(&gate).text("lo").complete();
    let (app, upstream) = TestApp::scripted(script, |_| {}).await;
    let body = json!({ "model": "scripted", "prompt": "q", "stream": true });
    let mut first = RawStream::of(app.address, &bytes(&body, "")).await;
    first.until("Hel", 1).await;
    drop(first);
    app.until_cut(1).await;
    let mut again =
        RawStream::of(app.address, &bytes(&body, "x-stainless-retry-count: 1\r\n")).await;
    again.until("Hel", 1).await;
    gate.open();
    again.end().await;
    let again = again.answer();
    assert_eq!(again.header("lastword-attached"), Some("1"));
    let said: String =
        chunks(&again).iter().filter_map(|c| c["choices"][0]["text"].as_str()).collect();
    assert_eq!((said.as_str(), upstream.requests().len()), ("Hello", 1));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_in_openais_shape_and_start_nothing() {
    let refused = Answer::status(400).header("content-type", "application/json").raw(
        r#"{"error":{"message":"too long","type":"invalid_request_error","code":"context_length_exceeded"}}"#,
    );
    let (app, _upstream) = TestApp::scripted(refused, |_| {}).await;
    for (more, status, code, param) in [
        (json!({ "model": "gpt-9" }), 404, "model_not_found", "model"),
        (json!({ "prompt": [1, 2] }), 400, "unsupported_value", "prompt"),
        (json!({ "prompt": ["a", "b"] }), 400, "unsupported_value", "prompt"),
        (json!({ "suffix": "z" }), 400, "unsupported_value", "suffix"),
        (json!({ "max_tokens": 0 }), 400, "out_of_range", "max_output_tokens"),
        (json!({ "prompt": " " }), 400, "prompt_empty", "prompt"),
    ] {
        let mut body = json!({ "model": "demo", "prompt": "a" });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let answer = post(&app, &body).await;
        let error = answer.json()["error"].clone();
        assert_eq!((answer.status, &error["code"]), (status, &json!(code)), "{body}: {error}");
        assert_eq!(error["param"], param, "{error}");
    }
    assert_eq!(app.database.number("select count(*) from generations").await, 0);
    for stream in [true, false] {
        let body = json!({ "model": "scripted", "prompt": "a", "stream": stream });
        let answer = post(&app, &body).await;
        let error = answer.json()["error"].clone();
        assert_eq!((answer.status, &error["code"]), (400, &json!("context_length_exceeded")));
    }
    app.stop().await;
}
