//! The tokens of an input below what a conversation says.
use serde_json::{Value, json};

use crate::conversation::{Talk, told};
use crate::harness::{TestApp, model_config};
use crate::keys::make_key;
use crate::raw::{exchange, request};
use crate::upstream::{Answer, Upstream};

const PATH: &str = "/v1/responses/input_tokens";

async fn counted(talk: &Talk, body: Value) -> u64 {
    let (status, count) = told(talk.client.post(PATH, &body).await).await;
    assert_eq!((status, &count["object"]), (200, &json!("response.input_tokens")), "{count}");
    count["input_tokens"].as_u64().unwrap()
}

async fn refused(talk: &Talk, body: Value) -> (u16, Value, Value) {
    let (status, problem) = told(talk.client.post(PATH, &body).await).await;
    (status, problem["error"]["code"].clone(), problem["error"]["param"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_counted_with_what_is_said_below_it() {
    let upstream = Upstream::start(Answer::sse().text("ok").complete()).await;
    let url = upstream.base_url();
    let app = TestApp::with(|config| {
        let small = "context_tokens = 300";
        let small = format!("name = 'small'\nprovider = 'openai'\nbase_url = '{url}'\n{small}");
        config.models.push(model_config(&small));
    })
    .await;
    let said = |text: &str| json!({ "role": "user", "content": text.repeat(100) });
    let answer = json!({ "role": "assistant", "content": "four".repeat(100) });
    let items = json!([said("a"), answer, said("bb"), answer]);
    let talk = Talk::open(&app.client, &json!({ "items": items, "system": "s".repeat(40) })).await;
    let whole = 10 + 25 + 100 + 50 + 100;
    let id = talk.id.as_str();
    let asked = |more: Value| {
        let mut body = json!({ "model": "demo", "conversation": id });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    assert_eq!(counted(&talk, asked(json!({}))).await, whole, "without an input");
    assert_eq!(counted(&talk, asked(json!({ "input": "four" }))).await, whole + 1);
    let object = json!({ "conversation": { "id": id }, "input": "four" });
    let cut = 10 + 50 + 100 + 1;
    assert_eq!(
        counted(&talk, object).await,
        cut,
        "by its object, for the default model: the small"
    );
    let other = json!({ "instructions": "i".repeat(80), "input": "four" });
    assert_eq!(counted(&talk, asked(other)).await, whole + 1 - 10 + 20, "they stand for its own");
    let tool = json!([{ "type": "function", "name": "f", "parameters": { "type": "object" } }]);
    let tools = json!({ "tools": tool, "tool_choice": "auto", "parallel_tool_calls": true,
        "reasoning": { "effort": "low" }, "text": { "verbosity": "low" }, "truncation": "auto",
        "personality": "friendly", "previous_response_id": null, "input": null });
    assert!(counted(&talk, asked(tools)).await > whole, "the tools count");
    // What would not fit is not told: the oldest turn goes.
    let small = asked(json!({ "model": "small", "input": "four" }));
    assert_eq!(counted(&talk, small.clone()).await, cut);
    let (status, _) = told(talk.client.post("/v1/responses", &small).await).await;
    assert_eq!(status, 200);
    let sent = upstream.requests().pop().unwrap().body["messages"].clone();
    let bytes = sent.as_array().unwrap().iter().map(|m| m["content"].as_str().unwrap().len());
    assert_eq!(bytes.sum::<usize>() as u64, 4 * cut, "and this is what a model was told");
    assert_eq!(counted(&talk, asked(json!({}))).await, whole + 1 + 1, "with its answer");
    assert_eq!(counted(&talk, json!({ "instructions": "four" })).await, 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_cannot_be_counted_is_refused_by_its_name() {
    let app = TestApp::start().await;
    let talk = Talk::open(&app.client, &json!({ "items": [] })).await;
    assert_eq!(counted(&talk, json!({ "conversation": talk.id })).await, 0, "nothing is said");
    let named = |id: &str| json!({ "conversation": id, "input": "hi" });
    let unknown = (404, json!("not_found"), json!("conversation"));
    assert_eq!(refused(&talk, named("conv_x")).await, unknown);
    let both = json!({ "conversation": talk.id, "previous_response_id": "resp_1" });
    let both = refused(&talk, both).await;
    assert_eq!(both, (400, json!("unsupported_value"), json!("conversation")));
    let model = json!({ "model": "dmo", "conversation": talk.id });
    assert_eq!(refused(&talk, model).await, (404, json!("model_not_found"), json!("model")));
    assert_eq!(refused(&talk, json!({})).await, (400, json!("missing_field"), json!("input")));
    let empty = |field: &str| (400, json!("prompt_empty"), json!(field));
    assert_eq!(refused(&talk, json!({ "input": [] })).await, empty("input"));
    let blank = json!({ "instructions": " ", "input": "hi" });
    assert_eq!(refused(&talk, blank).await, empty("instructions"));
    let key = make_key(&app.database, &["--tenant", "stranger"]).await;
    let head = format!("Content-Type: application/json\r\nAuthorization: Bearer {key}\r\n");
    let mut messages = Vec::new();
    for id in [talk.id.clone(), format!("conv_{}", "0".repeat(32))] {
        let body = named(&id).to_string();
        let asked = request(&format!("POST {PATH}"), &head, body.as_bytes());
        let answer = exchange(app.address, &asked).await;
        assert_eq!(answer.status, 404);
        messages.push(answer.json()["error"]["message"].as_str().unwrap().replace(&id, "ID"));
    }
    assert_eq!(messages[0], messages[1], "somebody else's is none");
    app.stop().await;
}
