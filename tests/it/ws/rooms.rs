//! Typing and presence: the receivers, the instances, and the time for which they last.
use serde_json::{Value, json};

use crate::database::TestDatabase;
use crate::harness::{TestApp, config};
use crate::socket::Socket;
use crate::upstream::{Answer, Gate};

async fn conversation(app: &TestApp) -> String {
    let made = app.client.post("/v1/conversations", &json!({})).await;
    made.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
}

/// Somebody with an id, in the conversation.
async fn joined(app: &TestApp, id: &str, conversation: &str) -> Socket {
    let mut socket = Socket::open(app.address).await;
    let client = json!({"id": id, "name": id.to_uppercase()});
    let ack = socket.ask(&json!({"type": "hello", "ref": "h", "client": client})).await;
    assert_eq!(ack["participant"], user(id));
    let join = json!({"type": "join", "ref": "j", "conversation": conversation});
    assert_eq!(
        socket.ask(&join).await,
        json!({"type": "ack", "ref": "j", "conversation": conversation})
    );
    socket
}

fn user(id: &str) -> Value {
    json!({"id": id, "name": id.to_uppercase(), "kind": "user"})
}

/// Reads on until a frame of this type has this content.
async fn hears(socket: &mut Socket, kind: &str, expected: &Value) {
    let list = if kind == "typing" { "who" } else { "participants" };
    loop {
        let frame = socket.frame().await.expect("it goes on");
        if frame["type"] == kind && frame[list] == *expected {
            return;
        }
    }
}

async fn types(socket: &mut Socket, conversation: &str, state: &str) {
    socket.send(&json!({"type": "typing", "conversation": conversation, "state": state})).await;
}

/// The frames before the answer to a ping: all that were on their way.
async fn before_pong(socket: &mut Socket) -> Vec<Value> {
    socket.send(&json!({"type": "ping", "ref": "p"})).await;
    let mut frames = Vec::new();
    loop {
        let frame = socket.frame().await.unwrap();
        if frame["type"] == "pong" {
            return frames;
        }
        frames.push(frame);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn others_hear_who_is_there_and_who_types() {
    let app = TestApp::with(|config| config.notify = false).await;
    let room = conversation(&app).await;
    let mut ana = joined(&app, "ana", &room).await;
    hears(&mut ana, "presence", &json!([user("ana")])).await;
    let mut ben = joined(&app, "ben", &room).await;
    hears(&mut ben, "presence", &json!([user("ana"), user("ben")])).await;
    hears(&mut ana, "presence", &json!([user("ana"), user("ben")])).await;

    for _ in 0..20 {
        types(&mut ana, &room, "active").await;
    }
    let said = ben.frame().await.unwrap();
    let expected = json!({"type": "typing", "conversation": room, "who": [user("ana")],
        "ttl_ms": 6000});
    assert_eq!(said, expected);
    assert_eq!(before_pong(&mut ana).await, Vec::<Value>::new(), "never to its sender");
    assert_eq!(before_pong(&mut ben).await, Vec::<Value>::new(), "throttled");
    types(&mut ana, &room, "paused").await;
    hears(&mut ben, "typing", &json!([])).await;

    let mut again = joined(&app, "ben", &room).await;
    hears(&mut again, "presence", &json!([user("ana"), user("ben")])).await;
    assert_eq!(before_pong(&mut ana).await, Vec::<Value>::new(), "two connections count once");
    types(&mut again, &room, "active").await;
    hears(&mut ana, "typing", &json!([user("ben")])).await;
    drop(again);
    let leave = json!({"type": "leave", "ref": 9, "conversation": room});
    let ack = ben.ask(&leave).await;
    assert_eq!(ack, json!({"type": "ack", "ref": 9, "conversation": room}));
    hears(&mut ana, "presence", &json!([user("ana")])).await;
    types(&mut ben, &room, "active").await;
    assert_eq!(before_pong(&mut ben).await[0]["code"], "not_joined");
    drop((ana, ben));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_stops_typing_and_leaves() {
    let app = TestApp::start().await;
    let room = conversation(&app).await;
    let mut ana = joined(&app, "ana", &room).await;
    let mut ben = joined(&app, "ben", &room).await;
    types(&mut ben, &room, "active").await;
    hears(&mut ana, "typing", &json!([user("ben")])).await;
    drop(ben);
    hears(&mut ana, "typing", &json!([])).await;
    drop(ana);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_assistant_types_while_it_answers_and_the_others_hear_on_every_instance() {
    let database = TestDatabase::create().await;
    let gate = Gate::default();
    let script = Answer::sse().text("Hel").wait(&gate).text("lo").complete();
    let upstream = crate::upstream::Upstream::start(script).await;
    let mut settings = config(&database);
    settings.models.push(crate::harness::model(&upstream));
    settings.notify = true;
    let one = TestApp::on(database.clone(), settings.clone()).await;
    let two = TestApp::on(database.clone(), settings).await;
    let room = conversation(&one).await;
    let mut ana = joined(&one, "ana", &room).await;
    let mut ben = joined(&two, "ben", &room).await;
    for socket in [&mut ana, &mut ben] {
        hears(socket, "presence", &json!([user("ana"), user("ben")])).await;
    }
    types(&mut ben, &room, "active").await;
    hears(&mut ana, "typing", &json!([user("ben")])).await;
    types(&mut ben, &room, "paused").await;
    hears(&mut ana, "typing", &json!([])).await;

    let generate = json!({"type": "generate", "ref": 1, "prompt": "hi", "conversation_id": room});
    let ack = ana.ask(&generate).await;
    assert_eq!(ack["conversation_id"], room, "{ack}");
    let assistant = json!({"id": "assistant", "name": "scripted", "kind": "model"});
    hears(&mut ben, "typing", &json!([assistant])).await;
    hears(&mut ana, "typing", &json!([assistant])).await;
    types(&mut ana, &room, "active").await;
    hears(&mut ben, "typing", &json!([user("ana"), assistant])).await;
    types(&mut ana, &room, "paused").await;
    hears(&mut ben, "typing", &json!([assistant])).await;
    gate.open();
    hears(&mut ana, "typing", &json!([])).await;
    hears(&mut ben, "typing", &json!([])).await;
    drop(ben);
    hears(&mut ana, "presence", &json!([user("ana")])).await;
    drop(ana);
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_type_on_one_instance_and_each_is_seen_on_the_other() {
    let [one, two] = crate::remote::instances::<2>(|config| config.notify = true).await;
    let room = conversation(&one).await;
    let mut ana = joined(&one, "ana", &room).await;
    let mut took = Vec::new();
    for n in 0..30 {
        let id = format!("p{n}");
        let mut other = joined(&two, &id, &room).await;
        hears(&mut ana, "presence", &json!([user("ana"), user(&id)])).await;
        let since = tokio::time::Instant::now();
        types(&mut other, &room, "active").await;
        hears(&mut ana, "typing", &json!([user(&id)])).await;
        took.push(since.elapsed());
        drop(other);
        hears(&mut ana, "presence", &json!([user("ana")])).await;
    }
    took.sort_unstable();
    println!("typing seen on the other instance: p50 {:?}, most {:?}", took[15], took[29]);
    drop(ana);
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_is_not_there_cannot_be_joined_nor_one_too_many() {
    let app = TestApp::with(|config| config.limits.socket.joins = 1).await;
    let room = conversation(&app).await;
    let mut socket = joined(&app, "ana", &room).await;
    for id in ["01990000-0000-7000-8000-000000000000", "nonsense"] {
        let leave = json!({"type": "leave", "ref": 0, "conversation": room});
        socket.ask(&leave).await;
        let answer = socket.ask(&json!({"type": "join", "ref": 1, "conversation": id})).await;
        assert_eq!(answer["code"], "not_found");
    }
    socket.ask(&json!({"type": "join", "ref": 2, "conversation": room})).await;
    let other = conversation(&app).await;
    let answer = socket.ask(&json!({"type": "join", "ref": 3, "conversation": other})).await;
    assert_eq!((&answer["code"], &answer["limit"]), (&json!("too_many_joins"), &json!(1)));
    for client in [json!({"id": "assistant"}), json!({"id": ""}), json!({"name": "a\nb"})] {
        let hello = json!({"type": "hello", "ref": 4, "client": client});
        assert_eq!(socket.ask(&hello).await["code"], "invalid_client", "{client}");
    }
    drop(socket);
    app.stop().await;
}
