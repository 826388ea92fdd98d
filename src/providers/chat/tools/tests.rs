//! Tests of both forms.
use crate::domain::prompt::Role;
use crate::domain::thinking::Thought;
use crate::providers::chat::tools::*;

fn value(of: impl Serialize) -> Value {
    serde_json::to_value(of).unwrap()
}

fn call() -> ToolCall {
    ToolCall {
        id: "c1".into(),
        name: "f".into(),
        arguments: r#"{"a":1}"#.into(),
        ..ToolCall::default()
    }
}

#[test]
fn pictures_stand_behind_the_text() {
    let image = Image { url: "data:image/png;base64,AAAA".into(), detail: Some("low".into()) };
    let mut message = Message::text(Role::User, "see");
    assert_eq!(value(content(&message)), "see");
    message.images.push(image);
    let url = "data:image/png;base64,AAAA";
    assert_eq!(
        value(content(&message)),
        json!([{ "type": "text", "text": "see" },
            { "type": "image_url", "image_url": { "url": url, "detail": "low" } }])
    );
    let source = json!({ "type": "base64", "media_type": "image/png", "data": "AAAA" });
    assert_eq!(
        value(blocks(&message)),
        json!([{ "type": "text", "text": "see" }, { "type": "image", "source": source }])
    );
}

#[test]
fn calls_and_their_answers() {
    let mut message = Message::text(Role::Assistant, "");
    message.tool_calls.push(call());
    assert!(content(&message).is_none());
    assert_eq!(
        value(calls(&message.tool_calls)),
        json!([{ "id": "c1", "type": "function",
            "function": { "name": "f", "arguments": "{\"a\":1}" } }])
    );
    assert_eq!(
        value(blocks(&message)),
        json!([{ "type": "tool_use", "id": "c1", "name": "f", "input": { "a": 1 } }])
    );
    message.tool_calls[0].arguments = "not json".into();
    assert_eq!(value(blocks(&message))[0]["input"], json!({}));
    let mut answer = Message::text(Role::Tool, "42");
    answer.tool_call_id = Some("c1".into());
    assert_eq!(
        value(blocks(&answer)),
        json!([{ "type": "tool_result", "tool_use_id": "c1", "content": "42" }])
    );
}

#[test]
fn thinking_stands_where_it_was_thought() {
    let thought = |after: usize, thinking: &str| Thought {
        after,
        block: ThinkingBlock::Thinking { thinking: thinking.into(), signature: "c2ln".into() },
    };
    let block =
        |thinking: &str| json!({ "type": "thinking", "thinking": thinking, "signature": "c2ln" });
    let mut message = Message::text(Role::Assistant, "I look");
    message.tool_calls.push(call());
    message.thinking = vec![thought(0, "a"), thought(2, "b"), thought(6, "c")];
    let texts = ["I ", "look"].map(|text| json!({ "type": "text", "text": text }));
    let [first, second] = texts;
    let used = json!({ "type": "tool_use", "id": "c1", "name": "f", "input": { "a": 1 } });
    let all = json!([block("a"), first, block("b"), second, block("c"), used]);
    assert_eq!(value(blocks(&message)), all);
    message.thinking = vec![thought(99, "a")];
    message.content.clear();
    assert_eq!(value(blocks(&message)), json!([block("a"), used]));
}

#[test]
fn a_tool_answers_with_a_picture() {
    let mut answer = Message::text(Role::Tool, "shot");
    answer.tool_call_id = Some("c1".into());
    answer.images.push(Image { url: "data:image/png;base64,AAAA".into(), detail: None });
    let source = json!({ "type": "base64", "media_type": "image/png", "data": "AAAA" });
    let content =
        json!([{ "type": "text", "text": "shot" }, { "type": "image", "source": source }]);
    let result = json!({ "type": "tool_result", "tool_use_id": "c1", "content": content });
    assert_eq!(value(blocks(&answer)), json!([result]));
    let tool =
        Tool { name: "f".into(), description: None, parameters: Some(json!({})), strict: None };
    assert_eq!(messages_tools(&[tool])[0]["input_schema"], json!({ "type": "object" }));
    let nullable = Some(json!({ "type": ["object", "null"] }));
    let tool = Tool { name: "f".into(), description: None, parameters: nullable, strict: None };
    assert_eq!(messages_tools(&[tool])[0]["input_schema"], json!({ "type": "object" }));
}

#[test]
fn a_tool_goes_up_with_what_the_client_says_of_it() {
    let tool = |strict| Tool {
        name: "f".into(),
        description: Some("finds".into()),
        parameters: None,
        strict,
    };
    let schema = json!({ "type": "object" });
    let plain = json!({ "name": "f", "input_schema": schema, "description": "finds" });
    assert_eq!(messages_tools(&[tool(None), tool(Some(false))]), [plain.clone(), plain]);
    assert_eq!(messages_tools(&[tool(Some(true))])[0]["strict"], true);
    let mut message = Message::text(Role::Assistant, "");
    message.tool_calls.push(ToolCall { arguments: "[1]".into(), ..call() });
    assert_eq!(value(blocks(&message))[0]["input"], json!({}), "a list is no object");
}

#[test]
fn the_choice_on_both_wires() {
    let one = ToolChoice::Function("f".into());
    assert_eq!(choice(&one), json!({ "type": "function", "function": { "name": "f" } }));
    assert_eq!(messages_choice(Some(&one), None), Some(json!({ "type": "tool", "name": "f" })));
    assert_eq!(messages_choice(None, None), None);
    let kind = |choice: ToolChoice| messages_choice(Some(&choice), Some(true)).unwrap();
    assert_eq!(kind(ToolChoice::Required), json!({ "type": "any" }));
    let none = messages_choice(Some(&ToolChoice::None), Some(false));
    assert_eq!(none, Some(json!({ "type": "none" })), "it has no other field");
    assert_eq!(
        messages_choice(None, Some(false)),
        Some(json!({ "type": "auto", "disable_parallel_tool_use": true }))
    );
}
