//! A request that is sent again: it takes the answer over whose reader was cut, and no other.
mod attacks;
mod instances;
mod routes;
mod slow_log;

use std::collections::HashSet;

use futures_util::future::join_all;
use lastword::config::{ModelConfig, OnLossWord};
use serde_json::json;
use tempfile::TempDir;

use crate::harness::TestApp;
use crate::process::{Server, command};
use crate::raw::{Answer as Bytes, RawStream, exchange, request};
use crate::upstream::{Answer, Gate, Script, Upstream};

const RETRY: &str = "x-stainless-retry-count: 1\r\n";

/// A chat completion; its answer is "Hel", and then the text that the gate lets through.
fn chat(text: &str, stream: bool, head: &str) -> Vec<u8> {
    let body = json!({
        "model": "scripted", "stream": stream, "messages": [{ "role": "user", "content": text }],
    });
    let head = format!("Content-Type: application/json\r\n{head}");
    request("POST /v1/chat/completions", &head, body.to_string().as_bytes())
}

async fn gated(gate: &Gate) -> (TestApp, Upstream) {
    let script = Answer::sse().text("Hel").wait(gate).text("lo").complete();
    TestApp::scripted(script, |_| {}).await
}

async fn begun(app: &TestApp, text: &str) -> RawStream {
    let mut stream = RawStream::of(app.address, &chat(text, true, "")).await;
    stream.until("Hel", 1).await;
    stream
}

fn is_attached(answer: &Bytes) -> bool {
    answer.header("lastword-attached") == Some("1")
}

fn whole(answer: &Bytes) -> bool {
    let text = String::from_utf8_lossy(&answer.body);
    text.contains("Hel") && text.contains("lo") && text.matches("[DONE]").count() == 1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_left_takes_its_answer_over_when_it_says_that_it_tries_again() {
    let gate = Gate::default();
    let (app, upstream) = gated(&gate).await;
    drop(begun(&app, "q").await);
    app.until_cut(1).await;
    // A person who stopped and asks again wants a new answer.
    let mut new = RawStream::of(app.address, &chat("q", true, "")).await;
    new.until("Hel", 1).await;
    let mut again = RawStream::of(app.address, &chat("q", true, RETRY)).await;
    again.until("Hel", 1).await;
    gate.open();
    again.end().await;
    new.end().await;
    assert!(is_attached(&again.answer()) && whole(&again.answer()));
    assert!(!is_attached(&new.answer()) && whole(&new.answer()));
    assert_eq!(upstream.requests().len(), 2, "the retry costs nothing");
    // It was delivered to its end: the same request later is a new one.
    let later = exchange(app.address, &chat("q", false, RETRY)).await;
    assert!(!is_attached(&later), "{later:?}");
    assert_eq!(upstream.requests().len(), 3);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waited_for_answer_is_taken_over_too() {
    let gate = Gate::default();
    let (app, upstream) = gated(&gate).await;
    let waiting = RawStream::of(app.address, &chat("q", false, "")).await;
    upstream.arrived(1).await;
    // It tries again in the moment of leaving, before the server has noticed.
    drop(waiting);
    let mut again = RawStream::of(app.address, &chat("q", false, RETRY)).await;
    gate.open();
    again.end().await;
    let answer = again.answer();
    assert!(is_attached(&answer));
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "Hello");
    assert_eq!(upstream.requests().len(), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_what_is_not_its_own() {
    let gate = Gate::default();
    let (app, upstream) = gated(&gate).await;
    // It still reads.
    let mut first = begun(&app, "q").await;
    let mut twin = RawStream::of(app.address, &chat("q", true, RETRY)).await;
    twin.until("Hel", 1).await;
    assert_eq!(upstream.requests().len(), 2, "the first still reads");
    // It left, and its answer was cancelled.
    let id = first.answer().header("lastword-generation").unwrap().to_owned();
    app.client.cancel(&id).await;
    first.end().await;
    drop(begun(&app, "r").await);
    app.until_cut(1).await;
    let mut other = RawStream::of(app.address, &chat("r ", true, RETRY)).await;
    other.until("Hel", 1).await;
    assert!(!is_attached(&other.answer()), "one byte makes it another request");
    // Of two that come at once, one takes it.
    let mut pair = join_all((0..2).map(async |_| {
        let mut stream = RawStream::of(app.address, &chat("r", true, RETRY)).await;
        stream.until("Hel", 1).await;
        stream
    }))
    .await;
    assert_eq!(pair.iter().filter(|stream| is_attached(&stream.answer())).count(), 1);
    gate.open();
    for stream in pair.iter_mut().chain([&mut twin, &mut other]) {
        stream.end().await;
        assert!(whole(&stream.answer()));
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_each_repeat_takes_one_answer_over() {
    const TWINS: usize = 50;
    let gate = Gate::default();
    let script: Script = Answer::sse().text("Hel").wait(&gate).text("lo").complete().into();
    let upstream = Upstream::start(script).await;
    let dir = TempDir::new().unwrap();
    let model = format!(
        "[[models]]\nname = 'scripted'\nprovider = 'openai'\nbase_url = '{}'\n",
        upstream.base_url()
    );
    std::fs::write(dir.path().join("lastword.toml"), model).unwrap();
    let serve = || {
        let mut command = command(dir.path());
        command.arg("--config").arg(dir.path().join("lastword.toml"));
        command
    };
    let server = Server::start(serve()).await;
    let address = server.address;
    let cut = join_all((0..TWINS).map(async |_| {
        let mut stream = RawStream::of(address, &chat("q", true, "")).await;
        stream.until("Hel", 1).await;
        stream
    }))
    .await;
    server.kill().await;
    drop(cut);
    let server = Server::start(serve()).await;
    gate.open();
    let address = server.address;
    // No sign of a retry: the cut was the server's.
    let again =
        join_all((0..TWINS + 2).map(async |_| exchange(address, &chat("q", true, "")).await));
    let again = again.await;
    let of = |attached: bool| -> HashSet<&str> {
        let of = again.iter().filter(|answer| is_attached(answer) == attached);
        of.map(|answer| answer.header("lastword-generation").unwrap()).collect()
    };
    assert_eq!((of(true).len(), of(false).len()), (TWINS, 2));
    assert!(of(true).is_disjoint(&of(false)));
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_because_the_model_began_again_counts_as_cut() {
    let (said, end) = (Gate::default(), Gate::default());
    let lost = Answer::sse().text("Once").wait(&said).cut();
    let second = Answer::sse().text("Hel").wait(&end).text("lo").complete();
    let script =
        Script::with(move |_, number| if number == 0 { lost.clone() } else { second.clone() });
    let (app, upstream) = TestApp::scripted(script, |config| {
        let model = config.models.pop().unwrap();
        let disconnect_grace_s = Some(0);
        let on_loss = OnLossWord::Restart;
        config.models.push(ModelConfig { max_attempts: 2, on_loss, disconnect_grace_s, ..model });
    })
    .await;
    let mut first = RawStream::of(app.address, &chat("q", true, "")).await;
    first.until("Once", 1).await;
    said.open();
    first.end().await;
    assert!(String::from_utf8_lossy(&first.answer().body).contains("superseded"));
    // At once, and without a sign of a retry: the end was the server's.
    let mut again = RawStream::of(app.address, &chat("q", true, "")).await;
    again.until("Hel", 1).await;
    end.open();
    again.end().await;
    assert!(is_attached(&again.answer()) && whole(&again.answer()), "{:?}", again.answer());
    assert_eq!(upstream.requests().len(), 2, "the model's first answer and its second");
    app.stop().await;
}
