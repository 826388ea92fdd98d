//! The query of a retrieve.
use actix_web::{HttpRequest, web};
use serde::Deserialize;

use crate::http::problem::Problem;

/// Whether the events are wanted, and behind which.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::http) struct Retrieve {
    pub(in crate::http) stream: bool,
    pub(in crate::http) starting_after: Option<u64>,
    pub(in crate::http) include_usage: bool,
}

/// Others are ignored: SDKs add `include` and `include_obfuscation`.
#[derive(Debug, Default, Deserialize)]
struct Wire {
    stream: Option<String>,
    starting_after: Option<String>,
    include_usage: Option<String>,
}

/// The query of `request`.
pub(in crate::http) fn retrieve(request: &HttpRequest) -> Result<Retrieve, Problem> {
    let wire = web::Query::<Wire>::from_query(request.query_string())
        .map_err(|e| Problem::bad_request("invalid_query", e.to_string()))?
        .into_inner();
    let starting_after = wire.starting_after.map(|text| {
        text.parse().map_err(|_| {
            let detail = "`starting_after` is the sequence_number of the last event that you have";
            Problem::bad_request("invalid_cursor", detail).with("field", "starting_after")
        })
    });
    let starting_after = starting_after.transpose()?;
    let stream = flag("stream", wire.stream.as_deref())?;
    if starting_after.is_some() && !stream {
        let detail = "`starting_after` goes with `stream=true`";
        return Err(Problem::bad_request("invalid_query", detail).with("field", "starting_after"));
    }
    let include_usage = flag("include_usage", wire.include_usage.as_deref())?;
    Ok(Retrieve { stream, starting_after, include_usage })
}

fn flag(name: &str, value: Option<&str>) -> Result<bool, Problem> {
    // Python's requests writes `True`.
    match value {
        None | Some("false" | "False" | "0") => Ok(false),
        Some("true" | "True" | "1") => Ok(true),
        Some(_) => {
            let detail = format!("`{name}` is true or false");
            Err(Problem::bad_request("invalid_query", detail).with("field", name))
        }
    }
}
