//! `/v1/admin`: an operator sees the running generations of all tenants and stops them, but never a
//! prompt or an answer.
use futures_util::StreamExt;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::client::PATIENCE;
use crate::harness::TestApp;
use crate::keys::{locked, make_key};

async fn ask(
    app: &TestApp,
    key: &str,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> (StatusCode, Value) {
    let request = app.client.http.request(method, format!("{}{path}", app.client.base));
    let request = request.bearer_auth(key);
    let request = if let Some(body) = &body { request.json(body) } else { request };
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap_or_default())
}

/// A server with a tenant's generation that runs, and an operator's key.
async fn house() -> (TestApp, String, String, String) {
    let (app, tenant) = locked(&["--tenant", "acme"]).await;
    let operator = make_key(&app.database, &["--tenant", "ops", "--scope", "admin"]).await;
    let prompt = json!({ "prompt": "/demo tokens=1000000 tps=50 secret" });
    let (status, started) = ask(&app, &tenant, Method::POST, "/v1/generations", Some(prompt)).await;
    assert_eq!(status, 201, "{started}");
    let id = started["id"].as_str().unwrap().to_owned();
    (app, tenant, operator, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_times_of_all_tenants_and_cancels() {
    let (app, tenant, operator, id) = house().await;
    let events = app.client.http.get(format!("{}/v1/admin/events", app.client.base));
    let events = events.bearer_auth(&operator).send().await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream; charset=utf-8");
    let mut body = events.bytes_stream();
    let mut text = String::new();
    // The second picture has rates; the generation makes fifty tokens a second.
    let overview: Value = loop {
        let piece = timeout(PATIENCE, body.next()).await.unwrap().unwrap().unwrap();
        text.push_str(std::str::from_utf8(&piece).unwrap());
        let data = text.split("\n\n").filter_map(|frame| frame.split_once("data: "));
        let pictures: Vec<Value> =
            data.filter_map(|(_, json)| serde_json::from_str(json).ok()).collect();
        let told = |v: &&Value| v["here"]["appended_per_s"].as_f64().unwrap() > 0.0;
        if let Some(picture) = pictures.iter().find(told) {
            break picture.clone();
        }
    };
    let fleet = &overview["fleet"];
    assert_eq!(fleet["unfinished"], json!({ "running": 1 }), "{overview}");
    assert_eq!(fleet["instances"][0]["id"], overview["instance"]);
    assert_eq!(fleet["instances"][0]["generations"], 1);
    assert!(fleet["instances"][0]["lease_left_ms"].as_i64().unwrap() > 0);
    let row = &fleet["generations"][0];
    assert_eq!((&row["id"], &row["tenant"]), (&json!(id), &json!("acme")));
    drop(body);

    let path = format!("/v1/admin/generations/{id}");
    let (_, timeline) = ask(&app, &operator, Method::GET, &format!("{path}/timeline"), None).await;
    let moments = timeline["data"].as_array().unwrap();
    assert_eq!((&moments[0]["seq"], &moments[0]["type"]), (&json!(1), &json!("started")));
    assert!(moments.windows(2).all(|pair| pair[0]["seq"].as_u64() < pair[1]["seq"].as_u64()
        && pair[0]["at_ms"].as_f64() <= pair[1]["at_ms"].as_f64()));
    assert!(moments.last().unwrap()["at_ms"].as_f64().unwrap() > 0.0);
    let behind = format!("{path}/timeline?after=3");
    let (_, rest) = ask(&app, &operator, Method::GET, &behind, None).await;
    assert_eq!(rest["data"][0]["seq"], 4);

    let (status, receipt) =
        ask(&app, &operator, Method::POST, &format!("{path}/cancel"), None).await;
    assert_eq!(status, 200);
    assert_eq!((&receipt["status"], &receipt["cancelled"]), (&json!("cancelled"), &json!(true)));
    let own = format!("/v1/generations/{id}");
    let (_, view) = ask(&app, &tenant, Method::GET, &own, None).await;
    assert_eq!((&view["status"], &view["last_seq"]), (&json!("cancelled"), &receipt["last_seq"]));
    let (_, overview) = ask(&app, &operator, Method::GET, "/v1/admin/overview", None).await;
    let said = format!("{text}{timeline}{rest}{receipt}{overview}");
    for word in view["text"].as_str().unwrap().split_whitespace().filter(|word| word.len() > 6) {
        assert!(!said.contains(word), "{word}");
    }
    assert!(!said.contains("secret"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_scope_there_is_nothing_to_see() {
    let (app, tenant, operator, id) = house().await;
    let metrics = make_key(&app.database, &["--scope", "metrics"]).await;
    let of_it = |what: &str| format!("/v1/admin/generations/{id}/{what}");
    let routes = [
        (Method::GET, "/v1/admin/overview".to_owned()),
        (Method::GET, "/v1/admin/events".to_owned()),
        (Method::GET, "/v1/%61dmin/overview".to_owned()),
        (Method::GET, of_it("timeline")),
        (Method::POST, of_it("cancel")),
    ];
    for (method, path) in &routes {
        for key in [&tenant, &metrics] {
            let (status, problem) = ask(&app, key, method.clone(), path, None).await;
            assert_eq!((status.as_u16(), &problem["scope"]), (403, &json!("admin")), "{path}");
        }
        let nobody = app.client.http.request(method.clone(), format!("{}{path}", app.client.base));
        assert_eq!(nobody.send().await.unwrap().status(), 401, "{path}");
    }
    // An operator is no tenant: prompts and answers stay closed.
    for path in [format!("/v1/generations/{id}"), format!("/v1/generations/{id}/events")] {
        let (status, _) = ask(&app, &operator, Method::GET, &path, None).await;
        assert_eq!(status, 403, "{path}");
    }
    for what in ["timeline", "timeline?after=x"] {
        let path = format!("/v1/admin/generations/00000000-0000-7000-8000-000000000001/{what}");
        let (status, _) = ask(&app, &operator, Method::GET, &path, None).await;
        assert_eq!(status, if what == "timeline" { 404 } else { 400 }, "{path}");
    }
    let page = app.client.http.get(format!("{}/admin", app.client.base)).send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.headers()["content-security-policy"].to_str().unwrap().contains("trusted-types"));
    let (status, _) = ask(&app, &operator, Method::POST, &of_it("cancel"), None).await;
    assert_eq!(status, 200);
    app.stop().await;
}
