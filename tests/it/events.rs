//! The event stream as every client sees it: its headers, its bytes, its cursors, its end.
use std::slice::from_ref;
use std::time::Duration;

use lastword::domain::entry::Entry;
use lastword::domain::id::Seq;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::Row;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::client::{Client, Reader, Received, assert_whole, text};
use crate::harness::TestApp;
use crate::raw::{RawStream, exchange, request};
use crate::upstream::{Answer, Gate};

/// A generation that has ended, and its events.
async fn ended(client: &Client, prompt: &str) -> (String, Vec<Received>) {
    let id = client.start_prompt(prompt).await;
    let events = client.all(&id, 0).await;
    assert_whole(&events);
    (id, events)
}

/// "Hel", then "lo" when the gate opens.
fn hello(gate: &Gate) -> Answer {
    Answer::sse().text("Hel").wait(gate).text("lo").complete()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_headers_let_no_proxy_hold_it_back() {
    let app = TestApp::start().await;
    let id = app.client.start_prompt("/demo tokens=3 tps=0").await;
    let response = app.client.try_events(&id, 0).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let expected = [
        ("content-type", "text/event-stream; charset=utf-8"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
        ("x-content-type-options", "nosniff"),
        ("lastword-generation", id.as_str()),
    ];
    for (name, value) in expected {
        assert_eq!(response.headers()[name], value, "{name}");
    }
    assert!(!response.headers().contains_key("content-length"));
    assert!(!response.headers().contains_key("content-encoding"));
    assert_whole(&Reader::new(response).rest().await);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_three_lines_and_a_blank_one() {
    let app = TestApp::start().await;
    let (id, events) = ended(&app.client, "/demo tokens=200 tps=0 unicode reasoning").await;
    let mut stream = RawStream::events(app.address, &id, "").await;
    stream.end().await;
    let body = String::from_utf8(stream.answer().body).unwrap();
    let expected: String = events
        .iter()
        .map(|e| format!("event: {}\ndata: {}\nid: {}\n\n", e.name, e.data, e.id))
        .collect();
    let (opening, rest) = body.split_once("\n\n").unwrap();
    assert!(opening.starts_with("retry: "), "{opening}");
    assert_eq!(rest, expected);
    assert!(!body.contains('\r'), "a lone CR would end a line");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_end_gets_204() {
    let app = TestApp::start().await;
    let (id, events) = ended(&app.client, "/demo tokens=3 tps=0").await;
    let head = events.len() as u64;
    let response = app.client.try_events(&id, head).await.unwrap();
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(response.bytes().await.unwrap().len(), 0);
    let path = format!("/v1/generations/{id}/events?after={head}");
    assert_eq!(app.client.get(&path).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(app.client.all(&id, head - 1).await, events[events.len() - 1..]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_a_whole_number_and_the_header_wins() {
    let app = TestApp::start().await;
    let (id, events) = ended(&app.client, "/demo tokens=5 tps=0").await;
    let get = async |query: &str, head: &str| {
        let line = format!("GET /v1/generations/{id}/events{query}");
        exchange(app.address, &request(&line, head, b"")).await
    };
    let bad = ["-1", "+1", "1.0", "0x1", "abc", "1 2", "9999999999999999999", "é", ""];
    for cursor in bad {
        let answer = get("", &format!("Last-Event-ID: {cursor}\r\n")).await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("invalid_cursor")));
        let encoded = cursor.replace('+', "%2B").replace(' ', "%20").replace('é', "%C3%A9");
        let answer = get(&format!("?after={encoded}"), "").await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("invalid_cursor")));
        let answer = get("?after=2", &format!("Last-Event-ID: {cursor}\r\n")).await;
        assert_eq!(answer.status, 400, "no silent fallback for {cursor:?}");
    }
    let first = async |query: &str, head: &str| {
        let body = String::from_utf8(get(query, head).await.body).unwrap();
        body.split("id: ").nth(1).unwrap().split('\n').next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(first("", "").await, 1);
    assert_eq!(first("?after=0", "").await, 1);
    assert_eq!(first("?after=2", "").await, 3);
    let both = get("?after=bad", "Last-Event-ID: 3\r\n").await;
    assert_eq!((both.status, &both.json()["code"]), (400, &json!("invalid_cursor")));
    assert_eq!(first("?after=1&utm=x", "Last-Event-ID: 4\r\n").await, 5);
    assert_eq!(app.client.all(&id, 2).await, events[2..]);
    // As polyfills of `EventSource` say it, which send no header: it grows, and `after` does not.
    assert_eq!(first("?lastEventId=3", "").await, 4);
    assert_eq!(first("?after=1&lastEventId=3", "").await, 4);
    assert_eq!(first("?after=1&lastEventId=", "").await, 2, "nothing was read yet");
    assert_eq!(first("?lastEventId=3", "Last-Event-ID: 4\r\n").await, 5);
    for query in ["?lastEventId=x", "?after=x&lastEventId=3"] {
        let bad = get(query, "").await;
        assert_eq!((bad.status, &bad.json()["code"]), (400, &json!("invalid_cursor")), "{query}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_ahead_of_an_ended_log_gets_a_snapshot_and_the_ending() {
    let app = TestApp::start().await;
    let (id, events) = ended(&app.client, "/demo tokens=20 tps=0 reasoning").await;
    let done = events.last().unwrap();
    let got = app.client.all(&id, 5000).await;
    assert_snapshot(&got[0], "cursor_ahead", &app.client.view(&id).await);
    assert_eq!(got[0].id, done.id - 1);
    assert_eq!(&got[1..], from_ref(done));
    app.stop().await;
}

fn assert_snapshot(event: &Received, reason: &str, view: &Value) {
    let json = event.json();
    assert_eq!((event.name.as_str(), &json["reason"]), ("snapshot", &json!(reason)));
    assert_eq!(json["seq"], event.id);
    for field in ["text", "reasoning", "status"] {
        assert_eq!(json[field], view[field], "{field}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_ahead_of_a_running_log_gets_a_snapshot_and_what_follows() {
    let gate = Gate::default();
    let (app, _upstream) = TestApp::scripted(hello(&gate), |_| {}).await;
    let id = app.client.start_prompt("hi").await;
    app.client.events(&id, 0).await.take(2).await;
    let mut reader = app.client.events(&id, 77).await;
    let first = reader.next().await.unwrap();
    assert_snapshot(&first, "cursor_ahead", &app.client.view(&id).await);
    assert_eq!((first.id, &first.json()["status"]), (2, &json!("running")));
    gate.open();
    let mut seen = vec![first];
    seen.extend(reader.rest().await);
    assert_eq!(seen.iter().map(|e| e.id).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(text(&seen), "Hello");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_events_are_replaced_by_a_snapshot() {
    let app = TestApp::start().await;
    let (id, events) = ended(&app.client, "/demo tokens=20 tps=0 reasoning").await;
    let view = app.client.view(&id).await;
    app.database.forget_events().await;
    let done = events.last().unwrap();
    for cursor in [0, 1, 7, done.id - 1] {
        let got = app.client.all(&id, cursor).await;
        assert_snapshot(&got[0], "cursor_expired", &view);
        assert_eq!(&got[1..], from_ref(done), "behind {cursor}");
    }
    let response = app.client.try_events(&id, done.id).await.unwrap();
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(app.client.view(&id).await, view, "the generation keeps its answer");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coalesced_backlog_is_a_handful_of_events() {
    let app = TestApp::start().await;
    let (id, events) = ended(&app.client, "/demo tokens=3000 tps=0 unicode reasoning").await;
    let path = format!("/v1/generations/{id}/events?coalesce=true");
    let joined = Reader::new(app.client.get(&path).await).rest().await;
    assert!(joined.len() < events.len() / 100, "{} events", joined.len());
    assert_eq!(text(&joined), text(&events));
    let mut next = 1;
    for event in &joined {
        let json = event.json();
        assert_eq!(json["from"].as_u64().unwrap_or(event.id), next, "no gap and no repeat");
        assert!(event.id >= next);
        next = event.id + 1;
    }
    assert_eq!(joined.last(), events.last());
    let bad = app.client.get(&format!("/v1/generations/{id}/events?coalesce=maybe")).await;
    assert_eq!(bad.status(), StatusCode::BAD_REQUEST);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_kept_alive_at_its_cadence() {
    const BEAT: Duration = Duration::from_millis(100);
    let gate = Gate::default();
    let (app, _upstream) =
        TestApp::scripted(hello(&gate), |config| config.limits.heartbeat = BEAT).await;
    let id = app.client.start_prompt("hi").await;
    let mut stream = RawStream::events(app.address, &id, "").await;
    stream.until("Hel", 1).await;
    let since = Instant::now();
    stream.until(": keep-alive\n\n", 5).await;
    assert!(since.elapsed() > 4 * BEAT, "five in {:?}", since.elapsed());
    gate.open();
    stream.end().await;
    let body = String::from_utf8(stream.answer().body).unwrap();
    assert!(body.ends_with("}\nid: 4\n\n") && body.contains("event: done"), "{body}");
    assert!(!body.contains("event: error"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_take_events_is_told() {
    let app = TestApp::start().await;
    let (id, _) = ended(&app.client, "/demo tokens=1 tps=0").await;
    let get = async |accept: &str| {
        let line = format!("GET /v1/generations/{id}/events");
        exchange(app.address, &request(&line, accept, b"")).await
    };
    for refused in ["application/json", "text/html, image/*", "text/event-stream;q=0"] {
        let answer = get(&format!("Accept: {refused}\r\n")).await;
        assert_eq!((answer.status, &answer.json()["code"]), (406, &json!("not_acceptable")));
    }
    for taken in ["", "Accept: */*\r\n", "Accept: text/*\r\n", "Accept: a/b, TEXT/Event-Stream\r\n"]
    {
        assert_eq!(get(taken).await.status, 200, "{taken}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_ready_goes_out_at_once() {
    let app = TestApp::start().await;
    let (id, events) = ended(&app.client, "/demo tokens=500 tps=0").await;
    assert!(events.len() > 500);
    let mut stream = RawStream::events(app.address, &id, "").await;
    stream.end().await;
    let sizes: Vec<usize> = stream.chunks().iter().map(Vec::len).collect();
    assert!(sizes.len() <= 3, "an opening and a page: {sizes:?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_is_noticed() {
    let (app, upstream) = TestApp::scripted(Answer::sse().text("Hel").stall(), |_| {}).await;
    let body = json!({ "prompt": "hi", "on_disconnect": { "cancel_after_s": 1 } });
    let id = app.client.start(&body).await;
    let mut stream = RawStream::events(app.address, &id, "").await;
    stream.until("Hel", 1).await;
    stream.half_close().await;
    // Nobody else reads, so that only this reader's going away can end it.
    upstream.closed().await;
    let events = app.client.all(&id, 0).await;
    assert_whole(&events);
    assert_eq!(events.last().unwrap().json()["status"], "cancelled");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_the_bodies_and_lets_the_generation_go_on() {
    let gate = Gate::default();
    let (app, _upstream) = TestApp::scripted(hello(&gate), |_| {}).await;
    let id = app.client.start_prompt("hi").await;
    let mut reader = app.client.events(&id, 0).await;
    reader.take(2).await;
    app.begin_stop();
    assert_eq!(reader.rest().await, [], "the body ends, the log does not");
    assert!(TcpStream::connect(app.address).await.is_err(), "the listener closes first");
    assert_eq!(app.engine.running(), 1);
    gate.open();
    let (database, config, _dir) = app.stop().await;
    let again = TestApp::on(database, config).await;
    let events = again.client.all(&id, 0).await;
    assert_whole(&events);
    assert_eq!(text(&events), "Hello");
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_never_reads_delays_nobody() {
    let app = TestApp::start().await;
    let id = app.client.start_prompt("/demo tokens=20000 tps=0 ttft_ms=300").await;
    let mut stuck = RawStream::slow_events(app.address, &id, 4096).await;
    let events = app.client.all(&id, 0).await;
    assert_whole(&events);
    assert!(events.len() > 20_000);
    stuck.end().await;
    let body = stuck.answer().body;
    let last = format!("\nid: {}\n\n", events.len());
    let body = String::from_utf8(body).unwrap();
    assert!(body.ends_with(&last), "it falls back to the log");
    assert_eq!(body.matches("\n\nevent: delta\n").count(), 20_000);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reader_gets_the_same_bytes() {
    let app = TestApp::start().await;
    let prompt = "/demo tokens=400 tps=2000 unicode reasoning tool_call";
    let id = app.client.start_prompt(prompt).await;
    let live = app.client.all(&id, 0).await;
    assert_whole(&live);
    assert_eq!(app.client.all(&id, 0).await, live);
    let sql = "select seq, type, substr(data::text, 2) from events order by seq";
    let rows = sqlx::query(sql).fetch_all(&mut app.database.connect().await).await.unwrap();
    let stored: Vec<Received> = rows
        .iter()
        .map(|row| {
            let (id, name) = (row.get::<i64, _>(0).unsigned_abs(), row.get::<String, _>(1));
            let entry = Entry::from_stored(Seq(id), &name, row.get(2)).unwrap();
            Received { id, name, data: entry.json().into() }
        })
        .collect();
    assert_eq!(stored, live);
    assert_eq!(app.client.view(&id).await["text"], text(&live));
    app.stop().await;
}
