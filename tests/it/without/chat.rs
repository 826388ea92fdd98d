//! Answers of a recording server of chat completions, whole and in chunks.
use serde_json::{Map, Value, json};

/// The fields of a message: what does not begin with `@`.
fn message(spec: &Value) -> Map<String, Value> {
    let mut message = Map::new();
    message.insert("role".into(), json!("assistant"));
    for (name, value) in spec.as_object().unwrap() {
        if !name.starts_with('@') {
            message.insert(name.clone(), value.clone());
        }
    }
    for call in message.get_mut("tool_calls").into_iter().flat_map(|c| c.as_array_mut().unwrap()) {
        let kind = if call["custom"].is_null() { "function" } else { "custom" };
        call["type"] = json!(kind);
    }
    message
}

fn finish(spec: &Value) -> Value {
    if spec["@finish"].is_null() { json!("stop") } else { spec["@finish"].clone() }
}

fn usage(spec: &Value) -> Value {
    let usage = &spec["@top"]["usage"];
    let plain = json!({ "prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10 });
    if usage.is_null() { plain } else { usage.clone() }
}

fn envelope(spec: &Value, object: &str, model: &Value) -> Map<String, Value> {
    let head =
        json!({ "id": "chatcmpl-1", "object": object, "created": 1_700_000_000, "model": model });
    let mut head = head.as_object().unwrap().clone();
    for (name, value) in spec["@top"].as_object().into_iter().flatten() {
        if name != "usage" {
            head.insert(name.clone(), value.clone());
        }
    }
    head
}

/// The answer in one piece, with the request's number of choices.
pub(super) fn whole(spec: &Value, request: &Value) -> Value {
    let mut answer = envelope(spec, "chat.completion", &request["model"]);
    let choice = |index: u64| {
        let logprobs = spec.get("@logprobs").cloned().unwrap_or_default();
        let mut choice = json!({
            "index": index, "message": message(spec), "logprobs": logprobs, "finish_reason": finish(spec),
        });
        for (name, value) in spec["@choice"].as_object().into_iter().flatten() {
            choice[name] = value.clone();
        }
        choice
    };
    let count = request["n"].as_u64().unwrap_or(1);
    answer.insert("choices".into(), (0..count).map(choice).collect());
    answer.insert("usage".into(), usage(spec));
    Value::Object(answer)
}

/// Both halves of a text.
fn halves(text: &str) -> [&str; 2] {
    let middle = text.char_indices().map(|(at, _)| at).nth(text.chars().count() / 2);
    let (one, two) = text.split_at(middle.unwrap_or(0));
    [one, two]
}

/// The deltas of a message: texts in two pieces, calls by their name first.
fn deltas(spec: &Value) -> Vec<Value> {
    let mut deltas = vec![json!({ "role": "assistant", "content": "" })];
    for (name, value) in message(spec) {
        match (name.as_str(), &value) {
            ("role", _) | (_, Value::Null) => {}
            ("tool_calls", calls) => {
                for (index, call) in calls.as_array().unwrap().iter().enumerate() {
                    let kind = call["type"].as_str().unwrap();
                    let text = if kind == "custom" { "input" } else { "arguments" };
                    let mut begin = call.clone();
                    begin["index"] = json!(index);
                    begin[kind][text] = json!("");
                    deltas.push(json!({ "tool_calls": [begin] }));
                    for piece in halves(call[kind][text].as_str().unwrap()) {
                        let more = json!({ "index": index, kind: { text: piece } });
                        deltas.push(json!({ "tool_calls": [more] }));
                    }
                }
            }
            (_, Value::String(text)) => {
                deltas.extend(
                    halves(text).into_iter().filter(|p| !p.is_empty()).map(|p| json!({ &name: p })),
                );
            }
            _ => deltas.push(json!({ &name: value })),
        }
    }
    deltas
}

/// The answer as chunks, without `[DONE]`.
pub(super) fn chunks(spec: &Value, request: &Value) -> Vec<Value> {
    let head = envelope(spec, "chat.completion.chunk", &request["model"]);
    let with_usage = request["stream_options"]["include_usage"] == true;
    let chunk = |choices: Value, usage: Value| {
        let mut chunk = head.clone();
        chunk.insert("choices".into(), choices);
        if with_usage {
            chunk.insert("usage".into(), usage);
        }
        Value::Object(chunk)
    };
    let mut chunks = Vec::new();
    let count = request["n"].as_u64().unwrap_or(1);
    let mut logprobs = spec.get("@logprobs").cloned();
    for delta in deltas(spec) {
        for index in 0..count {
            let mut choice =
                json!({ "index": index, "delta": delta, "logprobs": null, "finish_reason": null });
            if delta["content"].as_str().is_some_and(|text| !text.is_empty()) {
                choice["logprobs"] = logprobs.take().unwrap_or_default();
            }
            chunks.push(chunk(json!([choice]), Value::Null));
        }
    }
    for index in 0..count {
        let mut choice =
            json!({ "index": index, "delta": {}, "logprobs": null, "finish_reason": finish(spec) });
        for (name, value) in spec["@choice"].as_object().into_iter().flatten() {
            choice[name] = value.clone();
        }
        chunks.push(chunk(json!([choice]), Value::Null));
    }
    if with_usage {
        chunks.push(chunk(json!([]), usage(spec)));
    }
    chunks
}
