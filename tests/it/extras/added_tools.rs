//! Items that add tools, as Codex sends them for models that it knows: `additional_tools`.
use serde_json::{Value, json};

use super::Pair;
use crate::raw::{exchange, request};
use crate::upstream::{Answer, Script};

fn item() -> Value {
    json!({ "type": "additional_tools", "id": "at_1", "role": "developer", "tools": [
        { "type": "namespace", "name": "functions", "description": "", "tools": [
            { "type": "custom", "name": "exec", "description": "Runs." },
            { "type": "function", "name": "wait", "parameters": { "type": "object" } }] },
        { "type": "mcp", "server_label": "s" }] })
}

fn body() -> Value {
    let rule = json!({ "type": "message", "role": "developer", "content": "Be brief." });
    let question = json!({ "type": "message", "role": "user", "content": "hi" });
    json!({ "model": "scripted", "input": [item(), rule, question], "tool_choice": "auto" })
}

/// A chat completion that calls the tool which takes a text.
fn calls() -> Answer {
    let function = json!({ "name": "functions__exec", "arguments": "{\"input\":\"ls\"}" });
    let call = json!({ "index": 0, "id": "call_1", "type": "function", "function": function });
    Answer::sse().delta(&json!({ "tool_calls": [call] })).finish("tool_calls").done()
}

fn response(frames: &[Value]) -> String {
    frames[0]["response"]["id"].as_str().unwrap().to_owned()
}

/// The names of functions, one level down in chat completions.
fn names(tools: &Value) -> Vec<String> {
    let named =
        |tool: &Value| tool.get("function").unwrap_or(tool)["name"].as_str().unwrap().into();
    tools.as_array().unwrap().iter().map(named).collect()
}

const NAMES: [&str; 2] = ["functions__exec", "functions__wait"];

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_chat_completions_gets_added_tools_as_functions() {
    let pair = Pair::start("/v1/responses", "openai", calls()).await;
    let (live, whole) = pair.all_ways(response, &body()).await;
    let sent = pair.upstream.requests().remove(0).body;
    assert_eq!(names(&sent["tools"]), NAMES);
    let said = json!([{ "role": "system", "content": "Be brief." },
        { "role": "user", "content": "hi" }]);
    assert_eq!(sent["messages"], said, "the item itself is no message");
    let call = &whole["output"][0];
    let told = json!([call["type"], call["name"], call["namespace"], call["input"]]);
    assert_eq!(told, json!(["custom_tool_call", "exec", "functions", "ls"]));
    assert_eq!(whole["tools"], json!([]), "as the client has them");
    let id = whole["id"].as_str().unwrap();
    let short = id.trim_start_matches("resp_");
    let events = pair.one.client.all(&uuid::Uuid::parse_str(short).unwrap().to_string(), 0).await;
    let notice = events.iter().find(|event| event.name == "notice").unwrap();
    assert!(notice.data.contains("tools.mcp"), "{}", notice.data);

    let listed: Value =
        serde_json::from_slice(&pair.get(id, "/input_items?order=asc").await).unwrap();
    assert_eq!(listed["data"][0]["type"], "additional_tools");
    assert_eq!(listed["data"][0]["tools"], item()["tools"]);

    // They hold for what continues the response.
    let answer = json!({ "type": "custom_tool_call_output", "call_id": "call_1", "output": "a" });
    let next = json!({ "model": "scripted", "input": [answer],
        "previous_response_id": response(&live) });
    let next = pair.ask(&next).await.remove(0);
    assert_eq!(next["output"][0]["type"], "custom_tool_call", "{next}");
    let sent = pair.upstream.requests().pop().unwrap().body;
    assert_eq!(names(&sent["tools"]), NAMES);
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_tools_with_one_name_the_newer_one_holds() {
    let pair = Pair::start("/v1/responses", "openai", calls()).await;
    let mut body = body();
    let newer = json!({ "type": "function", "name": "wait", "description": "newer" });
    let again = json!({ "type": "additional_tools", "tools": [
        { "type": "namespace", "name": "functions", "tools": [newer] }] });
    body["input"].as_array_mut().unwrap().push(again);
    body["tools"] = json!([{ "type": "function", "name": "f" }]);
    pair.ask(&body).await;
    let tools = pair.upstream.requests().remove(0).body["tools"].clone();
    assert_eq!(names(&tools), ["f", "functions__exec", "functions__wait"]);
    assert_eq!(tools[2]["function"]["description"], "newer");
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_messages_gets_added_tools() {
    let block = json!({ "type": "tool_use", "id": "call_1", "name": NAMES[0], "input": {} });
    let piece = json!({ "type": "input_json_delta", "partial_json": "{\"input\":\"ls\"}" });
    let script = Answer::sse()
        .message_start()
        .block(0, block)
        .piece(0, piece)
        .block_stop(0)
        .stop_reason("tool_use")
        .message_stop();
    let pair = Pair::start("/v1/responses", "anthropic", script).await;
    let (_, whole) = pair.all_ways(response, &body()).await;
    let call = &whole["output"][0];
    assert_eq!((&call["name"], &call["namespace"]), (&json!("exec"), &json!("functions")));
    let sent = pair.upstream.requests().remove(0).body;
    assert_eq!(names(&sent["tools"]), NAMES);
    assert_eq!(sent["system"], "Be brief.");
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_responses_gets_the_item_as_it_came() {
    let script: Script = crate::upstream::Events::whole("resp_1", "Hi").all().into();
    let pair = Pair::over_responses(script).await;
    let first = pair.ask(&body()).await.remove(0);
    assert_eq!(pair.upstream.requests()[0].body["input"], body()["input"]);
    let next = json!({ "model": "scripted", "input": "more", "previous_response_id": first["id"] });
    pair.ask(&next).await;
    let input = pair.upstream.requests().pop().unwrap().body["input"].clone();
    assert_eq!(input[0]["type"], "additional_tools");
    assert_eq!(input[0]["tools"], item()["tools"]);
    let kinds: Vec<&Value> = input.as_array().unwrap().iter().map(|item| &item["role"]).collect();
    assert_eq!(kinds, ["developer", "developer", "user", "assistant", "user"]);
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_added_tools_is_named_where_it_stands() {
    let pair = Pair::start("/v1/responses", "openai", calls()).await;
    for (tools, field, code) in [
        (Value::Null, "input[0].tools", "missing_field"),
        (json!("x"), "input[0].tools", "invalid_type"),
        (json!([7]), "input[0].tools[0]", "invalid_type"),
        (json!([{ "type": "function" }]), "input[0].tools[0].name", "missing_field"),
    ] {
        let mut body = body();
        body["input"][0]["tools"] = tools;
        let head = "Content-Type: application/json\r\n";
        let asked = request("POST /v1/responses", head, body.to_string().as_bytes());
        let answer = exchange(pair.one.address, &asked).await;
        assert_eq!(answer.status, 400, "{body}");
        let error = &answer.json()["error"];
        assert_eq!((error["param"].as_str(), error["code"].as_str()), (Some(field), Some(code)));
    }
    assert!(pair.upstream.requests().is_empty());
    pair.stop().await;
}
