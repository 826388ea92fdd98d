//! A refusal of a model's server is a status, also for a streamed answer.
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::raw::{Answer as Bytes, RawStream, exchange, request};
use crate::upstream::{Answer, Gate};

const PATHS: [&str; 2] = ["/v1/chat/completions", "/v1/responses"];

fn body(path: &str, stream: bool) -> Value {
    let text = json!([{ "role": "user", "content": "hi" }]);
    let field = if path == "/v1/responses" { "input" } else { "messages" };
    json!({ "model": "scripted", field: text, "stream": stream })
}

async fn post(app: &TestApp, path: &str, stream: bool, head: &str) -> Bytes {
    let head = format!("Content-Type: application/json\r\n{head}");
    let body = body(path, stream).to_string();
    exchange(app.address, &request(&format!("POST {path}"), &head, body.as_bytes())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_arrives_as_it_was_said() {
    let said = r#"{"error":{"message":"no","type":"their_type","code":"their_code"}}"#;
    for status in [400, 401, 403, 404, 413, 422, 429] {
        let refusal = Answer::status(status).header("retry-after", "7").raw(said);
        let (app, _upstream) = TestApp::scripted(refusal, |_| {}).await;
        for path in PATHS {
            for stream in [false, true] {
                let answer = post(&app, path, stream, "").await;
                let what = format!("{path} {status} {stream}");
                assert_eq!(answer.status, status, "{what}");
                let error = &answer.json()["error"];
                let named = (&error["code"], &error["type"]);
                assert_eq!(named, (&json!("their_code"), &json!("their_type")), "{what}");
                assert_eq!(error["message"], "no", "{what}: the server's own words");
                let wait = (status == 429).then_some("7");
                assert_eq!(answer.header("retry-after"), wait, "{what}");
            }
        }
        app.stop().await;
    }
}

/// OpenAI's, Anthropic's and Codex' clients slow down by them, or show them.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_says_of_its_limits_arrives_and_its_cookies_do_not() {
    let limited = |answer: Answer| {
        let left = answer.header("x-ratelimit-remaining-requests", "59");
        left.header("anthropic-ratelimit-unified-status", "allowed").header("set-cookie", "a=b")
    };
    let refusal = limited(Answer::status(429)).raw(r#"{"error":{"message":"slow down"}}"#);
    let answers = [(limited(Answer::sse()).text("hi").complete(), 200), (refusal, 429)];
    for (answer, status) in answers {
        let (app, _upstream) = TestApp::scripted(answer, |_| {}).await;
        for path in PATHS {
            for stream in [false, true] {
                // The repeat is told from the log.
                for _ in 0..2 {
                    let head = format!("Idempotency-Key: {path}{stream}\r\n");
                    let answer = post(&app, path, stream, &head).await;
                    let what = format!("{path} {stream}");
                    assert_eq!(answer.status, status, "{what}");
                    let left = answer.header("x-ratelimit-remaining-requests");
                    assert_eq!(left, Some("59"), "{what}");
                    let allowed = answer.header("anthropic-ratelimit-unified-status");
                    assert_eq!(allowed, Some("allowed"), "{what}");
                    assert_eq!(answer.header("set-cookie"), None, "{what}");
                }
            }
        }
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_window_is_a_400_wherever_it_is_said() {
    let head = r#"{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error"}}"#;
    let inside = r#"{"error":{"message":"This model's maximum context length is 9 tokens.","type":"BadRequestError","code":400}}"#;
    for refusal in [Answer::status(400).raw(head), Answer::sse().data(inside).done()] {
        let (app, upstream) = TestApp::scripted(refusal, |_| {}).await;
        for path in PATHS {
            let answer = post(&app, path, true, "").await;
            assert_eq!(answer.status, 400, "{path}");
            assert_eq!(answer.json()["error"]["code"], "context_length_exceeded", "{path}");
            assert_eq!(answer.header("x-should-retry"), Some("false"), "{path}");
        }
        assert_eq!(upstream.requests().len(), PATHS.len(), "never tried again");
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_gets_the_same_status() {
    let refusal = Answer::status(422).raw(r#"{"error":{"message":"no"}}"#);
    let (app, upstream) = TestApp::scripted(refusal, |_| {}).await;
    for _ in 0..2 {
        let answer = post(&app, PATHS[0], true, "Idempotency-Key: k\r\n").await;
        assert_eq!(answer.status, 422);
    }
    assert_eq!(upstream.requests().len(), 1);
    app.stop().await;
}

/// The head does not wait for the first word of a model that thinks for long.
#[tokio::test(flavor = "multi_thread")]
async fn the_head_comes_when_the_prompt_is_taken() {
    let gate = Gate::default();
    let script = Answer::sse().raw(": reading the prompt\n\n").wait(&gate).text("lo").complete();
    let (app, _upstream) = TestApp::scripted(script, |_| {}).await;
    for path in PATHS {
        let head = "Content-Type: application/json\r\n";
        let line = format!("POST {path}");
        let asked = request(&line, head, body(path, true).to_string().as_bytes());
        let mut stream = RawStream::of(app.address, &asked).await;
        stream.until("200 OK", 1).await;
    }
    gate.open();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_tells_its_window() {
    let (app, _upstream) = TestApp::scripted(Answer::none(), |config| {
        config.models[0].context_tokens = std::num::NonZeroU32::new(4242);
    })
    .await;
    let models = exchange(app.address, &request("GET /v1/models", "", b"")).await.json();
    let windows: Vec<&Value> =
        models["data"].as_array().unwrap().iter().map(|model| &model["context_length"]).collect();
    assert!(windows.contains(&&json!(4242)) && windows.contains(&&Value::Null), "{models}");
    app.stop().await;
}
