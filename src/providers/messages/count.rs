//! The upstream's own count of a text that is gone on with. A stream of the Messages API has no
//! running count, so the text is counted before the model is asked on: the limit then holds.
//! llama.cpp 11549 and vLLM 0.32 count a text at `/tokenize`, exactly. Anthropic and others count a
//! prompt at `/v1/messages/count_tokens`; what a turn costs beside its text is taken off.
use parking_lot::Mutex;
use serde_json::json;

use super::Anthropic;
use crate::ports::Attempt;
use crate::providers::chat::counts;
use crate::providers::chat::counts::Counted;

/// Added to the path of the endpoint.
const PATH: &str = "/count_tokens";
/// A text of one token.
const ONE: &str = ".";

/// How an upstream counts a text, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Way {
    /// A text by itself.
    #[default]
    Text,
    /// A prompt, with the tokens of an empty one.
    Prompt(Option<u64>),
    /// It does not.
    Nowhere,
}

/// The way of one upstream. A way that it refuses is not tried again.
#[derive(Debug, Default)]
pub(super) struct Counter(Mutex<Way>);

impl Anthropic {
    /// `attempt` with the upstream's count of the text that goes up, where a limit holds; `None`
    /// where nobody counts. An answer that goes on behind that text keeps to the limit exactly.
    pub(super) async fn counted(&self, attempt: &Attempt) -> Option<Attempt> {
        let usual = self.endpoint.settings.adjust.max_output_tokens;
        let limit = attempt.prompt.parameters.max_output_tokens;
        if limit.is_none() && usual.is_none() {
            return None;
        }
        let text = attempt.so_far.get(attempt.given..).unwrap_or_default();
        let said = format!("{}{text}", attempt.reasoning);
        let spent = if said.is_empty() { 0 } else { self.count_of(&said).await? };
        Some(Attempt { spent, ..attempt.clone() })
    }

    async fn count_of(&self, text: &str) -> Option<u64> {
        loop {
            let way = *self.counter.0.lock();
            let (counted, next) = match way {
                Way::Text if self.endpoint.is_anthropic() => (Counted::Refused, Way::Prompt(None)),
                Way::Text => (counts::of_text(&self.endpoint, text).await, Way::Prompt(None)),
                Way::Prompt(empty) => (self.count_prompt(text, empty).await, Way::Nowhere),
                Way::Nowhere => return None,
            };
            match counted {
                Counted::Tokens(tokens) => return Some(tokens),
                Counted::Unknown => return None,
                Counted::Refused => *self.counter.0.lock() = next,
            }
        }
    }

    async fn count_prompt(&self, text: &str, empty: Option<u64>) -> Counted {
        let empty = match empty {
            Some(tokens) => tokens,
            None => match self.ask_count(ONE).await {
                Counted::Tokens(tokens) => tokens.saturating_sub(1),
                none @ (Counted::Refused | Counted::Unknown) => return none,
            },
        };
        *self.counter.0.lock() = Way::Prompt(Some(empty));
        match self.ask_count(text).await {
            Counted::Tokens(tokens) => Counted::Tokens(tokens.saturating_sub(empty)),
            none @ (Counted::Refused | Counted::Unknown) => none,
        }
    }

    async fn ask_count(&self, text: &str) -> Counted {
        let turn = json!({ "role": "user", "content": text });
        let asked = json!({ "model": self.endpoint.settings.upstream_model, "messages": [turn] });
        let url = format!("{}{PATH}", self.url);
        match self.post(&url, &asked) {
            Some(request) => counts::read(&self.endpoint, request).await,
            None => Counted::Unknown,
        }
    }
}
