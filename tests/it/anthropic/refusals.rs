//! Refusals in Anthropic's shape.
use super::*;
use crate::upstream::Script;

/// Bodies, and the status, type and code of their refusal.
fn rows() -> Vec<(Value, u16, &'static str, &'static str)> {
    let with = |name: &str, value: Value| {
        let mut body = asking("demo", "hi");
        body[name] = value;
        body
    };
    let says = |content: Value| with("messages", json!([{ "role": "user", "content": content }]));
    let bad = |body: Value, code| (body, 400, "invalid_request_error", code);
    vec![
        bad(with("max_tokens", Value::Null), "missing_field"),
        bad(with("max_tokens", json!(0)), "out_of_range"),
        bad(with("max_tokens", json!("9")), "invalid_type"),
        bad(with("messages", Value::Null), "missing_field"),
        bad(with("messages", json!([])), "prompt_empty"),
        bad(with("messages", json!([{ "role": "tool", "content": "x" }])), "unsupported_value"),
        bad(with("messages", json!([{ "role": "user" }])), "missing_field"),
        bad(says(json!(7)), "invalid_type"),
        bad(says(json!([])), "prompt_empty"),
        bad(says(json!([{ "type": "text" }])), "missing_field"),
        bad(says(json!([{ "type": "image" }])), "missing_field"),
        bad(
            says(json!([{ "type": "image", "source": { "type": "file", "file_id": "f" } }])),
            "unsupported_value",
        ),
        bad(
            says(json!([{ "type": "document", "source": { "type": "url", "url": "https://x" } }])),
            "unsupported_value",
        ),
        bad(
            says(json!([{ "type": "web_search_tool_result", "content": [] }])),
            "unsupported_value",
        ),
        bad(says(json!([{ "type": "tool_result", "content": "x" }])), "missing_field"),
        bad(
            says(json!([{ "type": "tool_result", "tool_use_id": "t", "content": 7 }])),
            "unsupported_value",
        ),
        bad(with("system", json!(7)), "invalid_type"),
        bad(with("stop_sequences", json!([""])), "prompt_empty"),
        bad(with("tools", json!([{ "description": "d" }])), "missing_field"),
        bad(with("tool_choice", json!({ "type": "tool", "name": "f" })), "unsupported_value"),
        bad(with("tool_choice", json!({ "type": "any" })), "unsupported_value"),
        bad(
            with("output_config", json!({ "format": { "type": "json_schema" } })),
            "unsupported_value",
        ),
        bad(with("metadata", json!({ "user_id": "x".repeat(17_000) })), "metadata_too_large"),
        bad(json!([1]), "invalid_type"),
        (with("model", json!("claude")), 404, "not_found_error", "unknown_model"),
    ]
}

fn assert_refusal(answer: &Bytes, status: u16, kind: &str, code: &str) {
    let shown = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, status, "{shown}");
    let body = answer.json();
    assert_eq!((&body["type"], &body["error"]["type"]), (&json!("error"), &json!(kind)), "{shown}");
    assert_eq!(body["error"]["code"], code, "{shown}");
    assert!(body["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{shown}");
    let id = answer.header("request-id").unwrap();
    assert!(id.starts_with("req_") && body["request_id"] == id, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_message_is_said_in_anthropics_shape() {
    let app = TestApp::start().await;
    for (body, status, kind, code) in rows() {
        println!("{code}: {body}");
        assert_refusal(&post(&app, "/v1/messages", &body).await, status, kind, code);
    }
    let bad = "invalid_request_error";
    let get = async |path: &str| get(&app, path).await;
    for path in ["/v1/messages/batches", "/v1/messages/batches/b/results", "/v1/messages/msg_1"] {
        assert_refusal(&get(path).await, 404, "not_found_error", "not_found");
    }
    assert_refusal(
        &post(&app, "/v1/messages/batches", &json!({})).await,
        404,
        "not_found_error",
        "not_found",
    );
    assert_refusal(&get("/v1/messages").await, 405, bad, "method_not_allowed");
    let plain = request("POST /v1/messages", "Content-Type: text/plain\r\n", b"hi");
    assert_refusal(&exchange(app.address, &plain).await, 415, bad, "unsupported_media_type");
    let broken = request("POST /v1/messages", "Content-Type: application/json\r\n", b"{");
    assert_refusal(&exchange(app.address, &broken).await, 400, bad, "invalid_json");
    let nobodys = format!("x-api-key: lw_{}\r\n", "0".repeat(43));
    let keyed = posting("/v1/messages", &nobodys, &asking("demo", "hi"));
    assert_refusal(
        &exchange(app.address, &keyed).await,
        401,
        "authentication_error",
        "invalid_api_key",
    );
    assert_eq!(app.database.number("select count(*) from generations").await, 0);

    let started = post(&app, "/v1/messages", &asking("demo", "/demo tokens=2 tps=0")).await.json();
    let path = format!("/v1/messages/{}", started["id"].as_str().unwrap());
    assert_refusal(
        &get(&format!("{path}?stream=true&starting_after=99")).await,
        400,
        bad,
        "cursor_ahead",
    );
    assert_refusal(&get(&format!("{path}?starting_after=1")).await, 400, bad, "invalid_query");
    app.database.forget_events().await;
    assert_refusal(
        &get(&format!("{path}?stream=true&starting_after=1")).await,
        400,
        bad,
        "cursor_expired",
    );
    let whole = get(&path).await.json();
    assert_eq!((&whole["content"], &whole["usage"]), (&started["content"], &started["usage"]));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_upstream_refuses_has_its_status_and_says_whether_to_try_again() {
    let limited =
        Answer::status(429).header("retry-after", "7").raw(r#"{"error":{"message":"slow down"}}"#);
    let rejected = Answer::status(422).raw(r#"{"error":{"message":"no"}}"#);
    let (app, _upstream) = TestApp::scripted(vec![limited, rejected], |_| {}).await;
    let answer = post(&app, "/v1/messages", &asking("scripted", "hi")).await;
    assert_refusal(&answer, 429, "rate_limit_error", "upstream_rate_limited");
    assert_eq!(
        (answer.header("retry-after"), answer.header("x-should-retry")),
        (Some("7"), Some("true"))
    );
    let answer = post(&app, "/v1/messages", &asking("scripted", "hi")).await;
    assert_refusal(&answer, 422, "invalid_request_error", "upstream_rejected");
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    app.stop().await;
}

/// Clients wait longer for a busy server than for one that counts their requests.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_within_a_stream_keeps_its_type() {
    let error = json!({ "error": { "type": "overloaded_error", "message": "Overloaded" } });
    let begun = Answer::sse().message_start().says(&["Hel"]);
    let script = begun.message("error", error);
    let upstream = Upstream::start(script).await;
    let base = upstream.base_url();
    let toml = format!(
        "name = 'claude'\nprovider = 'anthropic'\nbase_url = '{}'\non_loss = 'interrupt'",
        base.trim_end_matches("/v1")
    );
    let app = TestApp::with(|config| config.models.push(model_config(&toml))).await;
    let mut body = asking("claude", "hi");
    body["stream"] = true.into();
    let answer = post(&app, "/v1/messages", &body).await;
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.contains("Hel") && text.contains(r#""type":"overloaded_error""#), "{text}");
    app.stop().await;
}

/// Statuses of a model's server; the status, the type and the word about another try here.
const STATUSES: [(u16, u16, &str, &str); 11] = [
    (400, 400, "invalid_request_error", "false"),
    (401, 401, "authentication_error", "false"),
    (402, 402, "billing_error", "false"),
    (403, 403, "permission_error", "false"),
    (404, 404, "not_found_error", "false"),
    (413, 413, "request_too_large", "false"),
    (422, 422, "invalid_request_error", "false"),
    (429, 429, "rate_limit_error", "true"),
    (500, 500, "api_error", "false"),
    (503, 503, "api_error", "true"),
    (529, 529, "overloaded_error", "true"),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_status_of_a_models_server_has_its_type_streamed_and_waited_for() {
    let script = Script::with(|request, _| {
        let text = request.body["messages"][0]["content"].as_str().unwrap();
        let refused = Answer::status(text.parse().unwrap()).header("retry-after", "7");
        refused.raw(r#"{"error":{"message":"no","type":"t","code":"c"}}"#)
    });
    let (app, upstream) = TestApp::scripted(script, |_| {}).await;
    for (theirs, status, kind, should_retry) in STATUSES {
        for stream in [false, true] {
            let mut body = asking("scripted", &theirs.to_string());
            body["stream"] = stream.into();
            let answer = post(&app, "/v1/messages", &body).await;
            let shown = format!("{theirs} {stream}: {answer:?}");
            let told = answer.json();
            assert_eq!((answer.status, &told["error"]["type"]), (status, &json!(kind)), "{shown}");
            assert!(told["error"]["message"].as_str().is_some_and(|m| m.contains("no")), "{shown}");
            assert_eq!(answer.header("x-should-retry"), Some(should_retry), "{shown}");
            let wait = (should_retry == "true").then_some("7");
            assert_eq!(answer.header("retry-after"), wait, "{shown}");
            assert_eq!(answer.header("request-id"), told["request_id"].as_str(), "{shown}");
        }
    }
    assert_eq!(upstream.requests().len(), 2 * STATUSES.len(), "none is tried again here");
    app.stop().await;
}
