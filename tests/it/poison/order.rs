//! The order of keys in schemas, which is the order in which a model answers.
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::upstream::Answer;

const SCHEMA: &str = r#"{"type":"object","properties":{"reasoning":{"type":"string"},"answer":{"maximum":1.7976931348623157e308,"type":"number"}},"required":["reasoning","answer"],"additionalProperties":false}"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_of_a_schema_reach_the_model_in_their_order() {
    let script = Answer::sse().text("{}").complete();
    let (app, upstream) = TestApp::scripted(script, |_| {}).await;
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let format = json!({ "name": "n", "strict": true, "schema": schema });
    let mut formatted = format.clone();
    formatted["type"] = "json_schema".into();
    let bodies = [
        (
            "/v1/chat/completions",
            json!({
                "messages": [{"role": "user", "content": "hi"}],
                "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}],
                "response_format": {"type": "json_schema", "json_schema": format},
            }),
        ),
        (
            "/v1/responses",
            json!({
                "input": "hi",
                "tools": [{"type": "function", "name": "f", "parameters": schema}],
                "text": {"format": formatted},
            }),
        ),
    ];
    for (path, body) in bodies {
        let answer = app.client.post(path, &body).await;
        assert_eq!(answer.status(), 200, "{path}");
        let asked = upstream.requests().pop().unwrap().body;
        let tool = &asked["tools"][0]["function"]["parameters"];
        let format = &asked["response_format"]["json_schema"]["schema"];
        assert_eq!(
            (tool.to_string(), format.to_string()),
            (schema.to_string(), schema.to_string()),
            "{path}"
        );
    }
    app.stop().await;
}
