//! JSON of a client's that is given back as it came.
use std::fmt;
use std::sync::{Arc, Weak};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::shared_str::{SharedStr, WeakStr};

/// A JSON object as the client wrote it, without the white space between its parts: numbers keep
/// their digits, keys their order. Cloning it copies no text: it may have megabytes.
#[derive(Clone)]
pub struct JsonObject(Text);

#[derive(Clone)]
enum Text {
    /// In a box, so that a long text is not moved.
    Own(Arc<Box<RawValue>>),
    /// A part of the entry that it was read from.
    Part(SharedStr),
}

/// An object that this does not keep.
#[derive(Clone, Debug)]
pub struct WeakJson(WeakText);

#[derive(Clone, Debug)]
enum WeakText {
    Own(Weak<Box<RawValue>>),
    Part(WeakStr),
}

impl WeakJson {
    /// The object, if it is still there.
    #[must_use]
    pub fn upgrade(&self) -> Option<JsonObject> {
        Some(JsonObject(match &self.0 {
            WeakText::Own(raw) => Text::Own(raw.upgrade()?),
            WeakText::Part(text) => Text::Part(text.upgrade()?),
        }))
    }
}

impl JsonObject {
    /// The text of the object.
    #[must_use]
    pub fn text(&self) -> &str {
        match &self.0 {
            Text::Own(raw) => raw.get(),
            Text::Part(text) => text,
        }
    }

    /// The object that `text` is, which is not copied.
    ///
    /// # Errors
    /// It is no JSON, or no object.
    pub fn of_text(text: String) -> serde_json::Result<Self> {
        Self::of_raw(RawValue::from_string(text)?)
    }

    /// The object `raw`, which lies in `whole`: it shares that text.
    pub(super) fn within(whole: &SharedStr, raw: &RawValue) -> Option<Self> {
        let object = raw.get().starts_with('{') && compact(raw.get()).is_none();
        object.then(|| whole.part(raw.get())).flatten().map(|text| Self(Text::Part(text)))
    }

    fn of_raw<E: de::Error>(raw: Box<RawValue>) -> Result<Self, E> {
        if !raw.get().starts_with('{') {
            return Err(E::custom("expected an object"));
        }
        // JSON without white space between its parts keeps its allocation.
        let Some(compact) = compact(raw.get()) else { return Ok(Self::own(raw)) };
        RawValue::from_string(compact).map(Self::own).map_err(E::custom)
    }

    /// The text that a part of this object can share.
    pub(super) fn shared(&self) -> Option<&SharedStr> {
        match &self.0 {
            Text::Own(_) => None,
            Text::Part(text) => Some(text),
        }
    }

    /// A way back to it for as long as somebody else has it.
    #[must_use]
    pub fn downgrade(&self) -> WeakJson {
        WeakJson(match &self.0 {
            Text::Own(raw) => WeakText::Own(Arc::downgrade(raw)),
            Text::Part(text) => WeakText::Part(text.downgrade()),
        })
    }

    fn own(raw: Box<RawValue>) -> Self {
        Self(Text::Own(Arc::new(raw)))
    }

    /// The same with its keys in alphabetical order, at every depth, and numbers in one form: what
    /// two writers of one object agree on.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let mut map: Map<String, Value> = serde_json::from_str(self.text()).unwrap_or_default();
        map.sort_keys();
        map.values_mut().for_each(Value::sort_all_objects);
        let text = serde_json::to_string(&map).ok();
        text.and_then(|text| RawValue::from_string(text).ok())
            .map_or_else(|| self.clone(), Self::own)
    }
}

impl Default for JsonObject {
    fn default() -> Self {
        Self::own(RawValue::from_string("{}".into()).unwrap_or_default())
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

impl Serialize for JsonObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Text::Own(raw) => raw.serialize(serializer),
            Text::Part(text) => text.serialize_as_json(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for JsonObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::of_raw(raw)
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
