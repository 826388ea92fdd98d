//! The directives of a prompt that begins with `/demo`.
use std::time::Duration;

use crate::domain::nearest::hint;

/// The word that a prompt with directives begins with.
const COMMAND: &str = "/demo";

/// The longest answer, in tokens.
const MAX_TOKENS: u64 = 1_000_000;

/// Longer waits are a mistake: the service would end the generation before.
const MAX_WAIT_S: f64 = 3600.0;

/// More notices about one prompt are noise.
const MAX_NOTICES: usize = 8;

const KNOWN: [&str; 15] = [
    "tokens",
    "tps",
    "ttft_ms",
    "jitter",
    "fail_at",
    "stall_at",
    "stall_s",
    "seed",
    "stamp",
    "reasoning",
    "refusal",
    "tool_call",
    "unicode",
    "markdown",
    "length",
];

/// How the demo answers one prompt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Directives {
    /// Exactly so many tokens of answer; `None`: about a paragraph or two, to the end of a
    /// sentence.
    pub(crate) tokens: Option<u64>,
    /// Tokens per second; 0 is as fast as they are taken.
    pub(crate) tps: f64,
    /// Before the first token.
    pub(crate) ttft: Duration,
    /// How far a token may be off its time, as a part of the time between two.
    pub(crate) jitter: f64,
    /// A first attempt is lost after so many tokens of answer.
    pub(crate) fail_at: Option<u64>,
    /// Before this token of answer, silence.
    pub(crate) stall_at: Option<u64>,
    /// How long that is.
    pub(crate) stall: Duration,
    /// Fixes the text; otherwise the prompt does.
    pub(crate) seed: Option<u64>,
    /// Every token is the time when it was due.
    pub(crate) stamp: bool,
    /// Some thinking first.
    pub(crate) reasoning: bool,
    /// Declines instead of answering.
    pub(crate) refusal: bool,
    /// Ends with a tool call.
    pub(crate) tool_call: bool,
    /// Mixes in text that is hard to cut.
    pub(crate) unicode: bool,
    /// A document with headings, lists, a table and code.
    pub(crate) markdown: bool,
    /// Ends as if cut by its limit.
    pub(crate) length: bool,
}

impl Default for Directives {
    fn default() -> Self {
        Self {
            tokens: None,
            tps: 30.0,
            ttft: Duration::from_millis(200),
            jitter: 0.0,
            fail_at: None,
            stall_at: None,
            stall: Duration::from_secs(10),
            seed: None,
            stamp: false,
            reasoning: false,
            refusal: false,
            tool_call: false,
            unicode: false,
            markdown: false,
            length: false,
        }
    }
}

/// A directive that was not followed: a stable code, and words for people.
pub(crate) type Complaint = (&'static str, String);

impl Directives {
    /// The directives in `prompt`, with what was wrong with them; the rest counts all the same.
    pub(crate) fn parse(prompt: &str) -> (Self, Vec<Complaint>) {
        let mut directives = Self::default();
        let mut complaints = Vec::new();
        let mut words = prompt.split_whitespace();
        if words.next() == Some(COMMAND) {
            for word in words {
                complaints.extend(directives.set(word).err());
            }
        }
        complaints.truncate(MAX_NOTICES);
        (directives, complaints)
    }

    fn set(&mut self, word: &str) -> Result<(), Complaint> {
        let (name, value) = word.split_once('=').map_or((word, None), |(n, v)| (n, Some(v)));
        let number = || number(name, value);
        match name {
            "tokens" => self.tokens = Some(whole(name, number()?)?.clamp(1, MAX_TOKENS)),
            "tps" => self.tps = number()?,
            "ttft_ms" => self.ttft = seconds(number()? / 1e3),
            "jitter" => self.jitter = number()?.min(1.0),
            "fail_at" => self.fail_at = Some(whole(name, number()?)?),
            "stall_at" => self.stall_at = Some(whole(name, number()?)?),
            "stall_s" => self.stall = seconds(number()?),
            "seed" => self.seed = Some(whole(name, number()?)?),
            "stamp" => self.stamp = true,
            "reasoning" => self.reasoning = true,
            "refusal" => self.refusal = true,
            "tool_call" => self.tool_call = true,
            "unicode" => self.unicode = true,
            "markdown" => self.markdown = true,
            "length" => self.length = true,
            _ => return Err(unknown(name)),
        }
        Ok(())
    }

    /// Whether `prompt` holds directives in place of a question.
    pub(crate) fn are_in(prompt: &str) -> bool {
        prompt.split_whitespace().next() == Some(COMMAND)
    }
}

fn number(name: &str, value: Option<&str>) -> Result<f64, Complaint> {
    let number = value.and_then(|v| v.parse::<f64>().ok());
    number.filter(|n| n.is_finite() && *n >= 0.0).ok_or_else(|| bad_value(name, "a number"))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole and not negative; too large a number saturates"
)]
fn whole(name: &str, number: f64) -> Result<u64, Complaint> {
    if number.fract() == 0.0 { Ok(number as u64) } else { Err(bad_value(name, "a whole number")) }
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.min(MAX_WAIT_S))
}

fn bad_value(name: &str, wanted: &str) -> Complaint {
    ("bad_directive", format!("`{name}` wants {wanted}, such as `{name}=10`; it was left out."))
}

fn unknown(name: &str) -> Complaint {
    let shown: String = name.chars().take(40).collect();
    let message = format!("`{shown}` is no directive of the demo.{}", hint(name, &KNOWN));
    ("unknown_directive", message)
}

#[cfg(test)]
mod tests {
    use crate::providers::demo::directives::*;

    #[test]
    fn all_directives_are_understood() {
        let (directives, complaints) = Directives::parse(
            "/demo tokens=500 tps=100 ttft_ms=50 jitter=0.2 fail_at=300 stall_at=200 stall_s=1.5 \
             seed=7 stamp reasoning refusal tool_call unicode markdown length",
        );
        assert_eq!(complaints, []);
        let expected = Directives {
            tokens: Some(500),
            tps: 100.0,
            ttft: Duration::from_millis(50),
            jitter: 0.2,
            fail_at: Some(300),
            stall_at: Some(200),
            stall: Duration::from_millis(1500),
            seed: Some(7),
            stamp: true,
            reasoning: true,
            refusal: true,
            tool_call: true,
            unicode: true,
            markdown: true,
            length: true,
        };
        assert_eq!(directives, expected);
        for name in KNOWN {
            let (_, complaints) = Directives::parse(&format!("/demo {name}=1"));
            assert_eq!(complaints, [], "{name}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_and_the_rest_counts() {
        let complain = |prompt: &str| Directives::parse(prompt).1;
        let (directives, complaints) = Directives::parse("/demo tokns=5 tps=7 tokens=x");
        assert_eq!(directives, Directives { tps: 7.0, ..Directives::default() });
        assert_eq!(complaints[0].0, "unknown_directive");
        assert!(complaints[0].1.contains("Did you mean `tokens`?"), "{complaints:?}");
        assert_eq!(complaints[1].0, "bad_directive");
        for value in ["-1", "nan", "inf", "1.5", ""] {
            assert_eq!(complain(&format!("/demo tokens={value}")).len(), 1, "{value}");
        }
        assert_eq!(complain(&format!("/demo {}", "x ".repeat(100))).len(), MAX_NOTICES);
        let (many, _) = Directives::parse("/demo tokens=1e9");
        assert_eq!(many.tokens, Some(MAX_TOKENS));
    }

    #[test]
    fn a_plain_prompt_has_none() {
        for prompt in ["tokens=5", "tell me about /demo", "", "/demonstrate"] {
            assert_eq!(Directives::parse(prompt), (Directives::default(), vec![]), "{prompt}");
        }
    }
}
