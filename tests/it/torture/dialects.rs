//! Chat completions as each server speaks them: its own fields, words and keep-alives.
use super::*;

/// A server, its keep-alives, its events, the thinking, the finish reason, its own word for that.
type Dialect = (
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static str,
    &'static str,
    Option<&'static str>,
);

const DIALECTS: [Dialect; 7] = [
    (
        "OpenAI",
        "",
        &[
            r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","service_tier":"default","system_fingerprint":"fp","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"x"}"#,
            r#"{"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"Hi 🦀"},"finish_reason":null}],"usage":null}"#,
            r#"{"id":"chatcmpl-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}"#,
            r#"{"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":9,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":1},"completion_tokens_details":{"reasoning_tokens":4}}}"#,
            "[DONE]",
        ],
        "",
        "stop",
        None,
    ),
    (
        "vLLM",
        "",
        &[
            r#"{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"reasoning":"hm","reasoning_content":"hm"},"finish_reason":null}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"content":"Hi 🦀"},"finish_reason":null,"stop_reason":null,"token_ids":null}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop","stop_reason":128009}]}"#,
            r#"{"id":"c","choices":[],"usage":{"prompt_tokens":5,"total_tokens":14,"completion_tokens":9}}"#,
            "[DONE]",
        ],
        "hm",
        "stop",
        None,
    ),
    (
        "llama.cpp",
        ":\n\n",
        &[
            r#"{"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1.5,"id":"c","object":"chat.completion.chunk"}"#,
            r#"{"choices":[{"finish_reason":null,"index":0,"delta":{"reasoning_content":"hm"}}]}"#,
            r#"{"choices":[{"finish_reason":null,"index":0,"delta":{"content":"Hi 🦀"}}]}"#,
            r#"{"choices":[{"finish_reason":"stop","index":0,"delta":{}}]}"#,
            r#"{"choices":[],"usage":{"completion_tokens":9,"prompt_tokens":5,"total_tokens":14},"timings":{"predicted_ms":1.5}}"#,
            "[DONE]",
        ],
        "hm",
        "stop",
        None,
    ),
    (
        "Ollama",
        "",
        &[
            r#"{"id":"chatcmpl-7","choices":[{"index":0,"delta":{"role":"assistant","content":"","thinking":"hm"},"finish_reason":null}]}"#,
            r#"{"id":"chatcmpl-7","choices":[{"index":0,"delta":{"role":"assistant","content":"Hi 🦀"},"finish_reason":null}]}"#,
            r#"{"id":"chatcmpl-7","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":"stop"}]}"#,
            r#"{"id":"chatcmpl-7","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":9,"total_tokens":14}}"#,
            "[DONE]",
        ],
        "hm",
        "stop",
        None,
    ),
    (
        "LM Studio",
        "",
        &[
            r#"{"id":"chatcmpl-x","choices":[{"index":0,"delta":{"role":"assistant","reasoning":"hm"},"logprobs":null,"finish_reason":null}]}"#,
            r#"{"id":"chatcmpl-x","choices":[{"index":0,"delta":{"role":"assistant","content":"Hi 🦀"},"logprobs":null,"finish_reason":null}]}"#,
            r#"{"id":"chatcmpl-x","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"eos"}],"usage":{"prompt_tokens":5.0,"completion_tokens":9.0}}"#,
            "[DONE]",
        ],
        "hm",
        "stop",
        Some("eos"),
    ),
    (
        "OpenRouter",
        ": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n",
        &[
            r#"{"id":"gen-1","provider":"X","choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning":"hm","reasoning_details":[{"type":"reasoning.text"}]},"finish_reason":null,"native_finish_reason":null}]}"#,
            r#"{"id":"gen-1","choices":[{"index":0,"delta":{"role":"assistant","content":"Hi 🦀"},"finish_reason":null}]}"#,
            r#"{"id":"gen-1","choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop","native_finish_reason":"end_turn"}]}"#,
            r#"{"id":"gen-1","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":{"prompt_tokens":5,"completion_tokens":9,"cost":0.01}}"#,
            "[DONE]",
        ],
        "hm",
        "stop",
        Some("end_turn"),
    ),
    (
        "DeepSeek",
        ": keep-alive\n\n",
        &[
            r#"{"id":"d","choices":[{"index":0,"delta":{"role":"assistant","content":null,"reasoning_content":"hm"},"finish_reason":null}]}"#,
            r#"{"id":"d","choices":[{"index":0,"delta":{"content":"Hi 🦀","reasoning_content":null},"finish_reason":null}]}"#,
            r#"{"id":"d","choices":[{"index":0,"delta":{"content":"","reasoning_content":null},"finish_reason":"length"}],"usage":{"prompt_tokens":5,"completion_tokens":9,"prompt_cache_hit_tokens":0}}"#,
            "[DONE]",
        ],
        "hm",
        "length",
        None,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_server_is_understood() {
    let mut upstreams = Vec::new();
    for (_, keep_alives, datas, ..) in DIALECTS {
        let events = datas.iter().map(|data| format!("data: {data}\n\n{keep_alives}"));
        let stream = keep_alives.to_owned() + &events.collect::<String>();
        // Cut at every byte, too: the cuts of TCP do not matter.
        upstreams.push(Upstream::start(Answer::sse().raw(&stream)).await);
        upstreams.push(Upstream::start(everywhere(stream.as_bytes())).await);
    }
    let app = TestApp::with(|c| c.models = upstreams.iter().enumerate().map(numbered).collect());
    let app = app.await;
    for (n, (server, _, _, thinking, reason, own_word)) in
        DIALECTS.iter().flat_map(|dialect| [dialect, dialect]).enumerate()
    {
        let id = app.client.start(&json!({ "model": format!("m{n}"), "prompt": "go" })).await;
        let events = app.client.all(&id, 0).await;
        assert_whole(&events);
        assert_eq!(
            (joined(&events, "reasoning").as_str(), text(&events).as_str()),
            (*thinking, "Hi 🦀"),
            "{server}"
        );
        assert!(events.iter().all(|e| e.name != "notice"), "{server}: {events:#?}");
        let done = events.last().unwrap().json();
        assert_eq!(done["finish_reason"], *reason, "{server}");
        assert_eq!(done["provider_finish_reason"].as_str(), *own_word, "{server}");
        let usage = &done["usage"];
        let counted = (&usage["input_tokens"], &usage["output_tokens"], &usage["exact"]);
        assert_eq!(counted, (&json!(5), &json!(9), &json!(true)), "{server}: {usage}");
    }
    app.stop().await;
}

/// The joined text of all events of a kind.
fn joined(events: &[Received], kind: &str) -> String {
    let of_kind = events.iter().filter(|e| e.name == kind);
    of_kind.filter_map(|e| Some(e.json()["text"].as_str()?.to_owned())).collect()
}
