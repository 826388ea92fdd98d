//! The demo as a partner for agents: it calls tools, answers, and fills in the schemas of its
//! client.
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::raw::{exchange, request};

async fn post(app: &TestApp, path: &str, body: &Value) -> Value {
    let head = "Content-Type: application/json\r\n";
    let body = body.to_string();
    let posted = request(&format!("POST {path}"), head, body.as_bytes());
    let answer = exchange(app.address, &posted).await;
    assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

fn schema() -> Value {
    json!({
        "type": "object", "additionalProperties": false, "required": ["city", "days"],
        "properties": { "city": { "type": "string" }, "days": { "type": "integer", "minimum": 3 } },
    })
}

fn filled() -> Value {
    json!({ "city": "a demo of city", "days": 3 })
}

#[tokio::test(flavor = "multi_thread")]
async fn it_calls_a_wanted_tool_and_answers_its_result_in_each_protocol() {
    let app = TestApp::start().await;
    let function = json!({ "name": "weather", "parameters": schema() });
    let user = json!({ "role": "user", "content": "/demo tps=0 ttft_ms=0" });
    let chat = |messages: &[&Value], choice: &str| {
        json!({ "model": "demo", "messages": messages, "tool_choice": choice,
            "tools": [{ "type": "function", "function": function }] })
    };
    let called = post(&app, "/v1/chat/completions", &chat(&[&user], "required")).await;
    let choice = &called["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    let call = &choice["message"]["tool_calls"][0];
    let arguments: Value = call["function"]["arguments"].as_str().unwrap().parse().unwrap();
    assert_eq!((&call["function"]["name"], arguments), (&json!("weather"), filled()));
    let result = json!({ "role": "tool", "tool_call_id": call["id"], "content": "9 degrees" });
    let answered =
        post(&app, "/v1/chat/completions", &chat(&[&user, &choice["message"], &result], "auto"))
            .await;
    let text = answered["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(text.contains("The tool answered “9 degrees”"), "{text}");

    let responses = json!({ "model": "demo", "input": user["content"],
        "tool_choice": { "type": "function", "name": "weather" },
        "tools": [{ "type": "function", "name": "weather", "parameters": schema() }] });
    let called = post(&app, "/v1/responses", &responses).await;
    let call = &called["output"][0];
    let arguments: Value = call["arguments"].as_str().unwrap().parse().unwrap();
    assert_eq!((&call["type"], arguments), (&json!("function_call"), filled()));

    let messages = json!({ "model": "demo", "max_tokens": 500, "messages": [user],
        "tool_choice": { "type": "any" },
        "tools": [{ "name": "weather", "input_schema": schema() }] });
    let called = post(&app, "/v1/messages", &messages).await;
    assert_eq!(called["stop_reason"], "tool_use");
    assert_eq!(
        (&called["content"][0]["name"], &called["content"][0]["input"]),
        (&json!("weather"), &filled())
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_to_a_schema_and_passes_over_hints() {
    let app = TestApp::start().await;
    let user = json!([{ "role": "user", "content": "/demo tps=0 ttft_ms=0" }]);
    let named = json!({ "name": "trip", "strict": true, "schema": schema() });
    let format = json!({ "type": "json_schema", "json_schema": named });
    let body = json!({ "model": "demo", "messages": user, "response_format": format,
        "reasoning_effort": "high", "verbosity": "low", "top_k": 20, "service_tier": "auto" });
    let answer = post(&app, "/v1/chat/completions", &body).await;
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(text.parse::<Value>().unwrap(), filled());
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");

    let form = json!({ "type": "json_schema", "name": "trip", "schema": schema() });
    let body = json!({ "model": "demo", "input": "hi", "text": { "format": form, "verbosity": "low" },
        "reasoning": { "effort": "high" }, "client_metadata": { "a": "b" } });
    let answer = post(&app, "/v1/responses", &body).await;
    let text = answer["output"][0]["content"][0]["text"].as_str().unwrap();
    assert_eq!(text.parse::<Value>().unwrap(), filled());

    let form = json!({ "type": "json_schema", "schema": schema() });
    let body = json!({ "model": "demo", "max_tokens": 500, "messages": user,
        "output_config": { "format": form, "effort": "high" }, "thinking": { "type": "adaptive" } });
    let answer = post(&app, "/v1/messages", &body).await;
    let text = answer["content"][0]["text"].as_str().unwrap();
    assert_eq!(text.parse::<Value>().unwrap(), filled());
    app.stop().await;
}
