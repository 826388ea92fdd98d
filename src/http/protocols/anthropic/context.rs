//! A full context, in the words of any upstream and in those that Anthropic's clients look for.

/// Anthropic's words.
const ITSELF: &str = "prompt is too long";
/// Upstreams' words for a prompt that does not fit.
const WORDS: [&str; 10] = [
    ITSELF,
    "maximum context length",
    "context_length_exceeded",
    "exceeds the available context size",
    "exceeds the context window",
    "exceed context limit",
    "exceed_context_size",
    "longer than the model's context length",
    "larger than the model's context size",
    "input is too long",
];

/// The refusal of a prompt of `tokens`, where a model takes `maximum`. Claude Code reads the
/// numbers out of exactly these words.
pub(super) fn too_long(tokens: u64, maximum: u64) -> String {
    format!("prompt is too long: {tokens} tokens > {maximum} maximum")
}

/// The same for an upstream's `message`, if it says that; `estimate` are the prompt's tokens
/// where it does not.
pub(super) fn refused(message: &str, estimate: u64) -> Option<String> {
    let lower = message.to_ascii_lowercase();
    // The words themselves, as Anthropic has them.
    if let Some(place) = lower.find(ITSELF).filter(|place| lower[*place..].contains(" tokens > ")) {
        return Some(message[place..].to_owned());
    }
    let place = WORDS.iter().filter_map(|words| lower.find(words)).min()?;
    let numbers = numbers(&lower[place..]);
    let (least, most) = (numbers.iter().min().copied(), numbers.iter().max().copied());
    Some(match (least, most) {
        (Some(maximum), Some(tokens)) if tokens > maximum => too_long(tokens, maximum),
        (Some(maximum), _) => too_long(estimate.max(maximum + 1), maximum),
        (None, _) => format!("prompt is too long: {message}"),
    })
}

/// Counts of tokens: whole numbers above 255, so that no status, year's day or list is one.
fn numbers(text: &str) -> Vec<u64> {
    let digits = text.replace(',', "");
    let numbers = digits.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok());
    // Of vLLM's numbers the last two are parts of the second.
    numbers.filter(|n| *n > 255).take(2).collect()
}

#[cfg(test)]
mod tests {
    use crate::http::protocols::anthropic::context::*;

    #[test]
    fn every_upstreams_words_become_anthropics() {
        let cases = [
            (
                "prompt is too long: 9 tokens > 8 maximum",
                "prompt is too long: 9 tokens > 8 maximum",
            ),
            (
                "the model answered with HTTP 400: prompt is too long: 208310 tokens > 200000 maximum",
                "prompt is too long: 208310 tokens > 200000 maximum",
            ),
            (
                "This model's maximum context length is 4096 tokens. However, you requested 5000 \
                 tokens (4000 in the messages, 1000 in the completion).",
                "prompt is too long: 5000 tokens > 4096 maximum",
            ),
            (
                "the request exceeds the available context size (8192 tokens), try increasing it",
                "prompt is too long: 9000 tokens > 8192 maximum",
            ),
            (
                "The input (70000 tokens) is longer than the model's context length (32768 tokens).",
                "prompt is too long: 32769 tokens > 32768 maximum",
            ),
            (
                "Input is too long for requested model.",
                "prompt is too long: Input is too long for requested model.",
            ),
        ];
        for (said, expected) in cases {
            let estimate = if said.contains("8192") { 9000 } else { 1 };
            assert_eq!(refused(said, estimate).as_deref(), Some(expected));
        }
        assert_eq!(refused("the model answered with HTTP 400: no such parameter", 1), None);
    }
}
