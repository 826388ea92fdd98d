//! A generation from its start to its last word with reqwest and eventsource-stream, over every cut:
//! each event once.   cargo run --example follow "Tell me about rivers"
use std::error::Error;
use std::time::Duration;

use eventsource_stream::Eventsource;
use futures_util::StreamExt;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

type Failure = Box<dyn Error + Send + Sync>;

/// Starts it; returns the path of its events.
async fn start(client: &Client, server: &str, prompt: &str) -> Result<String, Failure> {
    // A repeat with the same key is the same start, should the answer be lost.
    #[expect(clippy::disallowed_methods, reason = "a rule for the server's own ids")]
    let key = uuid::Uuid::now_v7().to_string();
    let request = client.post(format!("{server}/v1/generations")).header("idempotency-key", key);
    let response = request.json(&json!({ "prompt": prompt })).send().await?.error_for_status()?;
    let receipt: Value = response.json().await?;
    Ok(receipt["links"]["events"].as_str().ok_or("no lastword server")?.to_owned())
}

/// Hands each event to `told` once, until there are no more.
pub(crate) async fn follow(
    server: &str,
    prompt: &str,
    mut told: impl FnMut(Value),
) -> Result<(), Failure> {
    // The server gives a sign of life every 15 s.
    let client = Client::builder().read_timeout(Duration::from_secs(45)).build()?;
    let path = start(&client, server, prompt).await?;
    let mut last = String::from("0");
    loop {
        let request = client.get(format!("{server}{path}")).header("last-event-id", &last);
        if let Ok(response) = request.send().await {
            if response.status() == StatusCode::NO_CONTENT {
                return Ok(());
            }
            let mut events = response.error_for_status()?.bytes_stream().eventsource();
            while let Some(Ok(event)) = events.next().await {
                last = event.id;
                told(serde_json::from_str(&event.data)?);
                if event.event == "done" {
                    return Ok(());
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let _only_once = rustls::crypto::ring::default_provider().install_default();
    let prompt = std::env::args().nth(1).ok_or("usage: follow PROMPT")?;
    let told = |event: Value| match event["type"].as_str() {
        Some("delta") => print!("{}", event["text"].as_str().unwrap_or_default()),
        // What was said is void.
        Some("superseded") => println!("\n--"),
        // In place of everything before.
        Some("snapshot") => print!("\n--\n{}", event["text"].as_str().unwrap_or_default()),
        Some("done") => eprintln!("\n[{}]", event["status"]),
        _ => {}
    };
    follow("http://127.0.0.1:7878", &prompt, told).await
}
