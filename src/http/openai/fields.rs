//! A request's body, field by field: what counts is taken, what is harmless passed over, and what
//! would change the answer and is not supported refused by its name.
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::domain::nearest;
use crate::http::problem::Problem;

/// The fields that are left.
#[derive(Debug)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn new(body: Map<String, Value>) -> Self {
        Self(body)
    }

    /// The field's value; SDKs send `null` for what is not set.
    pub(super) fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_path_to_error::deserialize(value).map(Some).map_err(|e| {
                let path = match e.path().to_string() {
                    path if path == "." => name.to_owned(),
                    path if path.starts_with('[') => format!("{name}{path}"),
                    path => format!("{name}.{path}"),
                };
                let detail = format!("`{path}`: {}", e.inner());
                Problem::unprocessable("invalid_type", detail).with("field", path)
            }),
        }
    }

    /// The field as it came, to be shown again.
    pub(super) fn peek(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// Passes over fields that change nothing here.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        for name in names {
            self.0.remove(*name);
        }
    }

    /// The field may only say what is done anyway.
    pub(super) fn only(&mut self, name: &str, values: &[Value]) -> Result<(), Problem> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(()),
            Some(value) if values.contains(&value) => Ok(()),
            Some(_) => Err(unsupported(name, "this is not supported here")),
        }
    }

    /// What is left is not known; `known` are the names that are.
    pub(super) fn nothing_else(&self, known: &[&str]) -> Result<(), Problem> {
        let Some(name) = self.0.keys().next() else { return Ok(()) };
        let hint = nearest::hint(name, known);
        let detail = format!("`{}` is not known here.{hint}", nearest::shown(name));
        Err(Problem::unprocessable("unknown_field", detail).with("field", name.as_str()))
    }
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
