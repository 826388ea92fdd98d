//! The fields of a chat completion beside text, thinking and calls, in front of the delta that they
//! came with.
use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::extra::{Extra, Spot};
use crate::domain::source::WireProtocol;
use crate::providers::upstream::rest::{Rest, extra, object};

const CHAT: WireProtocol = WireProtocol::OpenaiChat;
/// Fields of a chunk whose value is remembered.
const MOST_TOLD: usize = 64;
/// Fields of a choice that some servers repeat with every token.
const REPEATED: [&str; 3] = ["content_filter_results", "content_filter_offsets", "weight_version"];

/// The last values of fields that come again and again.
#[derive(Debug, Default)]
pub(crate) struct ChatExtras {
    told: Rest,
    usage: Option<Box<RawValue>>,
}

impl ChatExtras {
    /// The fields of a chunk that are news.
    pub(crate) fn of_chunk(&mut self, fields: Rest) -> Option<Extra> {
        let news = fields.into_iter().filter(|(name, value)| self.is_news(name, value)).collect();
        extra(CHAT, Spot::Chunk, &news)
    }

    /// The fields of a choice.
    pub(crate) fn of_choice(&mut self, fields: Rest) -> Option<Extra> {
        let again = |name: &str| REPEATED.contains(&name);
        let news =
            fields.into_iter().filter(|(n, value)| !again(n) || self.is_news(n, value)).collect();
        extra(CHAT, Spot::Choice, &news)
    }

    /// The fields of a message.
    pub(crate) fn of_message(fields: &Rest) -> Option<Extra> {
        extra(CHAT, Spot::Message, fields)
    }

    /// The fields of a call.
    pub(crate) fn of_call(index: u32, fields: &Rest) -> Option<Extra> {
        Some(Extra { index: Some(index), ..extra(CHAT, Spot::Call, fields)? })
    }

    /// Notes a report of tokens, which counts when the answer is complete.
    pub(crate) fn note_usage(&mut self, usage: &RawValue) {
        self.usage = Some(usage.to_owned());
    }

    /// The last report of tokens, where it says more than a [`crate::domain::event::Usage`] holds.
    pub(crate) fn take_usage(&mut self) -> Option<Extra> {
        let usage = self.usage.take()?;
        let value = serde_json::from_str(usage.get()).ok()?;
        if says_more(&value) { object(CHAT, Spot::Usage, usage.get()) } else { None }
    }

    fn is_news(&mut self, name: &str, value: &RawValue) -> bool {
        match self.told.iter_mut().find(|(told, _)| told == name) {
            Some((_, told)) if told.get() == value.get() => false,
            Some((_, told)) => {
                *told = value.to_owned();
                true
            }
            None => {
                if self.told.len() < MOST_TOLD {
                    self.told.push((name.to_owned(), value.to_owned()));
                }
                true
            }
        }
    }
}

fn says_more(usage: &Value) -> bool {
    let known = |name: &str| {
        matches!(
            name,
            "prompt_tokens"
                | "completion_tokens"
                | "total_tokens"
                | "cached_tokens"
                | "reasoning_tokens"
        )
    };
    usage.as_object().is_some_and(|fields| {
        fields.iter().any(|(name, value)| match (name.as_str(), value) {
            (_, Value::Null) => false,
            ("prompt_tokens_details" | "completion_tokens_details", details) => says_more(details),
            (name, _) => !known(name),
        })
    })
}

#[cfg(test)]
mod tests {
    use crate::providers::chat::extras::*;

    #[test]
    fn a_report_that_says_no_more_than_counts_is_no_extra() {
        let more = |json: &str| says_more(&serde_json::from_str(json).unwrap());
        assert!(!more(r#"{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}"#));
        assert!(!more(r#"{"prompt_tokens_details":{"cached_tokens":1},"cost":null}"#));
        assert!(more(r#"{"completion_tokens_details":{"audio_tokens":0}}"#));
        assert!(more(r#"{"cost":0.5}"#));
    }
}
