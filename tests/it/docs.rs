//! What the documents show is what the server says.
use serde_json::json;

use crate::conversation::Talk;
use crate::harness::TestApp;
use crate::raw::RawStream;

/// The example behind `<!-- test: name -->`.
fn example(name: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/protocol.md");
    let page = std::fs::read_to_string(path).unwrap();
    let marked = page.split(&format!("<!-- test: {name} -->")).nth(1).expect("it is there");
    let block = marked.split("```").nth(1).unwrap();
    block.split_once('\n').unwrap().1.to_owned()
}

/// With what differs from run to run named.
fn named(said: &str, id: &str, time: &str) -> String {
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
    let times = [&conversation["created_at"], &conversation["updated_at"]];
    let mut said = conversation.to_string().replace(&talk.id, "<id>");
    for time in times {
        said = said.replace(time.as_str().unwrap(), "<time>");
    }
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
