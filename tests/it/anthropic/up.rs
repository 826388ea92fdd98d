//! The requests that a model gets: its own vendor's in the client's own words, others in their
//! protocol.
use super::*;

/// The requests of Claude Code, in short.
fn agent(model: &str) -> Value {
    json!({
        "model": model, "max_tokens": 32000, "stream": true,
        "system": [
            { "type": "text", "text": "x-anthropic-billing-header: cc_version=2; cch=1;" },
            { "type": "text", "text": "You are an agent.", "cache_control": { "type": "ephemeral" } },
        ],
        "messages": [
            { "role": "user", "content": [{ "type": "text", "text": "See" },
                { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AAAA" } }] },
            { "role": "system", "content": "Mind the time." },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "Hm", "signature": "EqQB" },
                { "type": "redacted_thinking", "data": "eHh4" },
                { "type": "text", "text": "Looking" },
                { "type": "tool_use", "id": "t1", "name": "Read", "input": { "z": 1, "a": 2 } },
                { "type": "tool_use", "id": "t2", "name": "Bash", "input": {} }] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "t1", "content": [{ "type": "text", "text": "one" },
                    { "type": "image", "source": { "type": "url", "url": "https://x/y.png" } }] },
                { "type": "tool_result", "tool_use_id": "t2", "is_error": true, "content": "no such file" },
                { "type": "document", "title": "Notes", "source": { "type": "text", "media_type": "text/plain", "data": "two" } },
                { "type": "text", "text": "Go on" }] },
        ],
        "tools": [
            { "name": "Read", "description": "reads", "input_schema": { "type": "object" }, "eager_input_streaming": true },
            { "name": "Bash", "input_schema": { "type": "object" } },
            { "type": "web_search_20250305", "name": "web_search", "max_uses": 5 },
        ],
        "tool_choice": { "type": "auto", "disable_parallel_tool_use": true },
        "thinking": { "type": "adaptive" }, "output_config": { "effort": "high" },
        "context_management": { "edits": [] }, "metadata": { "user_id": "{\"device_id\":\"d\"}" },
        "inference_geo": "eu", "brand_new": { "a": null },
    })
}

const BETAS: &str = "anthropic-beta: claude-code-20250219, brand-new-2027-01-01\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn another_vendors_model_is_asked_in_its_protocol() {
    let script = Answer::sse()
        .data(r#"{"choices":[{"index":0,"delta":{"reasoning_content":"Hm"}}]}"#)
        .text("Hi")
        .complete();
    let (app, upstream) = TestApp::scripted(script, |_| {}).await;
    let answer = exchange(app.address, &posting("/v1/messages", BETAS, &agent("scripted"))).await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let told = answer.header("lastword-left-out").unwrap();
    for name in [
        "brand_new",
        "context_management",
        "inference_geo",
        "messages.redacted_thinking",
        "messages.thinking",
        "output_config.effort",
        "thinking",
        "tools.web_search_20250305",
    ] {
        assert!(told.split(", ").any(|told| told == name), "{name}: {told}");
    }
    let sent = upstream.requests().remove(0);
    assert_eq!(sent.header("anthropic-beta"), None);
    let text = sent.body.to_string();
    assert!(!text.contains("billing") && !text.contains("device_id"), "{text}");
    let image = |url: &str| json!({ "type": "image_url", "image_url": { "url": url } });
    let call = |id: &str, name: &str, arguments: &str| json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } });
    assert_eq!(
        sent.body["messages"],
        json!([
            { "role": "system", "content": "You are an agent.\n\nMind the time." },
            { "role": "user", "content": [{ "type": "text", "text": "See" }, image("data:image/png;base64,AAAA")] },
            { "role": "assistant", "content": "Looking",
                "tool_calls": [call("t1", "Read", "{\"z\":1,\"a\":2}"), call("t2", "Bash", "{}")] },
            { "role": "tool", "tool_call_id": "t1", "content": "one" },
            { "role": "tool", "tool_call_id": "t2", "content": "Error:\nno such file" },
            { "role": "user", "content": [image("https://x/y.png"), { "type": "text", "text": "Notes\ntwo" },
                { "type": "text", "text": "Go on" }] },
        ])
    );
    assert_eq!(sent.body["tools"].as_array().unwrap().len(), 2);
    assert_eq!(sent.body["parallel_tool_calls"], false);
    assert_eq!(sent.body["max_tokens"], 32000);
    let frames = frames(&answer);
    let signature = frames.iter().find_map(|f| f["delta"]["signature"].as_str()).unwrap();
    // Its thinking comes back, whole and changed.
    let again = async |thinking: &str| {
        let thought = json!({ "type": "thinking", "thinking": thinking, "signature": signature });
        let mut body = asking("scripted", "hi");
        let turns = body["messages"].as_array_mut().unwrap();
        turns.push(
            json!({ "role": "assistant", "content": [thought, { "type": "text", "text": "Hi" }] }),
        );
        turns.push(json!({ "role": "user", "content": "more" }));
        let answer = post(&app, "/v1/messages", &body).await;
        assert_eq!(answer.status, 200);
        answer.header("lastword-left-out").map(str::to_owned)
    };
    assert_eq!(again("Hm").await, None);
    assert_eq!(again("Ha").await.as_deref(), Some("messages.thinking"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_vendor_gets_the_body_as_it_came() {
    let script = Answer::sse()
        .message_start()
        .block(0, json!({ "type": "thinking", "thinking": "" }))
        .piece(0, json!({ "type": "thinking_delta", "thinking": "Hm" }))
        .piece(0, json!({ "type": "signature_delta", "signature": "c2ln" }))
        .block_stop(0)
        .block(1, json!({ "type": "text", "text": "" }))
        .piece(1, json!({ "type": "text_delta", "text": "Hi" }))
        .block_stop(1)
        .stop_reason("end_turn")
        .message_stop();
    let upstream = Upstream::start(script).await;
    let app = TestApp::with(|config| config.models = vec![claude(&upstream)]).await;
    let mut body = agent("claude");
    body["messages"][3]["content"][2] = json!({ "type": "document",
        "source": { "type": "base64", "media_type": "application/pdf", "data": "AAAA" } });
    let answer = exchange(app.address, &posting("/v1/messages?beta=true", BETAS, &body)).await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.header("lastword-left-out"), None);
    let sent = upstream.requests().remove(0);
    body["model"] = "claude-up".into();
    assert_eq!(sent.body, body);
    assert_eq!(sent.header("anthropic-beta"), Some("claude-code-20250219,brand-new-2027-01-01"));
    assert_eq!((sent.header("x-api-key"), sent.header("authorization")), (None, None));
    let told = frames(&answer);
    let signature: Vec<&str> =
        told.iter().filter_map(|f| f["delta"]["signature"].as_str()).collect();
    assert_eq!(signature, ["c2ln"], "the vendor's own goes back");
    let usage = &told.iter().find(|f| f["type"] == "message_delta").unwrap()["usage"];
    assert_eq!(
        *usage,
        json!({ "input_tokens": 10, "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": 5, "output_tokens": 7 })
    );
    // A request that waits, with thinking that was signed here: it has no meaning there.
    let ours = json!({ "type": "thinking", "thinking": "x", "signature": "lastword_00" });
    let mut body = asking("claude", "hi");
    let turns = body["messages"].as_array_mut().unwrap();
    turns.push(json!({ "role": "assistant", "content": [ours, { "type": "text", "text": "Hi" }] }));
    turns.push(json!({ "role": "user", "content": "more" }));
    let answer = post(&app, "/v1/messages", &body).await;
    assert_eq!(answer.json()["content"][0]["signature"], "c2ln");
    let sent = upstream.requests().remove(1).body;
    assert_eq!(sent["messages"][1]["content"], json!([{ "type": "text", "text": "Hi" }]));
    assert_eq!(sent["stream"], true);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_context_is_said_in_the_words_that_clients_look_for() {
    let words =
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.";
    let error = json!({ "error": { "message": words, "code": 400 } }).to_string();
    let refused = Answer::status(400).header("content-type", "application/json").raw(error);
    let upstream = Upstream::start(refused).await;
    let app = TestApp::with(|config| {
        config.models = vec![model(&upstream)];
        config.limits.prompt_bytes = 4000;
    })
    .await;
    let waited = post(&app, "/v1/messages", &asking("scripted", "hi")).await;
    let error = &waited.json()["error"];
    assert_eq!((waited.status, waited.header("x-should-retry")), (400, Some("false")));
    assert_eq!(error["type"], "invalid_request_error");
    assert_eq!(error["message"], "prompt is too long: 5000 tokens > 4096 maximum");
    let mut body = asking("scripted", "hi");
    body["stream"] = true.into();
    let streamed = post(&app, "/v1/messages", &body).await;
    assert_eq!(streamed.status, 400, "the head waits for the upstream");
    assert_eq!(streamed.json()["error"]["message"], error["message"]);
    let ours = post(&app, "/v1/messages", &asking("scripted", &"x".repeat(8000))).await;
    assert_eq!(ours.status, 400);
    assert_eq!(ours.json()["error"]["message"], "prompt is too long: 2000 tokens > 1000 maximum");
    app.stop().await;
}
