//! Tests of the body.
use std::num::NonZeroU32;

use serde_json::{Value, json};

use crate::domain::prompt::{Message, Parameters, Prompt, Role, Tool};
use crate::domain::source::Source;
use crate::domain::thinking::{ThinkingBlock, Thought};
use crate::providers::messages::body::*;

fn attempt(messages: Vec<Message>, parameters: Parameters, so_far: &str) -> Attempt {
    Attempt { so_far: so_far.into(), ..Attempt::fresh(Prompt { messages, parameters }) }
}

fn body(continuation: Continuation, attempt: &Attempt) -> Body {
    let adjust = Adjust::default();
    Body::new(Wanted { model: "m", continuation, adjust: &adjust }, attempt)
}

fn value(body: &Body) -> Value {
    serde_json::to_value(&body.object).unwrap()
}

fn turns(continuation: Continuation, messages: &[(Role, &str)], so_far: &str) -> Vec<Value> {
    let messages = messages.iter().map(|(role, text)| Message::text(*role, *text)).collect();
    let attempt = attempt(messages, Parameters::default(), so_far);
    value(&body(continuation, &attempt))["messages"].as_array().unwrap().clone()
}

#[test]
fn a_text_is_continued_by_an_instruction_or_as_a_prefix() {
    let hi = [(Role::User, "hi")];
    let instructed = turns(Continuation::Instruct, &hi, "Once ");
    assert_eq!(instructed[1], json!({ "role": "assistant", "content": "Once" }));
    assert!(instructed[2]["content"].as_str().unwrap().contains("`Once `"));
    assert_eq!(turns(Continuation::Prefix, &hi, "Once \n").len(), 2);
    assert_eq!(turns(Continuation::Prefix, &hi, "Once \n")[1]["content"], "Once");
    assert_eq!(turns(Continuation::Prefix, &hi, " \n").len(), 1, "nothing to continue");
}

#[test]
fn the_last_turn_is_the_persons_where_the_model_wants_it() {
    let begun = [(Role::User, "hi"), (Role::Assistant, "b ")];
    let asked = turns(Continuation::Instruct, &begun, "");
    assert_eq!(asked[1], json!({ "role": "assistant", "content": "b" }));
    assert_eq!(asked[2]["role"], "user");
    let joined = turns(Continuation::Prefix, &begun, "c");
    assert_eq!(joined[1], json!({ "role": "assistant", "content": "b c" }));
    let empty = [(Role::User, "hi"), (Role::Assistant, ""), (Role::User, "again")];
    assert_eq!(turns(Continuation::Instruct, &empty, "").len(), 2, "an empty turn is refused");
}

#[test]
fn a_client_of_the_same_protocol_begins_an_answer_in_its_own_way() {
    let own =
        r#"{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"b "}]}"#;
    let mut attempt = attempt(Vec::new(), Parameters::default(), "");
    let protocol = WireProtocol::AnthropicMessages;
    attempt.source = Some(Source { protocol, body: own.into(), betas: Vec::new() });
    let sent =
        |attempt: &Attempt| value(&body(Continuation::Instruct, attempt))["messages"].clone();
    assert_eq!(sent(&attempt), serde_json::from_str::<Value>(own).unwrap()["messages"]);
    attempt.so_far = "c".into();
    let continued = sent(&attempt);
    assert_eq!(continued[1]["content"], "b c");
    assert_eq!(continued[2]["role"], "user", "after a loss it is asked to go on");
}

#[test]
fn what_the_api_does_not_take_is_mapped_or_left_out() {
    let mut parameters =
        Parameters { temperature: Some(1.3), top_p: Some(0.9), ..Parameters::default() };
    parameters.openai.reasoning_effort = Some("minimal".into());
    let schema = json!({ "type": "json_schema", "json_schema": { "name": "x", "schema": {} } });
    parameters.openai.response_format = Some(schema);
    let attempt = attempt(vec![Message::text(Role::User, "hi")], parameters, "");
    let asked = body(Continuation::Instruct, &attempt);
    assert_eq!(asked.left_out, ["top_p"]);
    let sent = value(&asked);
    assert_eq!((&sent["temperature"], sent.get("top_p")), (&json!(1.0), None));
    let format = json!({ "type": "json_schema", "schema": {} });
    assert_eq!(sent["output_config"], json!({ "effort": "low", "format": format }));
    let refused = asked.refused("output_config.effort: not supported").unwrap();
    let mut other = asked.clone();
    other.leave_out(refused);
    assert_eq!(value(&other)["output_config"], json!({ "format": format }));
    assert_eq!(other.left_out, ["top_p", "reasoning_effort"]);
    assert!(asked.refused("no credit").is_none());
}

#[test]
fn a_hint_is_mapped_and_what_cannot_be_kept_is_told() {
    let mut parameters = Parameters::default();
    let effort = |parameters: &mut Parameters, effort: &str| {
        parameters.openai.reasoning_effort = Some(effort.into());
        let messages = vec![Message::text(Role::User, "hi")];
        value(&body(Continuation::None, &attempt(messages, parameters.clone(), "")))
    };
    assert_eq!(effort(&mut parameters, "xhigh")["output_config"], json!({ "effort": "xhigh" }));
    let none = effort(&mut parameters, "none");
    assert_eq!((&none["thinking"]["type"], none.get("output_config")), (&json!("disabled"), None));
    let (name, strict) = ("f".into(), Some(true));
    parameters.tools = vec![Tool { name, description: None, parameters: None, strict }];
    let mut attempt = attempt(vec![Message::text(Role::User, "hi")], parameters, "");
    let marked = r#"{"messages":[{"content":"hi","cache_control":{"type":"ephemeral"}}]}"#;
    let protocol = WireProtocol::OpenaiChat;
    attempt.source = Some(Source { protocol, body: marked.into(), betas: Vec::new() });
    let mut asked = body(Continuation::None, &attempt);
    assert_eq!(
        (&value(&asked)["tools"][0]["strict"], &*asked.left_out),
        (&json!(true), &["cache_control".to_owned()][..])
    );
    let refused = asked.refused("tools.0.custom: `minimum` is not supported").unwrap();
    assert!(!refused.is_of_model(), "another schema may be taken");
    asked.leave_out(refused);
    assert_eq!(value(&asked)["tools"][0].get("strict"), None);
    assert_eq!(asked.left_out, ["cache_control", "tools.strict"]);
    let set = vec![("cache_control".into(), json!({ "type": "ephemeral" }))];
    let adjust = Adjust { set, ..Adjust::default() };
    let wanted = Wanted { model: "m", continuation: Continuation::None, adjust: &adjust };
    let set = Body::new(wanted, &attempt);
    assert!(set.left_out.is_empty(), "the configuration caches");
    assert_eq!(value(&set)["cache_control"]["type"], "ephemeral");
}

fn own(json: &str, so_far: &str) -> Attempt {
    let mut attempt = attempt(Vec::new(), Parameters::default(), so_far);
    let protocol = WireProtocol::AnthropicMessages;
    attempt.source = Some(Source { protocol, body: json.into(), betas: Vec::new() });
    attempt
}

#[test]
fn what_the_api_does_not_have_is_told_once() {
    let told = |messages: Vec<Message>, parameters: Parameters| {
        body(Continuation::None, &attempt(messages, parameters, "")).left_out
    };
    let mut parameters = Parameters { seed: Some(1), ..Parameters::default() };
    parameters.openai.presence_penalty = Some(0.5);
    parameters.openai.frequency_penalty = Some(0.5);
    let names = ["seed", "presence_penalty", "frequency_penalty"];
    assert_eq!(told(Vec::new(), parameters), names);
    let alone = Parameters { top_p: Some(0.5), ..Parameters::default() };
    assert!(told(Vec::new(), alone).is_empty(), "without a temperature it is sent");
    let plain = Message::text(Role::Assistant, "b");
    let mut thought = vec![Message { reasoning: "Hm".into(), ..plain }];
    assert_eq!(told(thought.clone(), Parameters::default()), ["input.reasoning"]);
    let block = ThinkingBlock::Thinking { thinking: "Hm".into(), signature: "c2ln".into() };
    thought[0].thinking.push(Thought { after: 0, block });
    assert!(told(thought, Parameters::default()).is_empty(), "the API has signed it");
    let mut marked = own(r#"{"messages":[],"cache_control":{"type":"ephemeral"}}"#, "");
    marked.source.as_mut().unwrap().protocol = WireProtocol::OpenaiChat;
    assert_eq!(body(Continuation::None, &marked).left_out, ["cache_control"]);
}

#[test]
fn the_limit_of_an_answer_is_the_least_that_holds_and_what_is_left_of_it() {
    let mut attempt = attempt(vec![Message::text(Role::User, "hi")], Parameters::default(), "");
    let set = NonZeroU32::new(20);
    let adjust = Adjust { max_output_tokens: set, ..Adjust::default() };
    let wanted = Wanted { model: "m", continuation: Continuation::Prefix, adjust: &adjust };
    assert_eq!(body(Continuation::None, &attempt).left(), Some(4096), "the API wants one");
    assert_eq!(Body::new(wanted, &attempt).left(), Some(20));
    for (spent, left, is_spent) in [(0, 20, false), (5, 15, false), (19, 1, false), (20, 1, true)] {
        attempt.spent = spent;
        let mut asked = Body::new(wanted, &attempt);
        assert_eq!((asked.left(), asked.spent), (Some(left), is_spent), "{spent} are spent");
        asked.allow(3);
        assert_eq!(asked.left(), Some(left + 3));
    }
    let mut own = own(r#"{"max_tokens":500,"messages":[]}"#, "");
    assert_eq!(body(Continuation::None, &own).left(), Some(500));
    own.prompt.parameters.max_output_tokens = Some(9);
    assert_eq!(body(Continuation::None, &own).left(), Some(9), "a key allows less");
}

#[test]
fn a_body_of_this_protocol_goes_up_without_what_is_not_for_the_model() {
    let ours = r#"{"type":"thinking","thinking":"Hm","signature":"lastword_0"}"#;
    let said = r#"{"type":"text","text":"b"}"#;
    let json = format!(
        r#"{{"api_key":"k","messages":[{{"role":"assistant","content":[{ours},{said}]}}]}}"#
    );
    let sent = body(Continuation::Prefix, &own(&json, "c "));
    assert_eq!(sent.left_out, ["api_key"]);
    let blocks = ["b", "c"].map(|text| json!({ "type": "text", "text": text }));
    let turn = json!({ "role": "assistant", "content": blocks });
    assert_eq!(value(&sent)["messages"], json!([turn]));
    assert_eq!(sent.begun, "c");
}

#[test]
fn a_beginning_that_the_answer_has_repeated_stands_once() {
    let begun = [(Role::User, "hi"), (Role::Assistant, "Once upon")];
    let joined = turns(Continuation::Prefix, &begun, "Once upon a time");
    assert_eq!(joined[1]["content"], "Once upon a time");
}

#[test]
fn an_answer_goes_on_behind_its_own_thinking() {
    let block = |text: &str| ThinkingBlock::Thinking {
        thinking: text.into(),
        signature: format!("sign {text}"),
    };
    let redacted = ThinkingBlock::RedactedThinking { data: "eHh4".into() };
    let at = |after, block| Thought { after, block };
    let mut attempt = attempt(vec![Message::text(Role::User, "hi")], Parameters::default(), "");
    attempt.so_far = "One two ".into();
    let all = [(0, block("a")), (0, redacted), (4, block("b")), (8, block("late"))];
    attempt.thinking = all.map(|(after, block)| at(after, block)).to_vec();
    let text = |text: &str| json!({ "type": "text", "text": text });
    let sent = |text: &str| {
        let signature = format!("sign {text}");
        json!({ "type": "thinking", "thinking": text, "signature": signature })
    };
    let hidden = json!({ "type": "redacted_thinking", "data": "eHh4" });
    let content = json!([sent("a"), hidden, text("One "), sent("b"), text("two")]);
    for continuation in [Continuation::Prefix, Continuation::Instruct] {
        let turns = value(&body(continuation, &attempt))["messages"].clone();
        assert_eq!(turns[1]["content"], content, "thinking is never the last block");
    }
    // Cut back to its first word.
    attempt.so_far = "One".into();
    let turns = value(&body(Continuation::Prefix, &attempt))["messages"].clone();
    let hidden = &content[1];
    assert_eq!(turns[1]["content"], json!([sent("a"), hidden, text("One")]));
    // Behind what the client itself has begun.
    let own = r#"{"max_tokens":2000,"thinking":{"type":"enabled","budget_tokens":1999},"messages":[
        {"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"x","y":1.0}]}]}"#;
    let protocol = WireProtocol::AnthropicMessages;
    attempt.source = Some(Source { protocol, body: own.into(), betas: Vec::new() });
    attempt.spent = 10;
    let mut asked = body(Continuation::Prefix, &attempt);
    let turns = value(&asked)["messages"].clone();
    let own = json!({ "type": "x", "y": 1.0 });
    assert_eq!(turns[1]["content"], json!([own, sent("a"), hidden, text("One")]));
    assert_eq!(value(&asked)["thinking"]["budget_tokens"], 1989, "less than what is left");
    // Another vendor's model cannot check it.
    let refused = asked.refused("messages.1.content.1: Invalid `signature` in `thinking` block");
    asked.leave_out(refused.unwrap());
    assert_eq!(value(&asked)["messages"][1]["content"], json!([own, text("One")]));
    attempt.spent = 1500;
    let asked = body(Continuation::Prefix, &attempt);
    assert_eq!(value(&asked)["thinking"], json!({ "type": "disabled" }), "no budget fits");
}
