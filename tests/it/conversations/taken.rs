//! Items that are taken out of an answer, one by one, at once and again; and what a cut leaves.
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::Client;
use crate::conversation::{Talk, request, told};
use crate::harness::TestApp;
use crate::upstream::{Answer, Upstream};

async fn ask(client: &Client, method: Method, path: &str) -> (u16, Value) {
    told(request(client, method, path, None).await).await
}

/// A model that thinks, speaks and calls two tools; and a conversation with its answer.
async fn answered() -> (TestApp, Upstream, Talk) {
    let call = |index: usize, id: &str| {
        json!({ "tool_calls": [{ "index": index, "id": id, "type": "function",
            "function": { "name": "f", "arguments": "{}" } }] })
    };
    let script = Answer::sse()
        .delta(&json!({ "reasoning_content": "hm" }))
        .text("Let me see.")
        .delta(&call(0, "c1"))
        .delta(&call(1, "c2"))
        .finish("tool_calls")
        .done();
    let (app, upstream) = TestApp::scripted(script, |_| {}).await;
    let talk = Talk::open(&app.client, &json!({})).await;
    talk.say(json!({ "prompt": "q", "model": "scripted" })).await;
    (app, upstream, talk)
}

async fn ids(talk: &Talk) -> Vec<String> {
    let list = talk.get("/items?order=asc").await;
    let items = list["data"].as_array().unwrap().iter();
    items.map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_keeps_its_id_when_another_is_taken() {
    let (app, _upstream, talk) = answered().await;
    let all = ids(&talk).await;
    let [_user, thought, text, first, second] = all.as_slice() else { panic!("{all:?}") };
    assert!(thought.starts_with("rs_") && text.starts_with("msg_"), "{all:?}");
    let path = talk.path(&format!("/items/{first}"));
    assert_eq!(ask(&app.client, Method::DELETE, &path).await.0, 200);
    // The answer was lost on its way, and the client deletes once more: not the other call.
    assert_eq!(ask(&app.client, Method::DELETE, &path).await.0, 404);
    let left = ids(&talk).await;
    assert_eq!(left[left.len() - 2..], [text.clone(), second.clone()]);
    let path = talk.path(&format!("/items/{text}"));
    assert_eq!(ask(&app.client, Method::DELETE, &path).await.0, 200);
    assert_eq!(ids(&talk).await.last(), Some(second));
    // The page shows what is left, too.
    let messages = talk.get("/messages").await;
    let answer = messages["data"].as_array().unwrap().last().unwrap();
    assert_eq!((&answer["content"], answer.get("reasoning")), (&json!(""), None), "{answer}");
    assert_eq!(answer["tool_calls"].as_array().unwrap().len(), 1, "{answer}");
    assert_eq!(answer["tool_calls"][0]["id"], "c2");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn items_of_one_answer_that_are_taken_at_once_are_all_gone() {
    let (app, _upstream, talk) = answered().await;
    let all = ids(&talk).await;
    let taken = all[2..].iter().map(async |id| {
        ask(&app.client, Method::DELETE, &talk.path(&format!("/items/{id}"))).await.0
    });
    assert_eq!(join_all(taken).await, [200; 3]);
    assert_eq!(ids(&talk).await, all[..1], "nobody puts back what another has taken");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_takes_a_text_comes_back_in_its_own_form() {
    let app = TestApp::start().await;
    let items = json!([
        { "type": "custom_tool_call", "call_id": "c1", "name": "apply", "input": "+ a\n\"b\"" },
        { "type": "custom_tool_call_output", "call_id": "c1", "output": "done" },
        { "type": "function_call", "call_id": "c2", "name": "f", "namespace": "n",
          "arguments": "{}" },
        { "type": "function_call_output", "call_id": "c2", "output": "2" },
    ]);
    let talk = Talk::open(&app.client, &json!({ "items": items })).await;
    let list = talk.get("/items?order=asc").await;
    for (shown, came) in list["data"].as_array().unwrap().iter().zip(items.as_array().unwrap()) {
        for (name, value) in came.as_object().unwrap() {
            assert_eq!(&shown[name], value, "{shown}");
        }
    }
    app.stop().await;
}

/// A turn that is longer than the model's window: the question stays, and no result without its call.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_in_a_turn_leaves_no_result_without_its_call() {
    let (app, upstream) = TestApp::scripted(Answer::sse().text("ok").complete(), |config| {
        config.models[0].context_tokens = std::num::NonZeroU32::new(200);
    })
    .await;
    let call = |id: &str, arguments: &str| {
        json!({ "type": "function_call", "call_id": id, "name": "f",
            "arguments": json!({ "a": arguments }).to_string() })
    };
    let output =
        |id: &str| json!({ "type": "function_call_output", "call_id": id, "output": "42" });
    let items = json!([{ "role": "user", "content": "the question" },
        call("c1", &"long ".repeat(1000)), output("c1"), call("c2", "short")]);
    let talk = Talk::open(&app.client, &json!({ "items": items })).await;
    let body = json!({ "model": "scripted", "conversation": talk.id, "input": [output("c2")] });
    let (status, response) = told(app.client.post("/v1/responses", &body).await).await;
    assert_eq!(status, 200, "{response}");
    let told = upstream.requests()[0].body["messages"].clone();
    let roles: Vec<&str> =
        told.as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "tool"], "{told}");
    assert_eq!(told[2]["tool_call_id"], "c2", "{told}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn items_that_are_added_at_once_stand_one_behind_the_other() {
    const CLIENTS: usize = 12;
    let app = TestApp::start().await;
    let talk = Talk::open(&app.client, &json!({})).await;
    let path = talk.path("/items");
    let added = (0..CLIENTS).map(async |n| {
        let said = |part: &str| json!({ "role": "user", "content": format!("{n} {part}") });
        let body = json!({ "items": [said("a"), said("b")] });
        let (status, list) =
            told(request(&app.client, Method::POST, &path, Some(&body)).await).await;
        assert_eq!((status, list["data"].as_array().unwrap().len()), (200, 2), "{list}");
    });
    join_all(added).await;
    let list = talk.get("/items?order=asc&limit=100").await;
    let texts: Vec<&str> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["content"][0]["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts.len(), 2 * CLIENTS, "none is on a branch of its own");
    for pair in texts.chunks(2) {
        let number = pair[0].strip_suffix(" a").unwrap();
        assert_eq!(pair[1], format!("{number} b"));
    }
    app.stop().await;
}
