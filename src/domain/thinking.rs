//! Claude's thinking as its vendor has sealed it: blocks that a client keeps and sends back
//! unchanged. A signature and redacted thinking are notices in the log. The fold keeps each as a
//! mark in the answer, at its place.
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::extra::{Extra, Spot};
use super::json::JsonObject;
use super::source::WireProtocol;
use super::transcript::Answer;

/// How blocks begin that a client of Responses keeps. Plain JSON follows: the vendor's own
/// signatures show any change of it.
pub const CARRIED: &str = "lastword-t1.";

/// The provider whose server seals its thinking, as `started` names it.
pub const SEALER: &str = "anthropic";

/// The codes of the notices.
const SIGNATURE: &str = "thinking_signature";
const REDACTED: &str = "redacted_thinking";

/// A block of thinking, in the form of the Messages API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ThinkingBlock {
    /// Thinking in words.
    Thinking {
        /// The words, exactly as they were signed. Empty where the vendor keeps them to itself.
        thinking: String,
        /// The vendor's signature.
        signature: String,
    },
    /// Thinking that only its vendor can read.
    RedactedThinking {
        /// The content as the vendor has encrypted it.
        data: String,
    },
}

impl ThinkingBlock {
    /// Its words.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Thinking { thinking, .. } => thinking,
            Self::RedactedThinking { .. } => "",
        }
    }

    /// Its size in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Thinking { thinking, signature } => thinking.len() + signature.len(),
            Self::RedactedThinking { data } => data.len(),
        }
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A block at its place in a message of the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thought {
    /// How many bytes of the message's text come before it. The calls come behind all blocks.
    #[serde(default, skip_serializing_if = "is_first")]
    pub after: usize,
    /// The block.
    pub block: ThinkingBlock,
}

fn is_first(after: &usize) -> bool {
    *after == 0
}

/// A notice as the answer keeps it: a block without its words, and how many bytes of thinking it
/// signs.
#[derive(Deserialize)]
struct Mark {
    content_block: ThinkingBlock,
    #[serde(default)]
    signs: usize,
}

/// Keeps what a notice says of the thinking since the mark before it, in the attempt that began
/// behind `begun` bytes of thinking. Other notices are no part of the answer.
pub fn seal(answer: &mut Answer, begun: usize, (code, message): (&str, &str)) {
    let mut marks = answer.extras.iter().rev();
    let sealed = marks.find(|placed| is_mark(&placed.extra)).and_then(|placed| placed.thought);
    let signs = answer.reasoning.len().saturating_sub(begun.max(sealed.unwrap_or(0)));
    if let Some(extra) = mark(code, message, signs) {
        answer.add(&extra);
    }
}

/// The mark of a block. An earlier version takes it for a block of the Messages API.
fn mark(code: &str, message: &str, signs: usize) -> Option<Extra> {
    let data = match code {
        SIGNATURE => {
            let (thinking, signature) = (String::new(), message.to_owned());
            json!({ "content_block": ThinkingBlock::Thinking { thinking, signature }, "signs": signs })
        }
        REDACTED => {
            let block = ThinkingBlock::RedactedThinking { data: message.to_owned() };
            json!({ "content_block": block })
        }
        _ => return None,
    };
    let data = JsonObject::of_text(data.to_string()).ok()?;
    Some(Extra { protocol: WireProtocol::AnthropicMessages, at: Spot::Block, index: None, data })
}

/// Whether a notice of that code seals thinking.
#[must_use]
pub fn seals(code: &str) -> bool {
    [SIGNATURE, REDACTED].contains(&code)
}

/// Whether it is a mark. Other blocks may have megabytes and are not read.
#[must_use]
pub fn is_mark(extra: &Extra) -> bool {
    let is_ours = |kind: &str| {
        let begin = extra.data.text().strip_prefix(r#"{"content_block":{"type":""#);
        begin.and_then(|rest| rest.strip_prefix(kind)).is_some_and(|rest| rest.starts_with('"'))
    };
    let place = (extra.protocol, extra.at) == (WireProtocol::AnthropicMessages, Spot::Block);
    place && (is_ours("thinking") || is_ours("redacted_thinking"))
}

/// The block that a mark behind `thought` ends; `None` for other fields.
#[must_use]
pub fn block(extra: &Extra, thought: &str) -> Option<ThinkingBlock> {
    if !is_mark(extra) {
        return None;
    }
    let Mark { content_block, signs } = serde_json::from_str(extra.data.text()).ok()?;
    Some(match content_block {
        ThinkingBlock::Thinking { signature, .. } => {
            let thinking = thought.get(thought.len().checked_sub(signs)?..)?.to_owned();
            ThinkingBlock::Thinking { thinking, signature }
        }
        redacted @ ThinkingBlock::RedactedThinking { .. } => redacted,
    })
}

/// The blocks of an answer, each at its place.
#[must_use]
pub fn of_answer(answer: &Answer) -> Vec<Thought> {
    let thoughts = answer.extras.iter().filter_map(|placed| {
        let thought = answer.reasoning.get(..placed.thought?)?;
        Some(Thought { after: placed.after, block: block(&placed.extra, thought)? })
    });
    thoughts.collect()
}

/// The blocks as one text for a client to keep.
#[must_use]
pub fn carried(blocks: &[ThinkingBlock]) -> String {
    format!("{CARRIED}{}", serde_json::to_string(blocks).unwrap_or_default())
}

/// The blocks in a text that [`carried`] made; `None` if it was changed.
#[must_use]
pub fn read(carried: &str) -> Option<Vec<ThinkingBlock>> {
    serde_json::from_str(carried.strip_prefix(CARRIED)?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::event::{Event, LossReason};
    use super::super::id::{GenerationId, Seq};
    use super::super::transcript::Transcript;
    use super::*;

    fn notice(code: &str, message: &str) -> Event {
        Event::Notice { code: code.into(), message: message.into() }
    }

    fn thinks(text: &str) -> Event {
        Event::Reasoning { text: text.into() }
    }

    fn signed(thinking: &str, signature: &str) -> ThinkingBlock {
        ThinkingBlock::Thinking { thinking: thinking.into(), signature: signature.into() }
    }

    fn thoughts(events: &[Event]) -> Vec<(usize, ThinkingBlock)> {
        let started = Event::Started {
            generation: GenerationId(uuid::Uuid::nil()),
            model: "m".into(),
            provider: "anthropic".into(),
            created_at: String::new(),
        };
        let mut transcript = Transcript::default();
        for (n, event) in [started].iter().chain(events).enumerate() {
            transcript.apply(Seq(n as u64 + 1), event).unwrap();
        }
        let stored = serde_json::to_string(&transcript.answer).unwrap();
        let answer: Answer = serde_json::from_str(&stored).unwrap();
        of_answer(&answer).into_iter().map(|thought| (thought.after, thought.block)).collect()
    }

    #[test]
    fn a_signature_is_of_the_thinking_since_the_one_before_and_of_its_attempt() {
        let redacted = ThinkingBlock::RedactedThinking { data: "eHh4".into() };
        let said = thoughts(&[
            thinks("H\u{e9}"),
            thinks("m"),
            notice(SIGNATURE, "c2ln"),
            notice(REDACTED, "eHh4"),
            notice("bad_chunk", "x"),
            Event::Delta { text: "Look".into() },
            thinks("ok"),
            notice(SIGNATURE, "b2s"),
            notice(SIGNATURE, "b21pdHRlZA"),
        ]);
        let expected = [
            (0, signed("H\u{e9}m", "c2ln")),
            (0, redacted),
            (4, signed("ok", "b2s")),
            (4, signed("", "b21pdHRlZA")),
        ];
        assert_eq!(said, expected);
        let resumed = Event::Resumed { reason: LossReason::Upstream, attempt: 2 };
        let again = [thinks("cut"), resumed, thinks("on"), notice(SIGNATURE, "bmV3")];
        assert_eq!(thoughts(&again), [(0, signed("on", "bmV3"))]);
        let void = Event::Superseded { after: Seq(1), reason: LossReason::Upstream };
        let again = [thinks("a"), notice(SIGNATURE, "YQ"), void, thinks("b")];
        assert!(thoughts(&again).is_empty());
    }

    #[test]
    fn what_a_client_kept_is_read_and_what_it_changed_is_not() {
        let blocks = vec![
            signed("a\"\u{e9}\n", "c2ln"),
            ThinkingBlock::RedactedThinking { data: "x".into() },
        ];
        let text = carried(&blocks);
        assert_eq!(read(&text), Some(blocks));
        for odd in ["", "gAAA", "lastword-t2.[]", &text[..text.len() - 1], "lastword-t1.{}"] {
            assert_eq!(read(odd), None, "{odd}");
        }
    }

    #[test]
    fn other_blocks_are_no_marks() {
        for text in [
            r#"{"content_block":{"type":"thinking_later","signature":"x"}}"#,
            r#"{"content_block":{"type":"text"}}"#,
        ] {
            let data = JsonObject::of_text(text.into()).unwrap();
            let protocol = WireProtocol::AnthropicMessages;
            let extra = Extra { protocol, at: Spot::Block, index: None, data };
            assert!(block(&extra, "abc").is_none() && !is_mark(&extra), "{text}");
        }
    }
}
