//! The report in the last event of a message.
use serde_json::{Value, json};

use crate::domain::event::{Done, Usage};

/// Why it declined, in its vendor's word.
pub(super) fn stop_details(reason: &str, done: &Done) -> Value {
    if reason != "refusal" {
        return Value::Null;
    }
    let words = ["refusal", "stop", "content_filter"];
    let category = done.provider_finish_reason.as_deref().filter(|word| !words.contains(word));
    json!({ "type": "refusal", "category": category, "explanation": null })
}

/// Anthropic counts what is read from a cache, and what is written to it, beside the input.
pub(super) fn usage(usage: &Usage) -> Value {
    let (read, written) =
        (usage.cached_input_tokens.unwrap_or(0), usage.cache_write_input_tokens.unwrap_or(0));
    let mut json = json!({
        "input_tokens": usage.input_tokens.saturating_sub(read + written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": usage.output_tokens,
    });
    if let Some(thinking) = usage.reasoning_tokens {
        json["output_tokens_details"] = json!({ "thinking_tokens": thinking });
    }
    json
}
