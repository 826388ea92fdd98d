//! Thinking that cannot go back as it came: to another vendor's model, or because another vendor
//! has signed it. And the page of the AI SDK.
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn claudes_thinking_goes_to_claude_only_and_nobody_elses_to_claude() {
    let fleet = Fleet::start().await;
    let mut body = responses(&[asks()]);
    let items = fleet.post("/v1/responses", &body).await.json()["output"].clone();
    let mut input = vec![asks()];
    input.extend(items.as_array().unwrap().iter().cloned());
    input.push(output());
    body = responses(&input);
    body["model"] = json!("scripted");
    let answer = fleet.post("/v1/responses", &body).await;
    let sent = fleet.other.requests().pop().unwrap();
    for secret in ["lastword-", "c2lnbmF0dXJl", "eHh4"] {
        assert!(!sent.text().contains(secret), "{}", sent.text());
    }
    assert!(sent.text().contains("I look."), "{}", sent.text());
    assert!(fleet.told(&answer).await.contains("input.reasoning"));

    // Content that OpenAI has encrypted.
    let theirs = json!({ "type": "reasoning", "summary": [], "encrypted_content": "gAAAA" });
    let call = json!({ "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}" });
    let said = json!({ "role": "user", "content": "more" });
    let result = json!({ "type": "function_call_output", "call_id": "c", "output": "r" });
    let input = [asks(), theirs, call, result, said.clone()];
    let answer = fleet.post("/v1/responses", &responses(&input)).await;
    assert!(!fleet.claude.requests().pop().unwrap().text().contains("gAAAA"));
    assert!(fleet.told(&answer).await.contains("input.reasoning"));
    let theirs = json!([{ "type": "reasoning.encrypted", "data": "gAAAA",
        "format": "openai-responses-v1", "index": 0 }]);
    let before = json!({ "role": "assistant", "content": "Hi", "reasoning_details": theirs });
    let answer = fleet.post("/v1/chat/completions", &chat(&[asks(), before, said])).await;
    assert!(!fleet.claude.requests().pop().unwrap().text().contains("gAAAA"));
    assert!(fleet.told(&answer).await.contains("messages.reasoning_details"));

    // A carrier that somebody has changed.
    let broken =
        json!({ "type": "reasoning", "summary": [], "encrypted_content": "lastword-t1.[" });
    let body = responses(&[broken, asks()]).to_string();
    let head = "Content-Type: application/json\r\n";
    let asked = request("POST /v1/responses", head, body.as_bytes());
    let refused = exchange(fleet.one.address, &asked).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["error"]["code"], "invalid_encrypted_content");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thinking_that_another_vendor_has_signed_is_left_out_and_told() {
    let strict = claude();
    let upstream = Upstream::start(strict).await;
    let base = upstream.base_url();
    let toml = format!(
        "name = 'claude'\nprovider = 'anthropic'\nbase_url = '{}'\nmax_attempts = 1",
        base.trim_end_matches("/v1")
    );
    let app = TestApp::with(|config| config.models.push(model_config(&toml))).await;
    let call = json!({ "id": "toolu_1", "type": "function",
        "function": { "name": "f", "arguments": "{\"a\":1}" } });
    let message = json!({ "role": "assistant", "content": null, "tool_calls": [call],
        "thinking_blocks": [thinking("Hm", "of another")] });
    let result = json!({ "role": "tool", "tool_call_id": "toolu_1", "content": "r" });
    let body = chat(&[asks(), message, result]).to_string();
    let head = "Content-Type: application/json\r\n";
    let asked = request("POST /v1/chat/completions", head, body.as_bytes());
    let answer = exchange(app.address, &asked).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    let [first, second] = [0, 1].map(|n| upstream.requests()[n].body["messages"][1].clone());
    assert_eq!(first["content"][0]["signature"], "of another");
    assert_eq!(second["content"], json!([called()]));
    let id = answer.header("lastword-generation").unwrap();
    let asked = request(&format!("GET /v1/generations/{id}/events"), "", b"");
    let events = String::from_utf8(exchange(app.address, &asked).await.body).unwrap();
    assert!(events.contains("not sent to the model: input.reasoning"), "{events}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_the_ai_sdk_sends_claudes_thinking_back() {
    let fleet = Fleet::start().await;
    let tools = json!([{ "name": "f", "parameters": { "type": "object" } }]);
    let user = json!({ "id": "u", "role": "user", "parts": [{ "type": "text", "text": "go" }] });
    let body = json!({ "id": "page", "model": "claude", "messages": [user], "tools": tools });
    let live = fleet.post("/api/chat", &body).await;
    let mut parts: Vec<Value> = vec![json!({ "type": "step-start" })];
    // As the AI SDK's own reader makes parts of chunks.
    for chunk in frames(&live.body) {
        match chunk["type"].as_str().unwrap() {
            "reasoning-start" => parts.push(json!({ "type": "reasoning", "text": "" })),
            "text-start" => parts.push(json!({ "type": "text", "text": "" })),
            "reasoning-delta" | "text-delta" => {
                let part = parts.last_mut().unwrap();
                let text = part["text"].as_str().unwrap().to_owned();
                part["text"] = json!(text + chunk["delta"].as_str().unwrap());
            }
            "reasoning-end" => {
                let kept = chunk["providerMetadata"].clone();
                parts.last_mut().unwrap()["providerMetadata"] = kept;
            }
            "tool-input-available" => parts.push(json!({
                "type": "tool-f", "toolCallId": chunk["toolCallId"], "state": "output-available",
                "input": chunk["input"], "output": "r",
            })),
            _ => {}
        }
    }
    let kinds: Vec<&str> = parts.iter().map(|part| part["type"].as_str().unwrap()).collect();
    let expected = ["step-start", "reasoning", "reasoning", "text", "reasoning", "tool-f"];
    assert_eq!(kinds, expected, "{parts:#?}");
    assert_eq!(parts[2]["providerMetadata"], json!({ "anthropic": { "redactedData": "eHh4" } }));
    let mut next = body.clone();
    let answered = json!({ "id": "a", "role": "assistant", "parts": parts });
    next["messages"].as_array_mut().unwrap().push(answered);
    let answer = fleet.post("/api/chat", &next).await;
    assert!(String::from_utf8(answer.body).unwrap().contains("done"));
    assert_eq!(fleet.sent(), whole_turn());
    fleet.stop().await;
}
