//! Conversations: a tree of messages in which nothing is overwritten, and the messages that a model
//! gets.
mod branches;
mod continued;
mod counted;
mod crash;
mod cut;
mod followed;
mod items;
mod later;
mod list;
mod opening;
mod pages;
mod races;
mod refusals;
mod shares;
mod taken;
mod tenants;
mod viewers;

use serde_json::{Value, json};

use crate::conversation::{Talk, told};
use crate::harness::TestApp;
use crate::upstream::{Answer, Upstream};

/// The messages of the scripted model's `n`-th request, as `role: text`.
fn told_model(upstream: &Upstream, n: usize) -> Vec<String> {
    let request = &upstream.requests()[n];
    let line = |m: &Value| {
        let content = m["content"].as_str().map(str::to_owned);
        let content = content.unwrap_or_else(|| m["content"][0]["text"].as_str().unwrap().into());
        format!("{}: {content}", m["role"].as_str().unwrap())
    };
    request.body["messages"].as_array().unwrap().iter().map(line).collect()
}

fn answers(texts: &[&str]) -> Vec<Answer> {
    texts.iter().map(|text| Answer::sse().text(text).complete()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_told_whole_to_its_model() {
    let (app, upstream) = TestApp::scripted(answers(&["one", "two"]), |_| {}).await;
    let talk = Talk::open(&app.client, &json!({"system": "be kind", "metadata": {"a": 1}})).await;
    let first = talk.prompt("Why is the sky blue?").await;
    let second = talk.prompt("And the sea?").await;
    assert_eq!(told_model(&upstream, 0), ["system: be kind", "user: Why is the sky blue?"]);
    let whole =
        ["system: be kind", "user: Why is the sky blue?", "assistant: one", "user: And the sea?"];
    assert_eq!(told_model(&upstream, 1), whole);

    let messages = talk.get("/messages").await;
    let ids: Vec<&str> =
        messages["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [&first.parent, &first.id, &second.parent, &second.id]);
    assert_eq!((&messages["active_leaf"], &messages["running"]), (&json!(second.id), &json!([])));
    let answer = &messages["data"][1];
    let expected = json!({
        "id": first.id, "parent_id": first.parent, "role": "assistant", "content": "one",
        "generation_id": first.id, "model": "scripted", "status": "completed",
        "finish_reason": "stop", "usage": {"input_tokens": 1, "output_tokens": 2, "exact": true},
        "siblings": [first.id], "created_at": answer["created_at"],
    });
    assert_eq!(*answer, expected);
    let question = &messages["data"][0];
    let expected = json!({
        "id": first.parent, "parent_id": null, "role": "user", "content": "Why is the sky blue?",
        "siblings": [first.parent], "created_at": question["created_at"],
    });
    assert_eq!(*question, expected);

    let conversation = talk.get("").await;
    let expected = json!({
        "object": "conversation", "id": talk.id, "title": "Why is the sky blue?", "system": "be kind",
        "metadata": {"a": 1}, "active_leaf": second.id, "running": [],
        "created_at": conversation["created_at"], "updated_at": conversation["updated_at"],
    });
    assert_eq!(conversation, expected);
    let view = app.client.view(&second.id).await;
    assert_eq!(
        (&view["conversation_id"], &view["parent_id"]),
        (&json!(talk.id), &json!(second.parent))
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_messages_are_stored_one_below_the_other_as_they_came() {
    let (app, upstream) = TestApp::scripted(answers(&["fine"]), |_| {}).await;
    let talk = Talk::open(&app.client, &json!({"title": "mine"})).await;
    let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
    let messages = json!([
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": parts},
    ]);
    let turn = talk.say(json!({"messages": messages, "system": "short"})).await;
    assert_eq!(
        told_model(&upstream, 0),
        ["system: short", "user: hi", "assistant: hello", "user: a\nb"]
    );
    let stored = talk.get("/messages").await;
    let stored = stored["data"].as_array().unwrap();
    assert_eq!(stored.len(), 4);
    assert_eq!(stored[2]["content"], parts);
    assert_eq!(stored[1].get("generation_id"), None, "said by nobody here");
    assert_eq!((&stored[2]["id"], &stored[3]["id"]), (&json!(turn.parent), &json!(turn.id)));
    for pair in stored.windows(2) {
        assert_eq!(pair[1]["parent_id"], pair[0]["id"]);
    }
    let conversation = talk.get("").await;
    assert_eq!((&conversation["title"], &conversation["system"]), (&json!("mine"), &Value::Null));

    let last = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]);
    let (status, problem) = talk.try_start(json!({ "messages": last })).await;
    assert_eq!((status, &problem["field"]), (422, &json!("messages[1].role")));
    assert_eq!(talk.lines("?all=1").await.len(), 4, "nothing of it was stored");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_ending_has_its_message() {
    let script = vec![
        Answer::status(401),
        Answer::sse().text("half").cut(),
        Answer::sse().text("cut sh").finish("length").done(),
        Answer::sse().text("be").stall(),
        Answer::sse().text("fine").complete(),
    ];
    let (app, upstream) = TestApp::scripted(script, |_| {}).await;
    let talk = Talk::open(&app.client, &json!({})).await;
    for prompt in ["1", "2", "3"] {
        talk.prompt(prompt).await;
    }
    let running = talk.start(json!({"prompt": "4"})).await;
    app.client.events(&running.id, 0).await.take(2).await;
    let before = talk.get("/messages").await;
    assert_eq!(before["running"], json!([{"generation": running.id, "parent_id": running.parent}]));
    assert_eq!(before["data"].as_array().unwrap().len(), 7, "no message before its ending");
    assert_eq!(talk.get("").await["running"], json!([running.id]));
    app.client.cancel(&running.id).await;
    talk.prompt("5").await;
    let messages = talk.get("/messages").await;
    let answers: Vec<(&str, &str)> = messages["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|m| m["role"] == "assistant")
        .map(|m| (m["content"].as_str().unwrap(), m["status"].as_str().unwrap()))
        .collect();
    let expected = [
        ("", "failed"),
        ("half", "interrupted"),
        ("cut sh", "incomplete"),
        ("be", "cancelled"),
        ("fine", "completed"),
    ];
    assert_eq!(answers, expected);
    assert_eq!(messages["data"][1]["error"]["code"], "upstream_rejected");
    let whole = [
        "user: 1",
        "user: 2",
        "assistant: half",
        "user: 3",
        "assistant: cut sh",
        "user: 4",
        "assistant: be",
        "user: 5",
    ];
    assert_eq!(told_model(&upstream, 4), whole, "silence is not told");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_stores_no_second_message() {
    let app = TestApp::start().await;
    let talk = Talk::open(&app.client, &json!({})).await;
    let start = |prompt: &str| {
        let body = json!({"prompt": prompt, "conversation_id": talk.id});
        let request = app.client.http.post(format!("{}/v1/generations", app.client.base));
        let request = request.header("idempotency-key", "k").json(&body);
        async { told(request.send().await.unwrap()).await }
    };
    let long = "/demo tokens=100000 tps=50";
    let (status, first) = start(long).await;
    assert_eq!(status, 201);
    let (status, again) = start(long).await;
    assert_eq!((status, &again["id"]), (200, &first["id"]), "not busy: it is the same start");
    assert_eq!(again["parent_id"], first["parent_id"]);
    let (status, other) = start("something else").await;
    assert_eq!((status, &other["code"]), (422, &json!("idempotency_key_reused")));
    app.client.cancel(first["id"].as_str().unwrap()).await;
    let (status, later) = start(long).await;
    assert_eq!((status, &later["id"]), (200, &first["id"]));
    assert_eq!(talk.lines("?all=1").await.len(), 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_is_what_was_asked_for() {
    let app = TestApp::start().await;
    let talk = Talk::open(&app.client, &json!({"title": "a", "system": "s"})).await;
    let before = talk.get("").await;
    let (status, changed) = talk.patch(&json!({"metadata": {"x": [1]}, "title": "b"})).await;
    assert_eq!((status, &changed["title"], &changed["system"]), (200, &json!("b"), &json!("s")));
    assert_eq!(changed["metadata"], json!({"x": [1]}));
    assert!(changed["updated_at"].as_str() > before["updated_at"].as_str());
    let (_, same) = talk.patch(&json!({})).await;
    assert_eq!(same, changed);
    let (_, cleared) = talk.patch(&json!({"title": null, "system": null})).await;
    assert_eq!((&cleared["title"], &cleared["system"]), (&Value::Null, &Value::Null));
    talk.prompt("/demo tokens=1 tps=0").await;
    assert_eq!(talk.get("").await["title"], "/demo tokens=1 tps=0", "the next prompt names it");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn erased_is_erased() {
    let app = TestApp::start().await;
    let (talk, other) =
        (Talk::open(&app.client, &json!({})).await, Talk::open(&app.client, &json!({})).await);
    other.prompt("/demo tokens=1 tps=0").await;
    talk.prompt("/demo tokens=1 tps=0").await;
    let running = talk.start(json!({"prompt": "/demo tokens=100000 tps=50"})).await;
    let (status, problem) = talk.delete().await;
    assert_eq!((status, &problem["code"]), (409, &json!("generation_running")));
    assert_eq!(problem["generation"], running.id.as_str());
    app.client.cancel(&running.id).await;
    assert_eq!(talk.delete().await.0, 200);
    assert_eq!(talk.delete().await.0, 404);
    assert_eq!(app.client.get(&format!("/v1/generations/{}", running.id)).await.status(), 404);
    for table in ["conversations", "generations"] {
        let sql: &'static str = match table {
            "conversations" => "select count(*) from conversations",
            _ => "select count(*) from generations",
        };
        assert_eq!(app.database.number(sql).await, 1, "{table}");
    }
    assert_eq!(app.database.number("select count(*) from messages").await, 2);
    let orphans = "select count(*) from events e where not exists \
                   (select from generations g where g.id = e.generation_id)";
    assert_eq!(app.database.number(orphans).await, 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_erased_leaves_no_hole() {
    let app = TestApp::start().await;
    let talk = Talk::open(&app.client, &json!({})).await;
    let first = talk.prompt("/demo tokens=1 tps=0").await;
    let second = talk.prompt("/demo tokens=1 tps=0").await;
    let erase = |id: &str| {
        let path = format!("/v1/generations/{id}");
        let client = app.client.clone();
        async move {
            told(crate::conversation::request(&client, reqwest::Method::DELETE, &path, None).await)
                .await
                .0
        }
    };
    assert_eq!(erase(&first.id).await, 204);
    let messages = talk.get("/messages").await;
    let ids: Vec<&Value> = messages["data"].as_array().unwrap().iter().map(|m| &m["id"]).collect();
    assert_eq!(ids, [&json!(first.parent), &json!(second.parent), &json!(second.id)]);
    assert_eq!(messages["data"][1]["parent_id"], first.parent.as_str());
    assert_eq!(erase(&second.id).await, 204);
    assert_eq!(talk.leaf().await, second.parent.as_str());
    talk.prompt("/demo tokens=1 tps=0").await;
    assert_eq!(talk.get("/messages").await["data"].as_array().unwrap().len(), 4);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn generations_are_listed_by_conversation() {
    let app = TestApp::start().await;
    let talk = Talk::open(&app.client, &json!({})).await;
    app.client.start_prompt("/demo tokens=1 tps=0").await;
    let turn = talk.prompt("/demo tokens=1 tps=0").await;
    let listed = |id: String| {
        let client = app.client.clone();
        async move { told(client.get(&format!("/v1/generations?conversation_id={id}")).await).await }
    };
    let (_, page) = listed(talk.id.clone()).await;
    assert_eq!(page["data"].as_array().unwrap().len(), 1);
    assert_eq!(page["data"][0]["id"], turn.id.as_str());
    let (_, none) = listed("00000000-0000-7000-8000-000000000000".into()).await;
    assert_eq!(none["data"], json!([]));
    let (status, problem) = listed("x".into()).await;
    assert_eq!((status, &problem["field"]), (400, &json!("conversation_id")));
    app.stop().await;
}
