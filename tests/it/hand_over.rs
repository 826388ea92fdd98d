//! Owners that leave, are paused, or are dead, and the fate of their generations.
use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::Barrier;

use crate::client::{Client, Received, assert_whole, text};
use crate::database::TestDatabase;
use crate::harness::{TestApp, config, model};
use crate::process::{Server, command};
use crate::remote::instances;
use crate::upstream::{Answer, Gate, Upstream};

fn resumed(events: &[Received]) -> usize {
    events.iter().filter(|e| e.name == "resumed").count()
}

/// A generation that never ends by itself is elsewhere before its first owner has stopped, with
/// hints and without.
async fn a_drain_hands_over(hints: bool) {
    let [leaving, heir] = instances::<2>(|config| {
        config.notify = hints;
        config.shutdown_grace = std::time::Duration::from_secs(3600);
    })
    .await;
    let mut ids = Vec::new();
    for seed in 0..5 {
        let prompt = format!("/demo tokens=100000 tps=100 ttft_ms=0 seed={seed}");
        ids.push(leaving.client.start_prompt(&prompt).await);
    }
    let mut readers = Vec::new();
    for id in &ids {
        let mut reader = leaving.client.events(id, 0).await;
        let seen = reader.take(10).await;
        readers.push((reader, seen));
    }
    leaving.stop().await;
    for (id, (mut reader, mut seen)) in ids.iter().zip(readers) {
        seen.extend(reader.rest().await);
        assert_ne!(seen.last().unwrap().name, "done", "only the body has ended");
        let mut far = heir.client.events(id, seen.len() as u64).await;
        while resumed(&seen) == 0 {
            seen.extend(far.take(1).await);
        }
        seen.extend(far.take(10).await);
        let receipt = heir.client.cancel(id).await;
        seen.extend(far.rest().await);
        assert_whole(&seen);
        assert_eq!(resumed(&seen), 1);
        assert_eq!(receipt["text"], text(&seen));
    }
    heir.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_hands_over_with_hints() {
    a_drain_hands_over(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_hands_over_without_hints() {
    a_drain_hands_over(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_could_continue_ends_where_it_is() {
    let gate = Gate::default();
    let script = Answer::sse().text("Hel").wait(&gate).text("lo").complete();
    let (leaving, _upstream) = TestApp::scripted(script, |_| {}).await;
    let other = TestApp::on(leaving.database.clone(), leaving.config.clone()).await;
    let id = leaving.client.start_prompt("hi").await;
    let mut reader = leaving.client.events(&id, 0).await;
    let mut seen = reader.take(2).await;
    leaving.begin_stop();
    seen.extend(reader.rest().await);
    assert_eq!(seen.len(), 2, "the body ends");
    let mut far = other.client.events(&id, 2).await;
    gate.open();
    leaving.stop().await;
    seen.extend(far.rest().await);
    assert_whole(&seen);
    assert_eq!((resumed(&seen), text(&seen).as_str()), (0, "Hello"));
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_deploy_costs_readers_a_reconnect() {
    let database = TestDatabase::create().await;
    let mut apps = Vec::new();
    for _ in 0..3 {
        apps.push(TestApp::on(database.clone(), config(&database)).await);
    }
    let mut ids = Vec::new();
    for n in 0..9_usize {
        let prompt = format!("/demo tokens=300 tps=60 ttft_ms=0 unicode seed={n}");
        ids.push(apps[n % 3].client.start_prompt(&prompt).await);
    }
    for _ in 0..3 {
        let new = TestApp::on(database.clone(), config(&database)).await;
        let old = apps.remove(0);
        apps.push(new);
        old.stop().await;
    }
    for (seed, id) in ids.iter().enumerate() {
        let seen = join_all(apps.iter().map(|app| app.client.all(id, 0))).await;
        assert_whole(&seen[0]);
        assert!(seen.iter().all(|events| *events == seen[0]));
        assert!(resumed(&seen[0]) <= 3 && !seen[0].iter().any(|e| e.name == "superseded"));
        let prompt = format!("/demo tokens=300 tps=0 ttft_ms=0 unicode seed={seed}");
        let undisturbed = apps[0].client.start_prompt(&prompt).await;
        let undisturbed = apps[0].client.all(&undisturbed, 0).await;
        assert_eq!(text(&seen[0]), text(&undisturbed), "not a byte differs");
    }
    for app in apps {
        app.stop().await;
    }
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
}

/// A server of its own process with a scripted model that can be continued.
async fn process(dir: &Path, database: &TestDatabase, upstream: &Upstream) -> Server {
    let file = dir.join("lastword.toml");
    let config = format!(
        "[[models]]\nname = 'scripted'\nprovider = 'openai'\nbase_url = '{}'\nmax_attempts = 1\n\
         continuation = 'prefix'\n",
        upstream.base_url()
    );
    std::fs::write(&file, config).unwrap();
    let mut serve = command(dir);
    serve.args(["--database-url", &database.url, "--lease-s", "1"]).arg("--config").arg(file);
    Server::start(serve).await
}

/// An owner sleeps for longer than its lease. When it wakes up, its model goes on, or is silent.
async fn a_paused_owner(chatty: bool) {
    let gate = Gate::default();
    let begin = Answer::sse().text("Hel").wait(&gate);
    let old_upstream = Upstream::start(if chatty {
        begin.text("p!").text(" Help!").complete()
    } else {
        begin.stall()
    })
    .await;
    let new_upstream = Upstream::start(Answer::sse().text("lo").complete()).await;
    let database = TestDatabase::create().await;
    let dir = TempDir::new().unwrap();
    let paused = process(dir.path(), &database, &old_upstream).await;
    let mut heir = config(&database);
    let mut scripted = model(&new_upstream);
    scripted.continuation = Some(lastword::config::ContinuationWord::Prefix);
    heir.models.push(scripted);
    let heir = TestApp::on(database.clone(), heir).await;

    let id = paused.client.start_prompt("hi").await;
    let mut near = paused.client.events(&id, 0).await;
    let mut seen = near.take(2).await;
    signal(paused.pid(), Signal::SIGSTOP);
    let taken_over = heir.client.all(&id, 2).await;
    gate.open();
    signal(paused.pid(), Signal::SIGCONT);
    // It lets go of its model, whether the model speaks or not.
    old_upstream.closed().await;
    // Its readers, who stayed connected, get the entries of the other one.
    seen.extend(near.rest().await);
    assert_whole(&seen);
    assert_eq!(seen[2..], taken_over);
    assert_eq!((resumed(&seen), text(&seen).as_str()), (1, "Hello"));
    assert_eq!(heir.client.all(&id, 0).await, seen, "it wrote nothing after that");
    assert!(paused.terminate().await.success());
    heir.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_owner_whose_model_goes_on_writes_nothing_more() {
    a_paused_owner(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_owner_whose_model_is_silent_notices_too() {
    a_paused_owner(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_of_what_a_dead_owner_left_is_the_truth() {
    let database = TestDatabase::create().await;
    let dir = TempDir::new().unwrap();
    let mut serve = command(dir.path());
    serve.args(["--database-url", &database.url, "--lease-s", "1"]);
    let doomed = Server::start(serve).await;
    let heirs = [
        TestApp::on(database.clone(), config(&database)).await,
        TestApp::on(database.clone(), config(&database)).await,
    ];
    let id = doomed.client.start_prompt("/demo tokens=100000 tps=100 ttft_ms=0").await;
    let mut seen = doomed.client.events(&id, 0).await.take(10).await;
    doomed.kill().await;
    // A cancel at both at once, while they wait for the lease to take it over.
    let barrier = Arc::new(Barrier::new(2));
    let cancels = heirs.iter().map(|heir| {
        let (client, barrier): (Client, _) = (heir.client.clone(), barrier.clone());
        let id = &id;
        async move {
            barrier.wait().await;
            client.cancel(id).await
        }
    });
    let receipts = join_all(cancels).await;
    assert_eq!(receipts[0], receipts[1]);
    assert_eq!(receipts[0]["status"], json!("cancelled"));
    seen.extend(heirs[0].client.all(&id, 10).await);
    assert_whole(&seen);
    for heir in heirs {
        heir.stop().await;
    }
}
