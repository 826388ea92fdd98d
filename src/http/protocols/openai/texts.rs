//! Values that clients write in more than one form. Each names its place when it is wrong, which an
//! untagged enum cannot.
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A text, or a list.
#[derive(Debug)]
pub(crate) enum TextOr<T> {
    Text(String),
    List(Vec<T>),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrVisitor(PhantomData))
    }
}

struct TextOrVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TextOrVisitor<T> {
    type Value = TextOr<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or an array")
    }

    fn visit_str<E>(self, text: &str) -> Result<TextOr<T>, E> {
        Ok(TextOr::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<TextOr<T>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(TextOr::List)
    }
}

/// The arguments of a call: JSON as a text, or, as some clients send them, the object itself.
#[derive(Debug)]
pub(crate) struct Arguments(pub(crate) String);

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        match raw.get().as_bytes().first() {
            Some(b'"') => serde_json::from_str(raw.get()).map(Self).map_err(D::Error::custom),
            Some(b'{') => Ok(Self(raw.get().to_owned())),
            // A call without arguments, as some servers say it and clients send it back.
            Some(b'n') => Ok(Self(String::new())),
            _ => Err(D::Error::custom("expected a text or an object")),
        }
    }
}

/// serde's expectation, without the names of types.
pub(super) fn plain(said: &str) -> String {
    let mut said = said.to_owned();
    for (typed, words) in [
        ("expected u32", "expected a whole number"),
        ("expected u64", "expected a whole number"),
        ("expected i64", "expected a whole number"),
        ("expected f64", "expected a number"),
        ("expected struct ", "expected an object: "),
    ] {
        if let Some(at) = said.find(typed) {
            said.truncate(at);
            said.push_str(words.trim_end_matches(": "));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use crate::http::protocols::openai::texts::*;

    #[test]
    fn both_forms_are_read_and_a_mistake_has_its_place() {
        let list: TextOr<u32> = serde_json::from_str("[1,2]").unwrap();
        assert!(matches!(list, TextOr::List(numbers) if numbers == [1, 2]));
        let text: TextOr<u32> = serde_json::from_str(r#""a""#).unwrap();
        assert!(matches!(text, TextOr::Text(text) if text == "a"));
        let mut wrong = serde_json::Deserializer::from_str(r#"[1,"b"]"#);
        let wrong = serde_path_to_error::deserialize::<_, TextOr<u32>>(&mut wrong).unwrap_err();
        assert_eq!(wrong.path().to_string(), "[1]");
    }

    #[test]
    fn arguments_are_a_text_or_the_object_itself() {
        for (came, is) in [(r#""{\"a\":1.0}""#, r#"{"a":1.0}"#), (r#"{"b":1e2}"#, r#"{"b":1e2}"#)] {
            assert_eq!(serde_json::from_str::<Arguments>(came).unwrap().0, is);
        }
        assert!(serde_json::from_str::<Arguments>("5").is_err());
    }

    #[test]
    fn a_refusal_has_no_type_of_ours() {
        let said = "invalid type: string \"x\", expected struct WireMessage";
        assert_eq!(plain(said), "invalid type: string \"x\", expected an object");
        assert_eq!(
            plain("invalid type: null, expected u32"),
            "invalid type: null, expected a whole number"
        );
    }
}
