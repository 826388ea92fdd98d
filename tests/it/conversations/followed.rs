//! Links to an answer that is being made.
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::shares::{look, share};
use crate::client::{Client, PATIENCE, Reader, Received};
use crate::conversation::{Talk, request};
use crate::database::TestDatabase;
use crate::harness::{TestApp, config, model};
use crate::keys::make_key;
use crate::upstream::{Answer, Gate, Upstream};
use lastword::engine::Anonymous;

/// Two servers on one database: one open for everybody, and one that requires a key.
pub(super) async fn two(upstream: &Upstream) -> [TestApp; 2] {
    let database = TestDatabase::create().await;
    make_key(&database, &[]).await;
    let mut apps = Vec::new();
    for anonymous in [Anonymous::Here, Anonymous::Refused] {
        let mut config = config(&database);
        config.models.push(model(upstream));
        config.anonymous = anonymous;
        apps.push(TestApp::on(database.clone(), config).await);
    }
    apps.try_into().unwrap_or_else(|_| panic!("two"))
}

async fn ask(client: &Client, token: &str, after: u64) -> reqwest::Response {
    client
        .http
        .get(format!("{}/v1/shared/{token}/events", client.base))
        .header("accept", "text/event-stream")
        .header("last-event-id", after.to_string())
        .send()
        .await
        .unwrap()
}

async fn follow(client: &Client, token: &str) -> Reader {
    let response = ask(client, token, 0).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["x-robots-tag"], "noindex");
    assert_eq!(response.headers()["referrer-policy"], "no-referrer");
    assert!(!response.headers().contains_key("lastword-generation"));
    Reader::new(response)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_follows_its_answer_on_every_instance_and_tells_nothing_else() {
    let gate = Gate::default();
    let script = vec![
        Answer::sse().text("one ").wait(&gate).text("two").complete(),
        Answer::sse().text("later").complete(),
    ];
    let upstream = Upstream::start(script).await;
    let apps = two(&upstream).await;
    let talk = Talk::open(&apps[0].client, &json!({ "system": "secret", "title": "t" })).await;
    let turn = talk.start(json!({ "prompt": "hi" })).await;
    apps[0].client.events(&turn.id, 0).await.take(2).await;
    let token = share(&talk).await;
    let mut viewers = Vec::new();
    for app in &apps {
        let (status, shown) = look(&talk.at(&app.client), &token).await;
        assert_eq!((status, &shown["answering"]), (200, &json!(true)), "{shown}");
        assert_eq!(shown["messages"].as_array().unwrap().len(), 1);
        let mut viewer = follow(&app.client, &token).await;
        let begun = viewer.take(2).await;
        assert_eq!(begun[0].json()["model"], "scripted");
        assert_eq!(begun[1].json()["text"], "one ");
        viewers.push((viewer, begun));
    }
    gate.open();
    for (mut viewer, mut seen) in viewers {
        seen.extend(viewer.rest().await);
        let seqs: Vec<u64> = seen.iter().map(|event| event.id).collect();
        assert_eq!(seqs, (1..=seen.len() as u64).collect::<Vec<_>>(), "cursors hold");
        let last = seen.last().map(Received::json).unwrap();
        assert_eq!(
            last,
            json!({ "seq": seen.len(), "type": "done", "status": "completed", "finish_reason": "stop" })
        );
        for event in &seen {
            let secret = [turn.id.as_str(), talk.id.as_str(), "secret", "usage", "provider"];
            assert!(secret.iter().all(|word| !event.data.contains(word)), "{}", event.data);
        }
    }
    talk.prompt("more").await;
    for app in &apps {
        let (_, shown) = look(&talk.at(&app.client), &token).await;
        let said: Vec<&Value> =
            shown["messages"].as_array().unwrap().iter().map(|m| &m["content"]).collect();
        assert_eq!(said, ["hi", "one two"], "to the answer's end, and no further");
        assert_eq!(shown["answering"], false);
        assert_eq!(ask(&app.client, &token, 4).await.status(), StatusCode::NO_CONTENT);
    }
    let still = share(&talk).await;
    assert_eq!(ask(&apps[0].client, &still, 0).await.status(), StatusCode::NO_CONTENT);
    for app in apps {
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_link_ends_the_views_that_are_open_on_every_instance() {
    let upstream = Upstream::start(Answer::sse().text("one").stall()).await;
    let apps = two(&upstream).await;
    let talk = Talk::open(&apps[0].client, &json!({})).await;
    let turn = talk.start(json!({ "prompt": "hi" })).await;
    apps[0].client.events(&turn.id, 0).await.take(2).await;
    let token = share(&talk).await;
    let mut viewers = Vec::new();
    for app in &apps {
        let mut viewer = follow(&app.client, &token).await;
        viewer.take(2).await;
        viewers.push(viewer);
    }
    let path = talk.path("/shares");
    let revoked = request(&talk.client, Method::DELETE, &path, None).await;
    assert_eq!(revoked.status(), StatusCode::NO_CONTENT);
    for viewer in &mut viewers {
        let rest = tokio::time::timeout(PATIENCE, viewer.rest()).await.expect("it ends");
        assert!(rest.is_empty(), "{rest:?}");
    }
    for app in &apps {
        assert_eq!(ask(&app.client, &token, 0).await.status(), StatusCode::NOT_FOUND);
    }
    apps[0].client.cancel(&turn.id).await;
    for app in apps {
        app.stop().await;
    }
}
