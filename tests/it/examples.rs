//! The examples for other languages do what they say, also when every stream ends early.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::{PATIENCE, text};
use crate::harness::TestApp;
use crate::upstream::Answer;

#[expect(dead_code, reason = "its own main")]
#[path = "../../examples/follow.rs"]
mod follow;

const PROMPT: &str = "/demo tokens=80 tps=80 ttft_ms=0 seed=5 unicode";

fn root(below: &str) -> PathBuf {
    crate::program::root().join(below)
}

/// A server whose streams end after some tenths of a second, and its answer to the prompt.
async fn app() -> (TestApp, String) {
    let app = TestApp::with(|c| c.limits.connection_age = Duration::from_millis(200)).await;
    let id = app.client.start_prompt(&PROMPT.replace("tps=80", "tps=0")).await;
    let said = text(&app.client.all(&id, 0).await);
    (app, said)
}

async fn run(mut example: Command) -> String {
    let (app, said) = app().await;
    example.arg(PROMPT).env("LASTWORD_SERVER", &app.client.base).env_remove("LASTWORD_API_KEY");
    let child = example.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(PATIENCE, child).await.expect("it ends").unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let out = String::from_utf8(output.stdout).unwrap();
    app.stop().await;
    if example.as_std().get_program() == "bash" {
        return out;
    }
    assert!(error.contains("[completed]"), "{error}");
    assert_eq!(out.trim_end(), said.trim_end());
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn curl() {
    let mut bash = Command::new("bash");
    bash.arg(root("examples/follow.sh"));
    let out = Box::pin(run(bash)).await;
    let events: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seqs: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=82).collect::<Vec<_>>(), "each event once");
}

#[tokio::test(flavor = "multi_thread")]
async fn python() {
    let python = root(".simulators/python/bin/python");
    assert!(python.exists(), "run `scripts/setup test`, which installs httpx-sse");
    let mut python = Command::new(python);
    python.arg(root("examples/follow.py"));
    Box::pin(run(python)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_with_fetch() {
    let mut node = Command::new("node");
    node.arg(root("examples/follow-fetch.mjs"));
    Box::pin(run(node)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_with_event_source() {
    let mut node = Command::new("node");
    node.arg("--experimental-eventsource").arg(root("examples/follow-eventsource.mjs"));
    Box::pin(run(node)).await;
}

/// Bytes of the first stream that pass: some of its events.
const SOME: usize = 2000;

/// A proxy in whose time the server restarts: the first stream is cut, the next is answered 502.
async fn proxy_of(server: SocketAddr, streams: Arc<AtomicUsize>) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            connections.spawn(carry(client, server, streams.clone()));
        }
    });
    (address, tasks)
}

async fn carry(mut client: TcpStream, server: SocketAddr, streams: Arc<AtomicUsize>) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match client.read_buf(&mut head).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
    }
    let asked = String::from_utf8_lossy(&head).into_owned();
    let stream = asked.starts_with("GET") && asked.contains("/events");
    let before = if stream { streams.fetch_add(1, Ordering::SeqCst) } else { usize::MAX };
    if before == 1 {
        let no = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let _ = client.write_all(no.as_bytes()).await;
        return;
    }
    // One request a connection, so that each is counted.
    let one = asked.replace("connection: keep-alive\r\n", "connection: close\r\n");
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let _ = server.write_all(one.as_bytes()).await;
    if before == 0 {
        let mut some = vec![0; SOME];
        let _ = server.read_exact(&mut some).await;
        let _ = client.write_all(&some).await;
        return;
    }
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_source_outlives_a_proxy_without_its_server() {
    let app = TestApp::start().await;
    let prompt = PROMPT.replace("tps=80", "tps=0");
    let id = app.client.start_prompt(&prompt).await;
    let said = text(&app.client.all(&id, 0).await);
    let streams = Arc::new(AtomicUsize::new(0));
    let (address, _proxy) = proxy_of(app.address, streams.clone()).await;
    let mut node = Command::new("node");
    node.arg("--experimental-eventsource").arg(root("examples/follow-eventsource.mjs"));
    node.arg(prompt).env("LASTWORD_SERVER", format!("http://{address}"));
    let child = node.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(PATIENCE, child).await.expect("it ends").unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("[completed]"), "{error}");
    assert_eq!(streams.load(Ordering::SeqCst), 3, "a cut, a 502, and the rest");
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), said.trim_end());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rust() {
    let (app, said) = app().await;
    let (mut heard, mut seqs) = (String::new(), Vec::new());
    let told = |event: Value| {
        seqs.push(event["seq"].as_u64().unwrap());
        if event["type"] == "delta" {
            heard.push_str(event["text"].as_str().unwrap());
        }
    };
    follow::follow(&app.client.base, PROMPT, told).await.unwrap();
    assert_eq!((heard, seqs), (said, (1..=82).collect()));
    app.stop().await;
}

/// An answer with everything that is newer than the examples: thinking, vendor's fields, log
/// probabilities, a picture of 400 KB, other choices, a notice.
fn vendors_answer() -> Answer {
    let picture = format!("data:image/png;base64,{}", "A".repeat(400_000));
    let images = json!([{ "type": "image_url", "image_url": { "url": picture } }]);
    let logprobs = json!({ "content": [{ "token": "Hel", "logprob": -0.5, "top_logprobs": [] }] });
    let choice =
        |more: Value| json!({ "system_fingerprint": "fp", "provider": "x", "choices": [more] });
    Answer::sse()
        .delta(&json!({ "reasoning_content": "hm", "reasoning_details": [{ "type": "x" }] }))
        .data(
            &choice(json!({ "index": 0, "delta": { "content": "Hel" }, "logprobs": logprobs }))
                .to_string(),
        )
        .data(&choice(json!({ "index": 1, "delta": { "content": "other" } })).to_string())
        .delta(&json!({ "images": images }))
        .text("lo")
        .complete()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_newer_than_an_example_is_passed_over() {
    let (app, _upstream) = TestApp::scripted(vendors_answer(), |_| {}).await;
    let id = app.client.start_prompt("hi").await;
    let events = app.client.all(&id, 0).await;
    assert!(events.iter().any(|event| event.name == "extra"), "there is something newer");
    let examples = [
        (root(".simulators/python/bin/python"), vec![root("examples/follow.py")]),
        ("node".into(), vec![root("examples/follow-fetch.mjs")]),
        (
            "node".into(),
            vec!["--experimental-eventsource".into(), root("examples/follow-eventsource.mjs")],
        ),
    ];
    for (program, arguments) in examples {
        let mut example = Command::new(program);
        example.args(arguments).arg("hi").env("LASTWORD_SERVER", &app.client.base);
        example.env_remove("LASTWORD_API_KEY").stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(PATIENCE, example.output()).await.expect("it ends").unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && error.contains("[completed]"), "{error}");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), "Hello");
    }
    let (mut heard, mut seqs) = (String::new(), Vec::new());
    let told = |event: Value| {
        seqs.push(event["seq"].as_u64().unwrap());
        if event["type"] == "delta" {
            heard.push_str(event["text"].as_str().unwrap());
        }
    };
    follow::follow(&app.client.base, "hi", told).await.unwrap();
    assert_eq!((heard.as_str(), seqs), ("Hello", (1..=events.len() as u64).collect()));
    app.stop().await;
}
