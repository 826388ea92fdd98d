//! A large event over HTTP/2, and beside an AI SDK's stream, which has no place for it.
use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::{Response, Version};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{READERS, again, assert_within, forget_most, picture, serve, url};
use crate::client::{Client, PATIENCE};
use crate::database::TestDatabase;
use crate::process::Server;
use crate::upstream::{Answer, Gate, Upstream};

/// The parts of an AI SDK's stream, without cursors: where these stand depends on what is ready
/// together.
fn parts(stream: &str) -> Vec<Value> {
    let parts = stream.lines().filter_map(|line| line.strip_prefix("data: {"));
    let parts = parts.map(|part| serde_json::from_str(&format!("{{{part}")).unwrap());
    parts.filter(|part: &Value| part["type"] != "data-cursor").collect()
}

/// The same server over HTTP/2: all streams of this client share one connection.
fn over_http2(server: &Server) -> Client {
    let http = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    Client { http, ..server.client.clone() }
}

/// Streams of `path`, each of which has begun.
async fn opened(client: &Client, path: &str) -> Vec<Response> {
    join_all((0..READERS).map(|_| async {
        let asked = client.http.get(format!("{}{path}", client.base)).timeout(4 * PATIENCE);
        let answer = asked.send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_2));
        answer
    }))
    .await
}

/// What they bring, without the first pause and signs of life.
async fn rest(streams: Vec<Response>) -> BTreeSet<String> {
    join_all(streams.into_iter().map(async |stream| {
        let text = stream.text().await.unwrap().replace(": keep-alive\n\n", "");
        match text.strip_prefix("retry: ").and_then(|rest| rest.split_once("\n\n")) {
            Some((_, events)) => events.into(),
            None => text,
        }
    }))
    .await
    .into_iter()
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_and_the_ai_sdk_share_a_large_event() {
    let (gate, url) = (Gate::default(), url());
    let answer = Answer::sse().text("Here.").wait(&gate).delta(&picture(&url));
    let upstream = Upstream::start(answer.text(" See it?").complete()).await;
    let (database, dir) = (TestDatabase::create().await, TempDir::new().unwrap());
    let serve = || {
        let mut serve = serve(&dir, &database, &upstream);
        serve.arg("--h2c");
        serve
    };
    let mut server = Server::start(serve()).await;
    let message = json!({ "id": "m", "role": "user", "parts": [{ "type": "text", "text": "go" }] });
    let chat = json!({ "id": "c", "messages": [message] });
    let asked = server.client.post("/api/chat", &chat).await;
    let id = asked.headers()["lastword-generation"].to_str().unwrap().to_owned();
    let events = format!("/v1/generations/{id}/events");
    let client = over_http2(&server);
    let before = forget_most(&server);
    let native = opened(&client, &events).await;
    let chats = opened(&client, "/api/chat/c/stream").await;
    gate.open();
    let (live, resumed, first) = tokio::join!(rest(native), rest(chats), asked.text());
    assert_within(&server, before, "while it came");
    assert_eq!(live.len(), 1, "each has the same");
    assert_eq!(live.first().unwrap().matches(&url).count(), 1);
    let first = parts(&first.unwrap());
    assert!(resumed.iter().all(|stream| parts(stream) == first));
    let said: Vec<&str> = first.iter().filter_map(|part| part["delta"].as_str()).collect();
    assert_eq!((said.concat().as_str(), said.len()), ("Here. See it?", 2));
    assert_eq!(first.last().unwrap()["type"], "finish");

    server = again(server, serve).await;
    let client = over_http2(&server);
    let before = forget_most(&server);
    let read = rest(opened(&client, &events).await).await;
    assert!(read == live, "as it was live");
    assert_within(&server, before, "of a replay");
    server.kill().await;
}
