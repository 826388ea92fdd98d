//! The same over a socket: each mistake has one answer with its `ref`, and the connection goes on.
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::{PROMPT, rows};
use crate::client::assert_whole;
use crate::harness::TestApp;
use crate::keys::{locked, make_key};
use crate::socket::Socket;

/// A server that forgives: the end of a connection that makes mistakes is another test.
async fn server() -> TestApp {
    TestApp::with(|config| {
        config.limits.prompt_bytes = PROMPT;
        config.limits.socket.mistakes_per_minute = 1000;
    })
    .await
}

/// The body of a request as a frame that starts a generation.
fn generate(body: &str) -> String {
    match body.strip_prefix('{') {
        Some("}") => r#"{"type":"generate","ref":"r"}"#.into(),
        Some(rest) => format!(r#"{{"type":"generate","ref":"r",{rest}"#),
        None => body.into(),
    }
}

/// The one answer to a text.
async fn answer(socket: &mut Socket, text: &str) -> Value {
    socket.send_raw(Message::text(text)).await;
    let answer = socket.frame().await.unwrap_or_else(|| panic!("closed by {text}"));
    let ping = json!({"type": "ping", "ref": "p"});
    assert_eq!(socket.ask(&ping).await, json!({"type": "pong", "ref": "p"}), "after {text}");
    answer
}

/// A refusal in its one form.
async fn refused(socket: &mut Socket, text: &str, code: &str) -> Value {
    let said = answer(socket, text).await;
    assert_eq!((&said["type"], &said["code"]), (&json!("error"), &json!(code)), "{text}: {said}");
    assert!(said["message"].as_str().is_some_and(|m| !m.is_empty()), "{text}: {said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_is_refused_in_a_frame_as_in_a_request() {
    let app = server().await;
    let mut socket = Socket::open(app.address).await;
    for (name, body) in rows::not_json() {
        let Ok(text) = String::from_utf8(body) else { continue };
        println!("{name}");
        refused(&mut socket, &generate(&text), "invalid_json").await;
    }
    for (body, code) in rows::FIELDS {
        let said = refused(&mut socket, &generate(body), code).await;
        let reference = if body.starts_with('{') { json!("r") } else { Value::Null };
        assert_eq!(said["ref"], reference, "{body}: {said}");
    }
    for (name, body, code) in rows::too_much() {
        println!("{name}");
        refused(&mut socket, &generate(&body.to_string()), code).await;
    }
    assert_eq!(app.database.number("select count(*) from generations").await, 0);
    let id = app.client.start_prompt("/demo tokens=1 tps=0").await;
    assert_whole(&app.client.all(&id, 0).await);
    drop(socket);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_frame_itself() {
    const UNKNOWN: &str = "00000000-0000-7000-8000-000000000000";
    let app = server().await;
    let mut socket = Socket::open(app.address).await;
    let long = "k".repeat(256);
    let start = |more: &str| format!(r#"{{"type":"generate","ref":"r","prompt":"hi",{more}}}"#);
    let of = |kind: &str, more: &str| format!(r#"{{"type":"{kind}","ref":"r"{more}}}"#);
    let frames = [
        (r#"{"ref":"r"}"#.into(), "missing_field"),
        (r#"{"type":7,"ref":"r"}"#.into(), "invalid_type"),
        (r#"{"type":"","ref":"r"}"#.into(), "unknown_type"),
        (r#"{"type":"Ping","ref":"r"}"#.into(), "unknown_type"),
        (r#"{"type":"welcome","ref":"r"}"#.into(), "unknown_type"),
        (r#"{"type":"ping","type":"ping","ref":"r"}"#.into(), "invalid_json"),
        (start(r#""idempotency_key":"""#), "invalid_idempotency_key"),
        (start(r#""idempotency_key":"a b""#), "invalid_idempotency_key"),
        (start(r#""idempotency_key":"é""#), "invalid_idempotency_key"),
        (start(r#""idempotency_key":"a\nb""#), "invalid_idempotency_key"),
        (start(&format!(r#""idempotency_key":"{long}""#)), "invalid_idempotency_key"),
        (start(r#""idempotency_key":7"#), "invalid_type"),
        (start(r#""after":-1"#), "invalid_cursor"),
        (start(r#""after":"x""#), "invalid_cursor"),
        (start(r#""after":1e3"#), "invalid_cursor"),
        (start(r#""coalesce":"yes""#), "invalid_type"),
        (start(r#""conversation_id":"x""#), "not_found"),
        (start(&format!(r#""conversation_id":"{UNKNOWN}""#)), "not_found"),
        (start(r#""parent_id":"x""#), "missing_field"),
        (of("subscribe", ""), "missing_field"),
        (of("subscribe", r#","generation":7"#), "invalid_type"),
        (of("subscribe", r#","generation":null"#), "invalid_type"),
        (of("subscribe", r#","generation":"x""#), "not_found"),
        (of("subscribe", &format!(r#","generation":"{UNKNOWN}","after":1.5"#)), "invalid_cursor"),
        (of("unsubscribe", ""), "missing_field"),
        (of("cancel", r#","generation":["x"]"#), "invalid_type"),
        (of("cancel", r#","generation":"%00""#), "not_found"),
        (of("join", ""), "missing_field"),
        (of("join", r#","conversation":"x""#), "not_found"),
        (of("typing", r#","conversation":"x""#), "missing_field"),
        (of("typing", r#","conversation":"x","state":"maybe""#), "unsupported_value"),
        (of("hello", r#","client":{"id":""}"#), "invalid_client"),
        (of("hello", r#","client":{"id":"a","name":7}"#), "invalid_type"),
        (of("hello", r#","token":7"#), "invalid_type"),
    ];
    for (frame, code) in &frames {
        let said = refused(&mut socket, frame, code).await;
        assert_eq!(said["ref"], "r", "{frame}: {said}");
    }
    // A mark that is malformed cannot be given back.
    for reference in [r#"{}"#, "1.5", "true", "null", "18446744073709551615", &format!("{long:?}")]
    {
        let frame = format!(r#"{{"type":"ping","ref":{reference}}}"#);
        if reference == "null" {
            assert_eq!(answer(&mut socket, &frame).await, json!({"type": "pong"}));
        } else {
            assert_eq!(refused(&mut socket, &frame, "invalid_type").await["ref"], Value::Null);
        }
    }
    // Unknown fields of a newer client are ignored.
    for (body, _) in rows::UNKNOWN_FIELDS.iter().filter(|(body, _)| body.contains("\"prompt\"")) {
        socket.send_raw(Message::text(generate(body))).await;
        assert_eq!(socket.frame().await.unwrap()["type"], "ack", "{body}");
        while socket.event().await.is_some_and(|event| event.name != "done") {}
    }
    drop(socket);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_text_of_ours_end_the_connection_with_their_code() {
    let app = server().await;
    let text =
        |bytes: Vec<u8>| Message::Frame(Frame::message(bytes, OpCode::Data(Data::Text), true));
    let bad = rows::not_json().into_iter().filter(|(_, body)| std::str::from_utf8(body).is_err());
    let mut ends: Vec<_> = bad.map(|(name, body)| (name, text(body), 1007)).collect();
    assert_eq!(ends.len(), 3);
    ends.push(("bytes", Message::binary(b"{\"type\":\"ping\"}".to_vec()), 1003));
    let large = vec![b' '; app.config.limits.socket.frame_bytes + 1];
    ends.push(("a frame too large", text(large), 1009));
    let part = |first| Message::Frame(Frame::message(vec![b' '], OpCode::Data(first), true));
    ends.push(("a part of nothing", part(Data::Continue), 1002));
    ends.push(("a kind that is none", part(Data::Reserved(3)), 1002));
    for (name, message, code) in ends {
        let mut socket = Socket::open(app.address).await;
        socket.send_raw(message).await;
        assert_eq!(socket.frame().await, None, "{name}");
        assert_eq!(socket.closed, Some(code), "{name}");
    }
    assert_eq!(app.database.number("select count(*) from generations").await, 0);
    app.stop().await;
}

/// A socket of a key.
async fn enter(app: &TestApp, key: &str) -> Socket {
    let bearer = format!("Bearer {key}");
    let head = [("Sec-WebSocket-Protocol", "lastword.v1"), ("Authorization", bearer.as_str())];
    let mut socket = Socket::with(app.address, &head).await;
    assert_eq!(socket.frame().await.unwrap()["type"], "welcome");
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_may_not_do_is_refused_with_its_reason() {
    let (app, reader) = locked(&["--name", "reader", "--scope", "read"]).await;
    let one = ["--name", "one", "--max-concurrent", "1"];
    let one = make_key(&app.database, &one).await;
    let few = make_key(&app.database, &["--name", "few", "--rpm", "2"]).await;
    let start = |tokens: u32| {
        format!(r#"{{"type":"generate","ref":"r","prompt":"/demo tokens={tokens} tps=1"}}"#)
    };

    let mut socket = enter(&app, &reader).await;
    refused(&mut socket, &start(1), "insufficient_scope").await;

    let mut socket = enter(&app, &one).await;
    let running = socket.ask(&serde_json::from_str(&start(100_000)).unwrap()).await;
    assert_eq!(running["type"], "ack", "{running}");
    let other = json!({"type": "generate", "ref": "s", "prompt": "hi"});
    let said = socket.ask(&other).await;
    assert_eq!(said["code"], "concurrency_limit", "{said}");
    let cancel = json!({"type": "cancel", "ref": "c", "generation": running["generation"]});
    assert_eq!(socket.ask(&cancel).await["type"], "cancelled");

    // Each frame that asks for something counts as a request of its own.
    let mut socket = enter(&app, &few).await;
    let cancel =
        r#"{"type":"cancel","ref":"r","generation":"00000000-0000-7000-8000-000000000000"}"#;
    let mut codes = Vec::new();
    for _ in 0..3 {
        let said = answer(&mut socket, cancel).await;
        assert_eq!(said["retry_after_ms"].is_u64(), said["code"] == "rate_limited", "{said}");
        codes.push(said["code"].as_str().unwrap().to_owned());
    }
    assert_eq!((codes[0].as_str(), codes[2].as_str()), ("not_found", "rate_limited"));

    for key in ["", "lw_none", &reader[..reader.len() - 1], "ä"] {
        let head = [("Sec-WebSocket-Protocol", "lastword.v1")];
        let mut socket = Socket::with(app.address, &head).await;
        socket.send(&json!({"type": "hello", "ref": 1, "token": key})).await;
        assert_eq!(socket.frame().await, None, "{key}");
        assert_eq!(socket.closed, Some(4501), "{key}");
    }
    drop(socket);
    app.stop().await;
}
