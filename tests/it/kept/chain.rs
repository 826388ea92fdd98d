//! Against a server of this API that was not written for these tests: our own.
use std::time::Duration;

use super::*;

/// A server whose model is another server's demo.
fn model(base: &str) -> String {
    format!(
        "name = 'far'\nprovider = 'openai'\nwire = 'responses'\nupstream_model = 'demo'\n\
         base_url = '{base}/v1'\ncontinuation = 'provider_resume'\nmax_attempts = 12"
    )
}

const PROMPT: &str = "/demo tokens=100 tps=80 ttft_ms=0 seed=4 unicode reasoning";

/// The only generation of a server, as it shows it.
async fn only(client: &Client) -> Value {
    let list: Value = client.get("/v1/generations").await.json().await.unwrap();
    assert_eq!(list["data"].as_array().unwrap().len(), 1, "one answer, whatever broke");
    client.view(list["data"][0]["id"].as_str().unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_ours_is_resumed_like_any() {
    // Every stream of it ends early.
    let far = TestApp::with(|c| c.limits.connection_age = Duration::from_millis(300)).await;
    let near = TestApp::with(|c| c.models = vec![model_config(&model(&far.client.base))]).await;
    let id = near.client.start(&json!({ "model": "far", "prompt": PROMPT })).await;
    let events = near.client.all(&id, 0).await;
    assert_whole(&events);
    let (here, there) = (near.client.view(&id).await, only(&far.client).await);
    assert_eq!(here["status"], "completed", "{:?}", names(&events));
    assert_eq!((&here["text"], &here["reasoning"]), (&there["text"], &there["reasoning"]));
    assert!(names(&events).contains(&"resumed".into()), "{:?}", names(&events));
    assert_eq!(here["usage"]["output_tokens"], there["usage"]["output_tokens"]);
    near.stop().await;
    far.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_here_and_a_cancel_reach_it() {
    let far = TestApp::start().await;
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("lastword.toml");
    std::fs::write(&file, format!("[[models]]\n{}", model(&far.client.base))).unwrap();
    let serve = || {
        let mut serve = command(dir.path());
        serve.arg("--config").arg(&file);
        Server::start(serve)
    };
    let near = serve().await;
    let id = near.client.start_prompt(&PROMPT.replace("tokens=100", "tokens=400")).await;
    let mut seen = near.client.events(&id, 0).await.take(60).await;
    near.kill().await;
    let near = serve().await;
    let mut reader = near.client.events(&id, seen.len() as u64).await;
    seen.extend(reader.take(60).await);
    let receipt = near.client.cancel(&id).await;
    seen.extend(reader.rest().await);
    assert_whole(&seen);
    assert_eq!(names(&seen).iter().filter(|n| *n == "resumed").count(), 1);
    let there = only(&far.client).await;
    assert_eq!((&receipt["status"], &there["status"]), (&json!("cancelled"), &json!("cancelled")));
    let (said, whole) = (text(&seen), there["text"].as_str().unwrap());
    assert!(!said.is_empty() && whole.starts_with(&said), "{said}\n{whole}");
    assert!(near.terminate().await.success());
    far.stop().await;
}
