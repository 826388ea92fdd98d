//! A JSON object as an ordered list of fields: what nobody edits stays byte for byte.
use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::domain::escapes::mended_text;

/// The fields of an object, in their order. Numbers, nulls and nested objects keep their form.
#[derive(Clone, Debug, Default)]
pub(crate) struct Object(Vec<(String, Box<RawValue>)>);

impl Object {
    /// The object in `text`, if it is one. Of a name that comes twice only the last value counts.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(&mended_text(text)).ok()
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
        let object = Object::parse(r#"{"a":"x\u0000\ud83dy"}"#).unwrap();
        assert_eq!(text(&object), r#"{"a":"x\uFFFD\uFFFDy"}"#);
    }
}
