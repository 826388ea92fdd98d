//! The server's own count of tokens while an answer comes: a continuation gets what is left of the
//! limit. llama.cpp counts in the `timings` of each chunk, vLLM in its `usage`. Seen at llama.cpp
//! 11549 and vLLM 0.32, of which each passes over the other's field. Both also count a text that is
//! there already (`POST /tokenize`).
use std::time::Duration;

use futures_util::StreamExt;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::domain::event::Usage;
use crate::domain::source::WireProtocol;
use crate::ports::Attempt;
use crate::providers::upstream::endpoint::Endpoint;
use crate::providers::upstream::json_body::Object;

/// llama.cpp's field.
const TIMINGS: &str = "timings_per_token";
/// vLLM's field, in these options.
const STATS: &str = "continuous_usage_stats";
const OPTIONS: &str = "stream_options";
/// How long a count of a text may take: its answer waits for that.
const WITHIN: Duration = Duration::from_secs(2);
/// The longest list of tokens that is read, in bytes.
const MAX_LIST: usize = 8 << 20;
/// Words of a refusal of fields that a server does not know.
const UNKNOWN: [&str; 6] =
    ["nexpected", "xtra", "nknown", "nrecognized", "nsupported", "not permitted"];

/// Asks for counts, under the names of all servers that have them.
pub(crate) fn ask(body: &mut Object) {
    body.set(TIMINGS, &true);
    let mut options: Object = body.read(OPTIONS).unwrap_or_default();
    options.set(STATS, &true);
    body.set(OPTIONS, &options);
}

/// Whether a refusal is about them: it names one of them, or some field without its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It names one.
    Named,
    /// It may mean one.
    Perhaps,
    /// It is about something else.
    No,
}

impl Refused {
    /// The meaning of a refusal in these words.
    pub(crate) fn of(refusal: &str) -> Self {
        let has = |words: &[&str]| words.iter().any(|word| refusal.contains(word));
        match (has(&[TIMINGS, STATS]), has(&UNKNOWN)) {
            (true, _) => Self::Named,
            (false, true) => Self::Perhaps,
            (false, false) => Self::No,
        }
    }
}

/// The same body without them.
pub(crate) fn without(body: &Object) -> Object {
    let mut plain = body.clone();
    plain.remove(TIMINGS);
    let mut options: Object = plain.read(OPTIONS).unwrap_or_default();
    options.remove(STATS);
    plain.set(OPTIONS, &options);
    plain
}

/// Whether the client itself asks for timings: it gets them as they come.
pub(crate) fn are_the_clients(attempt: &Attempt) -> bool {
    let source = attempt.source.as_ref().filter(|s| s.protocol == WireProtocol::OpenaiChat);
    let body = source.filter(|source| source.body.contains(TIMINGS));
    body.and_then(|source| Object::parse(&source.body)).is_some_and(|body| body.has(TIMINGS))
}

/// The count in llama.cpp's timings. More is to come.
pub(crate) fn in_timings(timings: &RawValue) -> Option<Usage> {
    let timings: Value = serde_json::from_str(timings.get()).ok()?;
    let count = |name: &str| timings.get(name).and_then(Value::as_u64);
    Some(Usage {
        input_tokens: count("prompt_n")? + count("cache_n").unwrap_or(0),
        output_tokens: count("predicted_n")?,
        ..Usage::default()
    })
}

/// The answer to a text: vLLM has both fields, llama.cpp the list alone.
#[derive(Deserialize)]
struct Counted {
    count: Option<u64>,
    tokens: Option<Vec<IgnoredAny>>,
}

/// Tokens of a text, by a server that counts such; each reads its own names.
pub(crate) async fn of_text(endpoint: &Endpoint, text: &str) -> Option<u64> {
    let settings = &endpoint.settings;
    let base = settings.base_url.strip_suffix("/v1").unwrap_or(&settings.base_url);
    let asked = json!({
        "content": text, "add_special": false,
        "model": settings.upstream_model, "prompt": text, "add_special_tokens": false,
    });
    let request = endpoint.http.post(format!("{base}/tokenize")).timeout(WITHIN).json(&asked);
    let request = match &settings.api_key {
        Some(key) => request.bearer_auth(key),
        None => request,
    };
    let mut request = request.build().ok()?;
    endpoint.put_on(&mut request);
    let response = endpoint.http.execute(request).await.ok()?.error_for_status().ok()?;
    let mut stream = response.bytes_stream();
    let mut body = Vec::new();
    while let Some(bytes) = stream.next().await {
        body.extend_from_slice(&bytes.ok()?);
        if body.len() > MAX_LIST {
            return None;
        }
    }
    let counted: Counted = serde_json::from_slice(&body).ok()?;
    counted.count.or_else(|| counted.tokens.map(|tokens| tokens.len() as u64))
}

#[cfg(test)]
mod tests {
    use crate::providers::chat::counts::*;

    #[test]
    fn a_refusal_takes_them_out_again() {
        let plain = r#"{"stream_options":{"include_usage":true}}"#;
        let mut asked = Object::parse(plain).unwrap();
        ask(&mut asked);
        let text = |object: &Object| serde_json::to_string(object).unwrap();
        assert_eq!(
            text(&asked),
            r#"{"stream_options":{"include_usage":true,"continuous_usage_stats":true},"timings_per_token":true}"#
        );
        // transformers serve 5.24.
        let refusal = "Unexpected fields in the request: {'timings_per_token'}";
        assert_eq!(
            (Refused::of(refusal), text(&without(&asked)).as_str()),
            (Refused::Named, plain)
        );
        assert_eq!(Refused::of("Extra inputs are not permitted"), Refused::Perhaps);
        assert_eq!(Refused::of("no such model"), Refused::No);
    }

    /// llama.cpp 11549.
    #[test]
    fn timings_count_tokens() {
        let timings = r#"{"cache_n":5,"prompt_n":7,"prompt_ms":1.5,"predicted_n":3}"#;
        let count = in_timings(&RawValue::from_string(timings.into()).unwrap()).unwrap();
        assert_eq!((count.input_tokens, count.output_tokens, count.exact), (12, 3, false));
    }
}
