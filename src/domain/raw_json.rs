//! A JSON value as it came, which may be a part of a longer text.
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::shared_str::SharedStr;

/// A longer value is not copied out of the text that it lies in; bytes.
const LONG: usize = 4096;

/// A JSON value as it came. Cloning it copies no long text that is shared.
#[derive(Clone)]
pub struct RawJson(Text);

#[derive(Clone)]
enum Text {
    Own(Box<RawValue>),
    /// A part of the entry that it was read from.
    Part(SharedStr),
}

impl RawJson {
    /// The text of the value.
    #[must_use]
    pub fn get(&self) -> &str {
        match &self.0 {
            Text::Own(raw) => raw.get(),
            Text::Part(text) => text,
        }
    }

    /// The value in memory of its own.
    #[must_use]
    pub fn into_box(self) -> Box<RawValue> {
        match self.0 {
            Text::Own(raw) => raw,
            Text::Part(text) => RawValue::from_string(text.to_string()).unwrap_or_default(),
        }
    }

    /// The value `raw`; a long one that lies in `whole` shares that text.
    pub(super) fn within(whole: Option<&SharedStr>, raw: &RawValue) -> Self {
        let whole = whole.filter(|_| raw.get().len() > LONG);
        let part = whole.and_then(|whole| whole.part(raw.get()));
        Self(part.map_or_else(|| Text::Own(raw.to_owned()), Text::Part))
    }

    /// The text that a part of this value can share.
    pub(super) fn shared(&self) -> Option<&SharedStr> {
        match &self.0 {
            Text::Own(_) => None,
            Text::Part(text) => Some(text),
        }
    }
}

impl From<Box<RawValue>> for RawJson {
    fn from(raw: Box<RawValue>) -> Self {
        Self(Text::Own(raw))
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

impl Serialize for RawJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Text::Own(raw) => raw.serialize(serializer),
            Text::Part(text) => text.serialize_as_json(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for RawJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self::from)
    }
}
