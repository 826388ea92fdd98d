//! The trace of a generation: from the client's header to the upstream's, through repeats, other
//! protocols, lost attempts and other processes.
use std::fs::File;

use lastword::domain::prompt::{Message, Parameters, Prompt, Role};
use lastword::ports::{Attempt, Continuation, Provider};
use lastword::providers::messages::Anthropic;
use lastword::providers::responses::Responses;
use lastword::providers::upstream::adjust::Adjust;
use lastword::providers::upstream::endpoint::Settings;
use lastword::providers::upstream::guard::Timeouts;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::assert_whole;
use crate::harness::TestApp;
use crate::process::{Server, command};
use crate::socket::Socket;
use crate::upstream::{Answer, Gate, Upstream};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const OTHER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// The trace headers of the upstream's requests, one after the other.
fn told(upstream: &Upstream) -> Vec<Option<String>> {
    let header = |r: &crate::upstream::Request| r.header("traceparent").map(str::to_owned);
    upstream.requests().iter().map(header).collect()
}

async fn post(app: &TestApp, path: &str, head: &[(&str, &str)], body: &Value) -> (u16, Value) {
    let mut request = app.client.http.post(format!("{}{path}", app.client.base)).json(body);
    for (name, value) in head {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_start_passes_it_on() {
    let (app, upstream) = TestApp::scripted(Answer::sse().text("Hi").complete(), |_| {}).await;
    let native = json!({"prompt": "hi"});
    let said = json!([{"role": "user", "content": "hi"}]);
    let parts = json!([{"role": "user", "parts": [{"type": "text", "text": "hi"}]}]);
    let trace = ("traceparent", PARENT);
    for (path, head, body) in [
        ("/v1/generations", vec![trace, ("Accept", "text/event-stream")], &native),
        ("/v1/chat/completions", vec![trace], &json!({"model": "scripted", "messages": said})),
        ("/v1/responses", vec![trace], &json!({"model": "scripted", "input": "hi"})),
        ("/api/chat", vec![trace], &json!({"id": "c", "messages": parts})),
    ] {
        let before = upstream.requests().len();
        assert_eq!(post(&app, path, &head, body).await.0, 200, "{path}");
        assert_eq!(told(&upstream)[before..], [Some(PARENT.to_owned())], "{path}");
    }
    let mut socket = Socket::open(app.address).await;
    let before = upstream.requests().len();
    for (reference, trace) in [(1, PARENT), (2, "nonsense")] {
        let generate =
            json!({"type": "generate", "ref": reference, "prompt": "hi", "traceparent": trace});
        assert_eq!(socket.ask(&generate).await["type"], "ack");
        upstream.arrived(before + reference).await;
    }
    assert_eq!(told(&upstream)[before..], [Some(PARENT.to_owned()), None]);

    // A malformed header is ignored, and so are two.
    let before = upstream.requests().len();
    let stream = ("Accept", "text/event-stream");
    for head in [
        vec![stream],
        vec![stream, ("traceparent", "00-x")],
        vec![stream, ("traceparent", "")],
        vec![stream, trace, ("traceparent", OTHER)],
    ] {
        assert_eq!(post(&app, "/v1/generations", &head, &native).await.0, 200, "{head:?}");
    }
    assert_eq!(told(&upstream)[before..], [None, None, None, None]);
    drop(socket);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_in_another_trace_is_the_same_start() {
    let (app, upstream) = TestApp::scripted(Answer::sse().text("Hi").complete(), |_| {}).await;
    let start = async |trace: &str| {
        let head = [("Idempotency-Key", "k"), ("traceparent", trace)];
        let (status, body) = post(&app, "/v1/generations", &head, &json!({"prompt": "hi"})).await;
        (status, body["id"].as_str().unwrap().to_owned())
    };
    let (status, id) = start(PARENT).await;
    assert_eq!(status, 201);
    assert_whole(&app.client.all(&id, 0).await);
    assert_eq!(start(OTHER).await, (200, id));
    assert_eq!(told(&upstream), [Some(PARENT.to_owned())]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_survives_the_process_and_is_in_the_log_lines() {
    let gate = Gate::default();
    let stalls = Answer::sse().text("Hel").wait(&gate);
    let upstream = Upstream::start(vec![stalls, Answer::sse().text("Hello").complete()]).await;
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("lastword.toml");
    let url = upstream.base_url();
    let model = format!("[[models]]\nname = 'm'\nprovider = 'openai'\nbase_url = '{url}'\n");
    std::fs::write(&file, model).unwrap();
    let serve = |log: &str| {
        let mut command = command(&dir.path().join("data"));
        command.arg("--config").arg(&file).env("RUST_LOG", "info");
        command.env("LASTWORD_LOG_FORMAT", "json");
        command.stderr(File::create(dir.path().join(log)).unwrap());
        Server::start(command)
    };
    let lines = |log: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(dir.path().join(log)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    };
    let server = serve("first").await;
    let request = server.client.http.post(format!("{}/v1/generations", server.client.base));
    let request = request.header("traceparent", PARENT).json(&json!({"prompt": "hi"}));
    let receipt: Value = request.send().await.unwrap().json().await.unwrap();
    let id = receipt["id"].as_str().unwrap();
    let mut seen = server.client.events(id, 0).await.take(2).await;
    server.kill().await;
    let server = serve("second").await;
    seen.extend(server.client.all(id, 2).await);
    assert_whole(&seen);
    assert!(server.terminate().await.success());
    assert_eq!(told(&upstream), [Some(PARENT.to_owned()), Some(PARENT.to_owned())]);
    let of = |log: &str, message: &str| {
        lines(log).into_iter().find(|line| line["message"] == message).expect(message)
    };
    assert_eq!(of("first", "request")["trace_id"], TRACE);
    assert_eq!(of("second", "generation")["trace_id"], TRACE);
    assert!(of("second", "request").get("trace_id").is_none(), "that one came without");
}

/// The providers that have clients of their own.
#[tokio::test]
async fn every_wire_carries_it() {
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let upstream = Upstream::start(Answer::whole_message(&["a"])).await;
    let settings = Settings {
        base_url: upstream.base_url(),
        api_key: None,
        upstream_model: "m".into(),
        continuation: Continuation::None,
        timeouts: Timeouts::default(),
        adjust: Adjust::default(),
    };
    let messages = vec![Message::text(Role::User, "hi")];
    let prompt = Prompt::parse(messages, Parameters::default(), 100).unwrap();
    let trace = Some(PARENT.parse().unwrap());
    let attempt = Attempt { trace, ..Attempt::fresh(prompt) };
    let anthropic = Anthropic::new(settings.clone()).unwrap();
    let responses = Responses::new(settings).unwrap();
    let providers: [&dyn Provider; 2] = [&anthropic, &responses];
    for provider in providers {
        // Only the request matters here.
        let _ = provider.start(attempt.clone()).await;
    }
    assert_eq!(told(&upstream), [Some(PARENT.to_owned()), Some(PARENT.to_owned())]);
}
