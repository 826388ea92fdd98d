//! The schema of a structured answer, as the API takes it: each object says that it has no other
//! fields. OpenAI asks for that with `strict` only.
use serde_json::Value;

/// Values of these are no schemas.
const PLAIN: [&str; 5] = ["const", "default", "enum", "examples", "required"];
/// Values of these are schemas by names of the client's.
const NAMED: [&str; 3] = ["properties", "$defs", "definitions"];

/// Closes each object of `schema` that names its fields and does not say whether it has others.
pub(super) fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let named = fields.get("properties").and_then(Value::as_object);
            if named.is_some_and(|named| !named.is_empty()) {
                fields.entry("additionalProperties").or_insert(false.into());
            }
            for (name, value) in fields.iter_mut() {
                if NAMED.contains(&name.as_str()) {
                    let named = value.as_object_mut().into_iter();
                    named.flat_map(|named| named.values_mut()).for_each(close);
                } else if !PLAIN.contains(&name.as_str()) {
                    close(value);
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_that_name_their_fields_have_no_others() {
        let named = json!({ "properties": { "x": {} } });
        let mut schema = json!({
            "type": "object",
            "properties": { "properties": named, "free": { "properties": {} }, "default": named },
            "$defs": { "a": { "anyOf": [named, { "type": "null" }] } },
            "default": named,
            "items": { "properties": { "y": {} }, "additionalProperties": true },
        });
        close(&mut schema);
        let closed = json!({ "properties": { "x": {} }, "additionalProperties": false });
        let expected = json!({
            "type": "object",
            "properties": { "properties": closed, "free": { "properties": {} }, "default": closed },
            "$defs": { "a": { "anyOf": [closed, { "type": "null" }] } },
            "default": named,
            "items": { "properties": { "y": {} }, "additionalProperties": true },
            "additionalProperties": false,
        });
        assert_eq!(schema, expected);
    }
}
