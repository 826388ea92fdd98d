//! One log, six readers: each protocol reads the answers that the others started, and they agree.
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::raw::{exchange, request};

const STARTERS: [&str; 6] = ["native", "conversation", "chat", "responses", "messages", "AI SDK"];
const READERS: [&str; 6] = ["native", "events", "durable", "chat", "responses", "messages"];

/// The sum of an answer, in the words of the log.
#[derive(Debug, Default, PartialEq)]
struct Said {
    text: String,
    reasoning: String,
    refusal: String,
    calls: Vec<(String, Value)>,
    ending: String,
}

/// Starts an answer to `prompt`; its generation's id, when it has ended.
async fn started(app: &TestApp, by: &str, prompt: &str) -> String {
    let user = json!([{ "role": "user", "content": prompt }]);
    let (path, body) = match by {
        "native" => ("/v1/generations", json!({ "prompt": prompt })),
        "conversation" => {
            let (_, opened) = post(app, "/v1/conversations", &json!({})).await;
            let body = json!({ "prompt": prompt, "conversation_id": opened["id"] });
            ("/v1/generations", body)
        }
        "chat" => ("/v1/chat/completions", json!({ "model": "demo", "messages": user })),
        "responses" => ("/v1/responses", json!({ "model": "demo", "input": prompt })),
        "messages" => {
            ("/v1/messages", json!({ "model": "demo", "max_tokens": 1000, "messages": user }))
        }
        "AI SDK" => {
            let parts = json!([{ "type": "text", "text": prompt }]);
            let message = json!({ "id": "m", "role": "user", "parts": parts });
            ("/api/chat", json!({ "id": prompt, "messages": [message] }))
        }
        other => panic!("{other}"),
    };
    let (head, answer) = post(app, path, &body).await;
    let id = head.unwrap_or_else(|| answer["id"].as_str().unwrap().to_owned());
    app.client.all(&id, 0).await;
    id
}

/// The generation's id from the head, and the body.
async fn post(app: &TestApp, path: &str, body: &Value) -> (Option<String>, Value) {
    let head = "Content-Type: application/json\r\n";
    let body = body.to_string();
    let posted = request(&format!("POST {path}"), head, body.as_bytes());
    let answer = exchange(app.address, &posted).await;
    assert!(answer.status < 300, "{path}: {answer:?}");
    let id = answer.header("lastword-generation").map(str::to_owned);
    (id, serde_json::from_slice(&answer.body).unwrap_or_default())
}

async fn read(app: &TestApp, by: &str, id: &str) -> Said {
    let short = id.replace('-', "");
    let get = async |path: String| -> Value {
        let answer = exchange(app.address, &request(&format!("GET {path}"), "", b"")).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    };
    match by {
        "native" => native(&get(format!("/v1/generations/{id}")).await),
        "events" => {
            let events = app.client.all(id, 0).await;
            folded(events.iter().map(crate::client::Received::json))
        }
        "durable" => {
            let items = get(format!("/v1/generations/{id}/stream?offset=-1")).await;
            folded(items.as_array().unwrap().iter().cloned())
        }
        "chat" => chat(&get(format!("/v1/chat/completions/chatcmpl-{id}")).await),
        "responses" => responses(&get(format!("/v1/responses/resp_{short}")).await),
        "messages" => messages(&get(format!("/v1/messages/msg_{short}")).await),
        other => panic!("{other}"),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn arguments(value: &Value) -> Value {
    serde_json::from_str(value.as_str().unwrap()).unwrap()
}

fn native(view: &Value) -> Said {
    let calls = view["tool_calls"].as_array().unwrap().iter();
    Said {
        text: text(&view["text"]),
        reasoning: text(&view["reasoning"]),
        refusal: text(&view["refusal"]),
        calls: calls.map(|call| (text(&call["name"]), arguments(&call["arguments"]))).collect(),
        ending: text(&view["finish_reason"]),
    }
}

fn folded(events: impl Iterator<Item = Value>) -> Said {
    let (mut said, mut calls) = (Said::default(), Vec::<(String, String)>::new());
    for event in events {
        match event["type"].as_str().unwrap() {
            "delta" => said.text += event["text"].as_str().unwrap(),
            "reasoning" => said.reasoning += event["text"].as_str().unwrap(),
            "refusal" => said.refusal += event["text"].as_str().unwrap(),
            "tool_call" => {
                if let Some(name) = event["name"].as_str() {
                    calls.push((name.to_owned(), String::new()));
                }
                calls.last_mut().unwrap().1 += event["arguments"].as_str().unwrap_or_default();
            }
            "done" => said.ending = text(&event["finish_reason"]),
            _ => {}
        }
    }
    let parsed = |(name, arguments): (String, String)| (name, arguments.parse().unwrap());
    Said { calls: calls.into_iter().map(parsed).collect(), ..said }
}

fn chat(completion: &Value) -> Said {
    let choice = &completion["choices"][0];
    let message = &choice["message"];
    let calls = message["tool_calls"].as_array().into_iter().flatten();
    let calls = calls.map(|call| &call["function"]);
    let refusal = text(&message["refusal"]);
    let ending = match choice["finish_reason"].as_str().unwrap() {
        "stop" | "content_filter" if !refusal.is_empty() => "refusal".to_owned(),
        other => other.to_owned(),
    };
    Said {
        text: text(&message["content"]),
        reasoning: text(&message["reasoning_content"]),
        refusal,
        calls: calls.map(|call| (text(&call["name"]), arguments(&call["arguments"]))).collect(),
        ending,
    }
}

fn responses(response: &Value) -> Said {
    let mut said = Said::default();
    for item in response["output"].as_array().unwrap() {
        match item["type"].as_str().unwrap() {
            "reasoning" => said.reasoning += item["summary"][0]["text"].as_str().unwrap(),
            "message" => {
                for part in item["content"].as_array().unwrap() {
                    said.text += part["text"].as_str().unwrap_or_default();
                    said.refusal += part["refusal"].as_str().unwrap_or_default();
                }
            }
            "function_call" => {
                said.calls.push((text(&item["name"]), arguments(&item["arguments"])));
            }
            other => panic!("{other}"),
        }
    }
    // This protocol has no form of its own for calls and refusals.
    said.ending = match response["incomplete_details"]["reason"].as_str() {
        Some("max_output_tokens") => "length".into(),
        Some(other) => other.into(),
        None if !said.calls.is_empty() => "tool_calls".into(),
        None if !said.refusal.is_empty() => "refusal".into(),
        None => "stop".into(),
    };
    said
}

fn messages(message: &Value) -> Said {
    let mut said = Said::default();
    let refused = message["stop_reason"] == "refusal";
    for block in message["content"].as_array().unwrap() {
        match block["type"].as_str().unwrap() {
            "thinking" => said.reasoning += block["thinking"].as_str().unwrap(),
            "text" if refused => said.refusal += block["text"].as_str().unwrap(),
            "text" => said.text += block["text"].as_str().unwrap(),
            "tool_use" => said.calls.push((text(&block["name"]), block["input"].clone())),
            other => panic!("{other}"),
        }
    }
    said.ending = match message["stop_reason"].as_str().unwrap() {
        "end_turn" => "stop",
        "max_tokens" => "length",
        "tool_use" => "tool_calls",
        other => other,
    }
    .into();
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_protocol_started_all_read_alike() {
    let app = TestApp::start().await;
    for (directives, ending) in [
        ("tokens=12 tps=0 ttft_ms=0 reasoning unicode tool_call seed=5", "tool_calls"),
        ("tokens=5 tps=0 ttft_ms=0 length seed=6", "length"),
        ("tps=0 ttft_ms=0 refusal seed=7", "refusal"),
        ("tokens=9 tps=0 ttft_ms=0 reasoning seed=8", "stop"),
    ] {
        let mut first: Option<Said> = None;
        for starter in STARTERS {
            let id = started(&app, starter, &format!("/demo {directives}")).await;
            for reader in READERS {
                let said = read(&app, reader, &id).await;
                assert_eq!(said.ending, ending, "{starter} read by {reader}: {said:?}");
                let first = first.get_or_insert_with(|| Said { ending: ending.into(), ..said });
                let again = read(&app, reader, &id).await;
                assert_eq!(&again, first, "{starter} read by {reader}: {directives}");
            }
        }
        let first = first.unwrap();
        assert!(!first.text.is_empty() || !first.refusal.is_empty());
        assert_eq!(first.reasoning.is_empty(), !directives.contains("reasoning"));
    }
    app.stop().await;
}
