//! Read-only links.
use reqwest::Method;
use serde_json::{Value, json};

use crate::conversation::{Talk, request, told};
use crate::harness::TestApp;
use crate::upstream::Answer;

pub(super) async fn share(talk: &Talk) -> String {
    let response = talk.client.post(&talk.path("/shares"), &json!({})).await;
    assert_eq!(response.headers()["cache-control"], "no-store");
    let (status, shared) = told(response).await;
    assert_eq!(status, 201, "{shared}");
    let token = shared["token"].as_str().unwrap().to_owned();
    assert_eq!(shared["url"], format!("/v1/shared/{token}"));
    token
}

pub(super) async fn look(talk: &Talk, token: &str) -> (u16, Value) {
    told(talk.client.get(&format!("/v1/shared/{token}")).await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_shows_the_branch_as_it_was_and_nothing_else() {
    let script = Answer::sse().text("fine").complete();
    let (app, _upstream) = TestApp::scripted(script, |_| {}).await;
    let talk = Talk::open(&app.client, &json!({"system": "secret", "title": "t"})).await;
    let messages = json!([
        {"role": "system", "content": "also secret"},
        {"role": "user", "content": "hi"},
    ]);
    talk.say(json!({ "messages": messages })).await;
    let token = share(&talk).await;
    assert!(token.len() >= 40);
    let (status, shown) = look(&talk, &token).await;
    let times: Vec<&Value> =
        shown["messages"].as_array().unwrap().iter().map(|m| &m["created_at"]).collect();
    let expected = json!({"title": "t", "messages": [
        {"role": "user", "content": "hi", "created_at": times[0]},
        {"role": "assistant", "content": "fine", "model": "scripted", "status": "completed",
         "created_at": times[1]},
    ], "answering": false});
    assert_eq!((status, &shown), (200, &expected));

    talk.say(json!({})).await;
    talk.prompt("later").await;
    assert_eq!(look(&talk, &token).await.1, expected, "as it was");
    let newer = share(&talk).await;
    assert_ne!(newer, token);
    assert_eq!(look(&talk, &newer).await.1["messages"].as_array().unwrap().len(), 4);
    for wrong in ["x", "lws_", &token[..43], &newer.to_uppercase()] {
        assert_eq!(look(&talk, wrong).await.0, 404, "{wrong}");
    }
    let kept = "select count(*) from shares where encode(token_hash, 'escape') like '%lws%'";
    assert_eq!(app.database.number(kept).await, 0, "only a hash is kept");

    let revoked = request(&talk.client, Method::DELETE, &talk.path("/shares"), None).await;
    assert_eq!(revoked.status(), 204);
    assert_eq!((look(&talk, &token).await.0, look(&talk, &newer).await.0), (404, 404));
    let token = share(&talk).await;
    assert_eq!(talk.delete().await.0, 200);
    assert_eq!(look(&talk, &token).await.0, 404, "erased is erased");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_an_empty_conversation_shows_nothing() {
    let app = TestApp::start().await;
    let talk = Talk::open(&app.client, &json!({})).await;
    let token = share(&talk).await;
    assert_eq!(
        look(&talk, &token).await,
        (200, json!({"title": null, "messages": [], "answering": false}))
    );
    app.stop().await;
}
