//! A value that keeps to a JSON schema: what the demo calls a tool with, and answers in JSON.
use serde_json::{Map, Number, Value, json};

/// Deeper values are left out: a schema may refer to itself.
const DEPTH: usize = 12;
/// Longer texts and lists than this are not made, whatever the schema wants.
const MOST: usize = 64;

/// The smallest sensible value of `schema`: required properties, first choices, lowest numbers.
/// Patterns in a schema are ignored.
pub(super) fn value_of(schema: &Value) -> Value {
    make(schema, schema, "demo", 0)
}

fn make(root: &Value, schema: &Value, name: &str, depth: usize) -> Value {
    if depth > DEPTH {
        return Value::Null;
    }
    let next = |schema| make(root, schema, name, depth + 1);
    if let Some(target) = schema["$ref"].as_str() {
        let found = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return found.map_or(Value::Null, next);
    }
    let listed = schema["enum"].as_array().and_then(|values| values.first());
    if let Some(value) = schema.get("const").or(listed).or(schema.get("default")) {
        return value.clone();
    }
    let choices = ["anyOf", "oneOf"].iter().find_map(|word| schema[*word].as_array());
    if let Some(choices) = choices {
        let choice = choices.iter().find(|choice| choice["type"] != "null");
        return choice.or(choices.first()).map_or(Value::Null, next);
    }
    if let Some(all) = schema["allOf"].as_array() {
        let parts = all.iter().map(next);
        return parts.reduce(joined).unwrap_or(Value::Null);
    }
    match kind(schema) {
        Some("object") => object(root, schema, depth),
        Some("array") => array(root, schema, name, depth),
        Some("string") => text(schema, name).into(),
        Some("integer") => integer(schema).into(),
        Some("number") => number(schema),
        Some("boolean") => true.into(),
        Some("null") => Value::Null,
        Some(_) | None => "demo".into(),
    }
}

/// The first type that is not null, or what the other words stand with.
fn kind(schema: &Value) -> Option<&str> {
    let named = match &schema["type"] {
        Value::String(kind) => Some(kind.as_str()),
        Value::Array(kinds) => {
            let mut kinds = kinds.iter().filter_map(Value::as_str);
            kinds.clone().find(|kind| *kind != "null").or(kinds.next())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    };
    let has = |name| schema.get(name).is_some();
    named.or(has("properties").then_some("object")).or(has("items").then_some("array"))
}

fn joined(one: Value, other: Value) -> Value {
    match (one, other) {
        (Value::Object(mut one), Value::Object(other)) => {
            one.extend(other);
            Value::Object(one)
        }
        (one, Value::Null) => one,
        (_, other) => other,
    }
}

fn object(root: &Value, schema: &Value, depth: usize) -> Value {
    let mut made = Map::new();
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for name in required.iter().take(MOST) {
        let of = schema["properties"].get(*name).unwrap_or(&Value::Null);
        made.insert((*name).to_owned(), make(root, of, name, depth + 1));
    }
    Value::Object(made)
}

fn array(root: &Value, schema: &Value, name: &str, depth: usize) -> Value {
    let least = schema["minItems"].as_u64().map_or(1, |n| usize::try_from(n).unwrap_or(MOST));
    let first = schema["prefixItems"].as_array();
    let fixed = first.into_iter().flatten().map(|item| make(root, item, name, depth + 1));
    let mut items: Vec<Value> = fixed.take(MOST).collect();
    let most = schema["maxItems"].as_u64().map_or(MOST, |n| usize::try_from(n).unwrap_or(MOST));
    let of = schema.get("items").filter(|items| items.is_object());
    while items.len() < least.min(most).min(MOST) {
        items.push(of.map_or_else(|| "demo".into(), |of| make(root, of, name, depth + 1)));
    }
    items.into()
}

fn text(schema: &Value, name: &str) -> String {
    let fixed = match schema["format"].as_str() {
        Some("date-time") => Some("2026-01-01T00:00:00Z"),
        Some("date") => Some("2026-01-01"),
        Some("time") => Some("00:00:00Z"),
        Some("duration") => Some("PT1S"),
        Some("email") => Some("demo@example.com"),
        Some("hostname") => Some("example.com"),
        Some("uri" | "uri-reference" | "url") => Some("https://example.com/"),
        Some("uuid") => Some("00000000-0000-4000-8000-000000000000"),
        Some("ipv4") => Some("192.0.2.1"),
        Some("ipv6") => Some("2001:db8::1"),
        Some(_) | None => None,
    };
    if let Some(fixed) = fixed {
        return fixed.into();
    }
    let length = |name: &str, or| {
        schema[name].as_u64().map_or(or, |n| usize::try_from(n).unwrap_or(MOST).min(MOST))
    };
    let words = format!("a demo of {name} ").replace('_', " ");
    let natural = words.trim_end().chars().count();
    let wanted = natural.max(length("minLength", 0)).min(length("maxLength", MOST));
    let mut text: String = words.chars().cycle().take(wanted).collect();
    // A space at the end is cut off by some readers.
    if text.ends_with(' ') {
        text.pop();
        text.push('.');
    }
    text
}

fn integer(schema: &Value) -> i64 {
    let bound = |name: &str| schema[name].as_i64();
    let above = bound("exclusiveMinimum").map(|n| n.saturating_add(1));
    let below = bound("maximum").or(bound("exclusiveMaximum").map(|n| n.saturating_sub(1)));
    let least = bound("minimum").max(above);
    let usual = least.unwrap_or_else(|| below.map_or(1, |most| most.min(1)));
    match bound("multipleOf").filter(|step| *step > 0) {
        Some(step) => usual.saturating_add(step - 1).div_euclid(step).saturating_mul(step),
        None => usual,
    }
}

fn number(schema: &Value) -> Value {
    let bound = |name: &str| schema[name].as_f64();
    if bound("multipleOf").is_some_and(|step| step.fract() == 0.0) {
        return integer(schema).into();
    }
    let above = bound("exclusiveMinimum").map(|n| n + 0.5);
    let most = bound("maximum").or(bound("exclusiveMaximum").map(|n| n - 0.5));
    let usual = bound("minimum").or(above).unwrap_or_else(|| most.map_or(1.5, |n| n.min(1.5)));
    Number::from_f64(usual).map_or_else(|| json!(1), Value::Number)
}

#[cfg(test)]
mod tests {
    use crate::providers::demo::schema::*;

    #[test]
    fn a_value_keeps_to_its_schema() {
        let schema = json!({
            "type": "object", "required": ["city", "unit", "days", "when", "more", "tree"],
            "properties": {
                "city": { "type": "string", "minLength": 20 }, "unit": { "enum": ["c", "f"] },
                "days": { "type": "integer", "exclusiveMinimum": 2, "multipleOf": 5 },
                "when": { "type": ["null", "string"], "format": "date" },
                "more": { "type": "array", "minItems": 2, "items": { "anyOf": [{ "type": "null" },
                    { "type": "number", "maximum": 0.5 }] } },
                "tree": { "$ref": "#/$defs/tree" }, "left_out": { "type": "boolean" },
            },
            "$defs": { "tree": { "type": "object", "required": ["name"], "properties": {
                "name": { "type": "string", "maxLength": 4 }, "below": { "$ref": "#/$defs/tree" } } } },
        });
        assert_eq!(
            value_of(&schema),
            json!({
                "city": "a demo of city a demo.".get(..20), "unit": "c", "days": 5, "when": "2026-01-01",
                "more": [0.5, 0.5], "tree": { "name": "a de" },
            })
        );
    }

    #[test]
    fn a_schema_without_an_end_has_a_value() {
        let endless =
            json!({ "type": "object", "required": ["a"], "properties": { "a": { "$ref": "#" } } });
        assert!(value_of(&endless).is_object());
        for odd in [json!({}), json!(null), json!(true), json!({ "$ref": "elsewhere" })] {
            value_of(&odd);
        }
        let joined = json!({ "allOf": [{ "properties": { "a": { "type": "null" } }, "required": ["a"] },
            { "properties": { "b": { "const": 2 } }, "required": ["b"] }] });
        assert_eq!(value_of(&joined), json!({ "a": null, "b": 2 }));
    }
}
