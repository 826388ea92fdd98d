//! JSON of a client's that is given back as it came.
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A JSON object as the client wrote it, without the white space between its parts: numbers keep
/// their digits, keys their order.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct JsonObject(Box<RawValue>);

impl JsonObject {
    /// The text of the object.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// The same with its keys in alphabetical order, at every depth, and numbers in one form: what
    /// two writers of one object agree on.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let mut map: Map<String, Value> = serde_json::from_str(self.text()).unwrap_or_default();
        map.sort_keys();
        map.values_mut().for_each(Value::sort_all_objects);
        let text = serde_json::to_string(&map).ok();
        text.and_then(|text| RawValue::from_string(text).ok()).map_or_else(|| self.clone(), Self)
    }
}

impl Default for JsonObject {
    fn default() -> Self {
        Self(RawValue::from_string("{}".into()).unwrap_or_default())
    }
}

impl fmt::Debug for JsonObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl PartialEq for JsonObject {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for JsonObject {}

impl<'de> Deserialize<'de> for JsonObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        if !raw.get().starts_with('{') {
            return Err(de::Error::custom("expected an object"));
        }
        // JSON without white space between its parts keeps its allocation.
        let Some(compact) = compact(raw.get()) else { return Ok(Self(raw)) };
        RawValue::from_string(compact).map(Self).map_err(de::Error::custom)
    }
}

/// `json` without white space outside of strings; `None` if there is none.
fn compact(json: &str) -> Option<String> {
    let mut out = String::new();
    let (mut kept, mut quoted, mut escaped) = (0, false, false);
    for (at, byte) in json.bytes().enumerate() {
        if escaped {
            escaped = false;
        } else if quoted && byte == b'\\' {
            escaped = true;
        } else if byte == b'"' {
            quoted = !quoted;
        } else if !quoted && matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            out.push_str(&json[kept..at]);
            kept = at + 1;
        }
    }
    if kept == 0 {
        return None;
    }
    out.push_str(&json[kept..]);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> JsonObject {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn an_object_is_given_back_as_it_came() {
        for text in [
            "{}",
            r#"{"z":1.7976931348623157e308,"a":[1.0,1,-0.0,1E2,12345678901234567890123],"é\"\\":" , "}"#,
        ] {
            assert_eq!(serde_json::to_string(&read(text)).unwrap(), text);
        }
        assert_eq!(read("{ \"a b\" :\n[ 1 , \"\\\" \" ] }").text(), r#"{"a b":[1,"\" "]}"#);
        for bad in ["[]", "1", "null", "\"{}\""] {
            assert!(serde_json::from_str::<JsonObject>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn writers_of_one_object_agree() {
        let one = read(r#"{"b":{"y":1,"x":[{"d":1,"c":100.0}]},"a":2}"#);
        let other = read(r#"{ "a":2, "b":{"x":[{"c":1e2,"d":1}],"y":1} }"#);
        assert!(one != other && one.canonical() == other.canonical());
    }
}
