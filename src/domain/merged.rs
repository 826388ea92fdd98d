//! Pieces of JSON that an upstream streams, joined into one value.
use serde_json::{Map, Value};

/// Texts that grow from piece to piece.
const GROWING: [&str; 9] = [
    "text",
    "summary",
    "data",
    "arguments",
    "input",
    "transcript",
    "content",
    "refusal",
    "reasoning_content",
];

/// Adds the fields of a piece to those that came before.
pub fn grow(known: &mut Map<String, Value>, more: Map<String, Value>) {
    for (name, new) in more {
        match known.get_mut(&name) {
            Some(old) => merge(&name, old, new),
            None => {
                known.insert(name, new);
            }
        }
    }
}

/// Adds a piece of the field `name` to what came before. Lists go on, and pieces of one `index` and
/// kind are one. Some texts grow. Of anything else the last value that says something counts.
pub fn merge(name: &str, old: &mut Value, new: Value) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => grow(old, new),
        (Value::Array(old), Value::Array(new)) => new.into_iter().for_each(|item| add(old, item)),
        (Value::String(old), Value::String(new)) if GROWING.contains(&name) => old.push_str(&new),
        // Servers repeat names and ids as empty texts.
        (Value::String(_), Value::String(new)) if new.is_empty() => {}
        (old, new) => *old = new,
    }
}

fn add(list: &mut Vec<Value>, item: Value) {
    let index = item.get("index").and_then(Value::as_u64);
    let same = list.iter_mut().find(|known| {
        let kinds = (known.get("type"), item.get("type"));
        let kind = matches!(kinds, (None, _) | (_, None)) || kinds.0 == kinds.1;
        index.is_some() && known.get("index").and_then(Value::as_u64) == index && kind
    });
    match same {
        Some(same) => merge("", same, item),
        None => list.push(item),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pieces_of_one_list_become_one() {
        let mut all = json!({ "logprobs": { "content": [{ "token": "a" }], "refusal": null } });
        merge("", &mut all, json!({ "logprobs": { "content": [{ "token": "b" }] } }));
        let both = json!([{ "token": "a" }, { "token": "b" }]);
        assert_eq!(all, json!({ "logprobs": { "content": both, "refusal": null } }));
        let piece = |text: &str, index: u32| json!([{ "type": "t", "text": text, "index": index }]);
        let mut all = piece("He", 0);
        merge("", &mut all, piece("y", 0));
        merge("", &mut all, piece("ho", 1));
        let both = json!([{ "type": "t", "text": "Hey", "index": 0 }, { "type": "t", "text": "ho", "index": 1 }]);
        assert_eq!(all, both);
    }

    #[test]
    fn a_call_comes_in_fragments_of_which_the_first_has_its_name() {
        let first = json!({ "index": 0, "id": "c", "type": "function",
            "function": { "name": "f", "arguments": "" } });
        let mut all = json!([first]);
        merge("", &mut all, json!([{ "index": 0, "function": { "arguments": "{\"a\"" } }]));
        let last = json!({ "index": 0, "id": "", "function": { "name": "", "arguments": ":1}" } });
        merge("", &mut all, json!([last]));
        let function = json!({ "name": "f", "arguments": "{\"a\":1}" });
        let whole = json!({ "index": 0, "id": "c", "type": "function", "function": function });
        assert_eq!(all, json!([whole]));
    }
}
