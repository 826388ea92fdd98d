//! The start of a generation: the receipt, the stream, the repeat that is the same start, the
//! limits.
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::client::{Client, Reader, assert_whole, text};
use crate::harness::TestApp;
use crate::raw::RawStream;
use crate::upstream::{Answer, Gate, Upstream};

fn post(client: &Client, body: &Value) -> RequestBuilder {
    client.http.post(format!("{}/v1/generations", client.base)).json(body)
}

async fn keyed(client: &Client, key: &str, body: &Value) -> Response {
    post(client, body).header("idempotency-key", key).send().await.unwrap()
}

async fn code(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    (status, response.json::<Value>().await.unwrap()["code"].clone())
}

fn hello(gate: &Gate) -> Answer {
    Answer::sse().text("Hel").wait(gate).text("lo").complete()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receipt_says_where_everything_is() {
    let app = TestApp::start().await;
    let response = app.client.post("/v1/generations", &json!({"prompt": "/demo tokens=2"})).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let headers = response.headers().clone();
    let body: Value = response.json().await.unwrap();
    let id = body["id"].as_str().unwrap();
    assert_eq!(id.parse::<uuid::Uuid>().unwrap().get_version_num(), 7);
    let path = format!("/v1/generations/{id}");
    assert_eq!(headers["location"], path.as_str());
    assert_eq!(headers["lastword-generation"], id);
    let expected = json!({
        "id": id,
        "status": "running",
        "model": "demo",
        "created_at": body["created_at"],
        "last_seq": 1,
        "links": {
            "self": path, "events": format!("{path}/events"), "cancel": format!("{path}/cancel")
        },
    });
    assert_eq!(body, expected);
    assert_whole(&app.client.all(id, 0).await);
    let view = app.client.view(id).await;
    assert_eq!((&view["id"], &view["created_at"]), (&body["id"], &body["created_at"]));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_starts_and_streams() {
    let app = TestApp::start().await;
    let request = post(&app.client, &json!({"prompt": "/demo tokens=5 tps=0"}))
        .header("accept", "text/event-stream");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let id = response.headers()["lastword-generation"].to_str().unwrap().to_owned();
    let location = format!("/v1/generations/{id}");
    assert_eq!(response.headers()["location"], location.as_str());
    assert!(!response.headers().contains_key("idempotency-replayed"));
    let events = Reader::new(response).rest().await;
    assert_whole(&events);
    assert_eq!(events[0].json()["generation"], id.as_str());
    assert_eq!(app.client.all(&id, 0).await, events);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_the_same_start() {
    let (app, upstream) = TestApp::scripted(Answer::sse().text("one").complete(), |_| {}).await;
    let body = json!({"prompt": "hi", "temperature": 1, "metadata": {"a": 1}});
    let first = keyed(&app.client, "k1", &body).await;
    assert_eq!(first.status(), StatusCode::CREATED);
    assert!(!first.headers().contains_key("idempotency-replayed"));
    let first: Value = first.json().await.unwrap();
    let id = first["id"].as_str().unwrap();
    assert_whole(&app.client.all(id, 0).await);

    // The same in other words.
    let same = json!({"metadata": {"a": 1}, "temperature": 1.0, "model": "scripted",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]});
    for repeat in [&body, &same] {
        let again = keyed(&app.client, "k1", repeat).await;
        assert_eq!(again.status(), StatusCode::OK);
        assert_eq!(again.headers()["idempotency-replayed"], "true");
        let again: Value = again.json().await.unwrap();
        assert_eq!((&again["id"], &again["status"]), (&first["id"], &json!("completed")));
        assert_eq!(again["last_seq"], 3);
    }
    let other = keyed(&app.client, "k1", &json!({"prompt": "ho"})).await;
    assert_eq!(code(other).await, (422, json!("idempotency_key_reused")));
    let another = keyed(&app.client, "k2", &body).await;
    assert_eq!(another.status(), StatusCode::CREATED);
    let another: Value = another.json().await.unwrap();
    assert_whole(&app.client.all(another["id"].as_str().unwrap(), 0).await);
    assert_eq!(upstream.requests().len(), 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_starts_at_once_with_one_key_are_one() {
    let (app, upstream) = TestApp::scripted(Answer::sse().text("one").complete(), |_| {}).await;
    let body = json!({"prompt": "hi"});
    let all = join_all((0..20).map(|_| keyed(&app.client, "same", &body))).await;
    let created = all.iter().filter(|r| r.status() == StatusCode::CREATED).count();
    let replayed = all.iter().filter(|r| r.status() == StatusCode::OK).count();
    assert_eq!((created, replayed), (1, 19));
    let ids: Vec<&str> =
        all.iter().map(|r| r.headers()["lastword-generation"].to_str().unwrap()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_whole(&app.client.all(ids[0], 0).await);
    assert_eq!(upstream.requests().len(), 1);
    assert_eq!(app.database.number("select count(*) from generations").await, 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streaming_post_resumes_by_its_key() {
    let gate = Gate::default();
    let (app, upstream) = TestApp::scripted(hello(&gate), |_| {}).await;
    let body = json!({"prompt": "hi"});
    let stream = || post(&app.client, &body).header("accept", "text/event-stream");
    let response = stream().header("idempotency-key", "k").send().await.unwrap();
    let mut seen = Reader::new(response).take(2).await;
    // The reader is gone. Its next request would start a second generation, and is refused.
    let unkeyed = stream().header("last-event-id", "2").send().await.unwrap();
    assert_eq!(code(unkeyed).await, (400, json!("idempotency_key_required")));
    let resume = || stream().header("idempotency-key", "k");
    let response = resume().header("last-event-id", "2").send().await.unwrap();
    assert_eq!(response.headers()["idempotency-replayed"], "true");
    assert!(response.headers().contains_key("location"));
    gate.open();
    seen.extend(Reader::new(response).rest().await);
    assert_whole(&seen);
    assert_eq!(text(&seen), "Hello");
    let end = resume().header("last-event-id", seen.len().to_string()).send().await.unwrap();
    assert_eq!(end.status(), StatusCode::NO_CONTENT);
    let bad = resume().header("last-event-id", "x").send().await.unwrap();
    assert_eq!(code(bad).await, (400, json!("invalid_cursor")));
    assert_eq!(upstream.requests().len(), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_ends_only_what_says_so() {
    let (app, upstream) = TestApp::scripted(Answer::sse().text("Hel").stall(), |_| {}).await;
    let kept = app.client.start(&json!({"prompt": "hi", "on_disconnect": "continue"})).await;
    app.client.events(&kept, 0).await.take(2).await;
    let body = json!({"prompt": "hi", "on_disconnect": {"cancel_after_s": 1}});
    let response = post(&app.client, &body).header("accept", "text/event-stream");
    let mut reader = Reader::new(response.send().await.unwrap());
    let id = reader.next().await.unwrap().json()["generation"].as_str().unwrap().to_owned();
    // Longer than it may be without a reader, with a reader.
    let silent = tokio::time::timeout(Duration::from_millis(1500), reader.take(2)).await;
    assert!(silent.is_err(), "a generation that is read goes on");
    drop(reader);
    upstream.closed().await;
    let events = app.client.all(&id, 0).await;
    assert_whole(&events);
    assert_eq!(events.last().unwrap().json()["status"], "cancelled");
    assert_eq!(app.client.view(&kept).await["status"], "running");
    app.client.cancel(&kept).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn time_and_output_are_limited() {
    let app = TestApp::with(|config| {
        config.limits.generation_wall = Duration::from_secs(1);
        config.limits.output_bytes = 1000;
    })
    .await;
    let slow = app.client.start_prompt("/demo tokens=5 stall_at=3 stall_s=600 tps=0").await;
    let long = app.client.start_prompt("/demo tokens=100000 tps=0").await;
    for (id, reason) in [(slow, "time_limit"), (long, "length")] {
        let events = app.client.all(&id, 0).await;
        assert_whole(&events);
        let done = events.last().unwrap().json();
        assert_eq!(
            (&done["status"], &done["finish_reason"]),
            (&json!("incomplete"), &json!(reason))
        );
        assert!(done["usage"]["output_tokens"].as_u64().unwrap() > 0);
        assert!(!text(&events).is_empty());
        assert!(text(&events).len() < 20_000, "{} bytes", text(&events).len());
    }
    app.stop().await;
}

async fn asked(upstream: &Upstream, app: &TestApp, body: &Value) -> Value {
    let id = app.client.start(body).await;
    assert_whole(&app.client.all(&id, 0).await);
    upstream.requests().last().unwrap().body.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_gets_what_was_asked() {
    let (app, upstream) = TestApp::scripted(Answer::sse().text("one").complete(), |_| {}).await;
    let body = json!({"prompt": "hi", "system": "Be brief."});
    let messages = json!([{"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"}]);
    assert_eq!(asked(&upstream, &app, &body).await["messages"], messages);
    let body = json!({"messages": [
        {"role": "developer", "content": "Rhyme."},
        {"role": "user", "content": ["a", {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "c"},
        {"role": "user", "content": "d \u{1f600}"}]});
    // A server that is not OpenAI's own knows `system`.
    let messages = json!([{"role": "system", "content": "Rhyme."},
        {"role": "user", "content": "a\nb"}, {"role": "assistant", "content": "c"},
        {"role": "user", "content": "d \u{1f600}"}]);
    assert_eq!(asked(&upstream, &app, &body).await["messages"], messages);
    let body = json!({"prompt": "hi", "temperature": 0.5, "top_p": 0.25, "seed": 7,
        "stop": ["a", "b"], "max_output_tokens": 9});
    let got = asked(&upstream, &app, &body).await;
    for (field, value) in [("temperature", json!(0.5)), ("top_p", json!(0.25)), ("seed", json!(7))]
    {
        assert_eq!(got[field], value, "{field}");
    }
    assert_eq!(got["stop"], json!(["a", "b"]));
    let tokens = [&got["max_tokens"], &got["max_completion_tokens"]];
    assert!(tokens.contains(&&json!(9)), "{got}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_comes_back_as_it_came() {
    let app = TestApp::start().await;
    let metadata = json!({"z": [1, {"b": null}], "a": "é\u{1f600}", "n": 1.5, "escape": "\\u0000"});
    let body = json!({"prompt": "/demo tokens=1 tps=0", "metadata": metadata});
    let id = app.client.start(&body).await;
    assert_eq!(app.client.view(&id).await["metadata"], metadata);
    assert_whole(&app.client.all(&id, 0).await);
    let view = app.client.view(&id).await;
    assert_eq!(view["metadata"], metadata);
    assert_eq!(view["metadata"].to_string(), metadata.to_string());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_place_waits_and_what_is_too_much_is_refused() {
    let gate = Gate::default();
    let (app, upstream) = TestApp::scripted(hello(&gate), |config| {
        config.limits.running = 1;
        config.limits.waiting = 1;
    })
    .await;
    let first = app.client.start_prompt("hi").await;
    app.client.events(&first, 0).await.take(2).await;
    let second = keyed(&app.client, "second", &json!({"prompt": "ho"})).await;
    let second: Value = second.json().await.unwrap();
    assert_eq!(second["status"], "queued");
    let second = second["id"].as_str().unwrap();
    let view = app.client.view(second).await;
    assert_eq!((&view["status"], &view["last_seq"]), (&json!("queued"), &json!(1)));
    let mut waiting = RawStream::events(app.address, second, "").await;
    waiting.until("retry: ", 1).await;

    let third = app.client.post("/v1/generations", &json!({"prompt": "no"})).await;
    assert!(third.headers()["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
    assert_eq!(code(third).await, (503, json!("overloaded")));
    assert_eq!(app.database.number("select count(*) from generations").await, 2);

    // A repeat of a known start costs nothing.
    let again = keyed(&app.client, "second", &json!({"prompt": "ho"})).await;
    assert_eq!(again.status(), StatusCode::OK);
    let reused = keyed(&app.client, "second", &json!({"prompt": "no"})).await;
    assert_eq!(code(reused).await, (422, json!("idempotency_key_reused")));

    assert_eq!(upstream.requests().len(), 1, "the second has not begun");
    gate.open();
    waiting.end().await;
    let body = String::from_utf8(waiting.answer().body).unwrap();
    assert!(body.contains("\"Hel\"") && body.contains("event: done"), "{body}");
    assert_whole(&app.client.all(second, 0).await);
    assert_whole(&app.client.all(&first, 0).await);
    app.stop().await;
}
