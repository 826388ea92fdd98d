//! The headers by which a model's server tells its rate limits. Clients slow down by them.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Names begin so: OpenAI and those that speak its protocols, Anthropic, Codex' service, and the
/// names that the IETF drafts.
const PREFIXES: [&str; 4] = ["x-ratelimit-", "anthropic-ratelimit-", "x-codex-", "ratelimit"];
/// More headers than any server sends, and longer values in bytes, are not kept.
const MOST: usize = 48;
const LONGEST: usize = 256;

/// Headers by their names, in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RateLimits(BTreeMap<String, String>);

impl RateLimits {
    /// The `code` of the notice that has them, as a JSON object.
    pub const NOTICE: &'static str = "rate_limits";

    /// Those of these headers that tell of limits.
    pub fn of<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Self {
        let known =
            headers.filter(|(name, _)| PREFIXES.iter().any(|prefix| name.starts_with(prefix)));
        let readable = known.filter_map(|(name, value)| {
            let text = std::str::from_utf8(value).ok()?;
            let plain = text.len() <= LONGEST && text.bytes().all(|b| matches!(b, b' '..=b'~'));
            plain.then(|| (name.to_owned(), text.to_owned()))
        });
        Self(readable.take(MOST).collect())
    }

    /// Those of a notice's message; none if it has another form.
    #[must_use]
    pub fn in_notice(message: &str) -> Self {
        let headers: BTreeMap<String, String> = serde_json::from_str(message).unwrap_or_default();
        Self::of(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
    }

    /// The notice's message.
    #[must_use]
    pub fn message(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_default()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each name with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_headers_of_limits_are_kept() {
        let long = "9".repeat(LONGEST + 1);
        let headers: [(&str, &[u8]); 7] = [
            ("x-ratelimit-remaining-requests", b"59"),
            ("anthropic-ratelimit-unified-status", b"allowed"),
            ("ratelimit", b"\"default\";r=50;t=30"),
            ("set-cookie", b"a=b"),
            ("x-request-id", b"r"),
            ("x-ratelimit-odd", b"a\nb"),
            ("x-ratelimit-long", long.as_bytes()),
        ];
        let limits = RateLimits::of(headers.into_iter());
        let names: Vec<&str> = limits.iter().map(|(name, _)| name).collect();
        let kept =
            ["anthropic-ratelimit-unified-status", "ratelimit", "x-ratelimit-remaining-requests"];
        assert_eq!(names, kept);
        assert_eq!(RateLimits::in_notice(&limits.message()), limits);
        assert!(RateLimits::in_notice("no object").is_empty());
        assert!(RateLimits::in_notice(r#"{"set-cookie":"a=b"}"#).is_empty());
    }
}
