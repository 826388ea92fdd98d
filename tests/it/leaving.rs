//! A client that disconnects: the time for which its answer goes on, and the clients that may take
//! it over.
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::keys::locked;
use crate::raw::{Answer as Bytes, RawStream, exchange, request};
use crate::upstream::{Answer, Gate, Upstream};

const CHAT: &str = "/v1/chat/completions";

fn posted(path: &str, head: &str, body: &Value) -> Vec<u8> {
    let head = format!("Content-Type: application/json\r\n{head}");
    request(&format!("POST {path}"), &head, body.to_string().as_bytes())
}

fn chat() -> Value {
    let messages = json!([{ "role": "user", "content": "q" }]);
    json!({ "model": "scripted", "stream": true, "messages": messages })
}

fn ai_sdk() -> Value {
    let parts = json!([{ "type": "text", "text": "q" }]);
    json!({ "id": "c", "model": "scripted", "messages": [{ "id": "m", "role": "user", "parts": parts }] })
}

fn is_attached(answer: &Bytes) -> bool {
    answer.header("lastword-attached") == Some("1")
}

async fn begun(app: &TestApp, posted: &[u8]) -> RawStream {
    let mut stream = RawStream::of(app.address, posted).await;
    stream.until("Hel", 1).await;
    stream
}

/// A model whose answer is "Hel", and then the text that the gate lets through.
async fn gated(gate: &Gate, attach: Option<bool>, grace: Option<u32>) -> (TestApp, Upstream) {
    let script = Answer::sse().text("Hel").wait(gate).text("lo").complete();
    TestApp::scripted(script, |config| {
        config.models[0].attach_after_close = attach;
        config.models[0].disconnect_grace_s = grace;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_a_front_end_that_stops_by_closing_is_left_at_once() {
    let gate = Gate::default();
    let (app, upstream) = gated(&gate, None, Some(0)).await;
    for (path, body) in [
        (CHAT, chat()),
        ("/v1/responses", json!({ "model": "scripted", "stream": true, "input": "q" })),
        ("/api/chat", ai_sdk()),
    ] {
        let stream = begun(&app, &posted(path, "", &body)).await;
        let id = stream.answer().header("lastword-generation").unwrap().to_owned();
        drop(stream);
        // Within the test's patience, which is too short for two of the usual graces of 10 s.
        upstream.closed().await;
        // Not by a stream: a reader that comes before the cancel would keep the answer alive.
        let mut view = app.client.view(&id).await;
        while matches!(view["status"].as_str(), Some("queued" | "running" | "cancelling")) {
            view = app.client.view(&id).await;
        }
        assert_eq!(view["status"], "cancelled", "{path}: {view}");
    }
    // The client's own setting comes first.
    let kept = posted(CHAT, "Lastword-On-Disconnect: continue\r\n", &chat());
    let stream = begun(&app, &kept).await;
    let id = stream.answer().header("lastword-generation").unwrap().to_owned();
    drop(stream);
    app.until_cut(4).await;
    gate.open();
    let ended = app.client.all(&id, 0).await;
    assert_eq!(ended.last().unwrap().json()["status"], "completed");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_its_model_says_so_a_client_that_left_comes_back_without_a_sign() {
    let gate = Gate::default();
    let (app, upstream) = gated(&gate, Some(true), None).await;
    drop(begun(&app, &posted(CHAT, "", &chat())).await);
    app.until_cut(1).await;
    let mut again = begun(&app, &posted(CHAT, "", &chat())).await;
    gate.open();
    again.end().await;
    assert!(is_attached(&again.answer()));
    assert_eq!(upstream.requests().len(), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_its_own_word() {
    let (app, key) = locked(&["--attach-after-close", "--disconnect-grace-s", "60"]).await;
    let authorized = format!("Authorization: Bearer {key}\r\n");
    let body = json!({ "model": "demo", "stream": true,
        "messages": [{ "role": "user", "content": "/demo tokens=400 tps=100 ttft_ms=0" }] });
    let asked = posted(CHAT, &authorized, &body);
    let mut first = RawStream::of(app.address, &asked).await;
    first.until("demo", 1).await;
    drop(first);
    app.until_cut(1).await;
    let mut again = RawStream::of(app.address, &asked).await;
    again.until("demo", 1).await;
    assert!(is_attached(&again.answer()));
    drop(again);
    let session = request("GET /v1/session", &authorized, b"");
    let limits = exchange(app.address, &session).await.json()["limits"].clone();
    assert_eq!(
        (&limits["attach_after_close"], &limits["disconnect_grace_s"]),
        (&json!(true), &json!(60))
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ai_sdk_that_tries_again_takes_its_answer_over() {
    let gate = Gate::default();
    let (app, upstream) = gated(&gate, None, None).await;
    let message = json!({ "id": "m", "role": "user", "parts": [{ "type": "text", "text": "q" }] });
    let body = json!({ "id": "c", "model": "scripted", "messages": [message] });
    drop(begun(&app, &posted("/api/chat", "", &body)).await);
    app.until_cut(1).await;
    let mut again = begun(&app, &posted("/api/chat", "Lastword-Attach: 1\r\n", &body)).await;
    gate.open();
    again.end().await;
    assert!(is_attached(&again.answer()));
    assert_eq!(upstream.requests().len(), 1);
    // A person who asks again without such a sign wants another answer.
    let new = exchange(app.address, &posted("/api/chat", "", &body)).await;
    assert!(!is_attached(&new));
    assert_eq!(upstream.requests().len(), 2);
    app.stop().await;
}

/// As Codex does it: the items of the cut answer are at the end of its next try.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_brings_the_cut_answers_own_items_takes_it_over() {
    let gate = Gate::default();
    let (app, upstream) = gated(&gate, None, None).await;
    let user = json!({ "type": "message", "role": "user", "content": "q" });
    let body = |items: &[&Value], turn: &str| {
        json!({ "model": "scripted", "stream": true, "store": false, "input": items,
            "client_metadata": { "turn_id": turn } })
    };
    let path = "/v1/responses";
    let stream = begun(&app, &posted(path, "", &body(&[&user], "t1"))).await;
    let id = stream.answer().header("lastword-generation").unwrap().to_owned();
    drop(stream);
    app.until_cut(1).await;
    let of = |id: &str| {
        let content = json!([{ "type": "output_text", "text": "Hel", "annotations": [] }]);
        json!({ "type": "message", "role": "assistant", "status": "completed",
            "id": format!("msg_{}_0", id.replace('-', "")), "content": content })
    };
    // Another turn, and the items of another answer, make another question.
    let ours = of(&id);
    let others = of("01990000-0000-7000-8000-000000000001");
    for other in [body(&[&user], "t2"), body(&[&user, &others], "t1")] {
        let stream = begun(&app, &posted(path, "", &other)).await;
        assert!(!is_attached(&stream.answer()), "{other}");
    }
    let mut again = begun(&app, &posted(path, "", &body(&[&user, &ours], "t1"))).await;
    gate.open();
    again.end().await;
    let answer = again.answer();
    assert!(is_attached(&answer));
    assert_eq!(answer.header("lastword-generation"), Some(id.as_str()));
    assert!(String::from_utf8_lossy(&answer.body).contains("response.completed"));
    assert_eq!(upstream.requests().len(), 3);
    app.stop().await;
}
