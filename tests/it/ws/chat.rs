//! The AI SDK's chat over a socket, frame by frame; tests/sdk has its own transport in a browser.
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::client::PATIENCE;
use crate::harness::TestApp;
use crate::keys::{locked, make_key};
use crate::raw::{exchange, request};
use crate::socket::Socket;
use crate::upstream::{Answer, Gate};

const PATH: &str = "/api/chat/ws";

fn send(request: &str, chat: &str, text: &str) -> Value {
    let message = json!({"id": "m", "role": "user", "parts": [{"type": "text", "text": text}]});
    json!({"type": "send", "requestId": request, "id": chat, "trigger": "submit-message",
        "messages": [message], "headers": {}, "body": {}})
}

fn resume(request: &str, chat: &str) -> Value {
    json!({"type": "resume", "requestId": request, "id": chat, "headers": {}, "body": {}})
}

/// The chunks of one request up to its end; the numbers have to follow each other from `first`.
async fn chunks(socket: &mut Socket, request: &str, first: u64) -> Vec<Value> {
    let mut chunks = Vec::new();
    loop {
        let frame = socket.frame().await.expect("it goes on");
        assert_eq!(frame["requestId"], request);
        match frame["type"].as_str().unwrap() {
            "chunk" => {
                assert_eq!(frame["sequence"], first + chunks.len() as u64);
                chunks.push(frame["chunk"].clone());
            }
            "end" => return chunks,
            other => panic!("{other}: {frame}"),
        }
    }
}

/// Reads on until a part with this text.
async fn until(socket: &mut Socket, delta: &str) -> Value {
    loop {
        let frame = socket.frame().await.expect("it goes on");
        if frame["chunk"]["delta"] == delta {
            return frame;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_sent_resumed_and_numbered_by_its_log() {
    let gate = Gate::default();
    let script = Answer::sse().text("Hel").wait(&gate).text("lo").complete();
    let (app, _upstream) = TestApp::scripted(script, |_| {}).await;
    let mut page = Socket::at(app.address, PATH, &[]).await;
    page.send(&resume("r0", "c")).await;
    assert_eq!(page.frame().await.unwrap(), json!({"type": "no-active", "requestId": "r0"}));
    page.send(&send("r1", "c", "hi")).await;
    let seen = until(&mut page, "Hel").await;
    assert_eq!((&seen["type"], &seen["requestId"]), (&json!("chunk"), &json!("r1")));
    // The page is reloaded.
    drop(page);

    let mut page = Socket::at(app.address, PATH, &[]).await;
    page.send(&resume("r2", "c")).await;
    assert_eq!(page.frame().await.unwrap(), json!({"type": "start", "requestId": "r2"}));
    let replayed = until(&mut page, "Hel").await;
    assert_eq!((&replayed["sequence"], &replayed["chunk"]), (&seen["sequence"], &seen["chunk"]));
    let mut behind = Socket::at(app.address, PATH, &[]).await;
    let mut from = resume("r3", "c");
    from["lastSequence"] = seen["sequence"].clone();
    behind.send(&from).await;
    assert_eq!(behind.frame().await.unwrap()["type"], "start");
    let mut ahead = resume("r4", "c");
    ahead["lastSequence"] = json!(1000);
    let mut other = Socket::at(app.address, PATH, &[]).await;
    other.send(&ahead).await;
    assert_eq!(other.frame().await.unwrap()["type"], "error");
    gate.open();
    let next = seen["sequence"].as_u64().unwrap() + 1;
    let rest = chunks(&mut page, "r2", next).await;
    assert_eq!(chunks(&mut behind, "r3", next).await, rest);
    let kinds: Vec<&str> = rest.iter().map(|chunk| chunk["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["text-delta", "text-end", "finish-step", "finish"], "no cursors between");
    page.send(&resume("r5", "c")).await;
    assert_eq!(page.frame().await.unwrap()["type"], "no-active", "it has ended");
    drop((page, behind, other));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_ends_the_answer_and_going_away_does_not() {
    let app = TestApp::start().await;
    let endless = "/demo tokens=100000 tps=100 ttft_ms=0";
    let status = async |socket: &mut Socket, chat: &str| {
        socket.send(&send("s", chat, endless)).await;
        let start = socket.frame().await.unwrap();
        start["chunk"]["messageId"].as_str().unwrap().to_owned()
    };
    let mut page = Socket::at(app.address, PATH, &[]).await;
    let kept = status(&mut page, "kept").await;
    drop(page);
    let mut page = Socket::at(app.address, PATH, &[]).await;
    page.send(&resume("r", "kept")).await;
    assert_eq!(page.frame().await.unwrap()["type"], "start", "it goes on");
    page.send(&json!({"type": "abort", "requestId": "nobody's"})).await;
    // Of a resumed one, and of one that is just beginning.
    page.send(&json!({"type": "abort", "requestId": "r"})).await;
    let ended = app.client.all(&kept, 0).await;
    assert_eq!(ended.last().unwrap().json()["status"], "cancelled");
    page.send(&send("early", "early", endless)).await;
    page.send(&json!({"type": "abort", "requestId": "early"})).await;
    let cancelled = "select count(*) from generations where status = 'cancelled'";
    let give_up = tokio::time::Instant::now() + PATIENCE;
    while app.database.number(cancelled).await < 2 {
        assert!(tokio::time::Instant::now() < give_up, "it was not cancelled");
    }
    page.send(&resume("again", "kept")).await;
    loop {
        let frame = page.frame().await.unwrap();
        if frame["requestId"] == "again" {
            assert_eq!(frame["type"], "no-active");
            break;
        }
    }
    drop(page);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_to_its_request_or_closes() {
    let app = TestApp::with(|config| config.limits.socket.subscriptions = 1).await;
    let mut page =
        Socket::at(app.address, PATH, &[("Sec-WebSocket-Protocol", "mine, yours")]).await;
    assert_eq!(page.protocol.as_deref(), Some("mine"), "a browser needs an answer to its offer");
    let mut unknown = send("a", "c", "hi");
    unknown["body"] = json!({"model": "none of ours"});
    for (frame, words) in [
        (unknown, "none of ours"),
        (send("a", "", "hi"), "`id`"),
        (send("a", "c", " "), "empty"),
        (json!({"type": "send", "requestId": "a", "id": "c"}), "messages"),
        (json!({"type": "stop", "requestId": "a"}), "abort"),
    ] {
        page.send(&frame).await;
        let answer = page.frame().await.unwrap();
        assert_eq!(
            (&answer["type"], &answer["requestId"]),
            (&json!("error"), &json!("a")),
            "{frame}"
        );
        let text = answer["errorText"].as_str().unwrap();
        assert!(text.contains(words), "{frame}: {text}");
    }
    page.send(&send("b", "c", "/demo tokens=100000 tps=50 ttft_ms=0")).await;
    assert_eq!(page.frame().await.unwrap()["type"], "chunk");
    for second in [resume("b", "c"), resume("other", "c")] {
        page.send(&second).await;
        let refused = loop {
            let frame = page.frame().await.unwrap();
            if frame["type"] == "error" {
                break frame;
            }
        };
        assert_eq!(refused["requestId"], second["requestId"], "one at a time is this one's limit");
        if second["requestId"] == "b" {
            // The refusal has ended the request for the client; a later request finds its answer
            // again.
            page.send(&json!({"type": "abort", "requestId": "b"})).await;
            page.send(&send("b2", "c2", "/demo tokens=100000 tps=50 ttft_ms=0")).await;
        }
    }
    for (message, code) in [
        (Message::text("{}"), 4500),
        (Message::binary(b"x".to_vec()), 1003),
        (Message::text("x".repeat(300_000)), 1009),
    ] {
        let mut page = Socket::at(app.address, PATH, &[]).await;
        page.send_raw(message).await;
        assert_eq!((page.frame().await, page.closed), (None, Some(code)));
    }
    let plain = exchange(app.address, &request(&format!("GET {PATH}"), "", b"")).await;
    assert_eq!((plain.status, &plain.json()["code"]), (426, &json!("upgrade_required")));
    app.begin_stop();
    while page.frame().await.is_some() {}
    assert_eq!(page.closed, Some(4000));
    let cancel = "update generations set status = 'cancelling' where status = 'running'";
    sqlx::query(cancel).execute(&mut app.database.connect().await).await.unwrap();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_needs_a_key_and_no_foreign_page_comes_in() {
    let (app, key) = locked(&["--tenant", "one"]).await;
    let reads =
        make_key(&app.database, &["--tenant", "one", "--name", "r", "--scope", "read"]).await;
    let foreign = make_key(&app.database, &["--tenant", "two", "--name", "f"]).await;
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n";
    let refused = exchange(app.address, &request(&format!("GET {PATH}"), upgrade, b"")).await;
    assert_eq!(refused.status, 401);
    let bearer = |key: &str| [("Authorization".to_owned(), format!("Bearer {key}"))];
    let open = async |key: &str| {
        let [(name, value)] = bearer(key);
        Socket::at(app.address, PATH, &[(&name, &value)]).await
    };
    let mut page = open(&key).await;
    page.send(&send("a", "c", "/demo tokens=100000 tps=50 ttft_ms=0")).await;
    assert_eq!(page.frame().await.unwrap()["type"], "chunk");
    let mut stranger = open(&foreign).await;
    stranger.send(&resume("a", "c")).await;
    assert_eq!(
        stranger.frame().await.unwrap()["type"],
        "no-active",
        "each tenant has its own chats"
    );
    let mut reader = open(&reads).await;
    reader.send(&send("a", "c", "hi")).await;
    let refused = reader.frame().await.unwrap();
    assert!(refused["errorText"].as_str().unwrap().contains("scope `write`"), "{refused}");
    reader.send(&resume("b", "c")).await;
    assert_eq!(reader.frame().await.unwrap()["type"], "start");
    page.send(&json!({"type": "abort", "requestId": "a"})).await;
    while reader.frame().await.unwrap()["type"] != "end" {}
    drop((page, stranger, reader));
    app.stop().await;

    let app = TestApp::start().await;
    let head = format!("{upgrade}Origin: https://evil.example\r\n");
    let refused = exchange(app.address, &request(&format!("GET {PATH}"), &head, b"")).await;
    assert_eq!((refused.status, &refused.json()["code"]), (403, &json!("origin_not_allowed")));
    app.stop().await;
}
