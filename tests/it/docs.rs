//! The documents' examples are the server's real answers.
use std::fmt::Write;

use serde_json::{Value, json};

use crate::conversation::Talk;
use crate::harness::TestApp;
use crate::raw::RawStream;
use crate::socket::Socket;

fn page() -> String {
    let path = crate::program::root().join("docs/protocol.md");
    std::fs::read_to_string(path).unwrap()
}

/// The example behind `<!-- test: name -->`.
fn example(name: &str) -> String {
    let page = page();
    let marked = page.split(&format!("<!-- test: {name} -->")).nth(1).expect("it is there");
    let block = marked.split("```").nth(1).unwrap();
    block.split_once('\n').unwrap().1.to_owned()
}

/// The text with a name for each value that differs from run to run.
fn named(said: &str, id: &str, time: &str) -> String {
    let retry = said.lines().find(|line| line.starts_with("retry: "));
    let said = retry.map_or(said.to_owned(), |retry| said.replace(retry, "retry: <ms>"));
    said.replace(id, "<id>").replace(time, "<time>")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_the_protocol_are_true() {
    let app = TestApp::start().await;
    let body = json!({ "prompt": "/demo tokens=2 tps=0 seed=1" });
    let receipt = app.client.post("/v1/generations", &body).await;
    let receipt: serde_json::Value = receipt.json().await.unwrap();
    let id = receipt["id"].as_str().unwrap();
    let time = receipt["created_at"].as_str().unwrap();
    assert_eq!(named(&receipt.to_string(), id, time), example("receipt").trim_end());

    let mut stream = RawStream::events(app.address, id, "").await;
    stream.end().await;
    let said = String::from_utf8(stream.answer().body).unwrap();
    let started = app.client.all(id, 0).await[0].json();
    let said = named(&said, id, started["created_at"].as_str().unwrap());
    assert_eq!(said.trim_end(), example("stream").trim_end());

    let coalesced = app.client.get(&format!("/v1/generations/{id}/events?coalesce=true")).await;
    let said = coalesced.text().await.unwrap();
    assert!(said.contains(example("coalesced").trim_end()), "{said}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_conversations_are_true() {
    let app = TestApp::start().await;
    let talk = Talk::open(&app.client, &json!({"title": "Colours"})).await;
    let conversation = talk.get("").await;
    let said = conversation.to_string().replace(&talk.id, "<id>");
    let said = said.replace(conversation["updated_at"].as_str().unwrap(), "<time>");
    let said = said.replace(&conversation["created_at"].to_string(), "<seconds>");
    assert_eq!(said, example("conversation").trim_end());

    let turn = talk.prompt("/demo tokens=2 tps=0 seed=1").await;
    let messages = talk.get("/messages").await;
    let mut said = messages.to_string();
    for message in messages["data"].as_array().unwrap() {
        said = said.replace(message["created_at"].as_str().unwrap(), "<time>");
    }
    let said = said.replace(&turn.id, "<answer>").replace(&turn.parent, "<question>");
    assert_eq!(said, example("messages").trim_end());
    app.stop().await;
}

/// The examples of a dialect are parts of whole streams in tests/snapshots.
/// src/http/dialect_tests.rs compares these with real answers.
#[test]
fn the_examples_of_the_dialects_are_in_their_snapshots() {
    let page = page();
    let mut shown = Vec::new();
    for marked in page.split("<!-- snapshot: ").skip(1) {
        let (name, rest) = marked.split_once(" -->").unwrap();
        let path = crate::program::root().join(format!("tests/snapshots/{name}.sse"));
        let whole = std::fs::read_to_string(path).unwrap();
        let block = rest.split("```").nth(1).unwrap().split_once('\n').unwrap().1;
        assert!(whole.contains(block.trim_end()), "{name} has no\n{block}");
        shown.push(name);
    }
    assert_eq!(shown, ["lost_responses", "lost_chat", "lost_ui_message"]);
}

/// The frames of a socket, line by line, `>` by the client and `<` by the server.
struct Transcript {
    socket: Socket,
    lines: String,
    /// Values that differ from run to run, and their names.
    names: Vec<(String, &'static str)>,
}

impl Transcript {
    async fn begin(app: &TestApp) -> Self {
        let headers = [("Sec-WebSocket-Protocol", "lastword.v1")];
        let socket = Socket::with(app.address, &headers).await;
        let mut transcript = Self { socket, lines: String::new(), names: Vec::new() };
        let welcome = transcript.hear().await;
        transcript.name(&welcome["connection"], "<connection>");
        transcript
    }

    fn name(&mut self, value: &Value, name: &'static str) {
        self.names.push((value.as_str().unwrap().to_owned(), name));
    }

    async fn hear(&mut self) -> Value {
        let text = self.socket.text().await.expect("it goes on");
        writeln!(self.lines, "< {text}").unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Sends this, and reads so many frames; the first of them.
    async fn say(&mut self, frame: &str, answers: usize) -> Value {
        writeln!(self.lines, "> {frame}").unwrap();
        self.socket.send(&serde_json::from_str(frame).unwrap()).await;
        let mut first = Value::Null;
        for n in 0..answers {
            let heard = self.hear().await;
            first = if n == 0 { heard } else { first };
        }
        first
    }

    fn end(self) -> String {
        self.names.iter().fold(self.lines, |lines, (value, name)| lines.replace(value, name))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_the_socket_are_true() {
    let app = TestApp::with(|config| config.notify = false).await;
    let mut one = Transcript::begin(&app).await;
    one.say(r#"{"type":"hello","ref":1,"client":{"id":"ana","name":"Ana"}}"#, 1).await;
    let generate = r#"{"type":"generate","ref":2,"prompt":"/demo tokens=2 tps=0 seed=1"}"#;
    let ack = one.say(generate, 1).await;
    one.name(&ack["generation"], "<id>");
    one.name(&ack["created_at"], "<time>");
    let started = one.hear().await;
    one.name(&started["event"]["created_at"], "<time>");
    while one.hear().await["event"]["type"] != "done" {}
    let id = ack["generation"].as_str().unwrap();
    one.say(&format!(r#"{{"type":"subscribe","ref":3,"generation":"{id}","after":2}}"#), 3).await;
    one.say(&format!(r#"{{"type":"subscribe","ref":4,"generation":"{id}","after":4}}"#), 1).await;
    one.say(&format!(r#"{{"type":"unsubscribe","ref":5,"generation":"{id}"}}"#), 1).await;
    let cancel = format!(r#"{{"type":"cancel","ref":6,"generation":"{id}"}}"#);
    let receipt = one.say(&cancel, 1).await;
    for time in ["created_at", "started_at", "finished_at"] {
        one.name(&receipt[time], "<time>");
    }
    let first_token = format!("\"time_to_first_token_ms\":{}", receipt["time_to_first_token_ms"]);
    one.names.push((first_token, "\"time_to_first_token_ms\":1"));
    one.say(r#"{"type":"subscribe","ref":7,"generation":"nobody's"}"#, 1).await;
    one.say(r#"{"type":"cansel","ref":8}"#, 1).await;
    one.say(r#"{"type":"ping","ref":9}"#, 1).await;
    assert_eq!(one.end().trim_end(), example("socket").trim_end());

    let made = app.client.post("/v1/conversations", &json!({})).await;
    let room = made.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
    let mut two = Transcript::begin(&app).await;
    two.name(&json!(room), "<conversation>");
    two.say(r#"{"type":"hello","ref":1,"client":{"id":"ana","name":"Ana"}}"#, 1).await;
    two.say(&format!(r#"{{"type":"join","ref":2,"conversation":"{room}"}}"#), 2).await;
    let mut ben = Transcript::begin(&app).await;
    ben.say(r#"{"type":"hello","ref":1,"client":{"id":"ben","name":"Ben"}}"#, 1).await;
    ben.say(&format!(r#"{{"type":"join","ref":2,"conversation":"{room}"}}"#), 2).await;
    two.hear().await;
    for state in ["active", "paused"] {
        let typing = format!(r#"{{"type":"typing","conversation":"{room}","state":"{state}"}}"#);
        ben.say(&typing, 0).await;
        two.hear().await;
    }
    ben.say(&format!(r#"{{"type":"leave","ref":3,"conversation":"{room}"}}"#), 1).await;
    two.hear().await;
    two.say(&format!(r#"{{"type":"leave","ref":3,"conversation":"{room}"}}"#), 1).await;
    let said = two.end();
    let (_, behind) = said.split_once('\n').unwrap();
    assert_eq!(behind.trim_end(), example("rooms").trim_end());
    drop(ben);
    app.stop().await;
}
