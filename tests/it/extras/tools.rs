//! Tools that take a text, and those of a namespace. A client has its calls in its own form, for
//! every protocol of its model.
use serde_json::{Value, json};

use super::Pair;
use crate::upstream::Answer;

const CHAT: &str = "/v1/chat/completions";

const INPUT: &str = "echo \"é\"\n";

/// A chat completion with the calls of two functions, cut anywhere.
fn functions() -> Answer {
    let call = |index: u32, id: &str, name: &str, arguments: &str| {
        json!({ "tool_calls": [{ "index": index, "id": id, "type": "function",
            "function": { "name": name, "arguments": arguments } }] })
    };
    let more = |arguments: &str| json!({ "tool_calls": [{ "index": 0, "function": { "arguments": arguments } }] });
    Answer::sse()
        .delta(&call(0, "call_1", "sh", "{\"inp"))
        .delta(&more("ut\": \"echo \\\"\\u00"))
        .delta(&more("e9\\\""))
        .delta(&more("\\n\"}"))
        .delta(&call(1, "call_2", "fs__f", "{\"a\":1}"))
        .data(r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#)
        .done()
}

fn tools() -> Value {
    json!([
        { "type": "custom", "name": "sh", "description": "Runs." },
        { "type": "namespace", "name": "fs", "description": "Files.", "tools": [
            { "type": "function", "name": "f", "parameters": { "type": "object" } }] },
    ])
}

fn response(frames: &[Value]) -> String {
    frames[0]["response"]["id"].as_str().unwrap().to_owned()
}

fn completion(frames: &[Value]) -> String {
    frames[0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_over_chat_completions_has_its_own_calls() {
    let pair = Pair::start("/v1/responses", "openai", functions()).await;
    let chosen = json!({ "type": "custom", "name": "sh" });
    let body = json!({ "input": "hi", "tools": tools(), "tool_choice": chosen });
    let (live, whole) = pair.all_ways(response, &body).await;
    let sent = pair.upstream.requests().remove(0).body;
    let schema = json!({ "type": "object", "properties": { "input": { "type": "string" } },
        "required": ["input"], "additionalProperties": false });
    let function = |name: &str, description: &str, parameters: &Value| {
        json!({ "type": "function", "function":
            { "name": name, "description": description, "parameters": parameters } })
    };
    let given = [
        function("sh", "Runs.", &schema),
        function("fs__f", "Files.", &json!({ "type": "object" })),
    ];
    assert_eq!(sent["tools"], json!(given));
    assert_eq!(sent["tool_choice"], json!({ "type": "function", "function": { "name": "sh" } }));

    let output = &whole["output"];
    let of = |item: &Value, fields: &[&str]| -> Vec<Value> {
        fields.iter().map(|field| item[*field].clone()).collect()
    };
    let custom = of(&output[0], &["type", "call_id", "name", "input", "arguments", "status"]);
    let told = json!(["custom_tool_call", "call_1", "sh", INPUT, null, "completed"]);
    assert_eq!(json!(custom), told);
    let named = of(&output[1], &["type", "call_id", "name", "namespace", "arguments"]);
    assert_eq!(json!(named), json!(["function_call", "call_2", "f", "fs", "{\"a\":1}"]));
    let deltas = live.iter().filter(|f| f["type"] == "response.custom_tool_call_input.delta");
    let deltas: String = deltas.map(|frame| frame["delta"].as_str().unwrap()).collect();
    assert_eq!(deltas, INPUT);
    assert_eq!(whole["tools"], tools(), "as the client has them");

    // The calls and the results of the tools go up as those of the functions that the model knows.
    let answer = json!({ "type": "custom_tool_call_output", "call_id": "call_1", "output": "é" });
    let files = json!({ "type": "function_call_output", "call_id": "call_2", "output": "{}" });
    let input = json!([{ "role": "user", "content": "hi" }, output[0], output[1], answer, files]);
    let whole_history = json!({ "model": "scripted", "input": input, "tools": tools() });
    let chained = json!({ "model": "scripted", "input": [answer, files], "tools": tools(),
        "previous_response_id": response(&live) });
    for asked in [whole_history, chained] {
        pair.ask(&asked).await;
        let messages = pair.upstream.requests().pop().unwrap().body["messages"].clone();
        let calls = &messages[1]["tool_calls"];
        assert_eq!(
            (&calls[0]["function"]["name"], &calls[0]["type"]),
            (&json!("sh"), &json!("function"))
        );
        let arguments: Value =
            serde_json::from_str(calls[0]["function"]["arguments"].as_str().unwrap()).unwrap();
        assert_eq!(arguments, json!({ "input": INPUT }));
        assert_eq!(calls[1]["function"]["name"], "fs__f");
        assert_eq!((&messages[2]["role"], &messages[2]["content"]), (&json!("tool"), &json!("é")));
    }
    pair.forget().await;
    let kept: Value = serde_json::from_slice(&pair.get(&response(&live), "").await).unwrap();
    assert_eq!(kept["output"], *output, "when its events are gone");
    pair.stop().await;
}

fn custom() -> Value {
    json!([{ "type": "custom", "custom": { "name": "sh" } }])
}

/// A chat client's view of the call, live and in one piece.
async fn asked_in_chat(pair: &Pair) {
    let body = json!({ "messages": [{ "role": "user", "content": "hi" }], "tools": custom() });
    let (live, whole) = pair.all_ways(completion, &body).await;
    let calls: Vec<&Value> =
        live.iter().filter_map(|f| f.pointer("/choices/0/delta/tool_calls/0")).collect();
    assert_eq!((&calls[0]["type"], &calls[0]["custom"]["name"]), (&json!("custom"), &json!("sh")));
    let input: String =
        calls.iter().map(|call| call["custom"]["input"].as_str().unwrap()).collect();
    assert_eq!(input, INPUT);
    assert!(calls.iter().all(|call| call.get("function").is_none()), "{calls:?}");
    let inner = json!({ "name": "sh", "input": INPUT });
    let call = json!({ "id": "call_1", "type": "custom", "custom": inner });
    assert_eq!(whole["choices"][0]["message"]["tool_calls"][0], call);
    let reason = &whole["choices"][0]["finish_reason"];
    assert_eq!(reason, "tool_calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_has_its_own_calls_over_every_wire() {
    let input = json!({ "input": INPUT }).to_string();
    let (begin, rest) = input.split_at(14);
    let block = json!({ "type": "tool_use", "id": "call_1", "name": "sh", "input": {} });
    let piece = |text: &str| json!({ "type": "input_json_delta", "partial_json": text });
    let message = Answer::sse()
        .message_start()
        .block(0, block)
        .piece(0, piece(begin))
        .piece(0, piece(rest))
        .block_stop(0)
        .stop_reason("tool_use")
        .message_stop();
    let pair = Pair::start(CHAT, "anthropic", message).await;
    asked_in_chat(&pair).await;
    let tools = &pair.upstream.requests()[0].body["tools"];
    assert_eq!(
        (&tools[0]["name"], &tools[0]["input_schema"]["required"]),
        (&json!("sh"), &json!(["input"]))
    );
    pair.stop().await;

    let first = json!({ "tool_calls": [{ "index": 0, "id": "call_1", "type": "custom",
        "custom": { "name": "sh", "input": "" } }] });
    let more = |text: &str| json!({ "tool_calls": [{ "index": 0, "custom": { "input": text } }] });
    let own = Answer::sse()
        .delta(&first)
        .delta(&more("echo \""))
        .delta(&more("é\"\n"))
        .data(r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#)
        .done();
    let pair = Pair::start(CHAT, "openai", own).await;
    asked_in_chat(&pair).await;
    assert_eq!(pair.upstream.requests()[0].body["tools"], custom(), "as it came");
    pair.stop().await;
}

/// A reader of the events has arguments that are JSON, and learns their form.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_such_a_call_as_that_of_a_function() {
    let pair = Pair::start("/v1/responses", "openai", functions()).await;
    let live = pair
        .ask(&json!({ "model": "scripted", "stream": true, "input": "hi",
        "tools": tools() }))
        .await;
    let id = response(&live).replace("resp_", "");
    let id = uuid::Uuid::try_parse(&id).unwrap().to_string();
    let events = pair.one.client.all(&id, 0).await;
    let calls: Vec<Value> = events
        .iter()
        .filter(|event| event.name == "tool_call")
        .map(|event| serde_json::from_str(&event.data).unwrap())
        .collect();
    assert_eq!((&calls[0]["name"], &calls[0]["custom"]), (&json!("sh"), &json!(true)));
    assert!(calls[1].get("custom").is_none(), "in the first fragment");
    let last = calls.last().unwrap();
    assert_eq!((&last["name"], &last["namespace"]), (&json!("f"), &json!("fs")));
    let arguments: String = calls
        .iter()
        .filter(|call| call["index"] == 0)
        .map(|call| call["arguments"].as_str().unwrap())
        .collect();
    assert_eq!(serde_json::from_str::<Value>(&arguments).unwrap(), json!({ "input": INPUT }));
    pair.stop().await;
}
