//! What a client holds, without what may differ: ids, times and the borders of chunks.
use serde_json::{Map, Value, json};

/// Numbers and names that each answer has anew, and `null`s, which say as much as no field.
fn is_its_own(name: &str, value: &Value, of: &Map<String, Value>) -> bool {
    let a_call_of_chat = of.contains_key("function") || of.contains_key("custom");
    match name {
        "id" => !a_call_of_chat,
        "created" | "created_at" | "completed_at" | "item_id" | "response_id" | "obfuscation"
        | "sequence_number" | "request_id" | "_request_id" | "timestamp" | "responseId" => true,
        _ => value.is_null(),
    }
}

/// The value with streams in one piece, without what is its own.
pub(super) fn clean(value: &Value) -> Value {
    match value {
        Value::Array(values) => values.iter().map(clean).collect(),
        Value::Object(fields) => {
            if let Some(chunks) = fields.get("chunks") {
                return json!({ "chunks": clean(&folded(chunks.as_array().unwrap())) });
            }
            let events =
                fields.get("events").map(|events| in_one_piece(events.as_array().unwrap()));
            let mut kept = Map::new();
            for (name, value) in fields {
                if !is_its_own(name, value, fields) {
                    let value = events.as_ref().filter(|_| name == "events").unwrap_or(value);
                    kept.insert(name.clone(), clean(value));
                }
            }
            Value::Object(kept)
        }
        Value::String(text) => Value::String(without_our_id(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// The id of an item as its server said it: ours stands behind its kind, `msg_<id>_<place>_1`.
fn without_our_id(text: &str) -> String {
    let words: Vec<&str> = text.split('_').collect();
    let is_ours = |word: &str| word.len() == 32 && word.chars().all(|c| c.is_ascii_hexdigit());
    match words.iter().position(|word| is_ours(word)) {
        Some(place) if place + 1 < words.len() => {
            [&words[..place], &words[place + 2..]].concat().join("_")
        }
        _ => text.to_owned(),
    }
}

/// Joins texts, appends lists and sets what is missing.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (_, Value::Null) => {}
        (Value::String(into), Value::String(from)) => into.push_str(from),
        (Value::Array(into), Value::Array(from)) => {
            for value in from {
                let same = value
                    .get("index")
                    .and_then(|index| into.iter().position(|v| v.get("index") == Some(index)));
                match same {
                    Some(place) => merge(&mut into[place], value),
                    None => into.push(value.clone()),
                }
            }
        }
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                let once = matches!(
                    name.as_str(),
                    "role" | "type" | "id" | "index" | "finish_reason" | "format" | "signature"
                );
                match into.get_mut(name) {
                    Some(there) if !there.is_null() && !once => merge(there, value),
                    Some(there) if value.is_null() => _ = there,
                    _ => _ = into.insert(name.clone(), value.clone()),
                }
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// The chunks of chat completions as one object.
fn folded(chunks: &[Value]) -> Value {
    let mut whole = json!({ "choices": [] });
    for chunk in chunks {
        for (name, value) in chunk.as_object().unwrap() {
            if name == "choices" {
                merge(&mut whole["choices"], value);
            } else if !value.is_null() {
                whole[name] = value.clone();
            }
        }
    }
    whole
}

/// The events of Responses with neighbouring pieces of one text as one event.
fn in_one_piece(events: &[Value]) -> Value {
    let mut joined: Vec<Value> = Vec::new();
    for event in events {
        let same = |last: &&mut Value| {
            ["type", "output_index", "content_index", "summary_index"]
                .iter()
                .all(|name| last.get(name) == event.get(name))
        };
        let is_piece = event.get("delta").is_some_and(Value::is_string);
        match joined.last_mut().filter(|_| is_piece).filter(same) {
            Some(last) => {
                let piece = json!({ "delta": event["delta"], "logprobs": event.get("logprobs") });
                merge(last, &piece);
            }
            None => joined.push(event.clone()),
        }
    }
    Value::Array(joined)
}

/// One place at which two values differ.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Difference {
    /// Such as `choices.0.message.content`.
    pub(super) path: String,
    pub(super) direct: Value,
    pub(super) through: Value,
}

/// All places at which they differ. The order of fields counts where `ordered`.
pub(super) fn differences(
    path: &str,
    direct: &Value,
    through: &Value,
    ordered: bool,
) -> Vec<Difference> {
    let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let here = || {
        vec![Difference { path: path.to_owned(), direct: direct.clone(), through: through.clone() }]
    };
    match (direct, through) {
        (Value::Object(one), Value::Object(two)) => {
            let names = |of: &Map<String, Value>, in_both: &Map<String, Value>| -> Vec<String> {
                of.keys().filter(|name| in_both.contains_key(*name)).cloned().collect()
            };
            if ordered && names(one, two) != names(two, one) {
                return here();
            }
            let more = two.keys().filter(|name| !one.contains_key(*name));
            let all = one.keys().chain(more);
            let null = Value::Null;
            let value = |of: &'_ Map<String, Value>, name: &str| {
                of.get(name).cloned().unwrap_or(null.clone())
            };
            all.flat_map(|name| {
                if ordered && one.contains_key(name) != two.contains_key(name) {
                    let (direct, through) = (value(one, name), value(two, name));
                    return vec![Difference { path: at(name), direct, through }];
                }
                differences(&at(name), &value(one, name), &value(two, name), ordered)
            })
            .collect()
        }
        (Value::Array(one), Value::Array(two)) if one.len() == two.len() => {
            let pairs = one.iter().zip(two).enumerate();
            pairs
                .flat_map(|(place, (a, b))| differences(&at(&place.to_string()), a, b, ordered))
                .collect()
        }
        // Numbers as they are written: 1.0 is not 1.
        (one, two) if format!("{one}") == format!("{two}") => Vec::new(),
        _ => here(),
    }
}
