//! Access: the callers that come in, those that do not, and the words that each gets.
use serde_json::Value;

use crate::bad_input::assert_problem;
use crate::harness::TestApp;
use crate::keys::{locked, make_key, told};
use crate::raw::{Answer, exchange, request};

async fn ask(app: &TestApp, line: &str, head: &str) -> Answer {
    exchange(app.address, &request(line, head, b"")).await
}

fn bearer(key: &str) -> String {
    format!("Authorization: Bearer {key}\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_and_nothing_else_does() {
    let (app, key) = locked(&[]).await;
    let other = key.replace(&key[10..12], "00");
    for head in [
        bearer(&key),
        format!("authorization: bearer  {key} \r\n"),
        format!("X-Api-Key: {key}\r\n"),
        format!("{}X-Api-Key: nonsense\r\n", bearer(&key)),
    ] {
        assert_eq!(ask(&app, "GET /v1/models", &head).await.status, 200, "{head}");
    }
    let code = async |head: &str, code: &str| {
        let answer = ask(&app, "GET /v1/models", head).await;
        assert_problem(&answer, 401, code);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"lastword\""));
    };
    code("", "unauthenticated").await;
    code("Authorization: Basic dXNlcjpwYXNz\r\n", "unauthenticated").await;
    for bad in ["", "x", "sk-unused", &other, &key[1..], &format!("{key}0"), "lw_é"] {
        code(&bearer(bad), "invalid_api_key").await;
    }
    code(&format!("{}{}", bearer(&key), bearer(&key)), "invalid_api_key").await;
    code(&format!("X-Api-Key: {other}\r\n"), "invalid_api_key").await;
    for method in ["GET", "HEAD"] {
        // A link is its own credential.
        let nowhere = ask(&app, &format!("{method} /v1/shared/lws_x"), "").await;
        assert_eq!(nowhere.status, 404, "{method}");
    }
    for public in
        ["/healthz", "/readyz", "/", "/openapi.json", "/asyncapi.json", "/docs", "/worker.js"]
    {
        assert_eq!(ask(&app, &format!("GET {public}"), "").await.status, 200, "{public}");
    }
    for unknown in ["/nothing", "/v1", "/v1/%67enerations", "//v1/models", "/static/../v1/models"] {
        let status = ask(&app, &format!("GET {unknown}"), "").await.status;
        assert!(matches!(status, 401 | 404), "{unknown}: {status}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_says_how() {
    let (app, _) = locked(&[]).await;
    let expired = make_key(&app.database, &["--expires", "1h"]).await;
    let sql = "update keys set expires_at = now() where expires_at is not null";
    sqlx::query(sql).execute(&mut app.database.connect().await).await.unwrap();
    assert_problem(&ask(&app, "GET /v1/models", &bearer(&expired)).await, 401, "key_expired");
    let revoked = make_key(&app.database, &["--name", "gone"]).await;
    told(&app.database, &["revoke", "gone"]).await;
    assert_problem(&ask(&app, "GET /v1/models", &bearer(&revoked)).await, 401, "key_revoked");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_is_what_it_says() {
    let (app, read) = locked(&["--scope", "read"]).await;
    let write = make_key(&app.database, &["--scope", "write"]).await;
    assert_eq!(ask(&app, "GET /v1/models", &bearer(&read)).await.status, 200);
    let refused = ask(&app, "POST /v1/generations", &bearer(&read)).await;
    assert_eq!(assert_problem(&refused, 403, "insufficient_scope")["scope"], "write");
    let refused = ask(&app, "GET /v1/models", &bearer(&write)).await;
    assert_eq!(assert_problem(&refused, 403, "insufficient_scope")["scope"], "read");
    let unheard = ask(&app, "POST /v1/generations", &bearer(&write)).await;
    assert_problem(&unheard, 415, "unsupported_media_type");
    for key in [&read, &write] {
        let metrics = ask(&app, "GET /%6detrics", &bearer(key)).await;
        assert_eq!(assert_problem(&metrics, 403, "insufficient_scope")["scope"], "metrics");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_loopback_no_key_is_needed_and_a_wrong_one_is_wrong() {
    let app = TestApp::start().await;
    app.engine.ready().await.unwrap();
    let wrong = format!("lw_{}", "x".repeat(43));
    assert_eq!(ask(&app, "GET /v1/models", "").await.status, 200);
    let answer = ask(&app, "GET /v1/models", &bearer(&wrong)).await;
    assert_problem(&answer, 401, "invalid_api_key");
    for (host, status) in [
        ("localhost:7878", 200),
        ("127.0.0.1", 200),
        ("[::1]:7878", 200),
        ("test", 200),
        ("lastword.localhost", 200),
        ("evil.example:7878", 403),
        ("localhost.evil.example", 403),
    ] {
        let line = format!("GET /v1/models HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = exchange(app.address, line.as_bytes()).await;
        assert_eq!(answer.status, status, "{host}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_a_url_is_refused_whatever_its_name() {
    let (app, key) = locked(&[]).await;
    for query in [
        format!("key={key}"),
        format!("api_key={key}"),
        "token=x".to_owned(),
        "a=b&ACCESS_TOKEN=x".to_owned(),
        "%6bey=x".to_owned(),
        format!("other={key}"),
        format!("other=Bearer%20{key}"),
        format!("other={key}%20"),
        key.clone(),
        "x_api_key=x".to_owned(),
        "bearer=x".to_owned(),
        format!("other={}", key.replace("lw_", "lws_")),
    ] {
        let line = format!("GET /v1/models?{query}");
        let answer = ask(&app, &line, &bearer(&key)).await;
        assert_problem(&answer, 400, "credentials_in_url");
        assert!(!String::from_utf8_lossy(&answer.body).contains(&key));
    }
    let path = ask(&app, &format!("GET /v1/generations/{key}"), &bearer(&key)).await;
    assert_problem(&path, 400, "credentials_in_url");
    let chat = ask(&app, "GET /api/chat/lw_or-something-else/stream?tokens=1", &bearer(&key)).await;
    assert_eq!(chat.status, 204, "what only looks like it");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_are_told_when_to_come_back() {
    let (app, key) = locked(&["--rpm", "5"]).await;
    for _ in 0..5 {
        assert_eq!(ask(&app, "GET /v1/models", &bearer(&key)).await.status, 200);
    }
    let answer = ask(&app, "GET /v1/models", &bearer(&key)).await;
    assert_eq!(assert_problem(&answer, 429, "rate_limited")["limit"], "requests_per_minute");
    let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=13).contains(&seconds), "{seconds}");
    assert_eq!(ask(&app, "GET /healthz", "").await.status, 200);
    app.stop().await;
}

/// Each session had a limit of its own, and signing in had none.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_one_limit_however_often_it_signs_in() {
    let (app, key) = locked(&["--rpm", "4"]).await;
    let body = format!("{{\"key\":\"{key}\"}}");
    let json = "Content-Type: application/json\r\n";
    let sign_in = request("POST /v1/session", json, body.as_bytes());
    for _ in 0..2 {
        let signed = exchange(app.address, &sign_in).await;
        let cookie = signed.header("set-cookie").unwrap().split(';').next().unwrap();
        let head = format!("Cookie: {cookie}\r\nSec-Fetch-Site: same-origin\r\n");
        assert_eq!(ask(&app, "GET /v1/models", &head).await.status, 200);
    }
    let refused = exchange(app.address, &sign_in).await;
    assert_eq!(assert_problem(&refused, 429, "rate_limited")["limit"], "requests_per_minute");
    assert!(refused.header("retry-after").is_some());
    assert_problem(&ask(&app, "GET /v1/models", &bearer(&key)).await, 429, "rate_limited");
    let openai = ask(&app, "GET /v1/models/demo", &bearer(&key)).await;
    assert_eq!(openai.json()["error"]["param"], "requests_per_minute");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openai_routes_refuse_in_openais_words() {
    let (app, _) = locked(&[]).await;
    let reads =
        make_key(&app.database, &["--name", "reads", "--scope", "read", "--rpm", "30"]).await;
    let gone = make_key(&app.database, &["--name", "gone"]).await;
    told(&app.database, &["revoke", "gone"]).await;
    let refused = async |line: &str, head: &str, status: u16, code: &str| {
        let answer = ask(&app, line, head).await;
        let kind = answer.header("content-type");
        assert_eq!((answer.status, kind), (status, Some("application/json")), "{line}");
        let error: Value = answer.json()["error"].clone();
        assert_eq!(error["code"], code, "{line}");
        assert!(error["message"].is_string() && error["type"].is_string(), "{error}");
        assert!(answer.json().get("detail").is_none(), "nothing of ours beside it");
    };
    for line in [
        "POST /v1/responses",
        "GET /v1/responses/x",
        "POST /v1/responses/x/cancel",
        "GET /v1/responses/x/input_items",
        "POST /v1/chat/completions",
        "DELETE /v1/chat/completions/x",
        "POST /v1/completions",
        "DELETE /v1/completions/x",
        "GET /v1/models/demo",
    ] {
        refused(line, "", 401, "unauthenticated").await;
        refused(line, &bearer(&gone), 401, "key_revoked").await;
        if !line.starts_with("GET") {
            refused(line, &bearer(&reads), 403, "insufficient_scope").await;
        }
    }
    let mut asked = 0;
    while ask(&app, "GET /v1/models/demo", &bearer(&reads)).await.status == 200 {
        asked += 1;
        assert!(asked <= 30, "it is limited");
    }
    refused("GET /v1/models/demo", &bearer(&reads), 429, "rate_limited").await;
    app.stop().await;
}
