//! Instances of different configurations on one database, and upstreams that flood fields beside
//! the text.
use lastword::config::Config;
use serde_json::json;
use tempfile::TempDir;

use crate::client::{PATIENCE, assert_whole};
use crate::database::TestDatabase;
use crate::harness::{TestApp, config, model};
use crate::process::{Server, command};
use crate::upstream::{Answer, Gate, Upstream};

/// As [`model`], for a server of its own process.
fn file(dir: &TempDir, upstream: &Upstream) -> std::path::PathBuf {
    let path = dir.path().join("lastword.toml");
    let text = format!(
        "[[models]]\nname = 'scripted'\nprovider = 'openai'\nbase_url = '{}'\n\
         continuation = 'prefix'\n",
        upstream.base_url()
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn with_model(database: &TestDatabase, upstream: &Upstream) -> Config {
    let mut config = config(database);
    config.models.push(model(upstream));
    config
}

async fn doomed(database: &TestDatabase, dir: &TempDir, upstream: &Upstream) -> Server {
    let mut serve = command(dir.path());
    serve.args(["--database-url", &database.url, "--lease-s", "1", "--config"]);
    serve.arg(file(dir, upstream));
    Server::start(serve).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_instance_left_goes_to_one_that_has_its_model() {
    let database = TestDatabase::create().await;
    let (gate, dir) = (Gate::default(), TempDir::new().unwrap());
    let first = Upstream::start(Answer::sse().text("one").stall()).await;
    let second = Upstream::start(Answer::sse().wait(&gate).text("two").complete()).await;
    let heir = TestApp::on(database.clone(), with_model(&database, &second)).await;
    let lacks: Vec<TestApp> = vec![
        TestApp::on(database.clone(), config(&database)).await,
        TestApp::on(database.clone(), config(&database)).await,
    ];
    let dead = doomed(&database, &dir, &first).await;
    let id = dead.client.start(&json!({ "prompt": "hi", "model": "scripted" })).await;
    dead.client.events(&id, 0).await.take(2).await;
    dead.kill().await;
    tokio::time::timeout(PATIENCE, second.arrived(1)).await.expect("it is taken over");
    gate.open();
    let seen = lacks[0].client.all(&id, 0).await;
    assert_whole(&seen);
    assert_eq!(heir.client.view(&id).await["status"], "completed");
    for app in lacks {
        app.stop().await;
    }
    heir.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_the_model_of_ends_with_an_error() {
    let database = TestDatabase::create().await;
    let dir = TempDir::new().unwrap();
    let upstream = Upstream::start(Answer::sse().text("one").stall()).await;
    let lacks = TestApp::on(database.clone(), config(&database)).await;
    let dead = doomed(&database, &dir, &upstream).await;
    let id = dead.client.start(&json!({ "prompt": "hi", "model": "scripted" })).await;
    dead.client.events(&id, 0).await.take(2).await;
    dead.kill().await;
    assert_whole(&lacks.client.all(&id, 0).await);
    let view = lacks.client.view(&id).await;
    assert_eq!((&view["status"], &view["text"]), (&json!("interrupted"), &json!("one")));
    assert_eq!(view["error"]["code"], "server_lost");
    lacks.stop().await;
}

/// Only the arguments of a call were counted as output.
#[tokio::test(flavor = "multi_thread")]
async fn names_without_an_end_are_output_too() {
    let mut answer = Answer::sse();
    for n in 0..40 {
        let name = "n".repeat(10_000);
        let call = json!({ "index": n, "id": format!("c{n}"), "function": { "name": name } });
        answer = answer.delta(&json!({ "tool_calls": [call] }));
    }
    let change = |config: &mut Config| config.limits.output_bytes = 100_000;
    let (app, _upstream) = TestApp::scripted(answer.stall(), change).await;
    let id = app.client.start_prompt("hi").await;
    assert_whole(&app.client.all(&id, 0).await);
    let view = app.client.view(&id).await;
    assert_eq!((&view["status"], &view["finish_reason"]), (&json!("incomplete"), &json!("length")));
    app.stop().await;
}
