//! The meaning of an upstream's refusal, in any of its shapes.
use std::time::Duration;

use serde_json::Value;

use super::guard::lost;
use crate::domain::event::{ErrorCode, UpstreamRefusal};
use crate::domain::upstream_words::{ANSWERED, REPORTED};
use crate::ports::ProviderError;

/// Enough for the reason, too short for a quoted prompt.
const MAX_MESSAGE_CHARS: usize = 300;

/// The longest name of an error that is passed on, in bytes.
const MAX_NAME: usize = 64;

/// The content of an error body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RefusalBody {
    /// The upstream's own code or type; it may be a number.
    words: Vec<String>,
    code: Option<String>,
    kind: Option<String>,
    param: Option<String>,
    /// For people, on one line.
    message: String,
}

impl RefusalBody {
    /// Reads `{"error":{…}}`, `{"error":"text"}`, `{"detail":…}`, `{"message":…}` or plain text.
    pub(crate) fn in_body(body: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(body) {
            Ok(value) => Self::in_value(&value),
            Err(_) => {
                let message = one_line(&String::from_utf8_lossy(body));
                Self { message, ..Self::default() }
            }
        }
    }

    /// The same, of a body that is parsed already.
    pub(crate) fn in_value(value: &Value) -> Self {
        // Google's servers put the error into a list.
        let value = value.get(0).unwrap_or(value);
        let error = value.get("error").filter(|e| !e.is_null()).unwrap_or(value);
        let words = ["code", "type", "status"].iter().filter_map(|key| scalar(error.get(key)?));
        let message = scalar(error)
            .or_else(|| scalar(error.get("message")?))
            .or_else(|| scalar(value.get("message")?))
            .or_else(|| Some(detail(value.get("detail")?)))
            .unwrap_or_default();
        // A number or a long text is no name of an error.
        let name = |key: &str| {
            let name = error.get(key)?.as_str()?;
            let plain = |c: char| c.is_ascii_alphanumeric() || "_-. []".contains(c);
            let known = (1..=MAX_NAME).contains(&name.len()) && name.chars().all(plain);
            known.then(|| name.to_owned())
        };
        Self {
            words: words.collect(),
            code: name("code"),
            kind: name("type"),
            param: name("param"),
            message: one_line(&message),
        }
    }

    fn mentions(&self, word: &str) -> bool {
        self.words.iter().any(|w| w.to_ascii_lowercase().contains(word))
    }

    /// The loss that an error inside a stream, behind a 200, means.
    pub(crate) fn in_stream(&self) -> ProviderError {
        let mut numbers = self.words.iter().filter_map(|word| word.parse().ok());
        let status = numbers.find(|number| (400..600).contains(number)).unwrap_or_else(|| {
            let known = [
                ("overloaded", 529),
                ("quota", 429),
                ("rate_limit", 429),
                ("resource_exhausted", 429),
                ("unavailable", 503),
                ("authentication", 401),
                ("permission", 403),
                ("invalid_request", 400),
                ("invalid_prompt", 400),
                ("badrequest", 400),
                ("not_found", 404),
                ("context_length", 400),
            ];
            known.iter().find(|(word, _)| self.mentions(word)).map_or(500, |(_, status)| *status)
        });
        self.loss(status, REPORTED)
    }

    /// The loss that an HTTP status means.
    pub(crate) fn with_status(&self, status: u16) -> ProviderError {
        self.loss(status, &format!("{ANSWERED}{status}"))
    }

    /// Whether the prompt does not fit into the model's window, in the words of OpenAI, Azure,
    /// vLLM, SGLang, llama.cpp, Ollama, LM Studio and Anthropic.
    fn is_overflow(&self) -> bool {
        let codes = ["context_length_exceeded", "exceed_context_size", "context_window_exceeded"];
        let message = self.message.to_ascii_lowercase();
        let words = [
            "maximum context length",
            "maximum model length",
            "max context length",
            "model's context length",
            "exceeds the context length",
            "exceeds the available context size",
            "exceeds the context window",
            "exceed context limit",
            "exceed the context window",
            "prompt is too long",
            "greater than the context length",
        ];
        codes.iter().any(|code| self.mentions(code))
            || words.iter().any(|words| message.contains(words))
    }

    fn loss(&self, status: u16, what: &str) -> ProviderError {
        let limited = matches!(status, 402 | 429 | 529);
        if self.is_overflow() && !limited {
            let said = UpstreamRefusal {
                status: 400,
                code: Some("context_length_exceeded".into()),
                kind: Some("invalid_request_error".into()),
                param: self.param.clone().map(Into::into),
                ..UpstreamRefusal::default()
            };
            let message = format!("{what}: {}", self.message);
            let loss = lost(ErrorCode::UpstreamRejected, message, false);
            return ProviderError { upstream: Some(said.into()), ..loss };
        }
        let no_money = status == 402 || self.mentions("insufficient_quota");
        let (code, retryable) = match status {
            402 | 429 | 529 => (ErrorCode::UpstreamRateLimited, !no_money),
            408 => (ErrorCode::UpstreamTimeout, false),
            300..=499 => (ErrorCode::UpstreamRejected, false),
            503 => (ErrorCode::UpstreamUnavailable, true),
            // It may have been billed, so it is not tried again unasked.
            _ => (ErrorCode::UpstreamUnavailable, false),
        };
        let mut message = what.to_owned();
        if matches!(status, 300..=399) {
            message += "; redirects are not followed, check the base URL";
        } else if !self.message.is_empty() {
            message = format!("{message}: {}", self.message);
        }
        let (code_said, kind) = (self.code.clone(), self.kind.clone());
        let param = self.param.clone().map(Into::into);
        let said =
            UpstreamRefusal { status, code: code_said, kind, param, ..UpstreamRefusal::default() };
        ProviderError { upstream: Some(said.into()), ..lost(code, message, retryable) }
    }
}

/// How long the upstream asks to wait: `retry-after-ms`, or `retry-after` in seconds. A date is
/// not understood: it would need a clock that both sides share.
pub(crate) fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let seconds = number("retry-after-ms").map(|ms| ms / 1e3).or_else(|| number("retry-after"))?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// `text` on one line, cut to what fits into a message.
pub(crate) fn one_line(text: &str) -> String {
    // Validators quote what they were given, which is the prompt.
    let quoted = ["'input'", "\"input\"", "input_value="];
    let end = quoted.iter().filter_map(|mark| text.find(mark)).min().unwrap_or(text.len());
    let mut line = String::new();
    for word in text[..end].split(|c: char| c.is_whitespace() || c.is_control()) {
        if !word.is_empty() {
            line.extend((!line.is_empty()).then_some(' '));
            line.push_str(word);
        }
    }
    if let Some((cut, _)) = line.char_indices().nth(MAX_MESSAGE_CHARS) {
        line.truncate(cut);
        line.push('…');
    }
    line
}

fn scalar(value: &Value) -> Option<String> {
    let text = value.as_str().map(str::to_owned);
    text.or_else(|| value.as_number().map(ToString::to_string)).filter(|s| !s.is_empty())
}

/// `detail` is a text, or a validator's list, of which only the complaints are taken: each also
/// quotes its input.
fn detail(value: &Value) -> String {
    let complaints = value.as_array().into_iter().flatten();
    let messages: Vec<String> = complaints.filter_map(|c| scalar(c.get("msg")?)).collect();
    scalar(value).unwrap_or_else(|| messages.join("; "))
}

#[cfg(test)]
mod tests {
    use crate::providers::upstream::refusal::*;

    #[test]
    fn every_shape_of_an_error_body_is_read() {
        let cases: [(&str, &[&str], &str); 10] = [
            (r#"[{"error":{"code":400,"message":"no","status":"BAD"}}]"#, &["400", "BAD"], "no"),
            (r#"{"error":{"message":"no","code":"bad","type":"t"}}"#, &["bad", "t"], "no"),
            (r#"{"error":{"message":"no","code":400}}"#, &["400"], "no"),
            (r#"{"error":"no"}"#, &[], "no"),
            (r#"{"detail":"no"}"#, &[], "no"),
            (r#"{"detail":[{"msg":"field required","input":"secret"}]}"#, &[], "field required"),
            (r#"{"object":"error","message":"no","code":40301}"#, &["40301"], "no"),
            ("<h1>502</h1>\r\n Bad\tGateway", &[], "<h1>502</h1> Bad Gateway"),
            ("[{'msg': 'no', 'input': 'secret'}]", &[], "[{'msg': 'no',"),
            ("", &[], ""),
        ];
        for (body, words, message) in cases {
            let said = RefusalBody::in_body(body.as_bytes());
            assert_eq!(said.words, words, "{body}");
            assert_eq!(said.message, message, "{body}");
        }
        assert!(one_line(&"x".repeat(10_000)).len() < 310);
    }

    #[test]
    fn the_table_of_statuses() {
        use ErrorCode::{
            UpstreamRateLimited as Limited, UpstreamRejected as Rejected,
            UpstreamTimeout as Timeout, UpstreamUnavailable as Unavailable,
        };
        let cases = [
            (400, Rejected, false),
            (401, Rejected, false),
            (402, Limited, false),
            (403, Rejected, false),
            (404, Rejected, false),
            (408, Timeout, false),
            (422, Rejected, false),
            (429, Limited, true),
            (307, Rejected, false),
            (500, Unavailable, false),
            (502, Unavailable, false),
            (503, Unavailable, true),
            (529, Limited, true),
        ];
        for (status, code, retryable) in cases {
            let loss = RefusalBody::default().with_status(status);
            assert_eq!((loss.code, loss.retryable), (code, retryable), "{status}");
        }
        let poor =
            RefusalBody::in_body(br#"{"error":{"code":"insufficient_quota","message":"pay"}}"#);
        assert!(!poor.with_status(429).retryable);
    }

    #[test]
    fn an_error_in_the_stream_is_sorted_by_its_words() {
        let code = |body: &str| RefusalBody::in_body(body.as_bytes()).in_stream().code;
        assert_eq!(
            code(r#"{"error":{"type":"rate_limit_error"}}"#),
            ErrorCode::UpstreamRateLimited
        );
        assert_eq!(code(r#"{"error":{"code":502}}"#), ErrorCode::UpstreamUnavailable);
        assert_eq!(
            code(r#"{"error":{"type":"invalid_request_error"}}"#),
            ErrorCode::UpstreamRejected
        );
        assert_eq!(code(r#"{"error":"CUDA"}"#), ErrorCode::UpstreamUnavailable);
        assert_eq!(code(r#"{"message":"x","code":40301}"#), ErrorCode::UpstreamUnavailable);
        assert_eq!(
            code(r#"{"error":{"status":"RESOURCE_EXHAUSTED"}}"#),
            ErrorCode::UpstreamRateLimited
        );
    }

    #[test]
    fn a_full_window_is_recognised_in_every_servers_words() {
        let bodies = [
            r#"{"error":{"message":"This model's maximum context length is 100 tokens.","code":"context_length_exceeded"}}"#,
            r#"{"error":{"message":"Your input exceeds the context window of this model.","code":"context_length_exceeded"}}"#,
            r#"{"object":"error","message":"This model's maximum context length is 100 tokens. However, you requested 200 tokens","type":"BadRequestError","code":400}"#,
            r#"{"error":{"message":"The decoder prompt (length 9) is longer than the maximum model length of 4.","type":"BadRequestError","code":400}}"#,
            r#"{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error"}}"#,
            r#"{"error":{"message":"prompt too long; exceeded max context length by 4 tokens"}}"#,
            r#"{"error":"the input length exceeds the context length"}"#,
            r#"{"error":{"message":"The input (9 tokens) is longer than the model's context length (4 tokens)."}}"#,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 4 maximum"}}"#,
            r#"{"error":{"message":"input length and `max_tokens` exceed context limit: 9 + 4 > 8"}}"#,
        ];
        for body in bodies {
            let said = RefusalBody::in_body(body.as_bytes());
            for loss in [said.with_status(400), said.with_status(500), said.in_stream()] {
                let upstream = loss.upstream.unwrap();
                assert_eq!(upstream.code.as_deref(), Some("context_length_exceeded"), "{body}");
                assert_eq!((loss.code, loss.retryable), (ErrorCode::UpstreamRejected, false));
            }
        }
        let slow =
            RefusalBody::in_body(br#"{"error":{"code":"slow_down","type":"t","message":"m"}}"#);
        let upstream = slow.with_status(429).upstream.unwrap();
        assert_eq!((upstream.status, upstream.code.as_deref()), (429, Some("slow_down")));
    }

    #[test]
    fn how_long_to_wait() {
        let wait = |name: &'static str, value: &str| {
            let mut headers = http::HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(wait("retry-after", "3"), Some(Duration::from_secs(3)));
        assert_eq!(wait("retry-after-ms", "250"), Some(Duration::from_millis(250)));
        assert_eq!(wait("retry-after", "-1"), None);
        assert_eq!(wait("retry-after", "1e300"), None);
        assert_eq!(wait("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT"), None);
    }
}
