//! Fields that an upstream sends beyond text, thinking and calls, as they came.
use std::fmt;
use std::marker::PhantomData;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use strum::VariantNames;

use super::json::JsonObject;
use super::raw_json::RawJson;
use super::shared_str::SharedStr;
use super::source::WireProtocol;

/// Fields of one place of an upstream's answer, in the protocol of that upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extra {
    /// The protocol that the fields are written in.
    pub protocol: WireProtocol,
    /// Where in that protocol they stand.
    pub at: Spot,
    /// Which tool call they belong to, for [`Spot::Call`]; which choice, for [`Spot::OtherChoice`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// The fields, with the upstream's own numbers and order of keys.
    pub data: JsonObject,
}

impl Extra {
    /// Whether it says something of the text that comes with it, and goes if that goes.
    #[must_use]
    pub fn is_of_text(&self) -> bool {
        let logprobs = r#"{"type":"response.output_text.delta""#;
        self.at == Spot::Choice
            || (self.at == Spot::Event && self.data.text().starts_with(logprobs))
    }
}

/// A place in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, VariantNames)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Spot {
    /// The chunk itself (`system_fingerprint`, `timings`); of Messages, its last event.
    Chunk,
    /// Chat completions: the choice (`logprobs`).
    Choice,
    /// The message (`annotations`, `reasoning_details`; `container`).
    Message,
    /// A tool call (`extra_content`, `caller`).
    Call,
    /// The count of tokens, as the upstream reports it.
    Usage,
    /// Messages: a whole content block of a tool that the provider runs.
    Block,
    /// Messages: a citation of the text block that grows.
    Citation,
    /// Responses: an event of an output item, without its number (an annotation, log probabilities,
    /// a tool that the provider runs).
    Event,
    /// Chat completions: a piece of a choice beside the first (`delta`, `finish_reason`, …).
    OtherChoice,
}

impl Spot {
    /// Whether it is a part of the answer, and not a word about it.
    #[must_use]
    pub fn is_content(self) -> bool {
        match self {
            Self::Choice
            | Self::Message
            | Self::Call
            | Self::Block
            | Self::Citation
            | Self::Event
            | Self::OtherChoice => true,
            Self::Chunk | Self::Usage => false,
        }
    }
}

/// An extra at its place in an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// How many bytes of the answer's text come before it.
    pub after: usize,
    /// How many bytes of the thinking; `None`, in old logs, is all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thought: Option<usize>,
    /// How many tool calls.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub calls: usize,
    /// The extra at that place.
    pub extra: Extra,
}

fn is_none_yet(calls: &usize) -> bool {
    *calls == 0
}

/// The fields of an object, each as it came.
#[derive(Clone, Debug, Default)]
pub struct Fields(pub Vec<(String, RawJson)>);

impl Fields {
    /// The fields of `object`. Long ones share its text.
    #[must_use]
    pub fn of(object: &JsonObject) -> Self {
        Self::within(object.text(), object.shared())
    }

    /// The fields of the object that a field is. Long ones share its text.
    #[must_use]
    pub fn object(&self, name: &str) -> Option<Self> {
        let value = self.get(name).filter(|value| value.get().starts_with('{'))?;
        Some(Self::within(value.get(), value.shared()))
    }

    fn within(text: &str, whole: Option<&SharedStr>) -> Self {
        let Borrowed(all) = serde_json::from_str(text).unwrap_or_default();
        let mut fields = Self::default();
        for (name, raw) in all {
            fields.set(name, RawJson::within(whole, raw));
        }
        fields
    }

    fn get(&self, name: &str) -> Option<&RawJson> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// A field, read as a `T`; `None` where it is absent or something else.
    #[must_use]
    pub fn read<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Option<T> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// Whether a field is there and not null.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.get() != "null")
    }

    /// Takes a field out.
    pub fn take(&mut self, name: &str) -> Option<RawJson> {
        let place = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(place).1)
    }

    /// Replaces a field, or adds it.
    pub fn set(&mut self, name: String, value: impl Into<RawJson>) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value.into(),
            None => self.0.push((name, value.into())),
        }
    }

    /// The fields in memory of their own.
    #[must_use]
    pub fn into_boxes(self) -> Vec<(String, Box<RawValue>)> {
        self.0.into_iter().map(|(name, value)| (name, value.into_box())).collect()
    }
}

impl FromIterator<(String, Box<RawValue>)> for Fields {
    fn from_iter<I: IntoIterator<Item = (String, Box<RawValue>)>>(fields: I) -> Self {
        Self(fields.into_iter().map(|(name, value)| (name, value.into())).collect())
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Self::default();
        let all = FieldsVisitor(PhantomData::<Box<RawValue>>);
        for (name, value) in deserializer.deserialize_map(all)? {
            fields.set(name, value);
        }
        Ok(fields)
    }
}

/// The fields of a text, which are parts of it.
#[derive(Default)]
struct Borrowed<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Borrowed<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor(PhantomData)).map(Self)
    }
}

struct FieldsVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for FieldsVisitor<V> {
    type Value = Vec<(String, V)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entry::{Entry, LARGE};
    use crate::domain::event::Event;
    use crate::domain::id::Seq;

    /// A reader of a large event holds the event, and no copy of what is in it.
    #[test]
    fn long_fields_of_a_large_event_are_parts_of_it() {
        let long = "x".repeat(LARGE);
        let text = format!(r#"{{"type":"t","item":{{"id":"i","a":1,"a":2,"result":"{long}"}}}}"#);
        let data = JsonObject::of_text(text).unwrap();
        let (protocol, at) = (WireProtocol::OpenaiResponses, Spot::Event);
        let entry = Entry::encode(Seq(7), &Event::Extra(Extra { protocol, at, index: None, data }));
        let Event::Extra(extra) = entry.decode().unwrap() else { panic!("an extra") };
        let within = |text: &str| entry.json().as_bytes().as_ptr_range().contains(&text.as_ptr());
        let event = Fields::of(&extra.data);
        let item = event.object("item").unwrap();
        let (_, result) = item.clone().0.pop().unwrap();
        assert!(within(event.0[1].1.get()) && within(result.get()));
        assert!(!within(item.0[0].1.get()), "what is short is copied, and keeps no event");
        assert_eq!(item.read::<u32>("a"), Some(2), "the last of two counts");
        assert_eq!(serde_json::to_string(&event).unwrap().matches(&long).count(), 1);
        assert_eq!(result.into_box().get().len(), LARGE + 2);
        assert!(event.object("type").is_none());
    }
}
