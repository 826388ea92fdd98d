//! Edits, other answers, and the branch that a reader looks at.
use serde_json::{Value, json};

use super::{answers, told_model};
use crate::conversation::Talk;
use crate::harness::TestApp;
use crate::upstream::{Answer, Gate};

#[tokio::test(flavor = "multi_thread")]
async fn another_answer_is_a_sibling() {
    let (app, upstream) = TestApp::scripted(answers(&["one", "two", "three"]), |_| {}).await;
    let talk = Talk::open(&app.client, &json!({})).await;
    let first = talk.prompt("hi").await;
    let again = talk.say(json!({})).await;
    assert_eq!(again.parent, first.parent);
    assert_eq!(told_model(&upstream, 1), ["user: hi"]);
    assert_eq!(talk.lines("").await, ["user: hi", "assistant: two"]);
    let messages = talk.get("/messages").await;
    assert_eq!(messages["data"][1]["siblings"], json!([first.id, again.id]));
    let third = talk.say(json!({"parent_id": first.parent, "temperature": 1.0})).await;
    let old = talk.get(&format!("/messages?leaf={}", first.id)).await;
    assert_eq!(old["data"][1]["siblings"], json!([first.id, again.id, third.id]));
    assert_eq!(old["data"][1]["content"], "one");
    assert_eq!(talk.leaf().await, third.id.as_str());

    let (status, problem) = talk.try_start(json!({"parent_id": first.id})).await;
    assert_eq!((status, &problem["code"]), (422, &json!("unsupported_value")), "not a question");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_a_sibling_and_branches_are_switched() {
    let (app, upstream) = TestApp::scripted(answers(&["1", "2", "3", "4", "5"]), |_| {}).await;
    let talk = Talk::open(&app.client, &json!({})).await;
    let a = talk.prompt("a").await;
    let b = talk.prompt("b").await;
    let c = talk.say(json!({"prompt": "c", "parent_id": a.id})).await;
    assert_eq!(told_model(&upstream, 2), ["user: a", "assistant: 1", "user: c"]);
    let data = talk.get("/messages").await["data"].clone();
    assert_eq!(data[2]["siblings"], json!([b.parent, c.parent]));
    let root = talk.say(json!({"prompt": "d", "parent_id": null})).await;
    assert_eq!(told_model(&upstream, 3), ["user: d"]);
    assert_eq!(talk.get("/messages").await["data"][0]["siblings"], json!([a.parent, root.parent]));
    assert_eq!(talk.get("/messages?all=true").await["data"].as_array().unwrap().len(), 8);

    let updated = talk.get("").await["updated_at"].clone();
    let (status, switched) = talk.patch(&json!({"active_leaf": b.id})).await;
    assert_eq!((status, &switched["active_leaf"]), (200, &json!(b.id)));
    assert_eq!(switched["updated_at"], updated, "looking is not news");
    assert_eq!(talk.lines("").await, ["user: a", "assistant: 1", "user: b", "assistant: 2"]);
    talk.prompt("e").await;
    assert_eq!(told_model(&upstream, 4).len(), 5);
    let (_, empty) = talk.patch(&json!({"active_leaf": null})).await;
    assert_eq!(empty["active_leaf"], Value::Null);
    assert_eq!(talk.get("/messages").await["data"], json!([]));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_that_was_moved_stays_where_it_is() {
    let gate = Gate::default();
    let script = vec![
        Answer::sse().text("one").complete(),
        Answer::sse().text("t").wait(&gate).text("wo").complete(),
    ];
    let (app, _upstream) = TestApp::scripted(script, |_| {}).await;
    let talk = Talk::open(&app.client, &json!({})).await;
    let first = talk.prompt("a").await;
    let second = talk.start(json!({"prompt": "b"})).await;
    assert_eq!(talk.leaf().await, second.parent.as_str());
    talk.patch(&json!({"active_leaf": first.id})).await;
    gate.open();
    talk.end(&second).await;
    assert_eq!(talk.leaf().await, first.id.as_str());
    assert_eq!(talk.lines(&format!("?leaf={}", second.id)).await.len(), 4, "it is there");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_branch_takes_no_second_answer_unless_asked() {
    let script = vec![Answer::sse().text("one").complete(), Answer::sse().text("x").stall()];
    let (app, _upstream) = TestApp::scripted(script, |_| {}).await;
    let talk = Talk::open(&app.client, &json!({})).await;
    let first = talk.prompt("a").await;
    let running = talk.start(json!({"prompt": "b"})).await;
    let busy = |body: Value| {
        let talk = talk.clone();
        async move { talk.try_start(body).await }
    };
    let rows = [
        json!({"prompt": "c"}),
        json!({}),
        json!({"parent_id": running.parent}),
        json!({"prompt": "c", "parent_id": running.parent}),
        json!({"prompt": "c", "parent_id": running.id}),
    ];
    for body in rows {
        let (status, problem) = busy(body.clone()).await;
        assert_eq!((status, &problem["code"]), (409, &json!("conversation_busy")), "{body}");
        assert_eq!(problem["generation"], running.id.as_str(), "{body}");
    }
    assert_eq!(talk.lines("?all=1").await.len(), 3, "nothing of it was stored");
    let edit = talk.start(json!({"prompt": "c", "parent_id": first.id})).await;
    let beside = talk.start(json!({"parent_id": edit.parent, "concurrent": true})).await;
    assert_eq!(beside.parent, edit.parent);
    let all = talk.get("").await["running"].clone();
    assert_eq!(all, json!([running.id, edit.id, beside.id]));
    for turn in [running, edit, beside] {
        app.client.cancel(&turn.id).await;
    }
    assert_eq!(talk.get("").await["running"], json!([]));
    app.stop().await;
}
