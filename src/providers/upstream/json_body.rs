//! A JSON object as an ordered list of fields: what nobody edits stays byte for byte.
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

/// The fields of an object, in their order. Numbers, nulls and nested objects keep their form.
#[derive(Clone, Debug, Default)]
pub(crate) struct Object(Vec<(String, Box<RawValue>)>);

impl Object {
    /// The object in `text`, if it is one. Of a name that comes twice only the last value counts.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(&clean(text)).ok()
    }

    /// The object that `value` becomes.
    pub(crate) fn of(value: &impl Serialize) -> Self {
        let text = serde_json::to_string(value).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// The names, in their order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The field's JSON text.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.get())
    }

    /// The field, read as a `T`; `None` where it is absent, null or something else.
    pub(crate) fn read<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Option<T> {
        self.get(name).and_then(|text| serde_json::from_str::<Option<T>>(text).ok().flatten())
    }

    /// Whether the field is there and not null.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|text| text != "null")
    }

    /// Replaces the field in its place, or adds it at the end.
    pub(crate) fn set(&mut self, name: &str, value: &impl Serialize) {
        if let Ok(value) = serde_json::value::to_raw_value(value) {
            match self.0.iter_mut().find(|(n, _)| n == name) {
                Some((_, place)) => *place = value,
                None => self.0.push((name.to_owned(), value)),
            }
        }
    }

    /// Takes the field out.
    pub(crate) fn remove(&mut self, name: &str) -> Option<Box<RawValue>> {
        let at = self.0.iter().position(|(n, _)| n == name)?;
        Some(self.0.remove(at).1)
    }

    /// Gives a field another name in the same place.
    pub(crate) fn rename(&mut self, name: &str, other: &str) {
        if let Some(value) = self.remove(name) {
            self.set(other, &value);
        }
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut fields: Vec<(String, Box<RawValue>)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
            // Two fields of one name would let the first pass what is checked in the last.
            match places.get(&name) {
                Some(place) => fields[*place].1 = value,
                None => {
                    places.insert(name.clone(), fields.len());
                    fields.push((name, value));
                }
            }
        }
        Ok(Object(fields))
    }
}

/// `text` with U+FFFD for each escaped U+0000 and each half of a surrogate pair: servers that
/// store or tokenize text fail at them.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains("\\u") {
        return text.into();
    }
    let bytes = text.as_bytes();
    let (mut out, mut kept, mut at) = (String::new(), 0, 0);
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        let (length, whole) = match (escaped(bytes, at), escaped(bytes, at + 6)) {
            (None, _) => (2, true),
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => (12, true),
            (Some(0 | 0xD800..=0xDFFF), _) => (6, false),
            (Some(_), _) => (6, true),
        };
        if !whole {
            out.push_str(&text[kept..at]);
            out.push_str("\\ufffd");
            kept = at + length;
        }
        at += length;
    }
    if kept == 0 {
        return text.into();
    }
    out.push_str(&text[kept..]);
    out.into()
}

/// The code unit that a six-byte escape at `at` names, if there is one.
fn escaped(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use crate::providers::upstream::json_body::*;

    fn text(object: &Object) -> String {
        serde_json::to_string(object).unwrap()
    }

    #[test]
    fn what_is_not_edited_stays_as_it_came() {
        let body = r#"{"z":1.0,"a":{"q":[1e5, null],"b":2},"model":"m","n":null}"#;
        let mut object = Object::parse(body).unwrap();
        assert_eq!(text(&object), body);
        object.set("model", &"other");
        object.set("stream", &true);
        object.rename("n", "m");
        assert!(!object.has("m") && object.has("z"));
        let edited =
            r#"{"z":1.0,"a":{"q":[1e5, null],"b":2},"model":"other","stream":true,"m":null}"#;
        assert_eq!(text(&object), edited);
        assert_eq!(text(&Object::parse(r#"{"a":1,"b":2,"a":3}"#).unwrap()), r#"{"a":3,"b":2}"#);
        assert!(Object::parse("[1]").is_none());
    }

    #[test]
    fn characters_that_are_none_become_the_replacement_character() {
        let cases = [
            (r#"{"a":"x\u0000y"}"#, r#"{"a":"x\ufffdy"}"#),
            (r#"{"a":"\ud83d"}"#, r#"{"a":"\ufffd"}"#),
            (r#"{"a":"\ud83d\ude00\ude00é"}"#, r#"{"a":"\ud83d\ude00\ufffdé"}"#),
            (r#"{"a":"\\u0000\n"}"#, r#"{"a":"\\u0000\n"}"#),
        ];
        for (body, cleaned) in cases {
            assert_eq!(text(&Object::parse(body).unwrap()), cleaned);
        }
    }
}
