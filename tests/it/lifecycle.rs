//! A generation from outside: reading, listing, cancelling, erasing; and the server's own signs.
use std::slice::from_ref;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::client::{Client, assert_whole, text};
use crate::database::{TestDatabase, own_server};
use crate::harness::{TestApp, config};
use crate::upstream::{Answer, Gate};

async fn json_of(client: &Client, path: &str) -> Value {
    let response = client.get(path).await;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    response.json().await.unwrap()
}

async fn ended(client: &Client) -> String {
    let id = client.start_prompt("/demo tokens=3 tps=0").await;
    assert_whole(&client.all(&id, 0).await);
    id
}

async fn delete(client: &Client, id: &str) -> (u16, String) {
    let request = client.http.delete(format!("{}/v1/generations/{id}", client.base));
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

const FIELDS: [&str; 21] = [
    "attempts",
    "conversation_id",
    "created_at",
    "error",
    "finish_reason",
    "finished_at",
    "id",
    "last_seq",
    "metadata",
    "model",
    "parent_id",
    "provider",
    "reasoning",
    "refusal",
    "started_at",
    "status",
    "text",
    "time_to_first_token_ms",
    "tool_calls",
    "usage",
    "cancelled",
];

fn assert_fields(view: &Value, receipt: bool) {
    let mut expected = FIELDS[..FIELDS.len() - usize::from(!receipt)].to_vec();
    expected.sort_unstable();
    let mut got: Vec<&str> = view.as_object().unwrap().keys().map(String::as_str).collect();
    got.sort_unstable();
    assert_eq!(got, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_view_while_it_runs_and_after() {
    let gate = Gate::default();
    let script = Answer::sse().text("Hel").wait(&gate).text("lo").complete();
    let (app, _upstream) = TestApp::scripted(script, |_| {}).await;
    let id = app.client.start(&json!({"prompt": "hi", "metadata": {"a": 1}})).await;
    app.client.events(&id, 0).await.take(2).await;
    let running = app.client.view(&id).await;
    assert_fields(&running, false);
    let expected = json!({
        "id": id, "status": "running", "model": "scripted", "provider": "openai",
        "conversation_id": null, "parent_id": null, "text": "Hel", "reasoning": "", "refusal": "", "tool_calls": [],
        "last_seq": 2, "usage": null, "finish_reason": null, "error": null, "attempts": 1,
        "created_at": running["created_at"], "started_at": running["started_at"],
        "finished_at": null, "time_to_first_token_ms": running["time_to_first_token_ms"],
        "metadata": {"a": 1},
    });
    assert_eq!(running, expected);
    assert!(running["started_at"].is_string() && running["time_to_first_token_ms"].is_number());
    gate.open();
    assert_whole(&app.client.all(&id, 0).await);
    let ended = app.client.view(&id).await;
    assert_fields(&ended, false);
    let changed = [
        ("status", json!("completed")),
        ("text", json!("Hello")),
        ("last_seq", json!(4)),
        ("finish_reason", json!("stop")),
        ("usage", json!({"input_tokens": 1, "output_tokens": 2, "exact": true})),
        ("finished_at", ended["finished_at"].clone()),
    ];
    let mut expected = running;
    for (field, value) in changed {
        expected[field] = value;
    }
    assert_eq!(ended, expected);
    assert!(ended["finished_at"].is_string());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_newest_first_and_paged() {
    let (app, _upstream) = TestApp::scripted(Answer::sse().text("x").stall(), |_| {}).await;
    let client = &app.client;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let id = client.start(&json!({"model": "demo", "prompt": "/demo tokens=2 tps=0"})).await;
        assert_whole(&client.all(&id, 0).await);
        ids.insert(0, id);
    }
    let running = client.start_prompt("hi").await;
    client.events(&running, 0).await.take(2).await;

    let of = |page: &Value| -> Vec<String> {
        let ids = page["data"].as_array().unwrap().iter().map(|g| g["id"].as_str().unwrap());
        ids.map(str::to_owned).collect()
    };
    let all = json_of(client, "/v1/generations").await;
    assert_eq!((of(&all)[0].clone(), of(&all)[1..].to_vec()), (running.clone(), ids.clone()));
    assert_eq!(all["next_cursor"], Value::Null);
    assert_eq!(all["data"][1], client.view(&ids[0]).await);
    let runs = json_of(client, "/v1/generations?status=running").await;
    assert_eq!(of(&runs), from_ref(&running));
    assert_eq!(of(&json_of(client, "/v1/generations?status=completed").await), ids);
    assert_eq!(of(&json_of(client, "/v1/generations?status=failed").await), Vec::<String>::new());

    let mut paged = Vec::new();
    let mut path = "/v1/generations?limit=2&status=completed".to_owned();
    let mut pages = 0;
    loop {
        let page = json_of(client, &path).await;
        paged.extend(of(&page));
        pages += 1;
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/generations?limit=2&status=completed&cursor={cursor}");
    }
    assert_eq!((paged, pages), (ids, 3));
    client.cancel(&running).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_leaves_nothing() {
    let (app, _upstream) = TestApp::scripted(Answer::sse().text("x").stall(), |_| {}).await;
    let id = app.client.start_prompt("hi").await;
    app.client.events(&id, 0).await.take(2).await;
    let (status, body) = delete(&app.client, &id).await;
    assert_eq!(status, 409);
    assert!(body.contains("generation_running"), "{body}");
    app.client.cancel(&id).await;
    let (status, body) = delete(&app.client, &id).await;
    assert_eq!((status, body.as_str()), (204, ""));
    for path in ["", "/events"] {
        let response = app.client.get(&format!("/v1/generations/{id}{path}")).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
    }
    assert_eq!(delete(&app.client, &id).await.0, 404);
    assert_eq!(app.database.number("select count(*) from generations").await, 0);
    assert_eq!(app.database.number("select count(*) from events").await, 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_is_a_receipt_of_what_is_true() {
    let (app, upstream) = TestApp::scripted(Answer::sse().text("Hel").stall(), |_| {}).await;
    let id = app.client.start_prompt("hi").await;
    let mut reader = app.client.events(&id, 0).await;
    let mut events = reader.take(2).await;
    let receipt = app.client.cancel(&id).await;
    // By now the receipt is true: the upstream is closed, and the ending is durable.
    upstream.closed().await;
    assert_eq!(app.database.number("select count(*) from events where type = 'done'").await, 1);
    assert_fields(&receipt, true);
    let said = [("status", json!("cancelled")), ("text", json!("Hel")), ("cancelled", json!(true))];
    for (field, value) in said {
        assert_eq!(receipt[field], value, "{field}");
    }
    assert_eq!(receipt["last_seq"], 3);
    assert!(receipt["usage"]["input_tokens"].as_u64().unwrap() > 0);
    assert_eq!(receipt["usage"]["exact"], false);
    events.extend(reader.rest().await);
    assert_whole(&events);
    assert_eq!(app.client.cancel(&id).await, receipt, "twice is the same as once");
    assert_eq!(app.client.all(&id, 0).await, events, "nothing follows");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancels_from_everywhere_at_once_agree() {
    let app = TestApp::start().await;
    let id = app.client.start_prompt("/demo tokens=100000 tps=500 ttft_ms=0").await;
    app.client.events(&id, 0).await.take(5).await;
    let all = futures_util::future::join_all((0..10).map(|_| app.client.cancel(&id))).await;
    assert!(all.iter().all(|receipt| *receipt == all[0]));
    let events = app.client.all(&id, 0).await;
    assert_whole(&events);
    assert_eq!(all[0]["text"], text(&events));
    assert_eq!(all[0]["last_seq"], events.len());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_after_the_end_changes_nothing() {
    let app = TestApp::start().await;
    let id = ended(&app.client).await;
    let view = app.client.view(&id).await;
    let mut receipt = app.client.cancel(&id).await;
    assert_eq!(receipt["cancelled"], false);
    receipt.as_object_mut().unwrap().remove("cancelled");
    assert_eq!(receipt, view);
    let nobody = "/v1/generations/00000000-0000-7000-8000-000000000000/cancel";
    assert_eq!(app.client.post(nobody, &json!({})).await.status(), StatusCode::NOT_FOUND);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_of_what_waits_never_asks_the_model() {
    let script = Answer::sse().text("Hel").stall();
    let (app, upstream) = TestApp::scripted(script, |config| config.limits.running = 1).await;
    let first = app.client.start_prompt("hi").await;
    app.client.events(&first, 0).await.take(2).await;
    let second = app.client.start_prompt("ho").await;
    let receipt = app.client.cancel(&second).await;
    assert_eq!((&receipt["status"], &receipt["text"]), (&json!("cancelled"), &json!("")));
    assert_eq!(receipt["cancelled"], true);
    let events = app.client.all(&second, 0).await;
    assert_whole(&events);
    assert_eq!(events.len(), 2);
    app.client.cancel(&first).await;
    assert_eq!(upstream.requests().len(), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_says_what_it_is() {
    let (app, _upstream) = TestApp::scripted(Answer::sse().complete(), |_| {}).await;
    let models = json_of(&app.client, "/v1/models").await;
    assert_eq!(models["object"], "list");
    let named: Vec<(&str, &str, bool)> = models["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| {
            assert_eq!(m["object"], "model");
            let word = |field: &str| m[field].as_str().unwrap();
            (word("id"), word("owned_by"), m["default"].as_bool().unwrap())
        })
        .collect();
    assert_eq!(named, [("demo", "demo", false), ("scripted", "openai", true)]);
    assert_eq!(json_of(&app.client, "/healthz").await, json!({"status": "ok"}));
    assert_eq!(json_of(&app.client, "/readyz").await, json!({"status": "ready"}));
    let welcome = app.client.get("/").await;
    assert_eq!(welcome.headers()["content-type"], "text/plain; charset=utf-8");
    let welcome = welcome.text().await.unwrap();
    let command = format!("curl -N {}/v1/generations ", app.client.base);
    assert!(welcome.contains(&command), "{welcome}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_about_to_stop_is_not_ready() {
    let app = TestApp::start().await;
    let id = ended(&app.client).await;
    app.engine.close();
    let answers = [
        app.client.get("/readyz").await,
        app.client.post("/v1/generations", &json!({"prompt": "/demo"})).await,
    ];
    for answer in answers {
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers().contains_key("retry-after"));
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "draining");
    }
    assert_eq!(app.client.get("/healthz").await.status(), StatusCode::OK);
    assert_eq!(app.client.view(&id).await["status"], "completed");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_its_database_is_alive_but_not_ready() {
    let (server, _dir) = own_server().await;
    let database = TestDatabase::create_on(&server).await;
    let config = config(&database);
    let app = TestApp::on(database, config).await;
    let id = ended(&app.client).await;
    server.stop().await;
    let path = format!("/v1/generations/{id}");
    for path in ["/readyz", &path, "/v1/generations"] {
        let answer = app.client.get(path).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(answer.headers().contains_key("retry-after"));
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "storage_unavailable");
    }
    assert_eq!(app.client.get("/healthz").await.status(), StatusCode::OK);
    app.stop().await;
}
