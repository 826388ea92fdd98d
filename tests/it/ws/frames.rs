//! Each frame and its one answer.
use serde_json::{Value, json};

use crate::client::{assert_whole, text};
use crate::harness::TestApp;
use crate::socket::{Socket, event};

/// The events of a generation up to its end, and the other frames that came before it.
async fn events(socket: &mut Socket, id: &str) -> Vec<crate::client::Received> {
    let mut events = Vec::new();
    loop {
        let said = socket.text().await.expect("it goes on");
        let frame: Value = serde_json::from_str(&said).unwrap();
        if frame["type"] == "event" && frame["generation"] == id {
            events.push(event(&said).unwrap());
            if frame["event"]["type"] == "done" {
                return events;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_over_the_socket_is_the_one_over_http() {
    let app = TestApp::start().await;
    let mut socket = Socket::open(app.address).await;
    let generate = json!({"type": "generate", "ref": "a", "prompt": "/demo tokens=50 tps=0 unicode",
        "metadata": {"n": 1}, "never_heard_of": true});
    let ack = socket.ask(&generate).await;
    assert_eq!((&ack["type"], &ack["replayed"]), (&json!("ack"), &json!(false)), "{ack}");
    let id = ack["generation"].as_str().unwrap().to_owned();
    assert_eq!((&ack["id"], &ack["last_seq"]), (&json!(id), &json!(1)));
    let seen = events(&mut socket, &id).await;
    assert_whole(&seen);
    assert_eq!(seen, app.client.all(&id, 0).await, "the same bytes");
    let view = app.client.view(&id).await;
    assert_eq!((&view["text"], &view["metadata"]), (&json!(text(&seen)), &json!({"n": 1})));

    let again = socket.ask(&generate).await;
    assert_eq!((&again["generation"], &again["replayed"]), (&json!(id), &json!(true)));
    assert_eq!(events(&mut socket, &id).await, seen, "its ref is the same start");
    let other = json!({"type": "generate", "ref": "a", "prompt": "another"});
    assert_eq!(socket.ask(&other).await["code"], "ref_reused");

    let mut elsewhere = Socket::open(app.address).await;
    let other = elsewhere.ask(&generate).await;
    assert_ne!(other["generation"], id, "a ref holds on its own connection");
    drop((socket, elsewhere));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_holds_across_connections_and_a_cursor_goes_with_it() {
    let app = TestApp::start().await;
    let generate = |after: u64| {
        json!({"type": "generate", "ref": 1, "prompt": "/demo tokens=40 tps=0", "after": after,
            "idempotency_key": "k-1"})
    };
    let mut socket = Socket::open(app.address).await;
    let id = socket.ask(&generate(0)).await["generation"].as_str().unwrap().to_owned();
    let whole = events(&mut socket, &id).await;
    drop(socket);

    let mut socket = Socket::open(app.address).await;
    let ack = socket.ask(&generate(7)).await;
    assert_eq!((&ack["generation"], &ack["replayed"]), (&json!(id), &json!(true)));
    assert_eq!(events(&mut socket, &id).await, whole[7..]);
    let ack = socket.ask(&generate(whole.len() as u64)).await;
    assert_eq!((&ack["complete"], &ack["status"]), (&json!(true), &json!("completed")));

    let body = json!({"prompt": "/demo tokens=40 tps=0"});
    let request = app.client.http.post(format!("{}/v1/generations", app.client.base));
    let response = request.header("idempotency-key", "k-1").json(&body).send().await.unwrap();
    assert_eq!(response.json::<Value>().await.unwrap()["id"], id, "the same key as over HTTP");
    let bad = json!({"type": "generate", "ref": 2, "prompt": "x", "idempotency_key": "é"});
    assert_eq!(socket.ask(&bad).await["code"], "invalid_idempotency_key");
    drop(socket);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_resumes_ends_and_begins_again() {
    let app = TestApp::start().await;
    let id = app.client.start_prompt("/demo tokens=60 tps=0 unicode").await;
    let whole = app.client.all(&id, 0).await;
    let mut socket = Socket::open(app.address).await;
    for after in [0, 1, 17, whole.len() - 1] {
        let ask = json!({"type": "subscribe", "ref": "s", "generation": id, "after": after});
        let ack = socket.ask(&ask).await;
        let expected = json!({"type": "ack", "ref": "s", "generation": id, "status": "completed",
            "last_seq": whole.len(), "complete": false});
        assert_eq!(ack, expected);
        assert_eq!(events(&mut socket, &id).await, whole[after..]);
    }
    let end = json!({"type": "subscribe", "ref": "s", "generation": id, "after": whole.len()});
    assert_eq!(socket.ask(&end).await["complete"], true);
    let joined = json!({"type": "subscribe", "ref": 3, "generation": id, "coalesce": true});
    socket.ask(&joined).await;
    let few = events(&mut socket, &id).await;
    assert!(few.len() < 5 && text(&few) == text(&whole));
    for (frame, code) in [
        (json!({"type": "subscribe", "ref": 4, "generation": id, "after": "x"}), "invalid_cursor"),
        (json!({"type": "subscribe", "ref": 5, "generation": id, "after": 1.5}), "invalid_cursor"),
        (json!({"type": "subscribe", "ref": 6, "generation": app_id()}), "not_found"),
        (json!({"type": "cancel", "ref": 7, "generation": app_id()}), "not_found"),
        (json!({"type": "generate", "ref": 8}), "missing_field"),
        (json!({"type": "generate", "ref": 9, "prompt": " "}), "prompt_empty"),
        (json!({"type": "generate", "ref": 10, "prompt": "x", "model": "x"}), "unknown_model"),
        (
            json!({"type": "generate", "ref": 11, "messages": [{"role": "user", "contents": ""}]}),
            "unknown_field",
        ),
    ] {
        let answer = socket.ask(&frame).await;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!(code)), "{frame}");
        assert!(answer["message"].as_str().is_some_and(|m| !m.is_empty()));
    }
    drop(socket);
    app.stop().await;
}

/// An id that nobody has.
fn app_id() -> &'static str {
    "01990000-0000-7000-8000-000000000000"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_is_the_same_receipt_wherever_it_was_started() {
    let app = TestApp::start().await;
    let id = app.client.start_prompt("/demo tokens=100000 tps=200 ttft_ms=0").await;
    let mut reader = app.client.events(&id, 0).await;
    reader.take(5).await;
    let mut socket = Socket::open(app.address).await;
    let cancelled = socket.ask(&json!({"type": "cancel", "ref": "c", "generation": id})).await;
    let mut receipt = app.client.cancel(&id).await;
    receipt["type"] = json!("cancelled");
    receipt["ref"] = json!("c");
    receipt["generation"] = json!(id);
    assert_eq!(cancelled, receipt);
    assert_eq!((&receipt["status"], &receipt["cancelled"]), (&json!("cancelled"), &json!(true)));
    let rest = reader.rest().await;
    assert_eq!(cancelled["last_seq"], rest.last().unwrap().id);

    let done = app.client.start_prompt("/demo tokens=1 tps=0").await;
    app.client.all(&done, 0).await;
    let late = socket.ask(&json!({"type": "cancel", "ref": "d", "generation": done})).await;
    assert_eq!((&late["type"], &late["cancelled"]), (&json!("cancelled"), &json!(false)));
    drop(socket);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_generations_share_a_socket() {
    const MANY: usize = 40;
    let app = TestApp::start().await;
    let mut socket = Socket::open(app.address).await;
    for n in 0..MANY {
        let prompt = format!("/demo tokens=30 tps=200 ttft_ms=0 seed={n}");
        socket.send(&json!({"type": "generate", "ref": n, "prompt": prompt})).await;
    }
    let mut seen: std::collections::HashMap<String, Vec<_>> = std::collections::HashMap::new();
    let (mut acks, mut ended) = (std::collections::HashSet::new(), 0);
    while ended < MANY {
        let said = socket.text().await.expect("it goes on");
        let frame: Value = serde_json::from_str(&said).unwrap();
        if frame["type"] == "ack" {
            assert!(acks.insert(frame["ref"].as_u64().unwrap()), "one answer each");
            continue;
        }
        let event = event(&said).unwrap();
        ended += usize::from(event.name == "done");
        seen.entry(frame["generation"].as_str().unwrap().into()).or_default().push(event);
    }
    assert_eq!((acks.len(), seen.len()), (MANY, MANY));
    for (id, events) in &seen {
        assert_whole(events);
        assert_eq!(*events, app.client.all(id, 0).await);
    }
    drop(socket);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_unsubscribe_nothing_comes() {
    let app = TestApp::start().await;
    let prompt = "/demo tokens=100000 tps=500 ttft_ms=0";
    let (id, other) =
        (app.client.start_prompt(prompt).await, app.client.start_prompt(prompt).await);
    let mut socket = Socket::open(app.address).await;
    for id in [&id, &other] {
        socket.ask(&json!({"type": "subscribe", "ref": 1, "generation": id})).await;
    }
    while socket.frame().await.unwrap()["generation"] != json!(other) {}
    let ack = socket.ask(&json!({"type": "unsubscribe", "ref": 2, "generation": other})).await;
    assert_eq!(ack, json!({"type": "ack", "ref": 2, "generation": other}));
    for _ in 0..100 {
        assert_eq!(socket.frame().await.unwrap()["generation"], json!(id));
    }
    let ack = socket.ask(&json!({"type": "unsubscribe", "ref": 2, "generation": id})).await;
    assert_eq!(ack, json!({"type": "ack", "ref": 2, "generation": id}));
    // Its events go on elsewhere; here, the answers come without one between them.
    let mut reader = app.client.events(&id, 0).await;
    for n in 0..5 {
        reader.take(10).await;
        socket.send(&json!({"type": "ping", "ref": n})).await;
        assert_eq!(socket.frame().await.unwrap(), json!({"type": "pong", "ref": n}));
    }
    app.client.cancel(&id).await;
    app.client.cancel(&other).await;
    drop(socket);
    app.stop().await;
}
