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

/// The answer to a text: vLLM has the first two, llama.cpp the list alone. The Messages API has the
/// last one, for a prompt.
#[derive(Deserialize)]
struct Answer {
    count: Option<u64>,
    tokens: Option<Vec<IgnoredAny>>,
    input_tokens: Option<u64>,
}

/// The outcome of a request for a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// So many tokens.
    Tokens(u64),
    /// The server has no such count.
    Refused,
    /// No count this time.
    Unknown,
}

impl Counted {
    pub(crate) fn tokens(self) -> Option<u64> {
        match self {
            Self::Tokens(tokens) => Some(tokens),
            Self::Refused | Self::Unknown => None,
        }
    }
}

/// Tokens of a text, by a server that counts such; each reads its own names.
pub(crate) async fn of_text(endpoint: &Endpoint, text: &str) -> Counted {
    let settings = &endpoint.settings;
    let base = settings.base_url.strip_suffix("/v1").unwrap_or(&settings.base_url);
    let asked = json!({
        "content": text, "add_special": false,
        "model": settings.upstream_model, "prompt": text, "add_special_tokens": false,
    });
    let request = endpoint.http.post(format!("{base}/tokenize")).json(&asked);
    let request = match &settings.api_key {
        Some(key) => request.bearer_auth(key),
        None => request,
    };
    read(endpoint, request).await
}

/// The count that is the answer to `request`. A server without such a count answers by one of a
/// few statuses, or by something that is none.
pub(crate) async fn read(endpoint: &Endpoint, request: reqwest::RequestBuilder) -> Counted {
    let Ok(mut request) = request.timeout(WITHIN).build() else { return Counted::Unknown };
    endpoint.put_on(&mut request);
    let Ok(response) = endpoint.http.execute(request).await else { return Counted::Unknown };
    match response.status().as_u16() {
        200 => {}
        401 | 403 | 404 | 405 | 501 => return Counted::Refused,
        _ => return Counted::Unknown,
    }
    let mut stream = response.bytes_stream();
    let mut body = Vec::new();
    while let Some(bytes) = stream.next().await {
        let Ok(bytes) = bytes else { return Counted::Unknown };
        body.extend_from_slice(&bytes);
        if body.len() > MAX_LIST {
            return Counted::Unknown;
        }
    }
    let Ok(answer) = serde_json::from_slice::<Answer>(&body) else { return Counted::Refused };
    let listed = answer.tokens.map(|tokens| tokens.len() as u64);
    let tokens = answer.count.or(listed).or(answer.input_tokens);
    tokens.map_or(Counted::Refused, Counted::Tokens)
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
