//! Responses over a socket, frame by frame; tests/sdk has OpenAI's own client.
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;

use crate::database::TestDatabase;
use crate::harness::TestApp;
use crate::keys::{locked, make_key};
use crate::process::{Server, command};
use crate::raw::{exchange, request};
use crate::socket::Socket;
use crate::upstream::{Answer, Gate, Script, Upstream};

pub(super) const PATH: &str = "/v1/responses";
const ENDLESS: &str = "/demo tokens=100000 tps=100 ttft_ms=0";

pub(super) fn create(input: &str) -> Value {
    json!({"type": "response.create", "model": "demo", "input": input, "stream": true, "store": false})
}

fn retrieve(id: &Value, after: Option<u64>) -> Value {
    json!({"type": "response.retrieve", "response_id": id, "starting_after": after})
}

fn ends(event: &Value) -> bool {
    let kind = event["type"].as_str().unwrap();
    ["response.completed", "response.incomplete", "response.failed"].contains(&kind)
}

/// The events up to the end of the response that is read.
pub(super) async fn rest(socket: &mut Socket) -> Vec<Value> {
    let mut events = Vec::new();
    loop {
        let event = socket.frame().await.expect("it goes on");
        assert_ne!(event["type"], "error", "{event}");
        let over = ends(&event);
        events.push(event);
        if over {
            return events;
        }
    }
}

fn numbered(events: &[Value], first: u64) {
    let numbers: Vec<u64> =
        events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (first..first + events.len() as u64).collect::<Vec<_>>());
}

/// The answer to a frame that is refused: its status, its code, and what it is about.
pub(super) async fn refused(socket: &mut Socket, frame: &Value) -> (u64, String, Value) {
    socket.send(frame).await;
    let answer = socket.frame().await.expect("an answer");
    assert_eq!(answer["type"], "error", "{answer}");
    let error = &answer["error"];
    assert!(error["message"].is_string() && error["type"].is_string(), "{answer}");
    let code = error["code"].as_str().unwrap().to_owned();
    (answer["status"].as_u64().unwrap(), code, error["param"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_come_in_turn_and_are_resumed_by_number() {
    let app = TestApp::start().await;
    let mut socket = Socket::at(app.address, PATH, &[]).await;
    socket.send(&create("/demo tokens=20 tps=0 seed=1 reasoning")).await;
    // The second waits for its turn.
    socket.send(&create("/demo tokens=3 tps=0 seed=2")).await;
    let first = rest(&mut socket).await;
    numbered(&first, 0);
    assert_eq!(first[0]["type"], "response.created");
    assert!(first[0].get("stream_id").is_none(), "no lane was named");
    let id = &first[0]["response"]["id"];
    let second = rest(&mut socket).await;
    assert_eq!(second[0]["type"], "response.created");
    assert_ne!(&second[0]["response"]["id"], id);

    let mut third = create("/demo tokens=2 tps=0");
    third["previous_response_id"] = id.clone();
    socket.send(&third).await;
    let third = rest(&mut socket).await;
    assert_eq!(&third[0]["response"]["previous_response_id"], id, "without `store`");

    // Over HTTP it is the same response with the same numbers.
    let path = format!("{PATH}/{}?stream=true", id.as_str().unwrap());
    let body = app.client.get(&path).await.text().await.unwrap();
    let over_http: Vec<Value> = body
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter(|data| *data != "[DONE]")
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    assert_eq!(over_http, first, "but for what ends a body");
    for after in [None, Some(0), Some(7), Some(first.len() as u64 - 2)] {
        let mut other = Socket::at(app.address, PATH, &[]).await;
        other.send(&retrieve(id, after)).await;
        let from = after.map_or(0, |after| after as usize + 1);
        assert_eq!(rest(&mut other).await, first[from..], "behind {after:?}");
    }
    drop(socket);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_go_on_beside_each_other() {
    let gate = Gate::default();
    let held = Answer::sse().text("Hel").wait(&gate).text("lo").complete();
    let whole = Answer::sse().text("done").complete();
    let script =
        Script::with(
            move |request, _| {
                if request.text().contains("slow") { held.clone() } else { whole.clone() }
            },
        );
    let (app, _upstream) = TestApp::scripted(script, |_| {}).await;
    let mut socket = Socket::at(app.address, PATH, &[]).await;
    let ask = |lane: &str, input: &str| json!({"type": "response.create", "model": "scripted", "input": input, "stream_id": lane});
    socket.send(&ask("a", "slow")).await;
    loop {
        let event = socket.frame().await.unwrap();
        assert_eq!(event["stream_id"], "a");
        if event["delta"] == "Hel" {
            break;
        }
    }
    socket.send(&ask("a", "quick")).await;
    socket.send(&ask("b", "quick")).await;
    let beside = rest(&mut socket).await;
    assert!(beside.iter().all(|event| event["stream_id"] == "b"), "{beside:?}");
    gate.open();
    let slow = rest(&mut socket).await;
    assert!(slow.iter().all(|event| event["stream_id"] == "a"), "{slow:?}");
    assert_eq!(slow.last().unwrap()["response"]["output"][0]["content"][0]["text"], "Hello");
    let waited = rest(&mut socket).await;
    assert_eq!(waited[0]["type"], "response.created", "in its turn");
    assert_eq!(waited.last().unwrap()["response"]["output"][0]["content"][0]["text"], "done");
    drop(socket);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_up_asks_no_model_and_is_continued() {
    let script = Answer::sse().text("yes").complete();
    let (app, upstream): (_, Upstream) = TestApp::scripted(script, |_| {}).await;
    let mut socket = Socket::at(app.address, PATH, &[]).await;
    let said = json!([{"type": "message", "role": "user", "content": "the surroundings"}]);
    let mut warm = json!({"type": "response.create", "model": "scripted", "generate": false,
        "instructions": "be brief", "input": said, "store": false});
    socket.send(&warm).await;
    let events = rest(&mut socket).await;
    numbered(&events, 0);
    let response = &events.last().unwrap()["response"];
    assert_eq!((&response["status"], &response["output"]), (&json!("completed"), &json!([])));
    assert_eq!(upstream.requests().len(), 0, "nobody was asked");
    // As Codex does it first: instructions and no input.
    warm["input"] = json!([]);
    socket.send(&warm).await;
    assert_eq!(rest(&mut socket).await.last().unwrap()["type"], "response.completed");

    let id = &response["id"];
    let ask = json!({"type": "response.create", "model": "scripted", "instructions": "be loud",
        "input": "and now?", "previous_response_id": id, "store": false});
    socket.send(&ask).await;
    let answer = rest(&mut socket).await;
    assert_eq!(&answer[0]["response"]["previous_response_id"], id);
    let sent = upstream.requests();
    let sent: Value = serde_json::from_str(sent[0].text()).unwrap();
    let told: Vec<_> = sent["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["content"].as_str().unwrap())
        .collect();
    assert_eq!(told, ["be loud", "the surroundings", "and now?"]);
    // Another connection does not know the warm-up, nor what is not stored before it has read it.
    let mut other = Socket::at(app.address, PATH, &[]).await;
    let (status, code, about) = refused(&mut other, &ask).await;
    assert_eq!((status, code.as_str()), (400, "previous_response_not_found"));
    assert_eq!(about, "previous_response_id");
    let mut next = ask.clone();
    next["previous_response_id"] = answer[0]["response"]["id"].clone();
    let (status, code, _) = refused(&mut other, &next).await;
    assert_eq!((status, code.as_str()), (400, "previous_response_not_found"));
    other.send(&retrieve(&answer[0]["response"]["id"], None)).await;
    rest(&mut other).await;
    other.send(&next).await;
    rest(&mut other).await;
    let told = upstream.requests()[1].text().to_owned();
    assert!(told.contains("the surroundings") && told.contains("yes"), "{told}");
    drop((socket, other));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_and_the_socket_serves_on() {
    let app = TestApp::start().await;
    let mut socket = Socket::at(app.address, PATH, &[]).await;
    let mut other_model = create("hi");
    other_model["model"] = json!("dmo");
    let mut background = create("hi");
    background["background"] = json!(true);
    let none = json!(format!("resp_{:032x}", 7));
    let rows = [
        (other_model, 404, "model_not_found"),
        (background, 400, "unsupported_value"),
        (json!({"type": "response.create", "model": "demo"}), 400, "missing_field"),
        (json!({"type": "response.stop"}), 400, "unknown_type"),
        (retrieve(&none, None), 404, "not_found"),
        (retrieve(&json!("7"), None), 404, "not_found"),
        (json!({"type": "response.cancel"}), 400, "response_not_active"),
        (json!({"type": "response.cancel", "response_id": none}), 404, "not_found"),
    ];
    for (frame, status, code) in &rows {
        let mut frame = frame.clone();
        frame["stream_id"] = json!("lane");
        socket.send(&frame).await;
        let answer = socket.frame().await.unwrap();
        assert_eq!((&answer["status"], &answer["error"]["code"]), (&json!(status), &json!(code)));
        assert_eq!((&answer["type"], &answer["stream_id"]), (&json!("error"), &json!("lane")));
    }
    let document: Value = app.client.get("/asyncapi.json").await.json().await.unwrap();
    let described = document["operations"]["hearResponses"]["messages"].as_array().unwrap();
    assert_eq!(described.len(), 4);
    for message in described {
        let name = message["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        let properties = &document["components"]["messages"][name]["payload"]["properties"];
        let (_, code, _) =
            refused(&mut socket, &json!({"type": properties["type"]["const"]})).await;
        assert_ne!(code, "unknown_type", "{name}");
    }
    let steer = json!({"type": "response.steer", "previous_response_id": none, "input": "more"});
    socket.send(&steer).await;
    let answer = socket.frame().await.unwrap();
    assert_eq!(answer["type"], "response.steer.failed");
    assert_eq!(answer["error"]["code"], "steering_not_supported");
    assert_eq!(answer["steer"], json!({"previous_response_id": none, "input": "more"}));

    socket.send(&create("/demo tokens=3 tps=0")).await;
    let events = rest(&mut socket).await;
    assert_eq!(events.last().unwrap()["type"], "response.completed", "it serves on");
    let id = &events[0]["response"]["id"];
    let (status, code, about) = refused(&mut socket, &retrieve(id, Some(1000))).await;
    assert_eq!((status, code.as_str()), (400, "cursor_ahead"));
    assert_eq!(about, "starting_after");

    // Messages that are no frames are forgiven a few times.
    for _ in 0..20 {
        socket.send_raw(Message::text("{")).await;
        let Some(answer) = socket.frame().await else { break };
        assert_eq!(answer["error"]["code"], "invalid_json");
    }
    while socket.frame().await.is_some() {}
    assert_eq!(socket.closed, Some(4500));
    let plain = exchange(app.address, &request(&format!("GET {PATH}"), "", b"")).await;
    let code = plain.json()["error"]["code"].clone();
    assert_eq!((plain.status, code), (426, json!("upgrade_required")));
    let mut last = Socket::at(app.address, PATH, &[]).await;
    app.begin_stop();
    while last.frame().await.is_some() {}
    assert_eq!(last.closed, Some(1012), "which the SDKs come back after");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_it_and_going_away_does_not() {
    let app = TestApp::start().await;
    let mut socket = Socket::at(app.address, PATH, &[]).await;
    socket.send(&create(ENDLESS)).await;
    let created = socket.frame().await.unwrap();
    socket.send(&json!({"type": "response.cancel"})).await;
    let events = rest(&mut socket).await;
    assert_eq!(events.last().unwrap()["response"]["status"], "cancelled");
    assert_eq!(events.last().unwrap()["response"]["id"], created["response"]["id"]);
    // Before the first event is there.
    socket.send(&create(ENDLESS)).await;
    socket.send(&json!({"type": "response.cancel"})).await;
    assert_eq!(rest(&mut socket).await.last().unwrap()["response"]["status"], "cancelled");

    socket.send(&create(ENDLESS)).await;
    let id = socket.frame().await.unwrap()["response"]["id"].clone();
    drop(socket);
    let mut other = Socket::at(app.address, PATH, &[]).await;
    other.send(&retrieve(&id, Some(0))).await;
    assert_eq!(other.frame().await.unwrap()["sequence_number"], 1, "it goes on");
    other.send(&json!({"type": "response.cancel", "response_id": id})).await;
    let seen = rest(&mut other).await;
    assert_eq!(seen.last().unwrap()["response"]["status"], "cancelled");
    // Once more, without a reader: its end is reported.
    other.send(&json!({"type": "response.cancel", "response_id": id})).await;
    assert_eq!(rest(&mut other).await.last(), seen.last());
    drop(other);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_instance_is_resumed_on_another() {
    let database = TestDatabase::create().await;
    let dirs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let start = async |dir: &TempDir| {
        let mut serve = command(dir.path());
        serve.args(["--database-url", &database.url, "--lease-s", "2"]);
        Server::start(serve).await
    };
    let (first, second) = (start(&dirs[0]).await, start(&dirs[1]).await);
    let mut socket = Socket::at(first.address, PATH, &[]).await;
    socket.send(&create("/demo tokens=300 tps=100 ttft_ms=0 seed=8")).await;
    let mut seen = Vec::new();
    while seen.len() < 40 {
        seen.push(socket.frame().await.unwrap());
    }
    first.kill().await;
    while let Some(event) = socket.frame().await {
        seen.push(event);
    }
    let id = seen[0]["response"]["id"].clone();
    let last = seen.last().unwrap()["sequence_number"].as_u64();
    let mut socket = Socket::at(second.address, PATH, &[]).await;
    socket.send(&retrieve(&id, last)).await;
    seen.extend(rest(&mut socket).await);
    numbered(&seen, 0);
    let response = &seen.last().unwrap()["response"];
    assert_eq!(response["status"], "completed");
    let text: String = seen
        .iter()
        .filter(|event| event["type"] == "response.output_text.delta")
        .map(|event| event["delta"].as_str().unwrap())
        .collect();
    assert_eq!(response["output"][0]["content"][0]["text"], text);
    socket.send(&retrieve(&id, None)).await;
    assert_eq!(rest(&mut socket).await, seen, "from the beginning it is the same");
    drop(socket);
    assert!(second.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_needs_a_key_and_each_tenant_has_its_own() {
    let (app, key) = locked(&["--tenant", "one"]).await;
    let reads =
        make_key(&app.database, &["--tenant", "one", "--name", "r", "--scope", "read"]).await;
    let foreign = make_key(&app.database, &["--tenant", "two", "--name", "f"]).await;
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n";
    let answer = exchange(app.address, &request(&format!("GET {PATH}"), upgrade, b"")).await;
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].clone()),
        (401, json!("unauthenticated"))
    );
    let open = async |key: &str| {
        let bearer = format!("Bearer {key}");
        Socket::at(app.address, PATH, &[("Authorization", &bearer)]).await
    };
    let mut socket = open(&key).await;
    socket.send(&create("/demo tokens=3 tps=0")).await;
    let events = rest(&mut socket).await;
    let id = &events[0]["response"]["id"];
    let mut reader = open(&reads).await;
    let (status, code, _) = refused(&mut reader, &create("hi")).await;
    assert_eq!((status, code.as_str()), (403, "insufficient_scope"));
    reader.send(&retrieve(id, None)).await;
    assert_eq!(rest(&mut reader).await, events);
    let mut stranger = open(&foreign).await;
    let mut below = create("hi");
    below["previous_response_id"] = id.clone();
    let cancel = json!({"type": "response.cancel", "response_id": id});
    for (frame, expected, code) in [
        (retrieve(id, None), 404, "not_found"),
        (cancel, 404, "not_found"),
        (below, 400, "previous_response_not_found"),
    ] {
        let (status, found, _) = refused(&mut stranger, &frame).await;
        assert_eq!((status, found.as_str()), (expected, code));
    }
    drop((socket, reader, stranger));
    app.stop().await;
}
