//! The opening of a socket, and every way in which it ends.
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{assert_whole, text};
use crate::harness::TestApp;
use crate::raw::{exchange, request};
use crate::socket::Socket;
use crate::upstream::{Answer, Gate};

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_opens_with_our_subprotocol_or_with_none() {
    let app = TestApp::start().await;
    for (offer, answer) in [
        (&[][..], None),
        (&["lastword.v1"][..], Some("lastword.v1")),
        (&["lastword.v9, lastword.v1"][..], Some("lastword.v1")),
    ] {
        let headers: Vec<_> = offer.iter().map(|o| ("Sec-WebSocket-Protocol", *o)).collect();
        let mut socket = Socket::with(app.address, &headers).await;
        assert_eq!(socket.protocol.as_deref(), answer);
        let welcome = socket.frame().await.unwrap();
        assert_eq!((&welcome["type"], &welcome["heartbeat_s"]), (&json!("welcome"), &json!(20)));
        assert_eq!(welcome["limits"]["frame_bytes"], 262_144);
        assert!(welcome["connection"].as_str().is_some_and(|c| c.len() == 36));
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_connect_learns_it_from_the_code() {
    let app = TestApp::start().await;
    let host = app.address.to_string();
    for (headers, code) in [
        (vec![("Sec-WebSocket-Protocol", "graphql-ws")], 4505),
        (vec![("Origin", "https://evil.example")], 4503),
        (vec![("Origin", "null")], 4503),
    ] {
        let mut socket = Socket::with(app.address, &headers).await;
        assert_eq!(socket.frame().await, None);
        assert_eq!(socket.closed, Some(code), "{headers:?}");
    }
    let mut socket = Socket::with(app.address, &[("Origin", &format!("http://{host}"))]).await;
    assert_eq!(socket.frame().await.unwrap()["type"], "welcome");
    drop(socket);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_handshake_is_told_so() {
    let app = TestApp::start().await;
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    let key = "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    for (method, head, status, code) in [
        ("GET", String::new(), 426, "upgrade_required"),
        ("GET", format!("{upgrade}{version}"), 400, "bad_handshake"),
        ("GET", format!("{upgrade}{key}"), 400, "bad_handshake"),
        ("POST", String::new(), 405, "method_not_allowed"),
    ] {
        let answer = exchange(app.address, &request(&format!("{method} /v1/ws"), &head, b"")).await;
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{head}");
    }
    let head = format!("{upgrade}{key}Sec-WebSocket-Version: 8\r\n");
    let answer = exchange(app.address, &request("GET /v1/ws", &head, b"")).await;
    assert_eq!((answer.status, answer.header("sec-websocket-version")), (426, Some("13")));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_bytes_close_with_their_code() {
    let app = TestApp::with(|config| config.limits.socket.frame_bytes = 1000).await;
    for (message, code) in
        [(Message::binary(b"x".to_vec()), 1003), (Message::text("x".repeat(1001)), 1009)]
    {
        let mut socket = Socket::open(app.address).await;
        socket.send_raw(message).await;
        assert_eq!(socket.frame().await, None);
        assert_eq!(socket.closed, Some(code));
    }
    let mut socket = Socket::open(app.address).await;
    for _ in 0..10 {
        socket.send_raw(Message::text("no frame")).await;
    }
    for _ in 0..10 {
        assert_eq!(socket.frame().await.unwrap()["code"], "invalid_json");
    }
    assert_eq!(socket.frame().await, None);
    assert_eq!(socket.closed, Some(4500));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_cut() {
    let app = TestApp::with(|config| config.limits.socket.frames_per_s = 1).await;
    let mut socket = Socket::open(app.address).await;
    for n in 0..200 {
        socket.send(&json!({"type": "ping", "ref": n})).await;
    }
    let mut answers = 0;
    while socket.frame().await.is_some() {
        answers += 1;
    }
    assert_eq!(socket.closed, Some(4029), "its code arrives although we send on");
    assert!((10..50).contains(&answers), "{answers} answers");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_no_ping_is_gone() {
    let beat = Duration::from_millis(50);
    let app = TestApp::with(|config| config.limits.socket.ping = beat).await;
    // The library answers pings while it is read; this one is silent until the end has come.
    let mut socket = Socket::open(app.address).await;
    app.until_sockets(0).await;
    assert_eq!(socket.frame().await, None);
    assert_eq!(socket.closed, Some(4002));
    let mut socket = Socket::open(app.address).await;
    let id = app.client.start_prompt("/demo tokens=60 tps=100 ttft_ms=0").await;
    socket.ask(&json!({"type": "subscribe", "ref": 1, "generation": id})).await;
    let mut events = Vec::new();
    while let Some(event) = socket.event().await {
        events.push(event);
    }
    assert_whole(&events);
    drop(socket);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_closes_with_4000_and_the_client_resumes() {
    let gate = Gate::default();
    let script = Answer::sse().text("Hel").wait(&gate).text("lo").complete();
    let (app, _upstream) = TestApp::scripted(script, |_| {}).await;
    let mut socket = Socket::open(app.address).await;
    let ack = socket.ask(&json!({"type": "generate", "ref": 1, "prompt": "hi"})).await;
    let id = ack["generation"].as_str().unwrap().to_owned();
    let mut seen = vec![socket.event().await.unwrap(), socket.event().await.unwrap()];
    app.begin_stop();
    assert_eq!(socket.event().await, None);
    assert_eq!(socket.closed, Some(4000));
    assert!(TcpStream::connect(app.address).await.is_err(), "the listener closes first");
    gate.open();
    let (database, config, _dir) = app.stop().await;
    let again = TestApp::on(database, config).await;
    let mut socket = Socket::following(again.address, &id, 2).await;
    while let Some(event) = socket.event().await {
        seen.push(event);
    }
    assert_whole(&seen);
    assert_eq!(text(&seen), "Hello");
    drop(socket);
    again.stop().await;
}
