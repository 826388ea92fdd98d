//! Client and upstream speak the same protocol: the client's own body goes up.
use lastword::domain::source::{Source, WireProtocol};
use lastword::providers::messages::Anthropic;
use lastword::providers::responses::Responses;
use serde_json::Value;

use super::*;
use crate::upstream::Request;

/// An attempt of a client that sent this body.
fn of(protocol: WireProtocol, body: &str) -> Attempt {
    let source = Some(Source { protocol, body: body.into(), betas: Vec::new() });
    Attempt { source, ..attempt("hi", "") }
}

/// A limit is to hold over a loss, so the server is asked to count.
fn counting() -> Value {
    json!({ "include_usage": true, "continuous_usage_stats": true })
}

fn chat(body: &str) -> Attempt {
    of(WireProtocol::OpenaiChat, body)
}

fn adjusted(upstream: &Upstream, adjust: Adjust) -> Settings {
    let continuation = Continuation::Prefix;
    Settings { adjust, continuation, timeouts: Timeouts::default(), ..settings(upstream) }
}

/// The request that a chat upstream with these settings gets, and the notices before the text.
async fn sent(adjust: Adjust, attempt: Attempt) -> (Request, Vec<Delta>) {
    let upstream = Upstream::start(hello().complete()).await;
    let provider = OpenAi::new(adjusted(&upstream, adjust)).unwrap();
    let (deltas, loss) = drain(provider.start(attempt).await).await;
    assert_eq!(loss, None);
    let notices = deltas.into_iter().filter(|d| matches!(d, Delta::Notice { .. })).collect();
    (upstream.requests().remove(0), notices)
}

#[tokio::test]
async fn a_chat_client_is_sent_on_as_it_came() {
    let body = r#"{"temperature":1.0,"messages":[{"role":"user","name":"anna","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}},{"type":"image_url","image_url":{"url":"data:,"}},{"type":"text","text":"b"}]},{"role":"assistant","content":null,"reasoning_content":"why","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"},"extra_content":{"x":1e5}}]},{"role":"tool","tool_call_id":"c1","content":"1"}],"model":"m","top_k":20,"chat_template_kwargs":{"enable_thinking":false},"stop":null,"stream":true,"stream_options":{"include_obfuscation":false}}"#;
    let (request, notices) = sent(Adjust::default(), chat(body)).await;
    let expected = body
        .replace(r#""model":"m""#, r#""model":"llama""#)
        .replace(r#"_obfuscation":false}"#, r#"_obfuscation":false,"include_usage":true}"#);
    assert_eq!(request.text(), expected, "byte for byte");
    assert_eq!(notices, []);
}

#[tokio::test]
async fn what_steers_the_server_stays_here_and_is_told() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"q"}],"api_base":"http://x","chat_template":"t","user":"u"}"#;
    let adjust = Adjust {
        pass: vec!["chat_template".into()],
        drop: vec!["user".into()],
        set: vec![("top_k".into(), 7.into())],
        max_output_tokens: std::num::NonZeroU32::new(9000),
        ..Adjust::default()
    };
    let (request, notices) = sent(adjust, chat(body)).await;
    let expected = json!({
        "model": "llama", "messages": [{ "role": "user", "content": "q" }], "chat_template": "t",
        "stream": true, "stream_options": counting(), "timings_per_token": true,
        "max_tokens": 9000, "top_k": 7,
    });
    assert_eq!(request.body, expected);
    let message = "not sent to the model: api_base".into();
    assert_eq!(notices, [Delta::Notice { code: "left_out", message }]);
}

#[tokio::test]
async fn instructions_are_what_templates_of_local_servers_take() {
    let body = r#"{"messages":[{"role":"system","content":"a"},{"role":"developer","content":"b"},{"role":"user","content":"q"}]}"#;
    let roles = |request: &Request| -> Vec<Value> {
        request.body["messages"].as_array().unwrap().iter().map(|m| m["role"].clone()).collect()
    };
    let (request, _) = sent(Adjust::default(), chat(body)).await;
    assert_eq!(request.body["messages"][0]["content"], "a\n\nb");
    assert_eq!(roles(&request), ["system", "user"]);
    let keep = Some("keep".to_owned());
    let kept = Adjust { system_role: keep, join_system: Some(false), ..Adjust::default() };
    assert_eq!(roles(&sent(kept, chat(body)).await.0), ["system", "developer", "user"]);
}

#[tokio::test]
async fn headers_and_parameters_of_the_configuration() {
    let adjust = Adjust {
        headers: vec![("X-Tenant".into(), "t1".into()), ("Authorization".into(), "Own k".into())],
        query: vec![("api-version".into(), "2026-01-01".into())],
        ..Adjust::default()
    };
    let (request, _) = sent(adjust.clone(), attempt("hi", "")).await;
    assert_eq!(request.header("x-tenant"), Some("t1"));
    assert_eq!(request.header("authorization"), Some("Own k"));
    assert!(request.line.contains("/chat/completions?api-version=2026-01-01 "), "{}", request.line);
    let upstream = Upstream::start(Answer::status(400).raw("it hides t1-secret")).await;
    let headers = vec![("x-key".into(), "t1-secret".into())];
    let adjust = Adjust { headers, ..adjust };
    let anthropic = Anthropic::new(adjusted(&upstream, adjust)).unwrap();
    let loss = drain(anthropic.start(attempt("hi", "")).await).await.1.unwrap();
    assert!(loss.message.ends_with("it hides […]"), "{loss}");
    assert_eq!(upstream.requests()[0].header("x-key"), Some("t1-secret"));
}

#[tokio::test]
async fn a_continuation_changes_no_more_than_it_must() {
    let body = r#"{"messages":[{"role":"user","x":1.0,"content":"q"},{"role":"assistant","content":"Blue"}],"max_tokens":30}"#;
    let (so_far, reasoning, spent) = (" and".to_owned(), "hm".to_owned(), 20);
    let (request, _) =
        sent(Adjust::default(), Attempt { so_far, reasoning, spent, ..chat(body) }).await;
    let expected = json!({
        "messages": [{ "role": "user", "x": 1.0, "content": "q" }, { "role": "assistant",
            "content": "Blue and", "prefix": true, "reasoning_content": "hm", "reasoning": "hm" }],
        "max_tokens": 10, "model": "llama", "stream": true,
        "stream_options": counting(), "timings_per_token": true,
        "continue_final_message": true, "add_generation_prompt": false,
    });
    assert_eq!(request.body, expected);
    let upstream = Upstream::start(Answer::status(500)).await;
    let spent = Attempt { so_far: "all".into(), spent: 30, ..chat(body) };
    let (deltas, loss) = drain(patient(&upstream).start(spent).await).await;
    assert_eq!(deltas, [Delta::Finish { reason: FinishReason::Length, raw: None }]);
    assert_eq!((loss, upstream.requests().len()), (None, 0), "nothing is left to ask for");
}

#[tokio::test]
async fn a_client_of_responses_is_sent_on_as_it_came() {
    let body = r#"{"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"q","x":1.0}]},{"type":"custom_tool_call","call_id":"c","name":"n","input":"i"}],"model":"m","tools":[{"type":"web_search"}],"text":{"verbosity":"low"},"base_url":"http://x"}"#;
    let upstream = Upstream::start(Answer::status(500)).await;
    let provider = Responses::new(adjusted(&upstream, Adjust::default())).unwrap();
    let _lost = drain(provider.start(of(WireProtocol::OpenaiResponses, body)).await).await;
    let expected = body
        .replace(r#""model":"m""#, r#""model":"llama""#)
        .replace(r#","base_url":"http://x"}"#, r#","stream":true,"store":false}"#);
    assert_eq!(upstream.requests()[0].text(), expected, "byte for byte");
}
