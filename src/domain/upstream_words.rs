//! The words in front of an upstream's own in a failure's message.

/// In front of the status of a refusal.
pub const ANSWERED: &str = "the model answered with HTTP ";
/// In front of an error inside a stream.
pub const REPORTED: &str = "the model reported an error";

/// The upstream's own words in a failure's message; the whole message where it has none.
pub fn upstream_words(message: &str) -> &str {
    let behind_status = message.strip_prefix(ANSWERED).and_then(|rest| rest.split_once(": "));
    let behind_report = || message.strip_prefix(REPORTED)?.strip_prefix(": ");
    behind_status.map(|(_, words)| words).or_else(behind_report).unwrap_or(message)
}

#[cfg(test)]
mod tests {
    use crate::domain::upstream_words::*;

    #[test]
    fn its_words_stand_behind_ours() {
        for (message, words) in [
            ("the model answered with HTTP 400: no: never", "no: never"),
            ("the model reported an error: slow down", "slow down"),
            ("the model answered with HTTP 400", "the model answered with HTTP 400"),
            ("something else: x", "something else: x"),
        ] {
            assert_eq!(upstream_words(message), words);
        }
    }
}
