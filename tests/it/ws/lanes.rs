//! The socket of Responses under clients that are wrong, slow, or too many at once.
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use super::responses::{PATH, create, refused, rest};
use crate::client::assert_whole;
use crate::harness::TestApp;
use crate::socket::Socket;

const ENDLESS: &str = "/demo tokens=100000 tps=100 ttft_ms=0";

fn in_lane(lane: &str, mut frame: Value) -> Value {
    frame["stream_id"] = json!(lane);
    frame
}

fn retrieve(id: &Value, after: impl Into<Value>) -> Value {
    json!({ "type": "response.retrieve", "response_id": id, "starting_after": after.into() })
}

/// The next frame of a lane that is no delta of its response.
async fn told(socket: &mut Socket, lane: &str, kinds: &[&str]) -> Value {
    loop {
        let frame = socket.frame().await.expect("it goes on");
        if frame["stream_id"] == lane && kinds.contains(&frame["type"].as_str().unwrap()) {
            return frame;
        }
    }
}

/// A client that has everything is not left to wait for more.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_at_the_end_is_answered_with_the_end() {
    let app = TestApp::start().await;
    let mut socket = Socket::at(app.address, PATH, &[]).await;
    socket.send(&create("/demo tokens=3 tps=0")).await;
    let events = rest(&mut socket).await;
    let (id, last) = (&events[0]["response"]["id"], events.last().unwrap());
    let number = last["sequence_number"].as_u64().unwrap();
    let mut other = Socket::at(app.address, PATH, &[]).await;
    for socket in [&mut socket, &mut other] {
        socket.send(&in_lane("a", retrieve(id, number))).await;
        let mut again = socket.frame().await.unwrap();
        assert_eq!(again.as_object_mut().unwrap().remove("stream_id"), Some(json!("a")));
        assert_eq!(&again, last, "the last event, once more");
        // The lane is free.
        socket.send(&in_lane("a", retrieve(id, number - 1))).await;
        assert_eq!(socket.frame().await.unwrap()["sequence_number"], last["sequence_number"]);
    }
    for (wrong, code) in [
        (json!(number + 1), "cursor_ahead"),
        (json!(u64::MAX), "cursor_ahead"),
        (json!(-1), "invalid_type"),
        (json!(1.5), "invalid_type"),
        (json!("1"), "invalid_type"),
    ] {
        let (status, found, about) = refused(&mut other, &retrieve(id, wrong.clone())).await;
        assert_eq!((status, found.as_str()), (400, code), "{wrong}");
        assert_eq!(about, "starting_after", "{wrong}");
    }
    // It is the same for one that ends while it is read.
    socket.send(&in_lane("b", create(ENDLESS))).await;
    let created = told(&mut socket, "b", &["response.created"]).await;
    socket.send(&json!({ "type": "response.cancel", "stream_id": "b" })).await;
    let ended = told(&mut socket, "b", &["response.incomplete"]).await;
    let end = ended["sequence_number"].as_u64().unwrap();
    other.send(&retrieve(&created["response"]["id"], end)).await;
    assert_eq!(other.frame().await.unwrap()["type"], "response.incomplete");
    drop((socket, other));
    app.stop().await;
}

/// A response that still runs is refused for now, and is not forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_too_early_is_continued_later() {
    let app = TestApp::start().await;
    let mut socket = Socket::at(app.address, PATH, &[]).await;
    socket.send(&in_lane("a", create(ENDLESS))).await;
    let created = told(&mut socket, "a", &["response.created"]).await;
    let id = &created["response"]["id"];
    let mut next = in_lane("b", create("/demo tokens=2 tps=0"));
    next["previous_response_id"] = id.clone();
    socket.send(&next).await;
    let early = told(&mut socket, "b", &["error"]).await;
    assert_eq!(
        (&early["status"], &early["error"]["code"]),
        (&json!(409), &json!("generation_running"))
    );
    // By its id, out of another lane.
    let cancel = json!({ "type": "response.cancel", "response_id": id });
    socket.send(&in_lane("c", cancel)).await;
    told(&mut socket, "a", &["response.incomplete"]).await;
    socket.send(&next).await;
    let created = told(&mut socket, "b", &["response.created", "error"]).await;
    assert_eq!(&created["response"]["previous_response_id"], id, "{created}");
    told(&mut socket, "b", &["response.completed"]).await;
    drop(socket);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_lanes_and_frames_are_told_and_nothing_else_suffers() {
    let app = TestApp::with(|config| config.limits.socket.subscriptions = 4).await;
    let mut socket = Socket::at(app.address, PATH, &[]).await;
    socket.send(&in_lane("run", create(ENDLESS))).await;
    let created = told(&mut socket, "run", &["response.created"]).await;
    let quick = || create("/demo tokens=1 tps=0");
    // The empty name is a lane of its own, beside that of no name.
    for lane in ["", "\"}", "\u{1F600}", &"x".repeat(128)] {
        socket.send(&in_lane(lane, quick())).await;
        told(&mut socket, lane, &["response.completed"]).await;
    }
    let mut prepared = in_lane("w", quick());
    prepared["generate"] = json!(false);
    prepared["conversation"] = json!(Value::Null);
    socket.send(&prepared).await;
    told(&mut socket, "w", &["response.completed"]).await;
    socket.send(&json!({ "type": "response.cancel", "stream_id": "w" })).await;
    let idle = told(&mut socket, "w", &["error"]).await;
    assert_eq!(idle["error"]["code"], "response_not_active", "what was only prepared has ended");
    // One runs; three wait in its lane, and there is room for no more in any.
    for _ in 0..3 {
        socket.send(&in_lane("run", quick())).await;
    }
    socket.send(&in_lane("more", quick())).await;
    let refused = told(&mut socket, "more", &["error", "response.created"]).await;
    assert_eq!(refused["error"]["code"], "too_many_subscriptions", "{refused}");
    socket.send(&json!({ "type": "response.cancel", "stream_id": "run" })).await;
    let ended = told(&mut socket, "run", &["response.incomplete"]).await;
    assert_eq!(ended["response"]["id"], created["response"]["id"]);
    for _ in 0..3 {
        told(&mut socket, "run", &["response.completed"]).await;
    }
    drop(socket);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_larger_than_a_body_closes_the_socket_and_ends_no_response() {
    let app = TestApp::with(|config| {
        config.limits.prompt_bytes = 1000;
        config.limits.media_bytes = 1000;
    })
    .await;
    let most = 1000 * 2 + 1000 + 64 * 1024;
    let mut socket = Socket::at(app.address, PATH, &[]).await;
    socket.send(&create("/demo tokens=100 tps=50 ttft_ms=0")).await;
    let id = socket.frame().await.unwrap()["response"]["id"].clone();
    let mut fits = create("hi");
    fits["user"] = json!("x".repeat(most - 1000));
    socket.send(&in_lane("fits", fits.clone())).await;
    let completed = told(&mut socket, "fits", &["response.completed", "error"]).await;
    assert_eq!(completed["type"], "response.completed", "{completed}");
    fits["user"] = json!("x".repeat(most));
    socket.send_raw(Message::text(fits.to_string())).await;
    while socket.frame().await.is_some() {}
    assert_eq!(socket.closed, Some(1009));
    let mut other = Socket::at(app.address, PATH, &[]).await;
    other.send(&retrieve(&id, 0)).await;
    assert_eq!(rest(&mut other).await.last().unwrap()["type"], "response.completed");
    drop(other);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_is_cut_and_reads_on_from_where_it_was() {
    let app = TestApp::with(|config| config.limits.stuck = Duration::from_millis(500)).await;
    let tcp = TcpSocket::new_v4().unwrap();
    tcp.set_recv_buffer_size(4096).unwrap();
    let tcp = tcp.connect(app.address).await.unwrap();
    let uri = format!("ws://{}{PATH}", app.address);
    let (stream, _) = client_async(uri, tcp).await.unwrap();
    let mut late = Socket::of(stream);
    late.send(&create("/demo tokens=30000 tps=0 ttft_ms=0 seed=1")).await;
    app.until_sockets(1).await;
    while app.database.number("select count(*) from generations where done is not null").await < 1 {
        tokio::task::yield_now().await;
    }
    // Six times the limit, by the clock of another generation.
    let clock = app.client.start_prompt("/demo tokens=60 tps=20 ttft_ms=0").await;
    assert_whole(&app.client.all(&clock, 0).await);
    let mut seen = Vec::new();
    while let Some(event) = late.frame().await {
        seen.push(event);
    }
    assert_eq!(late.closed, Some(1013), "which the SDKs come back after");
    let last = seen.last().unwrap()["sequence_number"].as_u64().unwrap();
    let mut other = Socket::at(app.address, PATH, &[]).await;
    other.send(&retrieve(&seen[0]["response"]["id"], last)).await;
    seen.extend(rest(&mut other).await);
    let numbers = seen.iter().map(|event| event["sequence_number"].as_u64().unwrap());
    assert!(numbers.eq(0..seen.len() as u64), "each event once");
    drop(other);
    app.stop().await;
}
