//! References to items of earlier responses, by clients that have no right to them or too many.
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::keys::make_key;
use crate::raw::{Answer, exchange, request};

async fn ask(app: &TestApp, key: Option<&str>, input: &[Value]) -> Answer {
    let bearer = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
    let head = format!("Content-Type: application/json\r\n{bearer}");
    let body = json!({ "model": "demo", "input": input }).to_string();
    exchange(app.address, &request("POST /v1/responses", &head, body.as_bytes())).await
}

fn reference(id: &str) -> Value {
    json!({ "type": "item_reference", "id": id })
}

fn user(text: &str) -> Value {
    json!({ "role": "user", "content": text })
}

/// The first item of a response that is made for it.
async fn item(app: &TestApp) -> String {
    let answer = ask(app, None, &[user("/demo tokens=2 tps=0")]).await.json();
    answer["output"][0]["id"].as_str().unwrap().to_owned()
}

/// The refusal of an id, without the id itself.
async fn refusal(app: &TestApp, key: Option<&str>, id: &str) -> (u16, String) {
    let answer = ask(app, key, &[user("/demo tokens=2 tps=0"), reference(id)]).await;
    let shown = id.get(..40).filter(|_| id.len() > 60).unwrap_or(id);
    let error = answer.json()["error"].to_string().replace(id, "ID").replace(shown, "ID");
    (answer.status, error)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_not_there_for_a_tenant_is_refused_in_the_same_words() {
    let app = TestApp::start().await;
    let stranger = make_key(&app.database, &["--tenant", "stranger"]).await;
    let there = item(&app).await;
    assert_eq!(ask(&app, None, &[reference(&there), user("hi")]).await.status, 200);
    let expected = refusal(&app, Some(&stranger), &there).await;
    assert_eq!(expected.0, 404);
    assert!(expected.1.contains("input[1].id") && expected.1.contains("ID"), "{}", expected.1);
    let (prefix, number) = there.rsplit_once('_').unwrap();
    let none = format!("msg_{}_0", "0".repeat(32));
    let (other, far) = (format!("{prefix}_7"), format!("{prefix}_{}", u64::MAX));
    let gone = item(&app).await;
    let response = format!("/v1/responses/resp_{}", gone.split('_').nth(1).unwrap());
    let deleted = exchange(app.address, &request(&format!("DELETE {response}"), "", b"")).await;
    assert_eq!(deleted.status, 200);
    for (key, id) in [
        (Some(stranger.as_str()), there.clone()),
        (Some(&stranger), gone.clone()),
        (None, gone),
        (None, none),
        (None, other),
        (None, far),
        (None, format!("rs{}", &there[3..])),
        (None, format!("{prefix}_0{number}")),
        (None, "msg_".into()),
        (None, "é".into()),
    ] {
        assert_eq!(refusal(&app, key, &id).await, expected, "{id}");
    }
    app.stop().await;
}

/// An item that is still being said would be half of one.
#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_is_being_said_is_not_named_yet() {
    let app = TestApp::start().await;
    let body = json!({ "model": "demo", "background": true,
        "input": "/demo tokens=100000 tps=100 ttft_ms=0" });
    let started: Value = app.client.post("/v1/responses", &body).await.json().await.unwrap();
    let path = format!("/v1/responses/{}", started["id"].as_str().unwrap());
    let said = loop {
        let now: Value = app.client.get(&path).await.json().await.unwrap();
        match now["output"][0]["id"].as_str() {
            Some(id) => break id.to_owned(),
            None => tokio::task::yield_now().await,
        }
    };
    let early = ask(&app, None, &[reference(&said), user("/demo tokens=1 tps=0")]).await;
    let error = &early.json()["error"];
    assert_eq!((early.status, &error["code"]), (409, &json!("generation_running")), "{error}");
    assert_eq!(error["param"], "input[0].id");
    app.client.post(&format!("{path}/cancel"), &json!({})).await;
    let later = ask(&app, None, &[reference(&said), user("/demo tokens=1 tps=0")]).await;
    assert_eq!(later.status, 200, "{}", later.json());
    app.stop().await;
}

/// Each response that is named costs a look into the log.
#[tokio::test(flavor = "multi_thread")]
async fn references_are_bounded_in_number_and_in_size() {
    let app = TestApp::with(|config| {
        config.limits.prompt_bytes = 4000;
        config.limits.media_bytes = 1000;
    })
    .await;
    let (one, other) = (item(&app).await, item(&app).await);
    let in_turn = |n: usize| reference(if n.is_multiple_of(2) { &one } else { &other });
    let mut input: Vec<Value> = (0..100).map(in_turn).collect();
    input.push(user("/demo tokens=1 tps=0"));
    assert_eq!(ask(&app, None, &input).await.status, 200);
    // A short body would be a long one, written out.
    let large = vec![reference(&one); 800];
    let refused = ask(&app, None, &large).await;
    let error = &refused.json()["error"];
    assert_eq!((refused.status, &error["code"]), (400, &json!("prompt_too_long")), "{error}");
    assert_eq!(error["param"], "input");
    app.stop().await;
}
