//! A request's body, field by field: what counts is taken, and what would change the answer's kind
//! refused by its name. The rest goes up as it came, or is left out and told.
use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use super::texts::plain;
use crate::http::problem::Problem;

/// A body as it is read: each field is the text that came.
pub(in crate::http) type Body = BTreeMap<String, Box<RawValue>>;

/// The fields that are left.
#[derive(Debug)]
pub(crate) struct Fields(Body);

impl Fields {
    pub(crate) fn new(body: Body) -> Self {
        Self(body)
    }

    /// The field's value; SDKs send `null` for what is not set.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        let Some(raw) = self.0.remove(name).filter(|raw| raw.get() != "null") else {
            return Ok(None);
        };
        read(name, &raw).map(Some)
    }

    /// The field as it came, to be shown again.
    pub(crate) fn peek(&self, name: &str) -> Option<Value> {
        let raw = self.0.get(name)?;
        serde_json::from_str(raw.get()).ok().filter(|value: &Value| !value.is_null())
    }

    /// Whether the field says something.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|raw| raw.get() != "null")
    }

    /// The field may only say what is done anyway.
    pub(crate) fn only(&mut self, name: &str, values: &[Value]) -> Result<(), Problem> {
        match self.take::<Value>(name)? {
            Some(value) if !values.contains(&value) => {
                Err(unsupported(name, "this is not supported here"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// The value at `name`; a mistake in it is named where it stands.
pub(in crate::http) fn read<T: DeserializeOwned>(name: &str, raw: &RawValue) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_str(raw.get());
    serde_path_to_error::deserialize(&mut json).map_err(|e| {
        let path = match e.path().to_string() {
            path if path == "." => name.to_owned(),
            path if path.starts_with('[') => format!("{name}{path}"),
            path => format!("{name}.{path}"),
        };
        let whole = e.inner().to_string();
        let said = whole.split(" at line ").next().unwrap_or_default();
        let detail = format!("`{path}`: {}", plain(said));
        Problem::unprocessable("invalid_type", detail).with("field", path)
    })
}

/// A refusal that names what it is about.
pub(in crate::http) fn unsupported(field: &str, why: &str) -> Problem {
    let detail = format!("`{field}`: {why}");
    Problem::unprocessable("unsupported_value", detail).with("field", field)
}

/// A refusal of what is missing.
pub(in crate::http) fn missing(field: &str) -> Problem {
    Problem::unprocessable("missing_field", format!("`{field}` is missing")).with("field", field)
}
