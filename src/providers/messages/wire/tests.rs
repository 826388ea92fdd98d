//! Tests of the request.
use crate::domain::prompt::{Image, Parameters, ToolChoice};
use crate::domain::thinking::{ThinkingBlock, Thought};
use crate::domain::transcript::ToolCall;
use crate::providers::messages::wire::*;

fn message(role: Role, content: &str) -> Message {
    Message::text(role, content)
}

#[test]
fn instructions_stand_beside_the_turns() {
    let messages = vec![
        message(Role::System, "be brief"),
        message(Role::User, "hi"),
        message(Role::Developer, "be kind"),
    ];
    let prompt = Prompt { messages, parameters: Parameters::default() };
    let request = MessagesRequest::new("m", &prompt);
    let expected = json!({
        "model": "m", "system": "be brief\n\nbe kind",
        "messages": [{ "role": "user", "content": "hi" }],
    });
    assert_eq!(serde_json::to_value(request).unwrap(), expected);
    let alone = Prompt { messages: vec![message(Role::System, "go")], ..prompt };
    let request = MessagesRequest::new("m", &alone);
    let value = serde_json::to_value(request).unwrap();
    assert_eq!(value["messages"], json!([{ "role": "user", "content": "go" }]));
    assert_eq!(value.get("system"), None);
}

/// llama.cpp and Kimi number calls anew in each turn, and some servers give them no id.
#[test]
fn each_call_has_an_id_of_its_own_and_its_result_the_same() {
    let called = |ids: &[&str]| {
        let calls = ids.iter().map(|id| ToolCall {
            id: (*id).into(),
            name: "f".into(),
            arguments: "{}".into(),
            ..ToolCall::default()
        });
        Message { tool_calls: calls.collect(), ..message(Role::Assistant, "") }
    };
    let result = |id: &str, said: &str| Message {
        tool_call_id: Some(id.into()),
        ..message(Role::Tool, said)
    };
    let messages = vec![
        message(Role::User, "go"),
        called(&["f:0", "", ""]),
        result("", "b"),
        result("f:0", "a"),
        result("", "c"),
        called(&["f:0", "f_0"]),
        result("f_0", "e"),
        result("f:0", "d"),
        message(Role::User, " "),
    ];
    let prompt = Prompt { messages, parameters: Parameters::default() };
    let value = serde_json::to_value(MessagesRequest::new("m", &prompt)).unwrap();
    let ids = |turn: usize, name: &str| -> Vec<String> {
        let blocks = value["messages"][turn]["content"].as_array().unwrap();
        blocks.iter().map(|block| block[name].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(1, "id"), ["f_0", "call", "call_2"]);
    assert_eq!(ids(2, "tool_use_id"), ["call", "f_0", "call_2"]);
    assert_eq!(ids(3, "id"), ["f_0_2", "f_0_3"]);
    assert_eq!(ids(4, "tool_use_id"), ["f_0_3", "f_0_2"]);
    assert_eq!(value["messages"].as_array().unwrap().len(), 5, "an empty turn is left out");
}

/// Codex takes what a person types while tools run.
#[test]
fn results_stand_together_right_behind_their_calls() {
    let call = |id: &str| ToolCall { id: id.into(), name: "f".into(), ..ToolCall::default() };
    let calls = vec![call("a"), call("b")];
    let result = |id: &str| Message { tool_call_id: Some(id.into()), ..message(Role::Tool, id) };
    let messages = vec![
        message(Role::User, "go"),
        Message { tool_calls: calls, ..message(Role::Assistant, "") },
        result("a"),
        message(Role::User, "wait"),
        message(Role::Assistant, "ok"),
        result("b"),
        result("of no call"),
    ];
    let prompt = Prompt { messages, parameters: Parameters::default() };
    let value = serde_json::to_value(MessagesRequest::new("m", &prompt)).unwrap();
    let said = |id: &str| json!({ "type": "tool_result", "tool_use_id": id, "content": id });
    let turns = value["messages"].as_array().unwrap();
    assert_eq!(turns[2], json!({ "role": "user", "content": [said("a"), said("b")] }));
    assert_eq!((&turns[3]["content"], &turns[4]["content"]), (&json!("wait"), &json!("ok")));
    assert_eq!(turns[5]["content"][0]["tool_use_id"], "of_no_call");
}

fn value(messages: Vec<Message>, parameters: Parameters) -> Value {
    let prompt = Prompt { messages, parameters };
    serde_json::to_value(MessagesRequest::new("m", &prompt)).unwrap()
}

fn call(id: &str) -> ToolCall {
    ToolCall { id: id.into(), name: "f".into(), ..ToolCall::default() }
}

fn called(ids: &[&str]) -> Message {
    let tool_calls = ids.iter().copied().map(call).collect();
    Message { tool_calls, ..message(Role::Assistant, "") }
}

fn result(id: &str) -> Message {
    Message { tool_call_id: Some(id.into()), ..message(Role::Tool, id) }
}

#[test]
fn a_result_belongs_to_the_call_of_its_turn() {
    let messages = vec![
        message(Role::User, "go"),
        called(&["x"]),
        message(Role::User, "never mind"),
        called(&["x", "x"]),
        result("x"),
        result("x"),
        result("x"),
    ];
    let value = value(messages, Parameters::default());
    let turns = value["messages"].as_array().unwrap();
    let results = turns[4]["content"].as_array().unwrap();
    let ids: Vec<&str> = results.iter().map(|b| b["tool_use_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["x_2", "x_3", "x_3"], "none is of the call that nobody answered");
    assert_eq!(turns.len(), 5);
}

#[test]
fn a_result_does_not_join_what_a_person_says() {
    let image = Image { url: "https://x/a.png".into(), detail: None };
    let shown = Message { images: vec![image], ..message(Role::User, "see") };
    let messages = vec![message(Role::User, "go"), called(&["a"]), shown, result("a")];
    let value = value(messages, Parameters::default());
    let kinds = |turn: usize| -> Vec<&str> {
        let blocks = value["messages"][turn]["content"].as_array().unwrap();
        blocks.iter().map(|block| block["type"].as_str().unwrap()).collect()
    };
    assert_eq!((kinds(2), kinds(3)), (vec!["tool_result"], vec!["text", "image"]));
}

#[test]
fn what_the_model_says_in_one_turn_stands_before_its_calls() {
    let block = ThinkingBlock::Thinking { thinking: "Hm".into(), signature: "c2ln".into() };
    let thinking = vec![Thought { after: 0, block }];
    let thought = Message { thinking, ..message(Role::Assistant, "Right.") };
    let messages = vec![
        message(Role::User, "go"),
        called(&["a"]),
        message(Role::Assistant, "I look."),
        message(Role::User, "and?"),
        thought,
    ];
    let value = value(messages, Parameters::default());
    let said = |text: &str| json!({ "type": "text", "text": text });
    let used = json!({ "type": "tool_use", "id": "a", "name": "f", "input": {} });
    assert_eq!(value["messages"][1]["content"], json!([said("I look."), used]));
    let thought = json!({ "type": "thinking", "thinking": "Hm", "signature": "c2ln" });
    assert_eq!(value["messages"][3]["content"], json!([thought, said("Right.")]));
}

#[test]
fn tools_are_neither_turns_nor_chosen_where_there_are_none() {
    let item = serde_json::from_value(json!({ "type": "additional_tools" })).unwrap();
    let messages = vec![message(Role::User, "go"), Message::adding_tools(item)];
    let tool_choice = Some(ToolChoice::Required);
    let value = value(messages, Parameters { tool_choice, ..Parameters::default() });
    assert_eq!(value, json!({ "model": "m", "messages": [{ "role": "user", "content": "go" }] }));
}

#[test]
fn a_schema_is_closed_and_json_without_one_is_known() {
    let mut openai = OpenAiOnly::default();
    assert!(!is_without_schema(&openai));
    openai.response_format = Some(json!({ "type": "json_object" }));
    assert!(is_without_schema(&openai));
    let schema = json!({ "type": "object", "properties": { "x": {} } });
    let format = json!({ "type": "json_schema", "json_schema": { "schema": schema } });
    openai.response_format = Some(format);
    assert!(!is_without_schema(&openai));
    let value = value(Vec::new(), Parameters { openai, ..Parameters::default() });
    let sent = &value["output_config"]["format"]["schema"];
    assert_eq!(sent["additionalProperties"], false);
}
