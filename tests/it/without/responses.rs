//! Answers of a recording server of the Responses API, whole and as events.
use serde_json::{Value, json};

/// A whole item of the output.
fn item(spec: &Value, place: usize) -> Value {
    let kind = spec["type"].as_str().unwrap();
    let status =
        if spec["@status"].is_null() { json!("completed") } else { spec["@status"].clone() };
    let mut item = json!({ "id": format!("{kind}_{place}"), "type": kind, "status": status });
    match kind {
        "message" => {
            item["role"] = json!("assistant");
            item["content"] = json!([part(spec)]);
        }
        "reasoning" => {
            let summary = spec["summary"].as_array().unwrap();
            let parts = summary.iter().map(|text| json!({ "type": "summary_text", "text": text }));
            item["summary"] = parts.collect();
            if let Some(text) = spec.get("reasoning_text") {
                item["content"] = json!([{ "type": "reasoning_text", "text": text }]);
            }
            if let Some(sealed) = spec.get("encrypted_content") {
                item["encrypted_content"] = sealed.clone();
            }
        }
        _ => {
            let fields =
                spec.as_object().unwrap().iter().filter(|(name, _)| !name.starts_with('@'));
            for (name, value) in fields.chain(spec["@whole"].as_object().into_iter().flatten()) {
                item[name] = value.clone();
            }
        }
    }
    item
}

fn part(spec: &Value) -> Value {
    if let Some(refusal) = spec.get("refusal") {
        return json!({ "type": "refusal", "refusal": refusal });
    }
    let list = |name: &str| spec.get(name).cloned().unwrap_or(json!([]));
    json!({ "type": "output_text", "annotations": list("annotations"), "logprobs": list("logprobs"), "text": spec["text"] })
}

/// The fields of the request that OpenAI's response repeats, with OpenAI's defaults.
fn echo(request: &Value) -> Value {
    let mut response = json!({
        "id": "resp_1", "object": "response", "created_at": 1_700_000_000, "status": "in_progress", "background": false,
        "error": null, "incomplete_details": null, "instructions": null, "max_output_tokens": null, "max_tool_calls": null,
        "model": request["model"], "output": [], "parallel_tool_calls": true, "previous_response_id": null,
        "prompt_cache_key": null, "reasoning": { "effort": null, "summary": null }, "safety_identifier": null,
        "service_tier": "default", "store": true, "temperature": 1.0, "text": { "format": { "type": "text" }, "verbosity": "medium" },
        "tool_choice": "auto", "tools": [], "top_logprobs": 0, "top_p": 1.0, "truncation": "disabled", "usage": null,
        "user": null, "metadata": {},
    });
    for (name, value) in request.as_object().unwrap() {
        if response.get(name).is_some_and(|_| name != "model" && !value.is_null()) {
            response[name] = value.clone();
        }
    }
    response
}

fn items(spec: &Value) -> impl Iterator<Item = &Value> {
    spec.as_array().unwrap().iter().filter(|item| item.get("type").is_some())
}

/// The answer in one piece.
pub(super) fn whole(spec: &Value, request: &Value) -> Value {
    let mut response = echo(request);
    response["status"] = json!("completed");
    response["output"] = items(spec).enumerate().map(|(place, spec)| item(spec, place)).collect();
    response["usage"] = json!({
        "input_tokens": 7, "input_tokens_details": { "cached_tokens": 0, "cache_write_tokens": 0 }, "output_tokens": 3,
        "output_tokens_details": { "reasoning_tokens": 0 }, "total_tokens": 10,
    });
    let more = spec.as_array().unwrap().iter().find_map(|part| part["@response"].as_object());
    for (name, value) in more.into_iter().flatten() {
        response[name] = value.clone();
    }
    response
}

/// Events in their order; `sequence_number` is their place.
struct Events(Vec<Value>);

impl Events {
    fn say(&mut self, kind: &str, mut fields: Value) {
        let mut event = json!({ "type": kind, "sequence_number": self.0.len() });
        event.as_object_mut().unwrap().append(fields.as_object_mut().unwrap());
        self.0.push(event);
    }

    /// An item from its beginning to its end.
    fn item(&mut self, spec: &Value, place: usize) {
        let whole = item(spec, place);
        let kind = spec["type"].as_str().unwrap();
        let mut begun = whole.clone();
        begun["status"] = json!("in_progress");
        for name in ["arguments", "input"] {
            if begun.get(name).is_some() {
                begun[name] = json!("");
            }
        }
        for name in ["content", "summary"] {
            if begun.get(name).is_some() {
                begun[name] = json!([]);
            }
        }
        self.say("response.output_item.added", json!({ "output_index": place, "item": begun }));
        let at = json!({ "item_id": whole["id"], "output_index": place });
        match kind {
            "message" => self.text(&at, &whole["content"][0]),
            "reasoning" => self.reasoning(&at, &whole),
            "function_call" => self.arguments(&at, &whole),
            "custom_tool_call" => {
                self.pieces(&at, "response.custom_tool_call_input", "input", &whole["input"])
            }
            _ => {
                for phase in ["in_progress", "searching", "completed"] {
                    self.say(&format!("response.{kind}.{phase}"), at.clone());
                }
            }
        }
        self.say("response.output_item.done", json!({ "output_index": place, "item": whole }));
    }

    fn pieces(&mut self, at: &Value, kind: &str, name: &str, text: &Value) {
        for piece in text.as_str().unwrap().split_inclusive(' ') {
            self.say(&format!("{kind}.delta"), with(at, json!({ "delta": piece })));
        }
        self.say(&format!("{kind}.done"), with(at, json!({ name: text })));
    }

    /// A call's arguments, whose end names the function.
    fn arguments(&mut self, at: &Value, call: &Value) {
        self.pieces(at, "response.function_call_arguments", "arguments", &call["arguments"]);
        if let Some(last) = self.0.last_mut() {
            last["name"] = call["name"].clone();
        }
    }

    fn text(&mut self, at: &Value, part: &Value) {
        let at = with(at, json!({ "content_index": 0 }));
        let (name, kind) = match part.get("refusal") {
            Some(_) => ("refusal", "response.refusal"),
            None => ("text", "response.output_text"),
        };
        let mut begun = part.clone();
        begun[name] = json!("");
        for list in ["annotations", "logprobs"] {
            if begun.get(list).is_some() {
                begun[list] = json!([]);
            }
        }
        self.say("response.content_part.added", with(&at, json!({ "part": begun })));
        let mut logprobs = part["logprobs"].clone();
        for piece in part[name].as_str().unwrap().split_inclusive(' ') {
            let mut delta = json!({ "delta": piece });
            if name == "text" {
                delta["logprobs"] = std::mem::replace(&mut logprobs, json!([]));
            }
            self.say(&format!("{kind}.delta"), with(&at, delta));
        }
        for (index, annotation) in part["annotations"].as_array().into_iter().flatten().enumerate()
        {
            let fields = json!({ "annotation_index": index, "annotation": annotation });
            self.say("response.output_text.annotation.added", with(&at, fields));
        }
        let mut done = json!({ name: part[name] });
        if name == "text" {
            done["logprobs"] = part["logprobs"].clone();
        }
        self.say(&format!("{kind}.done"), with(&at, done));
        self.say("response.content_part.done", with(&at, json!({ "part": part })));
    }

    fn reasoning(&mut self, at: &Value, item: &Value) {
        for (index, part) in item["summary"].as_array().unwrap().iter().enumerate() {
            let at = with(at, json!({ "summary_index": index }));
            let begun = json!({ "part": { "type": "summary_text", "text": "" } });
            self.say("response.reasoning_summary_part.added", with(&at, begun));
            self.pieces(&at, "response.reasoning_summary_text", "text", &part["text"]);
            self.say("response.reasoning_summary_part.done", with(&at, json!({ "part": part })));
        }
        if let Some(text) = item["content"][0].get("text") {
            let at = with(at, json!({ "content_index": 0 }));
            let part = |text: &Value| json!({ "part": { "type": "reasoning_text", "text": text } });
            self.say("response.content_part.added", with(&at, part(&json!(""))));
            self.pieces(&at, "response.reasoning_text", "text", text);
            self.say("response.content_part.done", with(&at, part(text)));
        }
    }
}

fn with(at: &Value, mut more: Value) -> Value {
    let mut at = at.clone();
    at.as_object_mut().unwrap().append(more.as_object_mut().unwrap());
    at
}

/// The answer as events.
pub(super) fn events(spec: &Value, request: &Value) -> Vec<Value> {
    let mut events = Events(Vec::new());
    for kind in ["response.created", "response.in_progress"] {
        events.say(kind, json!({ "response": echo(request) }));
    }
    for (place, spec) in items(spec).enumerate() {
        events.item(spec, place);
    }
    let response = whole(spec, request);
    let kind = format!("response.{}", response["status"].as_str().unwrap());
    events.say(&kind, json!({ "response": response }));
    events.0
}
