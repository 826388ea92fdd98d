//! Many at once in one conversation.
use futures_util::future::join_all;
use serde_json::json;

use crate::conversation::Talk;
use crate::database::TestDatabase;
use crate::harness::{TestApp, config};

const LONG: &str = "/demo tokens=100000 tps=20";

#[tokio::test(flavor = "multi_thread")]
async fn of_many_starts_on_one_branch_one_wins() {
    let database = TestDatabase::create().await;
    let one = TestApp::on(database.clone(), config(&database)).await;
    let two = TestApp::on(database.clone(), config(&database)).await;
    for round in 0..10 {
        let talk = Talk::open(&one.client, &json!({})).await;
        if round % 2 == 0 {
            talk.prompt("/demo tokens=1 tps=0").await;
        }
        let before = talk.lines("?all=1").await.len();
        let starts = (0..8).map(|n| {
            let talk = talk.at(if n % 2 == 0 { &one.client } else { &two.client });
            async move { talk.try_start(json!({ "prompt": LONG })).await }
        });
        let outcomes = join_all(starts).await;
        let winners: Vec<&str> = outcomes
            .iter()
            .filter(|(status, _)| *status == 201)
            .map(|(_, receipt)| receipt["id"].as_str().unwrap())
            .collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        for (status, problem) in outcomes.iter().filter(|(status, _)| *status != 201) {
            assert_eq!((*status, &problem["code"]), (409, &json!("conversation_busy")));
            assert_eq!(problem["generation"], winners[0]);
        }
        assert_eq!(talk.lines("?all=1").await.len(), before + 1, "one question was stored");
        one.client.cancel(winners[0]).await;
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_repeats_at_once_one_is_new() {
    let app = TestApp::start().await;
    let talk = Talk::open(&app.client, &json!({})).await;
    let body = json!({"prompt": LONG, "conversation_id": talk.id});
    let starts = (0..8).map(|_| {
        let request = app.client.http.post(format!("{}/v1/generations", app.client.base));
        let request = request.header("idempotency-key", "k").json(&body);
        async { crate::conversation::told(request.send().await.unwrap()).await }
    });
    let outcomes = join_all(starts).await;
    let new = outcomes.iter().filter(|(status, _)| *status == 201).count();
    assert_eq!(new, 1, "{outcomes:?}");
    assert!(outcomes.iter().all(|(_, receipt)| receipt["id"] == outcomes[0].1["id"]));
    assert_eq!(talk.lines("?all=1").await.len(), 1);
    app.client.cancel(outcomes[0].1["id"].as_str().unwrap()).await;
    app.stop().await;
}

/// Answers of one conversation that end at once, on two lanes. They wait for each other in one
/// order, and each is there once.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_end_together_are_all_there() {
    let app = TestApp::start().await;
    let talks = join_all((0..3).map(|_| {
        let client = app.client.clone();
        async move { Talk::open(&client, &json!({})).await }
    }))
    .await;
    for talk in &talks {
        talk.prompt("/demo tokens=1 tps=0").await;
    }
    let again = (0..60).map(|n| {
        let talk = &talks[n % 3];
        async move { talk.say(json!({"concurrent": true})).await }
    });
    join_all(again).await;
    for talk in &talks {
        let tree = talk.get("/messages?all=true").await;
        assert_eq!(tree["data"].as_array().unwrap().len(), 22);
        assert_eq!(tree["data"][1]["siblings"].as_array().unwrap().len(), 21);
    }
    app.stop().await;
}
