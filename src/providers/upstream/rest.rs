//! Objects of a wire of which some fields are read, and the others kept as they came.
use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::domain::escapes::mended_text;
use crate::domain::extra::{Extra, Spot};
use crate::domain::json::JsonObject;
use crate::domain::source::WireProtocol;

/// Fields that nothing here reads, in their order.
pub(crate) type Rest = Vec<(String, Box<RawValue>)>;

/// Makes a struct of optional fields whose other fields are in `rest`. Fields that are passed over
/// are left out, and values that are not worth keeping. A field that comes twice counts as it came
/// last.
macro_rules! with_rest {
    (
        $(#[$doc:meta])*
        $name:ident { $($(#[$note:meta])* $vis:vis $field:ident: $type:ty $(= $key:literal)?,)* }
        passed over: [$($over:literal),*]
        kept: $keep:path
    ) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(crate) struct $name {
            $($(#[$note])* $vis $field: Option<$type>,)*
            pub(crate) rest: $crate::providers::upstream::rest::Rest,
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[expect(non_camel_case_types, reason = "the fields' own names")]
                enum Key { $($field,)* Over, Other(String) }

                struct Keys;
                impl<'de> serde::de::DeserializeSeed<'de> for Keys {
                    type Value = Key;
                    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<Key, D::Error> {
                        d.deserialize_str(self)
                    }
                }
                impl serde::de::Visitor<'_> for Keys {
                    type Value = Key;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a name")
                    }
                    fn visit_str<E>(self, name: &str) -> Result<Key, E> {
                        Ok(match name {
                            $($crate::providers::upstream::rest::key!($field $($key)?) => Key::$field,)*
                            // A field without a name says nothing.
                            "" $(| $over)* => Key::Over,
                            other => Key::Other(other.to_owned()),
                        })
                    }
                }

                struct Fields;
                impl<'de> serde::de::Visitor<'de> for Fields {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        mut map: A,
                    ) -> Result<$name, A::Error> {
                        let mut read = $name::default();
                        while let Some(key) = map.next_key_seed(Keys)? {
                            match key {
                                $(Key::$field => read.$field = map.next_value()?,)*
                                Key::Over => {
                                    map.next_value::<serde::de::IgnoredAny>()?;
                                }
                                Key::Other(name) => {
                                    let value = map.next_value::<Box<serde_json::value::RawValue>>()?;
                                    if $keep(&value) {
                                        read.rest.push((name, value));
                                    }
                                }
                            }
                        }
                        Ok(read)
                    }
                }
                deserializer.deserialize_map(Fields)
            }
        }
    };
}
pub(crate) use with_rest;

/// The name of a field on the wire.
macro_rules! key {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}
pub(crate) use key;

/// Keeps every field.
pub(crate) fn always(_: &RawValue) -> bool {
    true
}

/// Whether a value says anything: many servers send every field they know, empty.
pub(crate) fn says_something(value: &RawValue) -> bool {
    !matches!(value.get(), "null" | "\"\"" | "[]" | "{}")
}

/// The fields as an extra; `None` if there are none.
pub(crate) fn extra(protocol: WireProtocol, at: Spot, fields: &Rest) -> Option<Extra> {
    if fields.is_empty() {
        return None;
    }
    let long: usize = fields.iter().map(|(name, value)| name.len() + value.get().len() + 8).sum();
    let mut text = String::with_capacity(long + 2);
    text.push('{');
    for (name, value) in fields {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&serde_json::to_string(name).ok()?);
        text.push(':');
        text.push_str(value.get());
    }
    text.push('}');
    if let Cow::Owned(mended) = mended_text(&text) {
        text = mended;
    }
    let data = JsonObject::of_text(text).ok()?;
    Some(Extra { protocol, at, index: None, data })
}

/// An object as an extra; `None` if it is none. Its event was not too large, and so is it not.
pub(crate) fn object(protocol: WireProtocol, at: Spot, text: &str) -> Option<Extra> {
    let text: Cow<'_, str> = mended_text(text);
    let data = serde_json::from_str(&text).ok()?;
    Some(Extra { protocol, at, index: None, data })
}
