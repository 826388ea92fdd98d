//! The same over a socket: every frame that names something.
use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Houses, Names};
use crate::keys::make_key;
use crate::socket::Socket;

/// A frame with names to fill in, and the type and code of its answer.
const FRAMES: &[(&str, &str, Option<&str>)] = &[
    (
        r#"{"type":"generate","prompt":"hi","conversation_id":"{conversation}"}"#,
        "error",
        Some("not_found"),
    ),
    (
        r#"{"type":"generate","prompt":"hi","conversation_id":"{conversation}","parent_id":"{message}"}"#,
        "error",
        Some("not_found"),
    ),
    (r#"{"type":"subscribe","generation":"{generation}"}"#, "error", Some("not_found")),
    (r#"{"type":"subscribe","generation":"{generation}","after":2}"#, "error", Some("not_found")),
    (
        r#"{"type":"subscribe","generation":"{generation}","after":9999}"#,
        "error",
        Some("not_found"),
    ),
    (r#"{"type":"cancel","generation":"{generation}"}"#, "error", Some("not_found")),
    (r#"{"type":"join","conversation":"{conversation}"}"#, "error", Some("not_found")),
    // Where one is not, there is nothing to leave and nobody to hear: no question of whose it is.
    (r#"{"type":"unsubscribe","generation":"{generation}"}"#, "ack", None),
    (r#"{"type":"leave","conversation":"{conversation}"}"#, "ack", None),
    (
        r#"{"type":"typing","conversation":"{conversation}","state":"active"}"#,
        "error",
        Some("not_joined"),
    ),
];

/// The client's frames in the document that name a generation or a conversation.
fn naming(document: &Value) -> BTreeSet<String> {
    let messages = document["components"]["messages"].as_object().unwrap();
    let mut found = BTreeSet::new();
    for (name, message) in messages {
        let Some(kind) = name.strip_prefix("client-") else { continue };
        let properties = message["payload"]["properties"].as_object().unwrap();
        if properties.keys().any(|p| p.contains("generation") || p.contains("conversation")) {
            found.insert(kind.to_owned());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_and_unknown_look_the_same_to_every_frame() {
    let houses = Houses::new().await;
    let document: Value = houses.app.client.get("/asyncapi.json").await.json().await.unwrap();
    let kinds: BTreeSet<String> = FRAMES.iter().map(|(frame, ..)| kind(frame)).collect();
    assert_eq!(naming(&document), kinds, "the document, then the rows");
    let before = houses.seen().await;
    let mut socket = enter(&houses, &houses.stranger).await;
    for (frame, answer, code) in FRAMES {
        let expected = alike(&mut socket, frame, &Names::unknown()).await;
        let heard: Value = serde_json::from_str(&expected).unwrap();
        assert_eq!(heard["type"], *answer, "{frame}: {expected}");
        assert_eq!(heard["code"].as_str(), *code, "{frame}: {expected}");
        for foreign in &houses.foreign {
            assert_eq!(alike(&mut socket, frame, foreign).await, expected, "{frame}");
        }
    }
    assert_eq!(houses.seen().await, before, "what the stranger asked changed nothing");
    drop(socket);
    houses.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_hello_does_not_carry_what_is_open_to_another_tenant() {
    let houses = Houses::new().await;
    let hello = |key: &str| json!({"type": "hello", "ref": "h", "token": key});
    // With nothing open, one connection may become another.
    let mut socket = enter(&houses, &houses.stranger).await;
    assert_eq!(socket.ask(&hello(&houses.owner)).await["type"], "ack");
    let running = &houses.foreign[1].generation;
    let subscribe = json!({"type": "subscribe", "ref": "s", "generation": running});
    assert_eq!(socket.ask(&subscribe).await["type"], "ack");
    // Another key of the same tenant renews it, and it goes on.
    let renewed = make_key(&houses.app.database, &["--name", "next", "--tenant", "owner"]).await;
    assert_eq!(socket.ask(&hello(&renewed)).await["type"], "ack");
    assert!(socket.event().await.is_some());
    socket.send(&hello(&houses.stranger)).await;
    while let Some(frame) = socket.text().await {
        assert!(!frame.contains("\"ref\":\"h\""), "{frame}");
    }
    assert_eq!(socket.closed, Some(4501));
    houses.stop().await;
}

/// A socket that says who it is.
async fn enter(houses: &Houses, key: &str) -> Socket {
    let head = [("Sec-WebSocket-Protocol", "lastword.v1")];
    let mut socket = Socket::with(houses.app.address, &head).await;
    socket.send(&json!({"type": "hello", "token": key})).await;
    assert_eq!(socket.frame().await.unwrap()["type"], "welcome");
    assert_eq!(socket.frame().await.unwrap()["type"], "ack");
    socket
}

/// The one answer, without the names. Any other frame would belong to another tenant.
async fn alike(socket: &mut Socket, frame: &str, names: &Names) -> String {
    let mut frame: Value = serde_json::from_str(&names.fill(frame)).unwrap();
    frame["ref"] = json!("r");
    socket.send(&frame).await;
    let answer = names.blank(&socket.text().await.expect("an answer"));
    socket.send(&json!({"type": "ping", "ref": "p"})).await;
    assert_eq!(socket.frame().await.unwrap(), json!({"type": "pong", "ref": "p"}), "{frame}");
    answer
}

fn kind(frame: &str) -> String {
    let frame: Value = serde_json::from_str(frame).unwrap();
    frame["type"].as_str().unwrap().to_owned()
}
