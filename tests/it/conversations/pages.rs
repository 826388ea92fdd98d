//! Long conversations come in pages, from the newest on.
use serde_json::{Value, json};

use super::answers;
use crate::conversation::{Talk, told};
use crate::harness::TestApp;

/// All pages of a list, joined as a reader joins them.
async fn joined(talk: &Talk, query: &str) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = talk.get(&format!("/messages?{query}{cursor}")).await;
        let data = page["data"].as_array().unwrap().clone();
        assert!((1..=3).contains(&data.len()), "{page}");
        all.splice(..0, data);
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_add_up_to_the_whole() {
    let (app, _upstream) = TestApp::scripted(answers(&["1", "2", "3", "4", "5"]), |_| {}).await;
    let talk = Talk::open(&app.client, &json!({})).await;
    let a = talk.prompt("a").await;
    let b = talk.prompt("b").await;
    talk.say(json!({ "prompt": "c", "parent_id": a.id })).await;
    talk.prompt("d").await;
    for (what, length) in [("", 6), ("all=true&", 8), (&format!("leaf={}&", b.id), 4)] {
        let whole = talk.get(&format!("/messages?{what}")).await;
        assert_eq!(whole["next_cursor"], Value::Null, "{what}");
        assert_eq!(whole["data"].as_array().unwrap().len(), length, "{what}");
        for limit in 1..=3 {
            let query = format!("{what}limit={limit}");
            assert_eq!(json!(joined(&talk, &query).await), whole["data"], "{query}");
        }
    }
    for (query, status, code) in [
        ("limit=0", 422, "out_of_range"),
        ("limit=1001", 422, "out_of_range"),
        ("limit=x", 422, "out_of_range"),
        ("cursor=x", 400, "invalid_cursor"),
        ("cursor=00000000-0000-7000-8000-000000000000", 400, "invalid_cursor"),
        ("all=true&cursor=00000000-0000-7000-8000-000000000000", 400, "invalid_cursor"),
    ] {
        let path = talk.path(&format!("/messages?{query}"));
        let (said, problem) = told(app.client.get(&path).await).await;
        assert_eq!((said, &problem["code"]), (status, &json!(code)), "{query}");
    }
    app.stop().await;
}
