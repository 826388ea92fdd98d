//! Postgres goes away under running generations: nothing is lost, nothing is there twice, all end.
use std::time::Duration;

use lastword_postgres::Embedded;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::client::{Client, Received, assert_whole, text};
use crate::database::{TestDatabase, own_server};
use crate::harness::{TestApp, config};
use crate::process::{Server, command};
use crate::upstream::{Answer, Upstream};

/// An immediate stop, as a crash is, and the start after it.
pub(crate) async fn crash_and_start(server: &mut Embedded) {
    kill(Pid::from_raw(server.pid().try_into().unwrap()), Signal::SIGQUIT).unwrap();
    while !server.revive().await.unwrap() {
        tokio::task::yield_now().await;
    }
}

/// Reads to the end, coming back as often as it is cut.
async fn read_to_the_end(client: Client, id: String) -> Vec<Received> {
    let mut seen: Vec<Received> = Vec::new();
    while seen.last().is_none_or(|e| e.name != "done") {
        let mut reader = client.events(&id, seen.len() as u64).await;
        seen.extend(reader.rest().await);
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_crashes_under_fifty_generations() {
    let (mut server, _dir) = own_server().await;
    let database = TestDatabase::create_on(&server).await;
    let config = config(&database);
    let app = TestApp::on(database, config).await;
    let mut readers = JoinSet::new();
    let mut watch = Vec::new();
    for seed in 0..50 {
        let prompt = format!("/demo tokens=150 tps=60 ttft_ms=0 seed={seed}");
        let id = app.client.start_prompt(&prompt).await;
        watch.push(app.client.events(&id, 0).await);
        readers.spawn(read_to_the_end(app.client.clone(), id));
    }
    for crash in [20, 60] {
        for reader in &mut watch {
            reader.take(crash).await;
        }
        crash_and_start(&mut server).await;
    }
    while let Some(seen) = readers.join_next().await {
        let seen = seen.unwrap();
        assert_whole(&seen);
        assert_eq!(seen.last().unwrap().json()["status"], "completed");
        let id = seen[0].json()["generation"].as_str().unwrap().to_owned();
        assert_eq!(app.client.all(&id, 0).await, seen);
        assert_eq!(app.client.view(&id).await["text"], text(&seen));
    }
    let rows = "select count(*) from generations where status = 'completed'";
    assert_eq!(app.database.number(rows).await, 50);
    app.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_private_postgres_is_killed_and_comes_back_by_itself() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(command(dir.path())).await;
    let id = server.client.start_prompt("/demo tokens=200 tps=100 seed=2").await;
    let mut reader = server.client.events(&id, 0).await;
    let mut seen = reader.take(30).await;
    let pid = std::fs::read_to_string(dir.path().join("postgres/data/postmaster.pid")).unwrap();
    let pid = pid.lines().next().unwrap().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    seen.extend(reader.rest().await);
    assert_whole(&seen);
    assert_eq!(server.client.view(&id).await["text"], text(&seen));
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_that_is_too_long_closes_the_upstream_and_is_told() {
    let (mut server, _dir) = own_server().await;
    let database = TestDatabase::create_on(&server).await;
    let mut config = config(&database);
    config.limits.write_outage = Duration::from_millis(300);
    // More than a generation may be ahead of the log.
    let flood = "x".repeat(8 * 1024);
    let mut answer = Answer::sse().text("first");
    for _ in 0..100 {
        answer = answer.text(&flood);
    }
    let upstream = Upstream::start(answer.stall()).await;
    config.openai.base_url = Some(upstream.base_url());
    config.openai.model = Some("scripted".into());
    let app = TestApp::on(database, config).await;
    let id = app.client.start_prompt("go").await;
    let mut reader = app.client.events(&id, 0).await;
    let mut seen = reader.take(1).await;
    kill(Pid::from_raw(server.pid().try_into().unwrap()), Signal::SIGQUIT).unwrap();
    upstream.closed().await;
    while !server.revive().await.unwrap() {
        tokio::task::yield_now().await;
    }
    seen.extend(reader.rest().await);
    if seen.last().is_none_or(|e| e.name != "done") {
        seen.extend(read_to_the_end(app.client.clone(), id).await.split_off(seen.len()));
    }
    assert_whole(&seen);
    let done = seen.last().unwrap().json();
    assert_eq!(done["status"], json!("interrupted"));
    assert_eq!(done["error"]["code"], json!("storage_unavailable"));
    app.stop().await;
    server.stop().await;
}
