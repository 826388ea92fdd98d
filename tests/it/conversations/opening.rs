//! A conversation is opened once, however often its opening is sent.
use futures_util::future::join_all;
use lastword::domain::conversation::NewConversation;
use lastword::domain::generation::Idempotency;
use lastword::domain::id::Tenant;
use lastword::domain::json::JsonObject;
use lastword::ports::Made;
use reqwest::Response;
use serde_json::{Value, json};

use crate::client::Client;
use crate::conversation::{request, told};
use crate::database::TestDatabase;
use crate::harness::{TestApp, config};

async fn open(client: &Client, key: &str, body: &Value) -> Response {
    let request = client.http.post(format!("{}/v1/conversations", client.base));
    request.header("idempotency-key", key).json(body).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_one_conversation() {
    let app = TestApp::start().await;
    let body = json!({"title": "Colours", "metadata": {"b": 1, "a": [2]}});
    let first = open(&app.client, "k", &body).await;
    assert!(!first.headers().contains_key("idempotency-replayed"));
    let location = first.headers()["location"].clone();
    let (status, first) = told(first).await;
    assert_eq!(status, 201);
    let again = open(&app.client, "k", &body).await;
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert_eq!(again.headers()["location"], location);
    assert_eq!(told(again).await, (200, first.clone()));

    // As it is now, not as it was.
    let path = format!("/v1/conversations/{}", first["id"].as_str().unwrap());
    let change = json!({"title": "Sounds"});
    request(&app.client, reqwest::Method::PATCH, &path, Some(&change)).await;
    assert_eq!(told(open(&app.client, "k", &body).await).await.1["title"], "Sounds");

    let (status, other) = told(open(&app.client, "k", &json!({"title": "Tastes"})).await).await;
    assert_eq!((status, &other["code"]), (422, &json!("idempotency_key_reused")));
    let (status, bad) = told(open(&app.client, "a b", &body).await).await;
    assert_eq!((status, &bad["code"]), (400, &json!("invalid_idempotency_key")));
    let all = app.client.get("/v1/conversations").await;
    assert_eq!(told(all).await.1["data"].as_array().unwrap().len(), 1);

    request(&app.client, reqwest::Method::DELETE, &path, None).await;
    let (status, anew) = told(open(&app.client, "k", &body).await).await;
    assert_eq!(status, 201, "what is erased took its key along");
    assert_ne!(anew["id"], first["id"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_openings_at_once_on_two_instances_one_is_new() {
    let database = TestDatabase::create().await;
    let one = TestApp::on(database.clone(), config(&database)).await;
    let two = TestApp::on(database.clone(), config(&database)).await;
    let body = json!({});
    let openings = (0..8).map(|n| {
        let client = if n % 2 == 0 { &one.client } else { &two.client };
        async { told(open(client, "k", &body).await).await }
    });
    let outcomes = join_all(openings).await;
    let new = outcomes.iter().filter(|(status, _)| *status == 201).count();
    assert_eq!(new, 1, "{outcomes:?}");
    assert!(outcomes.iter().all(|(_, opened)| opened["id"] == outcomes[0].1["id"]));
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_its_tenants_own() {
    let app = TestApp::start().await;
    let new = |tenant: &str| NewConversation {
        tenant: Tenant::named(tenant.into()),
        title: None,
        system: None,
        metadata: JsonObject::default(),
        messages: Vec::new(),
        idempotency: Some(Idempotency { key: "k".into(), fingerprint: vec![1] }),
    };
    let mut ids = Vec::new();
    for tenant in ["a", "b"] {
        let made = app.engine.new_conversation(&new(tenant)).await.unwrap();
        let Made::New(conversation) = made else { panic!("{made:?}") };
        let again = app.engine.new_conversation(&new(tenant)).await.unwrap();
        assert!(matches!(again, Made::Replayed(known) if known.id == conversation.id));
        ids.push(conversation.id);
    }
    assert_ne!(ids[0], ids[1]);
    app.stop().await;
}
