//! The differences that have a reason: each is a row of docs/fidelity.md.
use serde_json::{Value, json};

use super::compare::Difference;

/// A row, and the differences that it is about; the situation is the first argument.
pub(super) struct Row {
    /// The first cell of the row.
    pub(super) what: &'static str,
    pub(super) is: fn(&str, &Difference) -> bool,
}

pub(super) const ROWS: [Row; 6] = [
    Row {
        what: "`store` in the request to the model's server",
        is: |situation, found| {
            situation.starts_with("request /v1/responses ")
                && found.path.ends_with(".store")
                && found.through == json!(false)
        },
    },
    Row {
        what: "`encrypted_content` in an answer",
        is: |_, found| match (found.direct.as_str(), found.through.as_str()) {
            (Some(direct), Some(through)) => {
                through.starts_with("lastword-v1.") && through.ends_with(direct)
            }
            _ => false,
        },
    },
    Row {
        what: "`system_fingerprint` where the model's server has none",
        is: |_, found| found.direct.is_null() && found.through == json!("fp_lastword"),
    },
    Row {
        what: "values that say nothing",
        is: |situation, found| {
            let nothing =
                |value: &Value| [json!(null), json!([]), json!({}), json!("")].contains(value);
            nothing(&found.direct) && nothing(&found.through)
                || situation.contains("esponses empty ")
        },
    },
    Row {
        what: "fields of a response before its end",
        is: |_, found| {
            found.path.starts_with("events.0.response.")
                || found.path.starts_with("events.1.response.")
        },
    },
    Row {
        what: "`frequency_penalty`, `presence_penalty` of a response",
        is: |_, found| {
            found.path.ends_with("_penalty")
                && found.direct.is_null()
                && found.through == json!(0.0)
                || found.path.ends_with("_penalty") && found.through == json!(0)
        },
    },
];
