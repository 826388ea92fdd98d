//! A conversation that is longer than its model's window.
use serde_json::json;

use super::told_model;
use crate::conversation::Talk;
use crate::harness::TestApp;
use crate::upstream::{Answer, Upstream};

/// A model with a window of 40 tokens whose answers have ten of them.
async fn small_window() -> (TestApp, Upstream) {
    let answer = "a".repeat(40);
    TestApp::scripted(Answer::sse().text(&answer).complete(), |config| {
        config.models[0].context_tokens = std::num::NonZeroU32::new(40);
    })
    .await
}

fn words(first: &str) -> String {
    // Ten tokens.
    format!("{first:x<40}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_turns_go_and_the_reader_is_told() {
    let (app, upstream) = small_window().await;
    let talk = Talk::open(&app.client, &json!({"system": "s"})).await;
    for n in 1..=3 {
        // 30 of the 40 tokens are for the prompt: one token of system, and one old turn less.
        let turn = talk.start(json!({"prompt": words(&n.to_string()), "temperature": 0.5})).await;
        let events = talk.end(&turn).await;
        let notices: Vec<_> = events.iter().filter(|e| e.name == "notice").collect();
        assert_eq!(notices.len(), usize::from(n > 1), "{n}");
        if let Some(notice) = notices.first() {
            let notice = notice.json();
            assert_eq!((&notice["seq"], &notice["code"]), (&json!(2), &json!("context_cut")));
            let left_out = format!("{} older messages", (n - 1) * 2);
            assert!(notice["message"].as_str().unwrap().starts_with(&left_out), "{notice}");
        }
        let expected = ["system: s".to_owned(), format!("user: {}", words(&n.to_string()))];
        assert_eq!(told_model(&upstream, n - 1), expected);
    }
    // An answer of one token leaves room for a turn.
    let turn = talk.start(json!({"prompt": words("4"), "max_output_tokens": 1})).await;
    let events = talk.end(&turn).await;
    assert!(events[1].json()["message"].as_str().unwrap().starts_with("4 older messages"));
    let told = told_model(&upstream, 3);
    assert_eq!(told.len(), 4);
    assert_eq!(told[1], format!("user: {}", words("3")));
    assert_eq!(talk.lines("").await.len(), 8, "nothing is lost of the conversation");
    let receipt = talk.try_start(json!({"prompt": words("5")})).await.1;
    assert_eq!(receipt["last_seq"], 2, "the notice is durable with the start");
    app.client.all(receipt["id"].as_str().unwrap(), 0).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_too_long_alone_is_asked_all_the_same() {
    let (app, upstream) = small_window().await;
    let talk = Talk::open(&app.client, &json!({})).await;
    let long = "q".repeat(4000);
    talk.prompt(&long).await;
    assert_eq!(told_model(&upstream, 0), [format!("user: {long}")]);
    talk.say(json!({})).await;
    assert_eq!(told_model(&upstream, 1), [format!("user: {long}")], "answered again");
    app.stop().await;
}

/// Without a window in the configuration there is a limit of ours.
#[tokio::test(flavor = "multi_thread")]
async fn no_context_is_without_a_limit() {
    let script = Answer::sse().text("ok").complete();
    let (app, upstream) =
        TestApp::scripted(script, |config| config.limits.context_bytes = 100).await;
    let talk = Talk::open(&app.client, &json!({})).await;
    talk.prompt(&"x".repeat(60)).await;
    talk.prompt(&"y".repeat(60)).await;
    assert_eq!(told_model(&upstream, 1).len(), 1);
    app.stop().await;
}
