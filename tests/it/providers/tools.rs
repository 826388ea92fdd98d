//! Tools and their results, on the way to the upstream.
use lastword::domain::prompt::{OpenAiOnly, Tool, ToolChoice};
use lastword::domain::transcript::ToolCall;
use lastword::providers::messages::Anthropic;
use serde_json::Value;

use super::*;

/// A question, two calls of the model, and their answers.
fn called() -> Attempt {
    let call = |id: &str| ToolCall {
        id: id.into(),
        name: "weather".into(),
        arguments: r#"{"city":"Köln"}"#.into(),
        ..ToolCall::default()
    };
    let mut asked = Message::text(Role::Assistant, "");
    asked.tool_calls = vec![call("c1"), call("c2")];
    let answer = |id: &str, text: &str| {
        let mut message = Message::text(Role::Tool, text);
        message.tool_call_id = Some(id.into());
        message
    };
    let messages =
        vec![Message::text(Role::User, "hi"), asked, answer("c1", "rain"), answer("c2", "")];
    let parameters = Parameters {
        tools: vec![Tool {
            name: "weather".into(),
            description: Some("Looks out of the window.".into()),
            parameters: Some(json!({ "type": "object" })),
            strict: Some(true),
        }],
        tool_choice: Some(ToolChoice::Required),
        parallel_tool_calls: Some(false),
        openai: OpenAiOnly {
            response_format: Some(json!({ "type": "json_object" })),
            ..OpenAiOnly::default()
        },
        ..Parameters::default()
    };
    let prompt = Prompt::parse(messages, parameters, 1000).unwrap();
    Attempt::fresh(prompt)
}

#[tokio::test]
async fn tools_on_the_wire_of_chat_completions() {
    let upstream = Upstream::start(hello().complete()).await;
    drain(patient(&upstream).start(called()).await).await;
    let body = upstream.requests().remove(0).body;
    let call = |id| {
        json!({ "id": id, "type": "function",
            "function": { "name": "weather", "arguments": "{\"city\":\"Köln\"}" } })
    };
    let expected = json!([
        { "role": "user", "content": "hi" },
        { "role": "assistant", "content": null, "tool_calls": [call("c1"), call("c2")] },
        { "role": "tool", "tool_call_id": "c1", "content": "rain" },
        { "role": "tool", "tool_call_id": "c2", "content": "" },
    ]);
    assert_eq!(body["messages"], expected);
    let tool = json!({ "name": "weather", "description": "Looks out of the window.",
        "parameters": { "type": "object" }, "strict": true });
    assert_eq!(body["tools"], json!([{ "type": "function", "function": tool }]));
    assert_eq!(body["tool_choice"], "required");
    assert_eq!(body["parallel_tool_calls"], false);
    assert_eq!(body["response_format"], json!({ "type": "json_object" }));
    assert_eq!(body.get("reasoning_effort"), None);
}

#[tokio::test]
async fn tools_on_anthropics_wire() {
    let upstream = Upstream::start(Answer::status(500)).await;
    drain(Anthropic::new(settings(&upstream)).unwrap().start(called()).await).await;
    let body: Value = upstream.requests().remove(0).body;
    let call = |id| json!({ "type": "tool_use", "id": id, "name": "weather", "input": { "city": "Köln" } });
    let answer = |id, text| json!({ "type": "tool_result", "tool_use_id": id, "content": text });
    let expected = json!([
        { "role": "user", "content": "hi" },
        { "role": "assistant", "content": [call("c1"), call("c2")] },
        { "role": "user", "content": [answer("c1", "rain"), answer("c2", "")] },
    ]);
    assert_eq!(body["messages"], expected);
    assert_eq!(
        body["tools"],
        json!([{ "name": "weather", "description": "Looks out of the window.",
            "input_schema": { "type": "object" }, "strict": true }])
    );
    assert_eq!(body["tool_choice"], json!({ "type": "any", "disable_parallel_tool_use": true }));
}
