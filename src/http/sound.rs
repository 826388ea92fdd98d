//! Whether a body is JSON, and JSON that can be read again wherever it is stored.
use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::Deserializer;

use super::problem::Problem;

/// The most levels of a body. JSON parsers give up somewhere above a hundred levels, serde at 128.
/// Stored and forwarded JSON gets some levels of our own around it.
pub(super) const LEVELS: usize = 100;
/// The key by which serde marks JSON as text: an object that has it first is read as another value.
const RAW: &str = "$serde_json::private::RawValue";

/// Refuses what is not JSON, is nested too deeply, or has a number that nobody can read.
///
/// # Errors
/// 400 for what is not JSON, 422 with the body's field for the rest.
pub(super) fn check(json: &[u8]) -> Result<(), Problem> {
    let place = Cursor::default();
    let mut read = Deserializer::from_slice(json);
    let walked = Walk { level: 0, place: &place }.deserialize(&mut read).and_then(|()| read.end());
    let Err(error) = walked else { return Ok(()) };
    let field = place.field.take();
    let too_large = error.to_string().starts_with("number out of range");
    let detail = match place.fault.get() {
        Some(Fault::TooDeep) => format!("`{field}` is nested deeper than {LEVELS} levels"),
        Some(Fault::Key) => format!("`{field}` has the key `{RAW}`, which cannot be kept"),
        None if too_large => format!("`{field}` has a number beyond the range of a double"),
        None => return Err(super::body::not_json(&error)),
    };
    Err(Problem::unprocessable("out_of_range", detail).with("field", field))
}

/// Where in the body the walk is.
#[derive(Default)]
struct Cursor {
    field: RefCell<String>,
    fault: Cell<Option<Fault>>,
}

#[derive(Clone, Copy)]
enum Fault {
    TooDeep,
    Key,
}

impl Cursor {
    fn fault<E: de::Error>(&self, fault: Fault) -> E {
        self.fault.set(Some(fault));
        E::custom("cannot be kept")
    }

    /// Refuses the one that serde takes for its own.
    fn key<E: de::Error>(&self, key: &str) -> Result<(), E> {
        if key == RAW { Err(self.fault(Fault::Key)) } else { Ok(()) }
    }
}

#[derive(Clone, Copy)]
struct Walk<'a> {
    level: usize,
    place: &'a Cursor,
}

impl Walk<'_> {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.level == LEVELS {
            return Err(self.place.fault(Fault::TooDeep));
        }
        Ok(Self { level: self.level + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while values.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        if self.level == 0 {
            while let Some(name) = fields.next_key::<String>()? {
                self.place.key(&name)?;
                self.place.field.replace(name);
                fields.next_value_seed(inner)?;
            }
            return Ok(());
        }
        while fields.next_key_seed(Key(self.place))?.is_some() {
            fields.next_value_seed(inner)?;
        }
        Ok(())
    }
}

/// A key below the body's own fields.
struct Key<'a>(&'a Cursor);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<(), E> {
        self.0.key(key)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn refusal(json: &str) -> (&'static str, Option<String>) {
        let problem = check(json.as_bytes()).unwrap_err();
        (problem.code(), problem.field().map(str::to_owned))
    }

    #[test]
    fn what_passes_can_be_read_with_our_levels_around_it() {
        let nested = |levels: usize| {
            format!(r#"{{"a":1,"tools":{}{}}}"#, "[".repeat(levels), "]".repeat(levels))
        };
        let most = nested(LEVELS - 1);
        check(most.as_bytes()).unwrap();
        let stored = format!("{}{most}{}", "[".repeat(20), "]".repeat(20));
        serde_json::from_str::<Value>(&stored).unwrap();
        assert_eq!(refusal(&nested(LEVELS)), ("out_of_range", Some("tools".into())));
        assert_eq!(refusal(&nested(100_000)), ("out_of_range", Some("tools".into())));
    }

    #[test]
    fn a_number_that_is_none_names_its_field() {
        for number in ["1e400", "-1e309", &"9".repeat(400)] {
            let json = format!(r#"{{"a":1,"metadata":{{"x":[{number}]}}}}"#);
            assert_eq!(refusal(&json), ("out_of_range", Some("metadata".into())), "{number}");
        }
        for number in ["1.7976931348623157e308", "5e-324", "1e-400", "-0.0", &"9".repeat(308)] {
            check(format!(r#"{{"a":{number}}}"#).as_bytes()).unwrap();
        }
    }

    #[test]
    fn a_key_of_the_parser_is_refused_wherever_it_stands() {
        for at in [r#"{"KEY":"1"}"#, r#"{"a":[{"KEY":"1"}]}"#, r#"{"a":{"b":1,"KEY":2}}"#] {
            assert_eq!(refusal(&at.replace("KEY", RAW)).0, "out_of_range", "{at}");
        }
        check(format!(r#"{{"a":"{RAW}"}}"#).as_bytes()).unwrap();
    }

    #[test]
    fn what_is_not_json_is_said_to_be_none() {
        for text in ["", "{", "{}x", "[1,]", "{\"a\"}", "nul", "{1:2}", "\u{feff}{}", "'a'"] {
            assert_eq!(refusal(text).0, "invalid_json", "{text}");
        }
    }
}
