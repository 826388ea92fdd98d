//! The server dies in the middle of an answer: its message is there once, whole.
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Received, text};
use crate::conversation::{Talk, Turn};
use crate::database::TestDatabase;
use crate::harness::{TestApp, config, model_config};
use crate::process::{Server, command};

/// Kills a server in the middle of an answer. Gives the other one, on the same database, and the
/// records of its readers.
async fn killed(model: &str) -> (TestApp, Talk, Turn, Vec<Received>) {
    let database = TestDatabase::create().await;
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("lastword.toml");
    std::fs::write(&file, format!("[[models]]\n{model}\n")).unwrap();
    let mut serve = command(dir.path());
    serve.args(["--database-url", &database.url, "--lease-s", "2", "--config"]).arg(&file);
    let doomed = Server::start(serve).await;
    let mut settings = config(&database);
    settings.models.push(model_config(model));
    let heir = TestApp::on(database.clone(), settings).await;
    let talk = Talk::open(&doomed.client, &json!({})).await;
    talk.prompt("/demo tokens=2 tps=0 seed=3").await;
    let turn = talk.start(json!({"prompt": "/demo tokens=300 tps=100 ttft_ms=0 seed=8"})).await;
    let mut seen = doomed.client.events(&turn.id, 0).await.take(30).await;
    doomed.kill().await;
    let talk = talk.at(&heir.client);
    seen.extend(heir.client.all(&turn.id, 30).await);
    (heir, talk, turn, seen)
}

async fn message(talk: &Talk, turn: &Turn) -> Value {
    let messages = talk.get("/messages").await;
    let data = messages["data"].as_array().unwrap();
    assert_eq!(data.len(), 4, "once");
    assert_eq!((&messages["active_leaf"], &messages["running"]), (&json!(turn.id), &json!([])));
    data[3].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_answer_is_one_message() {
    let (heir, talk, turn, seen) = killed("name = 'demo'\nprovider = 'demo'").await;
    assert!(seen.iter().any(|e| e.name == "resumed"), "{seen:?}");
    let message = message(&talk, &turn).await;
    assert_eq!(message["content"], text(&seen));
    assert_eq!((&message["id"], &message["status"]), (&json!(turn.id), &json!("completed")));
    assert_eq!(heir.client.view(&turn.id).await["text"], text(&seen));
    heir.stop().await;
}

/// The take-over itself writes `done` here, and so the message.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_goes_on_with_is_one_message() {
    let model = "name = 'demo'\nprovider = 'demo'\non_loss = 'interrupt'";
    let (heir, talk, turn, seen) = killed(model).await;
    let message = message(&talk, &turn).await;
    assert_eq!(
        (&message["content"], &message["status"]),
        (&json!(text(&seen)), &json!("interrupted"))
    );
    assert_eq!(message["error"]["code"], "server_lost");
    talk.prompt("/demo tokens=1 tps=0").await;
    heir.stop().await;
}
