//! A connection behind an answer that streamed: it is used again, or closed when a header said so.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::json;
use tempfile::TempDir;

use crate::harness::TestApp;
use crate::process::{Server, command, resident};
use crate::raw::RawStream;

/// How a chunked answer ends.
const END: &str = "\r\n0\r\n\r\n";

/// A start whose events are the answer, with these header lines.
fn start(head: &str, prompt: &str) -> Vec<u8> {
    let body = json!({ "prompt": prompt }).to_string();
    format!(
        "POST /v1/generations HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n{head}\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A handshake (RFC 6455 §1.3).
const HANDS: &[u8] = b"GET /v1/ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_used_again_after_an_answer_that_streamed() {
    let app = TestApp::start().await;
    let one = start("", "/demo tokens=20 tps=0");
    let mut stream = RawStream::of(app.address, &one).await;
    stream.until(END, 1).await;
    stream.say(&one).await;
    stream.until(END, 2).await;
    let id = app.client.start_prompt("/demo tokens=20 tps=0").await;
    let read = format!("GET /v1/generations/{id}/events HTTP/1.1\r\nHost: test\r\n\r\n");
    stream.say(read.as_bytes()).await;
    stream.until(END, 3).await;
    stream.say(HEALTH).await;
    stream.end().await;
    let seen = stream.seen();
    assert_eq!(seen.matches("HTTP/1.1 200 OK\r\n").count(), 4, "{seen}");
    assert_eq!(seen.matches("event: done\n").count(), 3, "{seen}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_too_early_is_answered_in_its_turn() {
    let app = TestApp::start().await;
    let one = start("", "/demo tokens=20 tps=200");
    let at_once = [one.as_slice(), HEALTH].concat();
    let mut together = RawStream::of(app.address, &at_once).await;
    let mut meanwhile = RawStream::of(app.address, &one).await;
    meanwhile.until("event: delta\n", 1).await;
    meanwhile.say(HEALTH).await;
    for stream in [&mut together, &mut meanwhile] {
        stream.end().await;
        let seen = stream.seen();
        let (events, health) = seen.split_once(END).expect("the events' end");
        assert!(events.contains("event: done\n"), "{seen}");
        assert!(health.starts_with("HTTP/1.1 200 OK\r\n"), "{seen}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_behind_its_answer_when_the_client_said_so() {
    let app = TestApp::start().await;
    let one = start("Connection: close\r\n", "/demo tokens=20 tps=0");
    let mut stream = RawStream::of(app.address, &one).await;
    stream.end().await;
    let seen = stream.seen();
    assert!(seen.contains("\r\nconnection: close\r\n") && seen.ends_with(END), "{seen}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_http_1_0_gets_the_events_as_they_are() {
    let app = TestApp::start().await;
    let id = app.client.start_prompt("/demo tokens=20 tps=0").await;
    let read = format!("GET /v1/generations/{id}/events HTTP/1.0\r\nHost: test\r\n\r\n");
    let mut stream = RawStream::of(app.address, read.as_bytes()).await;
    stream.end().await;
    let seen = stream.seen();
    let (head, events) = seen.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("chunked") && events.starts_with("retry: "), "{seen}");
    assert!(events.contains("event: done\n") && events.ends_with("\n\n"), "{seen}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_unknown_length_starts_a_generation_as_well() {
    let app = TestApp::start().await;
    let body = json!({ "prompt": "/demo tokens=20 tps=0" }).to_string();
    let one = format!(
        "POST /v1/generations HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let mut stream = RawStream::of(app.address, one.as_bytes()).await;
    stream.until(END, 1).await;
    stream.say(HEALTH).await;
    stream.end().await;
    let seen = stream.seen();
    assert_eq!(seen.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{seen}");
    app.stop().await;
}

/// A frame as a client masks it; a mask of zeros is one, too.
fn frame(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_come_with_the_handshake_are_heard() {
    let app = TestApp::start().await;
    let generate = frame(r#"{"type":"generate","ref":"a","prompt":"/demo tokens=3 tps=0"}"#);
    let (first, rest) = generate.split_at(9);
    // Once as the first request of a connection, and once while an answer streams on it.
    let mut stream = RawStream::of(app.address, &start("", "/demo tokens=20 tps=200")).await;
    stream.until("event: delta\n", 1).await;
    let mut other = RawStream::of(app.address, &[HANDS, first].concat()).await;
    stream.say(&[HANDS, first].concat()).await;
    for stream in [&mut stream, &mut other] {
        stream.until("101 Switching Protocols", 1).await;
        stream.say(rest).await;
        stream.until(r#""type":"done""#, 1).await;
    }
    drop((stream, other));
    app.until_sockets(0).await;
    app.stop().await;
}

/// A connection that has got the beginning of its answer.
fn at_rest(address: SocketAddr, request: &str, answered: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(answered) {
        let mut bytes = [0; 4096];
        let count = socket.read(&mut bytes).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&bytes[..count]);
    }
    socket
}

/// A process of its own for each kind: memory that one kind has left would serve the next.
async fn weigh(kind: &str, most: u64, request: impl Fn(&str) -> String, answered: &str) {
    const MANY: u64 = 2000;
    let dir = TempDir::new().unwrap();
    let server = Server::start(command(dir.path())).await;
    let id = server.client.start_prompt("/demo tokens=2 ttft_ms=600000").await;
    let open = || at_rest(server.address, &request(&id), answered);
    let warm: Vec<_> = (0..200).map(|_| open()).collect();
    let before = resident(server.pid());
    let all: Vec<_> = (0..MANY).map(|_| open()).collect();
    let grown = resident(server.pid()).saturating_sub(before);
    drop((warm, all));
    println!("{MANY} {kind}: {grown} KiB");
    assert!(grown <= most * MANY, "{MANY} {kind} took {grown} KiB");
    // A stop would wait for the running answers.
    server.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_at_rest_hold_little() {
    let read = |id: &str| format!("GET /v1/generations/{id}/events HTTP/1.1\r\nHost: test\r\n\r\n");
    weigh("readers", 8, read, "event: started").await;
    weigh("sockets", 10, |_| String::from_utf8_lossy(HANDS).into(), r#""type":"welcome""#).await;
}
