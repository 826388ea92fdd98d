//! Claude's thinking with its signature, through clients of other protocols: it goes out for the
//! client to keep, and back to Claude byte for byte.
mod elsewhere;
mod lost;
mod readers;
mod stored;
mod strict;

use lastword::config::ModelConfig;
use serde_json::{Value, json};

use crate::harness::{TestApp, model, model_config};
use crate::raw::{Answer as Response, exchange, request};
use crate::upstream::{Answer, Script, Upstream};

/// What the API says of a tool's result without the thinking before the call.
const MISSING: &str = "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but \
    found `tool_use`. When `thinking` is enabled, a final `assistant` message must start with a \
    thinking block.";
/// What it says of thinking that somebody else has signed.
const FOREIGN: &str = "messages.1.content.0: Invalid `signature` in `thinking` block";

fn refused(message: &str) -> Answer {
    let error = json!({ "type": "invalid_request_error", "message": message });
    let body = json!({ "type": "error", "error": error }).to_string();
    Answer::status(400).header("content-type", "application/json").raw(body)
}

/// Thinks in all ways, speaks, thinks again and calls a tool.
fn thinks() -> Answer {
    let begin = |kind: &str| match kind {
        "thinking" => json!({ "type": "thinking", "thinking": "", "signature": "" }),
        _ => json!({ "type": "text", "text": "" }),
    };
    let thought = |text: &str| json!({ "type": "thinking_delta", "thinking": text });
    let signed = |text: &str| json!({ "type": "signature_delta", "signature": text });
    let call = json!({ "type": "tool_use", "id": "toolu_1", "name": "f", "input": {} });
    Answer::sse()
        .message_start()
        .block(0, begin("thinking"))
        .piece(0, thought("Let me see,"))
        .piece(0, thought(" w\u{e9}ll\n\"so\""))
        .piece(0, signed("c2ln"))
        .piece(0, signed("bmF0dXJl"))
        .block_stop(0)
        .block(1, json!({ "type": "redacted_thinking", "data": "eHh4" }))
        .block_stop(1)
        .block(2, begin("text"))
        .piece(2, json!({ "type": "text_delta", "text": "I look." }))
        .block_stop(2)
        .block(3, begin("thinking"))
        .piece(3, thought("Now"))
        .piece(3, signed("bm93"))
        .block_stop(3)
        .block(4, call)
        .piece(4, json!({ "type": "input_json_delta", "partial_json": "{\"a\":1}" }))
        .block_stop(4)
        .stop_reason("tool_use")
        .message_stop()
}

/// Claude, as strict about its thinking as the API is.
pub(crate) fn claude() -> Script {
    Script::with(|request, _| {
        let turns = request.body["messages"].as_array().unwrap();
        let is_result = |turn: &Value| turn["content"][0]["type"] == "tool_result";
        let [.., called, result] = turns.as_slice() else { return thinks() };
        if !is_result(result) {
            return thinks();
        }
        let first = &called["content"][0];
        let thought = matches!(first["type"].as_str(), Some("thinking" | "redacted_thinking"));
        match first["signature"].as_str() {
            Some("of another") => refused(FOREIGN),
            _ if thought || request.body["thinking"].is_null() => Answer::whole_message(&["done"]),
            _ => refused(MISSING),
        }
    })
}

/// A model of that upstream, which speaks the Messages API.
fn claude_config(upstream: &Upstream, more: &str) -> ModelConfig {
    let base = upstream.base_url();
    model_config(&format!(
        "name = 'claude'\nprovider = 'anthropic'\nbase_url = '{}'\n{more}",
        base.trim_end_matches("/v1")
    ))
}

fn thinking(text: &str, signature: &str) -> Value {
    json!({ "type": "thinking", "thinking": text, "signature": signature })
}

fn first() -> Value {
    thinking("Let me see, w\u{e9}ll\n\"so\"", "c2lnbmF0dXJl")
}

fn redacted() -> Value {
    json!({ "type": "redacted_thinking", "data": "eHh4" })
}

fn called() -> Value {
    json!({ "type": "tool_use", "id": "toolu_1", "name": "f", "input": { "a": 1 } })
}

/// The turn as the API made it.
fn whole_turn() -> Value {
    let text = json!({ "type": "text", "text": "I look." });
    json!([first(), redacted(), text, thinking("Now", "bm93"), called()])
}

/// Two instances with Claude and two models that are not.
struct Fleet {
    one: TestApp,
    two: TestApp,
    claude: Upstream,
    other: Upstream,
}

impl Fleet {
    async fn start() -> Self {
        let claude = Upstream::start(claude()).await;
        let other = Upstream::start(Answer::sse().text("Hello").complete()).await;
        let more = "max_attempts = 1\n\
            set = { thinking = { type = 'enabled', budget_tokens = 2000 } }";
        let one = TestApp::with(|config| {
            config.models.push(claude_config(&claude, more));
            config.models.push(model(&other));
        })
        .await;
        let two = TestApp::on(one.database.clone(), one.config.clone()).await;
        Self { one, two, claude, other }
    }

    async fn post(&self, path: &str, body: &Value) -> Response {
        let head = "Content-Type: application/json\r\n";
        let asked = request(&format!("POST {path}"), head, body.to_string().as_bytes());
        let answer = exchange(self.one.address, &asked).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        answer
    }

    /// An answer as the other instance has it.
    async fn get(&self, path: &str) -> Response {
        let answer = exchange(self.two.address, &request(&format!("GET {path}"), "", b"")).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        answer
    }

    /// The model's turn in the last request that Claude got.
    fn sent(&self) -> Value {
        self.claude.requests().pop().unwrap().body["messages"][1]["content"].clone()
    }

    /// What the log of an answer tells of fields that were not sent.
    async fn told(&self, answer: &Response) -> String {
        let id = answer.header("lastword-generation").unwrap();
        let events = self.get(&format!("/v1/generations/{id}/events")).await;
        let text = String::from_utf8(events.body).unwrap();
        let told = text.lines().find(|line| line.contains("left_out"));
        told.unwrap_or_default().to_owned()
    }

    async fn stop(self) {
        self.one.stop().await;
        self.two.stop().await;
    }
}

fn frames(body: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(body).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

fn tools() -> Value {
    json!([{ "type": "function", "function": { "name": "f", "parameters": { "type": "object" } } }])
}

fn chat(messages: &[Value]) -> Value {
    json!({ "model": "claude", "messages": messages, "tools": tools() })
}

fn asks() -> Value {
    json!({ "role": "user", "content": "go" })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_chat_completions_sends_claudes_thinking_back() {
    let fleet = Fleet::start().await;
    let mut body = chat(&[asks()]);
    body["stream"] = json!(true);
    let live = fleet.post("/v1/chat/completions", &body).await;
    let chunks = frames(&live.body);
    let lists = chunks.iter().filter_map(|c| c.pointer("/choices/0/delta/reasoning_details"));
    let streamed: Vec<Value> = lists.flat_map(|list| list.as_array().unwrap().clone()).collect();
    let format = "anthropic-claude-v1";
    let text = |text: &str, signature: &str, index: u32| {
        json!({ "type": "reasoning.text", "text": text, "signature": signature, "format": format,
            "index": index })
    };
    let hidden =
        json!({ "type": "reasoning.encrypted", "data": "eHh4", "format": format, "index": 1 });
    let details =
        [text("Let me see, w\u{e9}ll\n\"so\"", "c2lnbmF0dXJl", 0), hidden, text("Now", "bm93", 2)];
    assert_eq!(streamed, details);
    let blocks = chunks.iter().filter_map(|c| c.pointer("/choices/0/delta/thinking_blocks"));
    assert_eq!(blocks.map(|list| list.as_array().unwrap().len()).sum::<usize>(), 3);
    let id = chunks[0]["id"].as_str().unwrap();
    let again = fleet.get(&format!("/v1/chat/completions/{id}?stream=true")).await;
    assert_eq!(frames(&again.body), chunks, "the same frames elsewhere");
    fleet.one.database.forget_events().await;
    let whole = fleet.get(&format!("/v1/chat/completions/{id}")).await.json();
    let message = &whole["choices"][0]["message"];
    assert_eq!(message["reasoning_details"], json!(details), "its events are gone");
    assert_eq!(message["reasoning_content"], "Let me see, w\u{e9}ll\n\"so\"Now");

    // OpenRouter's clients and LiteLLM's have a field each.
    let result = json!({ "role": "tool", "tool_call_id": "toolu_1", "content": "r" });
    let (mut of_openrouter, mut of_litellm) = (message.clone(), message.clone());
    of_openrouter.as_object_mut().unwrap().remove("thinking_blocks").unwrap();
    of_litellm.as_object_mut().unwrap().remove("reasoning_details").unwrap();
    let text = json!({ "type": "text", "text": "I look." });
    let turn = json!([first(), redacted(), thinking("Now", "bm93"), text, called()]);
    for message in [message, &of_openrouter, &of_litellm] {
        let next = chat(&[asks(), message.clone(), result.clone()]);
        let answer = fleet.post("/v1/chat/completions", &next).await;
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "done");
        assert_eq!(fleet.sent(), turn);
        assert_eq!(fleet.told(&answer).await, "");
    }
    fleet.stop().await;
}

fn responses(input: &[Value]) -> Value {
    let tools = json!([{ "type": "function", "name": "f", "parameters": { "type": "object" } }]);
    json!({ "model": "claude", "input": input, "store": false, "tools": tools })
}

fn output() -> Value {
    json!({ "type": "function_call_output", "call_id": "toolu_1", "output": "r" })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_responses_sends_claudes_thinking_back() {
    let fleet = Fleet::start().await;
    let mut body = responses(&[asks()]);
    body["stream"] = json!(true);
    let live = fleet.post("/v1/responses", &body).await;
    let events = frames(&live.body);
    let response = events.last().unwrap()["response"].clone();
    let items = response["output"].as_array().unwrap();
    let kinds: Vec<&str> = items.iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["reasoning", "message", "reasoning", "function_call"]);
    let content = items[0]["encrypted_content"].as_str().unwrap();
    assert!(content.starts_with("lastword-t1."), "{content}");
    let id = response["id"].as_str().unwrap();
    let again = fleet.get(&format!("/v1/responses/{id}?stream=true")).await;
    assert_eq!(frames(&again.body), events, "the same frames elsewhere");
    fleet.one.database.forget_events().await;
    let kept = fleet.get(&format!("/v1/responses/{id}")).await.json();
    let contents = |items: &Value| -> Vec<Value> {
        let items = items.as_array().unwrap().iter();
        items.map(|item| item["encrypted_content"].clone()).collect()
    };
    assert_eq!(contents(&kept["output"]), contents(&response["output"]), "its events are gone");

    let input = |items: &[Value]| {
        let all = [asks()].into_iter().chain(items.iter().cloned()).chain([output()]);
        responses(&all.collect::<Vec<_>>())
    };
    let reference = |item: &Value| json!({ "type": "item_reference", "id": item["id"] });
    let named: Vec<Value> = items.iter().map(reference).collect();
    let mut chained = responses(&[output()]);
    chained["previous_response_id"] = json!(id);
    for next in [input(items), input(&named), chained] {
        let answer = fleet.post("/v1/responses", &next).await;
        assert_eq!(answer.json()["output"][0]["content"][0]["text"], "done", "{next}");
        assert_eq!(fleet.sent(), whole_turn(), "{next}");
        assert_eq!(fleet.told(&answer).await, "", "{next}");
    }
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_keeps_claudes_thinking() {
    let fleet = Fleet::start().await;
    let talk = fleet.one_conversation().await;
    let mut body = responses(&[asks()]);
    body["conversation"] = json!(talk);
    fleet.post("/v1/responses", &body).await;
    let mut next = responses(&[output()]);
    next["conversation"] = json!(talk);
    let answer = fleet.post("/v1/responses", &next).await.json();
    assert_eq!(answer["output"][0]["content"][0]["text"], "done");
    assert_eq!(fleet.sent(), whole_turn());
    fleet.stop().await;
}

impl Fleet {
    async fn one_conversation(&self) -> String {
        let head = "Content-Type: application/json\r\n";
        let made =
            exchange(self.one.address, &request("POST /v1/conversations", head, b"{}")).await;
        made.json()["id"].as_str().unwrap().to_owned()
    }
}
