//! The first run: the model that answers without a configuration, and the reason for it.
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use lastword::app::App;
use lastword::config::{Config, LocalKind, LocalServer, ProviderEnvironment};
use lastword::ports::Continuation;
use lastword::providers::upstream::local::{Candidate, Found, Look, look};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::client::{Client, PATIENCE, text};
use crate::database::TestDatabase;
use crate::harness::{TestApp, config, model_config};
use crate::upstream::{Answer, Script, Upstream};

fn json_answer(body: &Value) -> Answer {
    Answer::status(200).header("content-type", "application/json").raw(body.to_string())
}

fn tags() -> Answer {
    let models = json!([{ "name": "nomic-embed-text" }, { "name": "llama3.2:latest" }]);
    json_answer(&json!({ "models": models }))
}

/// A server that lists its models as Ollama does, and answers.
fn ollama() -> Script {
    Script::with(|request, _| match request.line.as_str() {
        "GET /api/tags HTTP/1.1" => tags(),
        "POST /v1/chat/completions HTTP/1.1" => Answer::sse().text("from here").complete(),
        _ => Answer::status(404),
    })
}

fn at(kind: LocalKind, upstream: &Upstream) -> LocalServer {
    LocalServer { kind, port: upstream.port() }
}

/// The models, and which is the default.
async fn models(client: &Client) -> (Vec<Value>, String) {
    let list: Value = client.get("/v1/models").await.json().await.unwrap();
    let data = list["data"].as_array().unwrap().clone();
    let default = data.iter().find(|m| m["default"] == true).unwrap();
    let default = default["id"].as_str().unwrap().to_owned();
    (data, default)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_on_this_machine_answers_when_none_is_configured() {
    let upstream = Upstream::start(ollama()).await;
    let app = TestApp::with(|c| {
        c.detect = vec![at(LocalKind::Ollama, &upstream)];
        c.openai.api_key = Some("sk-not-for-strangers".into());
        c.anthropic.api_key = Some("sk-not-for-strangers".into());
    })
    .await;
    let (all, default) = models(&app.client).await;
    assert_eq!(default, "llama3.2:latest");
    let names: Vec<&str> = all.iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["claude-sonnet-4-5", "demo", "gpt-4o-mini", "llama3.2:latest"]);
    let of = |name: &str| all.iter().find(|m| m["id"] == name).unwrap().clone();
    assert_eq!(of("claude-sonnet-4-5")["provider"], "anthropic");
    assert_eq!(of("claude-sonnet-4-5")["continuation"], "instruct");
    assert_eq!(
        (&of("demo")["continuation"], &of("demo")["continues"]),
        (&json!("prefix"), &json!(true))
    );
    assert_eq!(of("llama3.2:latest")["continues"], false);
    let id = app.client.start_prompt("hi").await;
    assert_eq!(text(&app.client.all(&id, 0).await), "from here");
    let paid = start_lines(|c| {
        c.detect = vec![at(LocalKind::Ollama, &upstream)];
        c.openai.api_key = Some("sk-not-for-strangers".into());
        c.openai.model = Some("llama3.2:latest".into());
    })
    .await;
    assert!(paid[0].contains("found at"), "a paid model of the same name is no default: {paid:?}");
    for request in upstream.requests() {
        assert_eq!((request.header("authorization"), request.header("x-api-key")), (None, None));
    }
    app.stop().await;
}

async fn start_lines(change: impl FnOnce(&mut Config)) -> Vec<String> {
    let (database, dir) = (TestDatabase::create().await, TempDir::new().unwrap());
    let mut config = config(&database);
    config.data_dir = dir.path().into();
    change(&mut config);
    let app = App::build(&config).await.unwrap();
    let told = app.started().filter(|(name, _)| matches!(*name, "model" | "hint"));
    told.map(|(name, line)| format!("{name} {line}")).collect()
}

/// As Ollama's API reference has it: the list gives no window, a loaded model's answer does, a
/// model's file may.
#[tokio::test(flavor = "multi_thread")]
async fn the_windows_of_ollama_are_asked_for() {
    let upstream = Upstream::start(Script::with(|request, _| match request.line.as_str() {
        "GET /api/tags HTTP/1.1" => {
            json_answer(&json!({ "models": [{ "name": "a" }, { "name": "b" }, { "name": "c" }] }))
        }
        "GET /api/ps HTTP/1.1" => {
            json_answer(&json!({ "models": [{ "name": "a", "context_length": 8192 }] }))
        }
        "POST /api/show HTTP/1.1" if request.body["model"] == "b" => json_answer(&json!({
            "parameters": "temperature 1\nnum_ctx    4096",
            "model_info": { "llama.context_length": 131_072 },
        })),
        _ => Answer::status(404),
    }))
    .await;
    let app = TestApp::with(|c| c.detect = vec![at(LocalKind::Ollama, &upstream)]).await;
    let (all, _) = models(&app.client).await;
    let window =
        |name: &str| all.iter().find(|m| m["id"] == name).unwrap()["context_length"].clone();
    assert_eq!([window("a"), window("b"), window("c")], [json!(8192), json!(4096), Value::Null]);
    app.stop().await;
}

/// As llama.cpp 11434 lists its model; the version before had no streams.
#[tokio::test(flavor = "multi_thread")]
async fn a_llama_cpp_that_keeps_answers_is_asked_to() {
    for (lookup, continuation) in [(200, "provider_resume"), (404, "prefix")] {
        let upstream = Upstream::start(Script::with(move |request, _| {
            let json = |status| Answer::status(status).header("content-type", "application/json");
            if request.line.starts_with("POST /v1/streams/lookup ") {
                assert_eq!(request.body, json!({ "conversation_ids": [] }));
                return json(lookup).raw("[]");
            }
            let item = json!({ "id": "g", "owned_by": "llamacpp", "meta": { "n_ctx": 2048 } });
            json(200).raw(json!({ "object": "list", "data": [item] }).to_string())
        }))
        .await;
        let app = TestApp::with(|c| c.detect = vec![at(LocalKind::LlamaCpp, &upstream)]).await;
        let (all, default) = models(&app.client).await;
        let found = all.iter().find(|model| model["id"] == "g").unwrap();
        assert_eq!((default.as_str(), &found["continuation"]), ("g", &json!(continuation)));
        assert_eq!((&found["continues"], &found["context_length"]), (&json!(true), &json!(2048)));
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_start_says_which_model_answers_and_why() {
    let upstream = Upstream::start(ollama()).await;
    let detect = vec![at(LocalKind::Ollama, &upstream)];
    let base = format!("http://127.0.0.1:{}/v1", upstream.port());
    let demo = "model demo (demo): built in, no AI";
    let lines = start_lines(|c| c.detect.clone_from(&detect)).await;
    let found = format!("model llama3.2:latest (openai): found at {base}, Ollama, the default");
    assert_eq!(lines, [found.as_str(), demo]);
    assert_eq!(start_lines(|_| {}).await, [format!("{demo}, the default")]);
    let asked = upstream.requests().len();

    let configured = model_config("name = 'mine'\nprovider = 'demo'");
    let lines = start_lines(|c| {
        c.detect.clone_from(&detect);
        c.models = vec![configured];
    })
    .await;
    assert_eq!(lines, ["model mine (demo): configured, the default", demo]);
    let lines = start_lines(|c| {
        c.detect.clone_from(&detect);
        c.openai = ProviderEnvironment { base_url: Some(base), ..ProviderEnvironment::default() };
    })
    .await;
    let named = "model gpt-4o-mini (openai): because OPENAI_BASE_URL is set, the default";
    assert_eq!(lines, [named, demo]);
    assert_eq!(upstream.requests().len(), asked, "who has said which is not looked for");

    let empty = Upstream::start(json_answer(&json!({ "models": [] }))).await;
    let lines = start_lines(|c| c.detect = vec![at(LocalKind::Ollama, &empty)]).await;
    assert!(lines[0].ends_with("has no chat model; try: ollama pull llama3.2"), "{lines:?}");
}

fn candidate(port: u16) -> Candidate {
    Candidate { name: "vLLM", port, list: "/v1/models", array: "data", field: "id" }
}

/// A model of a server that does not name its program.
fn found(name: &str) -> Found {
    let (server, context_tokens) = (None, None);
    let (name, continuation) = (name.into(), Continuation::None);
    Found { name, server, continuation, context_tokens, pictures: None, continues_all: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_model_server_is_one_and_the_look_is_short() {
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let list = json_answer(&json!({ "object": "list", "data": [{ "id": "m" }] }));
    let other = Upstream::start(list.clone()).await;
    let elsewhere = format!("http://127.0.0.1:{}/v1/models", other.port());
    let another_lastword = TestApp::start().await;
    let answers = [
        list,
        Answer::status(302).header("location", &elsewhere),
        Answer::status(200).header("content-type", "text/html").raw("<html>"),
        json_answer(&json!({ "data": [{ "name": "m" }] })),
        Answer::status(401),
        Answer::status(200).raw("x".repeat(2 << 20)),
        Answer::none().stall(),
    ];
    let mut upstreams = Vec::new();
    for answer in answers {
        upstreams.push(Upstream::start(answer).await);
    }
    let mut candidates: Vec<Candidate> = upstreams.iter().map(|u| candidate(u.port())).collect();
    candidates.push(candidate(another_lastword.address.port()));
    let begun = Instant::now();
    let looks = look(&candidates).await;
    let took = begun.elapsed();
    let base_url = format!("http://127.0.0.1:{}/v1", upstreams[0].port());
    assert_eq!(looks[0], Look::Found { base_url, models: vec![found("m")] });
    for (n, look) in looks[1..6].iter().enumerate() {
        assert_eq!(*look, Look::Absent, "{}", n + 1);
    }
    assert_eq!(looks[6], Look::Silent);
    assert_eq!(looks[7], Look::Absent, "another lastword is no model server");
    assert!(other.requests().is_empty(), "no redirect is followed");
    assert!(took < PATIENCE, "{took:?}");
    println!("a look with a silent server took {took:?}");
    another_lastword.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_loopback_is_looked_at_too() {
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let Ok(listener) = tokio::net::TcpListener::bind("[::1]:0").await else {
        println!("this machine has no ::1");
        return;
    };
    let port = listener.local_addr().unwrap().port();
    let serve = async {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            let _read = socket.read(&mut head).await.unwrap();
            let body = r#"{"data":[{"id":"six"}]}"#;
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    };
    let candidates = [candidate(port)];
    let looks = tokio::select! {
        looks = look(&candidates) => looks,
        () = serve => unreachable!(),
    };
    let base_url = format!("http://[::1]:{port}/v1");
    assert_eq!(looks, [Look::Found { base_url, models: vec![found("six")] }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_later_is_found_and_one_that_goes_is_let_go() {
    const GONE: u8 = 0;
    const THERE: u8 = 1;
    const BUSY: u8 = 2;
    let state = Arc::new(AtomicU8::new(GONE));
    let seen = state.clone();
    let upstream = Upstream::start(Script::with(move |request, _| {
        match (seen.load(Ordering::SeqCst), request.line.starts_with("GET")) {
            (THERE, true) => tags(),
            (BUSY, true) => Answer::none().stall(),
            (_, true) => Answer::status(404),
            (_, false) => Answer::sse().text("from here").complete(),
        }
    }))
    .await;
    let app = TestApp::with(|c| c.detect = vec![at(LocalKind::Ollama, &upstream)]).await;
    assert_eq!(models(&app.client).await.1, "demo");
    let becomes = async |default: &str| {
        let wait = async { while models(&app.client).await.1 != default {} };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never {default}"));
    };
    state.store(THERE, Ordering::SeqCst);
    becomes("llama3.2:latest").await;
    let id = app.client.start_prompt("hi").await;
    assert_eq!(text(&app.client.all(&id, 0).await), "from here");
    state.store(BUSY, Ordering::SeqCst);
    upstream.arrived(upstream.requests().len() + 2).await;
    assert_eq!(models(&app.client).await.1, "llama3.2:latest", "a busy server is still there");
    state.store(GONE, Ordering::SeqCst);
    becomes("demo").await;
    app.stop().await;
}
