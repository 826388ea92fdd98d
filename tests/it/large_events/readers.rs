//! Many readers of large events, in each protocol, and readers that are slow.
use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use super::{READERS, again, assert_within, forget_most, most, picture, read_by_all, serve, url};
use crate::client::Client;
use crate::database::TestDatabase;
use crate::eventually::eventually;
use crate::process::{Server, command};
use crate::socket::Socket;
use crate::upstream::{Answer, Events, Gate, Upstream};

/// A server whose models speak Responses and Messages.
fn speaking(dir: &TempDir, database: &TestDatabase, models: [&Upstream; 2]) -> Command {
    let file = dir.path().join("lastword.toml");
    let [draws, fetches] = models.map(Upstream::base_url);
    let models = format!(
        "[[models]]\nname = 'draws'\nprovider = 'openai'\nwire = 'responses'\nbase_url = '{draws}'\n\
         [[models]]\nname = 'fetches'\nprovider = 'anthropic'\nbase_url = '{fetches}'\n"
    );
    std::fs::write(&file, models).unwrap();
    let mut serve = command(dir.path());
    serve.args(["--database-url", &database.url, "--lease-s", "2", "--config"]).arg(file);
    serve.env("RUST_LOG", "error");
    serve
}

/// A picture that the provider's own tool has made.
fn drawn(url: &str, gate: &Gate) -> Answer {
    let call = |more: Value| {
        let mut item = json!({ "type": "image_generation_call", "status": "in_progress" });
        item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        item
    };
    let events = Events::begin("resp_1").item(0, "added", call(json!({})));
    let begun = events.len();
    let done = call(json!({ "status": "completed", "result": url }));
    let events = events.item(0, "done", done).end("resp_1", "completed", json!({}));
    let rest = events.frames(begun, events.len());
    Answer::sse().raw(events.frames(0, begun)).wait(gate).raw(rest)
}

/// A document that the provider's own tool has fetched.
fn fetched(url: &str) -> Answer {
    let source = json!({ "type": "base64", "media_type": "application/pdf", "data": url });
    let content = json!({ "type": "document", "source": source });
    let block =
        json!({ "type": "web_fetch_tool_result", "tool_use_id": "srv_1", "content": content });
    let answer = Answer::sse().message_start().block(0, block).block_stop(0);
    answer.stop_reason("end_turn").message_stop()
}

async fn begun(server: &Server, model: &str) -> String {
    server.client.start(&json!({ "model": model, "prompt": "go" })).await
}

/// The frames of a response on a socket of its own.
async fn on_socket(client: &Client, response: &str) -> String {
    let mut socket = Socket::at(client.address(), "/v1/responses", &[]).await;
    socket.send(&json!({ "type": "response.retrieve", "response_id": response })).await;
    let mut all = String::new();
    loop {
        let text = socket.text().await.expect("it goes on");
        all.push_str(&text);
        if text.contains(r#""type":"response.completed""#) {
            return all;
        }
    }
}

/// The events of a generation on a socket of its own.
async fn on_our_socket(client: &Client, id: &str) -> String {
    let mut socket = Socket::following(client.address(), id, 0).await;
    let mut all = String::new();
    while let Some(event) = socket.event().await {
        all.push_str(&event.data);
    }
    all
}

async fn by_all<T>(read: impl Fn() -> T) -> BTreeSet<String>
where
    T: Future<Output = String>,
{
    join_all((0..READERS).map(|_| read())).await.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_every_protocol_share_a_large_event() {
    let (gate, url) = (Gate::default(), url());
    let draws = Upstream::start(drawn(&url, &gate)).await;
    let fetches = Upstream::start(fetched(&url)).await;
    let (database, dir) = (TestDatabase::create().await, TempDir::new().unwrap());
    let serve = || speaking(&dir, &database, [&draws, &fetches]);
    let mut server = Server::start(serve()).await;
    let drawing = begun(&server, "draws").await;
    draws.arrived(1).await;
    let before = forget_most(&server);
    let response = format!("resp_{}", drawing.replace('-', ""));
    let streamed = format!("/v1/responses/{response}?stream=true");
    let (live, ()) = tokio::join!(read_by_all(&server.client, &streamed), async { gate.open() });
    assert_eq!(live.len(), 1, "each has the same");
    // In the item, and once more in the response.
    assert_eq!(live.first().unwrap().matches(&url).count(), 2);
    assert_within(&server, before, "while it came");

    let fetch = begun(&server, "fetches").await;
    server.client.all(&fetch, 0).await;
    let message = format!("/v1/messages/msg_{}?stream=true", fetch.replace('-', ""));
    server = again(server, serve).await;
    let before = forget_most(&server);
    let read = read_by_all(&server.client, &message).await;
    assert_eq!((read.len(), read.first().unwrap().matches(&url).count()), (1, 1));
    assert_within(&server, before, "of a block");

    // The same in one piece, which no frame of a stream shares.
    server = again(server, serve).await;
    let before = forget_most(&server);
    let read = read_by_all(&server.client, message.trim_end_matches("?stream=true")).await;
    assert_within(&server, before, "of a whole message");
    assert_eq!((read.len(), read.first().unwrap().matches(&url).count()), (1, 1));

    server = again(server, serve).await;
    let before = forget_most(&server);
    let read = by_all(|| on_socket(&server.client, &response)).await;
    let first = read.first().unwrap();
    assert_eq!((read.len(), first.matches(&url).count()), (1, 2), "nothing is left out");
    assert_within(&server, before, "on sockets of Responses");

    server = again(server, serve).await;
    let before = forget_most(&server);
    let read = by_all(|| on_our_socket(&server.client, &drawing)).await;
    assert_eq!((read.len(), read.first().unwrap().matches(&url).count()), (1, 1));
    assert_within(&server, before, "on sockets");
    let stream = format!("/v1/generations/{drawing}/stream");
    for path in [format!("{stream}?offset=-1&live=sse"), format!("{stream}?offset=-1")] {
        let read = read_by_all(&server.client, &path).await;
        assert_eq!((read.len(), read.first().unwrap().matches(&url).count()), (1, 1), "{path}");
    }
    server.kill().await;
}

/// Events that are each a part of what a page may have, and together some pages.
#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_of_several_large_events_hold_a_page_each() {
    const EVENTS: usize = 20;
    let url = url();
    let part = |n: usize| format!("{}{n}", &url[..600_000]);
    let pictures = (0..EVENTS).map(|n| picture(&part(n)));
    let answer = pictures.fold(Answer::sse(), |answer, one| answer.delta(&one).text("."));
    let upstream = Upstream::start(answer.complete()).await;
    let (database, dir) = (TestDatabase::create().await, TempDir::new().unwrap());
    let serve = || serve(&dir, &database, &upstream);
    let server = Server::start(serve()).await;
    let id = server.client.start_prompt("draw").await;
    eventually("it is over", async || {
        database.number("select count(*) from generations where done is not null").await == 1
    })
    .await;
    let server = again(server, serve).await;
    let before = forget_most(&server);
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut reader = server.client.try_events(&id, 0).await.unwrap();
        let mut told = Vec::new();
        while !String::from_utf8_lossy(&told).contains("\"started\"") {
            told.extend_from_slice(&reader.chunk().await.unwrap().expect("it goes on"));
        }
        readers.push((reader, told));
    }
    let took = most(&server) - before;
    println!("{took} MiB");
    assert!(took < 90, "{took} MiB, of {} each", EVENTS * 600_000 / 1_000_000);
    // Each goes on where it stood.
    for (mut reader, mut told) in readers.drain(READERS - 2..) {
        while let Some(more) = reader.chunk().await.unwrap() {
            told.extend_from_slice(&more);
        }
        let all = String::from_utf8(told).unwrap();
        let ids: Vec<u64> =
            all.lines().filter_map(|line| line.strip_prefix("id: ")?.parse().ok()).collect();
        assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>());
        assert!((0..EVENTS).all(|n| all.contains(&part(n))) && all.contains("event: done"));
    }
    // One that comes back in the middle has the rest, of each protocol.
    for after in [7, 30] {
        let rest = server.client.all(&id, after).await;
        assert_eq!(rest.first().unwrap().id, after + 1);
        assert_eq!(rest.last().unwrap().name, "done");
    }
    server.kill().await;
}
