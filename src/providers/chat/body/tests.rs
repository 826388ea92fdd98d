//! Tests of the body.
use std::num::NonZeroU32;

use serde_json::json;

use crate::domain::prompt::{Message, Parameters, Prompt, Role};
use crate::domain::source::Source;
use crate::domain::thinking::{ThinkingBlock, Thought};
use crate::providers::chat::body::*;

const LOCAL: fn(&Adjust) -> Dialect<'_> = |adjust| Dialect {
    model: "m",
    is_openai: false,
    continuation: Continuation::Prefix,
    counts: true,
    adjust,
};

fn asked(messages: Vec<Message>) -> Attempt {
    Attempt::fresh(Prompt { messages, parameters: Parameters::default() })
}

/// The client's own body.
fn own(body: &Value) -> Attempt {
    let protocol = WireProtocol::OpenaiChat;
    let source = Some(Source { protocol, body: body.to_string().into(), betas: Vec::new() });
    Attempt { source, ..asked(Vec::new()) }
}

fn sent(body: &Body) -> Value {
    serde_json::to_value(&body.object).unwrap()
}

/// The body for `attempt` at a local server, with a change of the dialect.
fn with(attempt: &Attempt, change: impl FnOnce(&mut Dialect<'_>)) -> Body {
    let adjust = Adjust::default();
    let mut dialect = LOCAL(&adjust);
    change(&mut dialect);
    Body::new(dialect, attempt)
}

fn local(attempt: &Attempt) -> Body {
    with(attempt, |_| {})
}

#[test]
fn counts_are_asked_for_where_a_limit_holds_and_the_model_goes_on() {
    let limited = own(&json!({ "messages": [], "max_tokens": 9 }));
    let counted = local(&limited);
    let options = json!({ "include_usage": true, "continuous_usage_stats": true });
    assert!(counted.counts);
    assert_eq!(sent(&counted)["stream_options"], options);
    let stats = json!({ "continuous_usage_stats": true });
    let unlimited = own(&json!({ "messages": [], "stream_options": stats }));
    for plain in [
        local(&unlimited),
        with(&limited, |dialect| dialect.counts = false),
        with(&limited, |dialect| dialect.continuation = Continuation::Instruct),
        local(&own(&json!({ "messages": [], "max_tokens": 9, "n": 2 }))),
    ] {
        assert!(!plain.counts);
        assert_eq!(sent(&plain)["stream_options"], json!({ "include_usage": true }));
        assert!(plain.without_counts("timings_per_token").is_none());
    }
}

#[test]
fn a_refusal_takes_out_what_it_is_about() {
    let fields =
        json!({ "messages": [{ "role": "assistant", "reasoning": "Hm" }], "max_tokens": 9 });
    let body = local(&own(&fields));
    assert!(body.without_counts("Unexpected fields").is_some());
    assert!(body.without_counts("Unsupported: max_tokens, use max_completion_tokens").is_none());
    assert!(body.without_counts("no such model").is_none());
    let plain = body.without_reasoning("reasoning: extra field").unwrap();
    assert_eq!(sent(&plain)["messages"], json!([{ "role": "assistant" }]));
    assert_eq!(plain.left_out, [THOUGHT]);
    assert!(body.without_reasoning("temperature: extra field").is_none());
    assert!(plain.without_reasoning("reasoning: extra field").is_none(), "there is none");
}

#[test]
fn the_limit_gets_the_name_that_the_server_knows() {
    let named = |mut fields: Value| {
        fields["messages"] = json!([]);
        local(&own(&fields))
    };
    let older = named(json!({ "max_tokens": 9 }));
    let renamed = older.renamed("'max_tokens' is not supported, use 'max_completion_tokens'");
    assert_eq!(sent(&renamed.unwrap())["max_completion_tokens"], 9);
    assert!(older.renamed("Unknown field max_tokens").is_none(), "it does not name the other");
    assert!(older.renamed("max_completion_tokens").is_none());
    let newer = named(json!({ "max_completion_tokens": 9 }));
    let renamed = newer.renamed("max_completion_tokens: Extra inputs are not permitted");
    assert_eq!(sent(&renamed.unwrap())["max_tokens"], 9);
    assert!(newer.renamed("max_completion_tokens: too large").is_none());
    let both = named(json!({ "max_tokens": 9, "max_completion_tokens": 8 }));
    assert!(both.renamed("max_tokens: use max_completion_tokens").is_none());
}

#[test]
fn the_limit_is_the_clients_or_the_configurations_and_counted_down() {
    let adjust = Adjust { max_output_tokens: NonZeroU32::new(20), ..Adjust::default() };
    let mut attempt = own(&json!({ "messages": [], "max_completion_tokens": 9 }));
    let theirs = sent(&Body::new(LOCAL(&adjust), &attempt));
    assert_eq!((&theirs["max_completion_tokens"], theirs.get("max_tokens")), (&json!(9), None));
    for (spent, left, is_spent) in [(0, 9, false), (4, 5, false), (8, 1, false), (9, 1, true)] {
        attempt.spent = spent;
        let mut body = local(&attempt);
        assert_eq!((body.left(), body.spent), (Some(left), is_spent), "{spent} are spent");
        body.allow(3);
        assert_eq!(body.left(), Some(left + 3));
    }
    let mut dialect = LOCAL(&adjust);
    let plain = own(&json!({ "messages": [] }));
    assert_eq!(sent(&Body::new(dialect, &plain))["max_tokens"], 20);
    dialect.is_openai = true;
    assert_eq!(sent(&Body::new(dialect, &plain))["max_completion_tokens"], 20);
}

#[test]
fn of_several_choices_only_the_first_goes_on() {
    let mut attempt = own(&json!({ "messages": [], "n": 3 }));
    let fresh = local(&attempt);
    assert_eq!((fresh.choices, fresh.first_only, &sent(&fresh)["n"]), (3, false, &json!(3)));
    attempt.so_far = "Once".into();
    let begun = local(&attempt);
    assert_eq!((begun.choices, begun.first_only, sent(&begun).get("n")), (1, true, None));
    let number = |n: u32| choices(&own(&json!({ "messages": [], "n": n })));
    assert_eq!([0, 1, 128, 999].map(number), [1, 1, 128, 128]);
    let adjust = Adjust { set: vec![("n".into(), json!(3))], ..Adjust::default() };
    let written = Body::new(LOCAL(&adjust), &asked(vec![Message::text(Role::User, "hi")]));
    assert_eq!(written.choices, 1, "only a client of this protocol is told several");
}

#[test]
fn thinking_that_is_not_sent_is_told() {
    let mut said = vec![Message::text(Role::User, "hi"), Message::text(Role::Assistant, "b")];
    let told = |messages: &[Message], is_openai: bool| {
        with(&asked(messages.to_vec()), |dialect| dialect.is_openai = is_openai).left_out
    };
    assert!(told(&said, true).is_empty());
    said[1].reasoning = "Hm".into();
    assert!(told(&said, false).is_empty(), "others take it");
    assert_eq!(told(&said, true), [THOUGHT]);
    said[1].reasoning.clear();
    let block = ThinkingBlock::Thinking { thinking: "Hm".into(), signature: "c2ln".into() };
    said[1].thinking.push(Thought { after: 0, block });
    assert_eq!(told(&said, false), [THOUGHT], "another vendor has sealed it");
}

#[test]
fn instructions_have_the_role_that_the_upstream_knows() {
    let developer = |text: &str| json!({ "role": "developer", "content": text });
    let attempt = own(&json!({ "messages": [developer("a"), developer("b")] }));
    let joined = json!([{ "role": "system", "content": "a\n\nb" }]);
    assert_eq!(sent(&local(&attempt))["messages"], joined);
    let mut escaped = attempt.clone();
    let source = escaped.source.as_mut().unwrap();
    source.body = source.body.replace("developer", "\\u0064eveloper").into();
    assert_eq!(sent(&local(&escaped))["messages"], joined, "a name may be written in escapes");
    let kept = json!([developer("a"), developer("b")]);
    let openai = with(&attempt, |dialect| dialect.is_openai = true);
    assert_eq!(sent(&openai)["messages"], kept);
    let system_role = Some("keep".into());
    let adjust = Adjust { system_role, join_system: Some(false), ..Adjust::default() };
    assert_eq!(sent(&Body::new(LOCAL(&adjust), &attempt))["messages"], kept);
}

#[test]
fn only_written_messages_are_merged_and_a_beginning_is_marked() {
    let two = ["b", "c"].map(|text| Message::text(Role::Assistant, text));
    let written = sent(&local(&asked(two.to_vec())));
    assert_eq!(written["messages"].as_array().unwrap().len(), 1);
    assert_eq!(written.get("continue_final_message"), None);
    let theirs = ["b", "c"].map(|text| json!({ "role": "assistant", "content": text }));
    let mut attempt = own(&json!({ "messages": theirs }));
    attempt.so_far = "d".into();
    let begun = local(&attempt);
    let body = sent(&begun);
    assert_eq!(body["messages"].as_array().unwrap().len(), 2, "the client's own are kept apart");
    assert_eq!(body["continue_final_message"], true);
    assert_eq!(body["add_generation_prompt"], false);
    assert_eq!(begun.begun, "cd");
}
