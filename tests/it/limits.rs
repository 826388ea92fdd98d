//! The limits of a key, on every instance and by every way to a generation.
use futures_util::future::join_all;
use lastword::engine::Anonymous;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::database::TestDatabase;
use crate::harness::{TestApp, config};
use crate::keys::{locked, make_key};

const ENDLESS: &str = "/demo tokens=1000000 tps=20 ttft_ms=0";

async fn post(app: &TestApp, key: &str, path: &str, body: &Value) -> Response {
    let url = format!("{}{path}", app.client.base);
    app.client.http.post(url).bearer_auth(key).json(body).send().await.unwrap()
}

async fn start(app: &TestApp, key: &str, body: &Value) -> Response {
    post(app, key, "/v1/generations", body).await
}

async fn id(response: Response) -> String {
    assert_eq!(response.status(), StatusCode::CREATED);
    response.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
}

async fn cancel(app: &TestApp, key: &str, id: &str) {
    let path = format!("/v1/generations/{id}/cancel");
    assert_eq!(post(app, key, &path, &json!({})).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_so_many_generations_at_a_time_on_all_instances() {
    let database = TestDatabase::create().await;
    let key = make_key(&database, &["--max-concurrent", "3"]).await;
    let other = make_key(&database, &["--name", "other"]).await;
    let mut config = config(&database);
    config.anonymous = Anonymous::Refused;
    let one = TestApp::on(database.clone(), config.clone()).await;
    let two = TestApp::on(database, config).await;
    let talk = post(&one, &key, "/v1/conversations", &json!({})).await;
    let talk = id(talk).await;
    let alone = json!({ "prompt": ENDLESS });
    let said = json!({ "prompt": ENDLESS, "conversation_id": talk, "concurrent": true });
    let tries = (0..12).map(|n| {
        let app = if n % 2 == 0 { &one } else { &two };
        start(app, &key, if n % 3 == 0 { &said } else { &alone })
    });
    let (good, refused): (Vec<_>, Vec<_>) =
        join_all(tries).await.into_iter().partition(|r| r.status() == StatusCode::CREATED);
    assert_eq!(good.len(), 3);
    for refused in refused {
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(refused.headers().contains_key("retry-after"));
        let problem: Value = refused.json().await.unwrap();
        assert_eq!(problem["code"], "concurrency_limit");
        assert_eq!(problem["limit"], "concurrent_generations");
    }
    let free = id(start(&one, &other, &alone).await).await;
    cancel(&one, &other, &free).await;
    let mut ids = Vec::new();
    for good in good {
        ids.push(id(good).await);
    }
    cancel(&two, &key, &ids[0]).await;
    let with_key = || {
        let url = format!("{}/v1/generations", two.client.base);
        two.client.http.post(url).bearer_auth(&key).header("idempotency-key", "k").json(&alone)
    };
    let again = id(with_key().send().await.unwrap()).await;
    let repeated = with_key().send().await.unwrap();
    assert_eq!(repeated.status(), StatusCode::OK, "a repeat starts nothing");
    for id in ids[1..].iter().chain([&again]) {
        cancel(&one, &key, id).await;
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_bounds_what_is_asked() {
    let args = ["--max-prompt-bytes", "60", "--max-output-tokens", "9", "--max-wall-s", "1"];
    let (app, key) = locked(&args).await;
    let code = async |body: Value, code: &str| {
        let refused = start(&app, &key, &body).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let problem: Value = refused.json().await.unwrap();
        assert_eq!(problem["code"], code);
        problem
    };
    let long = code(json!({ "prompt": "x".repeat(61) }), "prompt_too_long").await;
    assert_eq!(long["limit"], 60);
    let many = json!({ "prompt": "hi", "max_output_tokens": 10 });
    assert_eq!(code(many, "out_of_range").await["max"], 9.0);
    let url = |id: &str| format!("{}/v1/generations/{id}", app.client.base);
    let ended = async |prompt: &str| {
        let id = id(start(&app, &key, &json!({ "prompt": prompt })).await).await;
        let events = app.client.http.get(url(&id) + "/events").bearer_auth(&key).send().await;
        events.unwrap().text().await.unwrap();
        let view = app.client.http.get(url(&id)).bearer_auth(&key).send().await.unwrap();
        view.json::<Value>().await.unwrap()
    };
    let short = ended("/demo tokens=50 tps=0").await;
    assert_eq!(
        (&short["status"], &short["finish_reason"]),
        (&json!("incomplete"), &json!("length"))
    );
    assert_eq!(short["usage"]["output_tokens"], 9);
    let slow = ended("/demo tokens=5 tps=0 stall_at=2 stall_s=600").await;
    assert_eq!(slow["finish_reason"], "time_limit");
    app.stop().await;
}
