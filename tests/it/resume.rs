//! A cut reader resumes. After every kill, the text that it saw is a prefix of the final text.
use serde_json::json;

use crate::client::{Client, Received, assert_whole, text};
use crate::harness::TestApp;
use crate::process::{Server, command};
use crate::upstream::{Model, Upstream};
use tempfile::TempDir;

/// A small generator of arbitrary numbers: a failing run can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % below
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_is_cut_fifty_times() {
    let app = TestApp::start().await;
    let id = app.client.start_prompt("/demo tokens=600 tps=400 unicode reasoning seed=3").await;
    let mut undisturbed = app.client.events(&id, 0).await;
    let mut dice = Dice(7);
    let mut seen: Vec<Received> = Vec::new();
    for _ in 0..50 {
        let mut reader = app.client.events(&id, seen.len() as u64).await;
        for _ in 0..dice.roll(12) {
            seen.push(reader.next().await.expect("it goes on"));
        }
    }
    seen.extend(app.client.all(&id, seen.len() as u64).await);
    assert_whole(&seen);
    assert_eq!(seen, undisturbed.rest().await, "the same bytes");
    assert_eq!(app.client.all(&id, 0).await, seen, "and for whoever comes late");
    assert_eq!(app.client.view(&id).await["text"], text(&seen));
    app.stop().await;
}

/// Reads on until it saw `count` more events, or to the end.
async fn read_on(client: &Client, id: &str, seen: &mut Vec<Received>, count: u64) -> bool {
    let mut reader = client.events(id, seen.len() as u64).await;
    for _ in 0..count {
        match reader.next().await {
            Some(event) => seen.push(event),
            None => return true,
        }
    }
    seen.last().is_some_and(|e| e.name == "done")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_killed_at_random_tokens() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::start(command(dir.path())).await;
    let id = server.client.start_prompt("/demo tokens=300 tps=100 unicode seed=5").await;
    let mut dice = Dice(11);
    let mut seen = Vec::new();
    let mut taken = 0;
    while !read_on(&server.client, &id, &mut seen, 5 + dice.roll(40)).await {
        server.kill().await;
        server = Server::start(command(dir.path())).await;
        // Nothing, if the answer was whole already and only its reader was behind.
        taken += usize::from(server.said.iter().any(|line| line.contains("took up")));
    }
    // On a busy machine an answer may be whole sooner than its reader: then no text is left to
    // continue.
    assert!(taken >= 2, "taken up {taken} times");
    assert_whole(&seen);
    assert_eq!(server.client.all(&id, 0).await, seen, "nothing that was seen is missing");
    let resumed = seen.iter().filter(|e| e.name == "resumed").count();
    assert_eq!(resumed, taken, "each take-over is told");
    let undisturbed = server.client.start_prompt("/demo tokens=300 tps=0 unicode seed=5").await;
    let undisturbed = server.client.all(&undisturbed, 0).await;
    assert_eq!(text(&seen), text(&undisturbed), "no part is missing, none is there twice");
    let view = server.client.view(&id).await;
    assert_eq!(view["status"], json!("completed"));
    assert_eq!(view["text"], json!(text(&seen)));
    assert!(server.terminate().await.success());
}

/// The scripted model's tokens in all.
const TOKENS: usize = 300;

/// A server whose model is a scripted upstream that can, or cannot, go on from a text.
async fn killed_behind_an_upstream(continues: bool) -> Vec<Received> {
    // Slow enough that a reader on a busy machine is still reading when the server dies.
    let model = Model { tokens: TOKENS, per_second: 100.0, continues, cut_first_at: None };
    let upstream = Upstream::start(model).await;
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("lastword.toml");
    let continuation = if continues { "prefix" } else { "none" };
    let config = format!(
        "[[models]]\nname = 'scripted'\nprovider = 'openai'\nbase_url = '{}'\n\
         continuation = '{continuation}'",
        upstream.base_url()
    );
    std::fs::write(&file, config).unwrap();
    let start = || {
        let mut command = command(dir.path());
        command.arg("--config").arg(&file);
        Server::start(command)
    };
    let mut server = start().await;
    let id = server.client.start_prompt("count").await;
    let mut dice = Dice(3);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let over = read_on(&server.client, &id, &mut seen, 10 + dice.roll(30)).await;
        assert!(!over, "it goes on long enough");
        server.kill().await;
        server = start().await;
    }
    while !read_on(&server.client, &id, &mut seen, 1000).await {}
    assert_whole(&seen);
    assert_eq!(server.client.all(&id, 0).await, seen, "nothing that was seen is missing");
    assert_eq!(text(&seen), Model::text(TOKENS), "no part is missing, none is there twice");
    let view = server.client.view(&id).await;
    assert_eq!((&view["status"], &view["attempts"]), (&json!("completed"), &json!(4)));
    assert_eq!(upstream.requests().len(), 4, "one request an attempt");
    assert!(server.terminate().await.success());
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_can_goes_on_behind_the_last_token() {
    let seen = killed_behind_an_upstream(true).await;
    assert_eq!(seen.iter().filter(|e| e.name == "resumed").count(), 3);
    assert_eq!(seen.iter().filter(|e| e.name == "superseded").count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_cannot_starts_again_and_the_log_says_so() {
    let seen = killed_behind_an_upstream(false).await;
    assert_eq!(seen.iter().filter(|e| e.name == "superseded").count(), 3);
    assert_eq!(seen.iter().filter(|e| e.name == "resumed").count(), 0);
}
