//! Fields that an upstream sends beyond text, thinking and calls, as they came.
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use strum::VariantNames;

use super::json::JsonObject;
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
pub struct Fields(pub Vec<(String, Box<RawValue>)>);

impl Fields {
    /// The fields of `object`.
    #[must_use]
    pub fn of(object: &JsonObject) -> Self {
        serde_json::from_str(object.text()).unwrap_or_default()
    }

    /// A field, read as a `T`; `None` where it is absent or something else.
    #[must_use]
    pub fn read<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Option<T> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        serde_json::from_str(value.get()).ok()
    }

    /// Whether a field is there and not null.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, value)| known == name && value.get() != "null")
    }

    /// Takes a field out.
    pub fn take(&mut self, name: &str) -> Option<Box<RawValue>> {
        let place = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(place).1)
    }

    /// Replaces a field, or adds it.
    pub fn set(&mut self, name: String, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::default();
        while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
            fields.set(name, value);
        }
        Ok(fields)
    }
}
