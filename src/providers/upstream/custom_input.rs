//! The text that a tool takes, as the arguments of a function: what it is in the log.

/// The JSON before the text.
pub(crate) const BEGIN: &str = "{\"input\":\"";
/// The JSON behind it.
pub(crate) const END: &str = "\"}";

/// A piece of the text as it stands in a JSON string.
pub(crate) fn escaped(piece: &str) -> String {
    let quoted = serde_json::to_string(piece).unwrap_or_default();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}
