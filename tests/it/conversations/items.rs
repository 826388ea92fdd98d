//! OpenAI's Conversations over the same tree: items in, out, paged and taken, and responses in
//! them.
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::Client;
use crate::conversation::{Talk, request, told};
use crate::harness::TestApp;
use crate::upstream::{Answer, Gate};

async fn ask(client: &Client, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    told(request(client, method, path, body.as_ref()).await).await
}

async fn open(client: &Client, items: Value) -> Talk {
    Talk::open(client, &json!({ "items": items, "metadata": { "a": "b" } })).await
}

fn user(text: &str) -> Value {
    json!({ "type": "message", "role": "user", "content": text })
}

fn call(id: &str) -> Value {
    json!({ "type": "function_call", "call_id": id, "name": "f", "arguments": "{\"b\":1}" })
}

fn output(id: &str) -> Value {
    json!({ "type": "function_call_output", "call_id": id, "output": "42" })
}

/// Each item in short, oldest first.
async fn items(talk: &Talk) -> Vec<String> {
    let list = talk.get("/items?order=asc&limit=100").await;
    let short = |item: &Value| {
        let text = ["/content/0/text", "/output", "/arguments", "/summary/0/text"];
        let text = text.iter().find_map(|at| item.pointer(at)?.as_str()).unwrap_or_default();
        let role = item["role"].as_str().or(item["type"].as_str()).unwrap();
        format!("{role}: {text}")
    };
    list["data"].as_array().unwrap().iter().map(short).collect()
}

async fn respond(talk: &Talk, mut body: Value) -> (u16, Value) {
    body["conversation"] = json!(talk.id);
    told(talk.client.post("/v1/responses", &body).await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn items_are_kept_paged_and_taken_out() {
    let app = TestApp::start().await;
    let picture = json!({ "role": "user", "content": [
        { "type": "input_text", "text": "see" },
        { "type": "input_image", "image_url": "data:image/png;base64,AA==" },
    ] });
    let talk = open(&app.client, json!([user("one"), call("c1"), output("c1"), picture])).await;
    let shown = talk.get("").await;
    assert_eq!((&shown["object"], &shown["title"]), (&json!("conversation"), &json!("one")));
    assert!(shown["created_at"].is_i64() && shown["metadata"]["a"] == "b", "{shown}");
    let all = ["user: one", "function_call: {\"b\":1}", "function_call_output: 42", "user: see"];
    assert_eq!(items(&talk).await, all);
    let newest = talk.get("/items?limit=1").await;
    assert_eq!(newest["data"][0]["content"][1]["image_url"], "data:image/png;base64,AA==");
    assert_eq!((&newest["has_more"], &newest["object"]), (&json!(true), &json!("list")));
    let after = newest["last_id"].as_str().unwrap();
    let next = talk.get(&format!("/items?limit=1&after={after}")).await;
    assert_eq!(next["data"][0]["call_id"], "c1");

    let conv = format!("/v1/conversations/conv_{}", talk.id.replace('-', ""));
    let more = json!({ "items": [{ "role": "assistant", "content": "two" }, call("c2")] });
    let (status, added) =
        ask(&app.client, Method::POST, &format!("{conv}/items"), Some(more)).await;
    assert_eq!((status, added["data"].as_array().unwrap().len()), (200, 2), "{added}");
    let id = added["data"][0]["id"].as_str().unwrap();
    let path = format!("{conv}/items/{id}");
    let (status, item) = ask(&app.client, Method::GET, &path, None).await;
    assert_eq!((status, &item), (200, &added["data"][0]));
    let (status, left) = ask(&app.client, Method::DELETE, &path, None).await;
    assert_eq!((status, &left["id"]), (200, &json!(talk.id)));
    assert_eq!(ask(&app.client, Method::DELETE, &path, None).await.0, 404);
    let all = [&all[..], &["function_call: {\"b\":1}"]].concat();
    assert_eq!(items(&talk).await, all, "what was said below it moved up");

    let (status, changed) =
        ask(&app.client, Method::POST, &conv, Some(json!({ "metadata": { "c": "d" } }))).await;
    assert_eq!((status, &changed["metadata"]), (200, &json!({ "c": "d" })));
    let (status, gone) = ask(&app.client, Method::DELETE, &conv, None).await;
    let expected = json!({ "id": talk.id, "object": "conversation.deleted", "deleted": true });
    assert_eq!((status, gone), (200, expected));
    let (status, problem) = ask(&app.client, Method::GET, &conv, None).await;
    assert_eq!((status, &problem["error"]["code"]), (404, &json!("not_found")));
    assert_eq!(problem["code"], "not_found", "in both shapes");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_go_on_in_a_conversation_with_calls_and_results() {
    let tool = |id: &str, arguments: &str| {
        json!([{ "index": 0, "id": id, "type": "function",
            "function": { "name": "f", "arguments": arguments } }])
    };
    let calls = json!({ "choices": [{ "index": 0, "delta": { "tool_calls": tool("c1", "{}") } }] });
    let ends = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "tool_calls" }] });
    let asks = Answer::sse().data(&calls.to_string()).data(&ends.to_string()).done();
    let scripts = vec![
        asks,
        Answer::sse().text("It is 42.").complete(),
        Answer::sse().text("Bye").complete(),
    ];
    let (app, upstream) = TestApp::scripted(scripts, |_| {}).await;
    let talk = open(&app.client, json!([user("hello")])).await;
    let tools = json!([{ "type": "function", "name": "f", "parameters": { "type": "object" } }]);
    let body = |input: Value| json!({ "model": "scripted", "input": input, "tools": tools });
    let mut first = body(json!("what is it?"));
    first["instructions"] = json!("be brief");
    let (status, response) = respond(&talk, first).await;
    assert_eq!((status, &response["conversation"]["id"]), (200, &json!(talk.id)), "{response}");
    let (status, response) = respond(&talk, body(json!([output("c1")]))).await;
    assert_eq!(status, 200, "{response}");
    let told = upstream.requests()[1].body["messages"].clone();
    let roles: Vec<&str> =
        told.as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "user", "assistant", "tool"], "instructions were for one answer");
    assert_eq!(told[2]["tool_calls"][0]["id"], "c1");
    assert_eq!((&told[3]["tool_call_id"], &told[3]["content"]), (&json!("c1"), &json!("42")));
    let all = [
        "user: hello",
        "user: what is it?",
        "function_call: {}",
        "function_call_output: 42",
        "assistant: It is 42.",
    ];
    assert_eq!(items(&talk).await, all);
    // The page's own way of going on, in the same branch.
    talk.say(json!({ "prompt": "thanks", "model": "scripted" })).await;
    assert_eq!(items(&talk).await[5..], ["user: thanks", "assistant: Bye"]);
    let told = &upstream.requests()[2].body["messages"];
    assert_eq!(told[3]["role"], "tool", "{told}");
    app.stop().await;
}

/// A call that nobody answers does not go up again: no model's server would take it.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_call_keeps_no_conversation_from_going_on() {
    let (app, upstream) = TestApp::scripted(Answer::sse().text("ok").complete(), |_| {}).await;
    let talk = open(&app.client, json!([user("q"), call("c1")])).await;
    let (status, _) = respond(&talk, json!({ "model": "scripted", "input": "never mind" })).await;
    assert_eq!(status, 200);
    let told = upstream.requests()[0].body["messages"].to_string();
    assert!(!told.contains("tool_calls") && told.contains("never mind"), "{told}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_not_disturbed() {
    let gate = Gate::default();
    let script = Answer::sse().text("Hel").wait(&gate).text("lo").complete();
    let (app, _upstream) = TestApp::scripted(script, |_| {}).await;
    let talk = open(&app.client, json!([user("q")])).await;
    let turn = talk.start(json!({ "prompt": "go on", "model": "scripted" })).await;
    let path = talk.path("/items");
    let (status, busy) =
        ask(&app.client, Method::POST, &path, Some(json!({ "items": [user("x")] }))).await;
    assert_eq!((status, &busy["error"]["code"]), (409, &json!("generation_running")));
    assert_eq!(busy["generation"], turn.id.as_str());
    let asked = format!("{path}/msg_{}_0", turn.parent.replace('-', ""));
    assert_eq!(ask(&app.client, Method::DELETE, &asked, None).await.0, 409, "it is being answered");
    let (status, busy) = respond(&talk, json!({ "model": "scripted", "input": "x" })).await;
    assert_eq!((status, &busy["error"]["code"]), (409, &json!("conversation_busy")));
    gate.open();
    talk.end(&turn).await;
    assert_eq!(items(&talk).await, ["user: q", "user: go on", "assistant: Hello"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_and_stores_nothing() {
    let app = TestApp::start().await;
    let talk = open(&app.client, json!([])).await;
    let path = talk.path("/items");
    let many: Vec<Value> = (0..21).map(|_| user("x")).collect();
    for (body, code, field) in [
        (json!({}), "missing_field", "items"),
        (json!({ "items": many }), "out_of_range", "items"),
        (
            json!({ "items": [user("a"), { "type": "shell_call" }] }),
            "unsupported_value",
            "items[1].type",
        ),
        (
            json!({ "items": [{ "type": "function_call", "name": "f" }] }),
            "missing_field",
            "items[0].arguments",
        ),
        (json!({ "items": [user("")] }), "prompt_empty", "items[0].content"),
    ] {
        let (status, problem) = ask(&app.client, Method::POST, &path, Some(body.clone())).await;
        assert_eq!((status, &problem["error"]["code"]), (422, &json!(code)), "{body}: {problem}");
        assert_eq!(problem["error"]["param"], field, "{problem}");
    }
    assert_eq!(app.database.number("select count(*) from messages").await, 0);
    let unknown = "conv_00000000000070008000000000000000";
    for (body, status, code) in [
        (json!({ "model": "demo", "input": "x", "conversation": unknown }), 404, "not_found"),
        (json!({ "model": "demo", "input": "x", "conversation": 7 }), 400, "unsupported_value"),
        (
            json!({ "model": "demo", "input": "x", "conversation": { "id": talk.id },
                "previous_response_id": "resp_1" }),
            400,
            "unsupported_value",
        ),
    ] {
        let (found, problem) = told(app.client.post("/v1/responses", &body).await).await;
        assert_eq!((found, &problem["error"]["code"]), (status, &json!(code)), "{problem}");
        assert_eq!(problem["error"]["param"], "conversation");
    }
    assert_eq!(app.database.number("select count(*) from generations").await, 0);
    app.stop().await;
}
