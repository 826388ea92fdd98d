//! No log line and no error contains a prompt, an answer or a credential.
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

use crate::client::Client;
use crate::process::{Server, command};
use crate::upstream::{Answer, Upstream};

const PROMPT: &str = "plantedprompt";
const ANSWER: &str = "plantedanswer";
const UPSTREAM: &str = "plantedupstreambody";
const UPSTREAM_KEY: &str = "plantedupstreamkey";

async fn post(client: &Client, path: &str, body: &Value, head: (&str, &str)) -> reqwest::Response {
    let url = format!("{}{path}", client.base);
    client.http.post(url).header(head.0, head.1).json(body).send().await.unwrap()
}

/// A prompt in the words of each dialect, whose answer is a stream.
fn dialects(model: &str) -> [(&'static str, Value); 3] {
    let said = json!([{ "role": "user", "content": PROMPT }]);
    let parts = json!([{ "type": "text", "text": PROMPT }]);
    let message = json!({ "id": "m", "role": "user", "parts": parts });
    [
        ("/v1/chat/completions", json!({ "model": model, "messages": said, "stream": true })),
        ("/v1/responses", json!({ "model": model, "input": PROMPT, "stream": true })),
        ("/api/chat", json!({ "model": model, "id": model, "messages": [message] })),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_line_holds_a_secret() {
    let dir = TempDir::new().unwrap();
    let good = Upstream::start(Answer::sse().text(ANSWER).complete()).await;
    let bad = Upstream::start(Answer::status(400).raw(UPSTREAM)).await;
    let model = |name: &str, upstream: &Upstream| {
        format!(
            "[[models]]\nname = '{name}'\nprovider = 'openai'\nbase_url = '{}'\n\
             api_key_env = 'PLANTED'\nmax_attempts = 1\n",
            upstream.base_url()
        )
    };
    let file = dir.path().join("lastword.toml");
    std::fs::write(&file, model("good", &good) + &model("bad", &bad)).unwrap();
    let mut serve = command(dir.path());
    serve.arg("--config").arg(&file).env("PLANTED", UPSTREAM_KEY).stderr(Stdio::piped());
    // Every URL that may be asked for.
    serve.env("RUST_LOG", "debug,sqlx=info,h2=info,hyper=info,mio=info");
    let mut server = Server::start(serve).await;
    let mut log = server.take_log();
    let client = server.client.clone();
    let key = format!("lw_{}", "Planted".repeat(7).get(..43).unwrap());
    let bearer = format!("Bearer {key}");
    let plain = ("x-nothing", "x");
    for model in ["good", "bad"] {
        let body = json!({ "prompt": PROMPT, "model": model, "metadata": { "note": PROMPT } });
        let started: Value =
            post(&client, "/v1/generations", &body, plain).await.json().await.unwrap();
        let id = started["id"].as_str().unwrap();
        client.all(id, 0).await;
        for (path, body) in dialects(model) {
            let answer = post(&client, path, &body, plain).await;
            let is_well = answer.status() == 200;
            assert!(is_well || (model == "bad" && !answer.status().is_server_error()), "{path}");
            answer.text().await.unwrap();
        }
    }
    let broken = post(&client, "/v1/generations", &json!({ "promt": PROMPT }), plain).await;
    let mut said = vec![broken.text().await.unwrap()];
    let refused = [
        post(&client, "/v1/generations", &json!({ "prompt": PROMPT }), ("authorization", &bearer))
            .await,
        post(&client, "/v1/session", &json!({ "key": key }), plain).await,
        post(&client, &format!("/v1/generations?key={key}"), &json!({}), plain).await,
        post(&client, "/v1/chat/completions", &json!({}), ("authorization", &bearer)).await,
        post(&client, "/v1/responses", &json!({}), ("x-api-key", &key)).await,
        post(&client, "/api/chat", &json!({}), ("authorization", &bearer)).await,
        post(&client, &format!("/v1/generations/{key}/cancel"), &json!({}), plain).await,
        post(&client, &format!("/v1/generations?ticket=lwt_{}", &key[3..]), &json!({}), plain)
            .await,
        post(&client, "/v1/generations", &json!({}), ("cookie", &format!("lastword={key}"))).await,
    ];
    for refused in refused {
        assert!(matches!(refused.status().as_u16(), 400 | 401 | 403), "{}", refused.status());
        said.push(refused.text().await.unwrap());
    }
    assert!(server.terminate().await.success());
    let mut lines = String::new();
    log.read_to_string(&mut lines).await.unwrap();
    assert!(lines.contains("attempt lost"), "it logs: {lines}");
    said.push(lines);
    for secret in [PROMPT, ANSWER, UPSTREAM, UPSTREAM_KEY, &key, &key[4..]] {
        for text in &said {
            let at = text.lines().find(|line| line.contains(secret));
            assert!(at.is_none(), "{secret}: {at:?}");
        }
    }
}
