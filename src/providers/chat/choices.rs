//! The choices of a chat completion beside the first. The first is the answer; of the others each
//! piece is an extra of its own.
use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::value::to_raw_value;

use super::map::finish_reason;
use super::wire::{ChatChoice, ChatDelta};
use crate::domain::event::FinishReason;
use crate::domain::extra::{Extra, Fields, Spot};
use crate::domain::source::WireProtocol;
use crate::ports::{Delta, Deltas};
use crate::providers::upstream::adjust::ThinkTags;
use crate::providers::upstream::rest::{Rest, extra};
use crate::providers::upstream::text::{ChunkText, TextJoiner};
use crate::providers::upstream::think_tags::{Thinking, Told};

/// The deltas of an attempt that goes on with the first choice alone, behind a notice.
pub(crate) fn first_only(deltas: Deltas) -> Deltas {
    let message = "only the first choice goes on; the others stay as far as they came".to_owned();
    let notice = Delta::Notice { code: "choices_cut", message };
    stream::iter([Ok(notice)]).chain(deltas).boxed()
}

/// The choices 1, 2, … of one answer.
#[derive(Debug, Default)]
pub(crate) struct OtherChoices {
    tags: ThinkTags,
    wanted: u32,
    all: BTreeMap<u32, OtherChoice>,
}

impl OtherChoices {
    /// For an answer of so many choices, the first among them.
    pub(crate) fn new(tags: ThinkTags, choices: u32) -> Self {
        Self { tags, wanted: choices, all: BTreeMap::new() }
    }

    /// The extra for a piece of choice `index`; `None` if it says nothing or was not asked for.
    pub(crate) fn piece(&mut self, index: u32, piece: ChatChoice) -> Option<Extra> {
        if index >= self.wanted {
            return None;
        }
        let tags = self.tags;
        let choice = self.all.entry(index).or_insert_with(|| OtherChoice::new(tags));
        if choice.ended {
            return None;
        }
        of(index, &choice.piece(piece))
    }

    /// The texts that wait for the rest of a character or of a tag, when nothing follows.
    pub(crate) fn rest(&mut self) -> Vec<Extra> {
        let open = self.all.iter_mut().filter(|(_, choice)| !choice.ended);
        open.filter_map(|(index, choice)| of(*index, &choice.rest())).collect()
    }

    /// Whether every choice came to its end.
    pub(crate) fn are_over(&self) -> bool {
        let ended = self.all.values().filter(|choice| choice.ended).count();
        ended + 1 >= self.wanted as usize
    }

    /// Whether a choice began and did not come to its end.
    pub(crate) fn are_open(&self) -> bool {
        self.all.values().any(|choice| !choice.ended)
    }
}

fn of(index: u32, fields: &Rest) -> Option<Extra> {
    let extra = extra(WireProtocol::OpenaiChat, Spot::OtherChoice, fields)?;
    Some(Extra { index: Some(index), ..extra })
}

#[derive(Debug, Default)]
struct OtherChoice {
    text: TextJoiner,
    thinking: Thinking,
    reasoning: TextJoiner,
    refusal: TextJoiner,
    called: bool,
    ended: bool,
}

impl OtherChoice {
    fn new(tags: ThinkTags) -> Self {
        Self { thinking: Thinking::new(tags), ..Self::default() }
    }

    /// The fields of a piece, in the form in which the first choice is told.
    fn piece(&mut self, mut choice: ChatChoice) -> Rest {
        let word = |piece: &Option<ChunkText>| {
            let piece = piece.as_ref().filter(|piece| !piece.0.is_empty())?;
            Some(String::from_utf8_lossy(&piece.0).into_owned())
        };
        let (finish, native) = (word(&choice.finish_reason), word(&choice.native_finish_reason));
        let mut said = Said::default();
        if let Some(delta) = choice.take_delta() {
            self.delta(delta, &mut said);
        }
        self.ended = finish.is_some();
        if self.ended {
            self.flush(&mut said);
        }
        let mut fields = said.fields();
        if let Some(word) = finish {
            let calls = self.called && finish_reason(&word).0 == FinishReason::Stop;
            put(&mut fields, "finish_reason", &if calls { "tool_calls" } else { word.as_str() });
        }
        fields.extend(std::mem::take(&mut choice.rest));
        if let Some(word) = native {
            put(&mut fields, "native_finish_reason", &word);
        }
        fields
    }

    fn rest(&mut self) -> Rest {
        let mut said = Said::default();
        self.flush(&mut said);
        said.fields()
    }

    fn delta(&mut self, mut delta: ChatDelta, said: &mut Said) {
        if let Some(piece) = delta.take_reasoning() {
            self.thinking.is_told_apart();
            said.thoughts.push_str(&self.reasoning.push(piece));
        }
        if let Some(piece) = delta.content.take() {
            let told = self.thinking.push(self.text.push(piece.text));
            said.tell(told);
        }
        if let Some(piece) = delta.refusal.take() {
            said.refusal.push_str(&self.refusal.push(piece));
        }
        if let Some(calls) = delta.take_calls() {
            self.called = true;
            said.rest.push(("tool_calls".into(), calls));
        }
        said.rest.append(&mut delta.rest);
    }

    fn flush(&mut self, said: &mut Said) {
        said.thoughts.push_str(&self.reasoning.finish());
        let told = self.thinking.push(self.text.finish());
        said.tell(told);
        let held = self.thinking.finish();
        said.tell(held);
        said.refusal.push_str(&self.refusal.finish());
    }
}

/// The content of one piece.
#[derive(Default)]
struct Said {
    thoughts: String,
    text: String,
    refusal: String,
    rest: Rest,
}

impl Said {
    fn tell(&mut self, told: Told) {
        self.thoughts.push_str(&told.thoughts);
        self.text.push_str(&told.text);
    }

    fn fields(self) -> Rest {
        let mut delta = Rest::new();
        let texts = [
            ("reasoning_content", self.thoughts),
            ("content", self.text),
            ("refusal", self.refusal),
        ];
        for (name, text) in texts.iter().filter(|(_, text)| !text.is_empty()) {
            put(&mut delta, name, text);
        }
        delta.extend(self.rest);
        let mut fields = Rest::new();
        if !delta.is_empty() {
            put(&mut fields, "delta", &delta.into_iter().collect::<Fields>());
        }
        fields
    }
}

fn put(fields: &mut Rest, name: &str, value: &impl Serialize) {
    fields.extend(to_raw_value(value).ok().map(|value| (name.to_owned(), value)));
}

#[cfg(test)]
mod tests {
    use crate::providers::chat::choices::*;

    fn told(choices: &[&str]) -> Vec<String> {
        let mut others = OtherChoices::new(ThinkTags::On, 2);
        let mut pieces = Vec::new();
        for json in choices {
            let choice: ChatChoice = serde_json::from_str(json).unwrap();
            let index = choice.index().unwrap();
            pieces.extend(others.piece(index, choice));
        }
        pieces.extend(others.rest());
        pieces.iter().map(|extra| extra.data.text().to_owned()).collect()
    }

    #[test]
    fn a_piece_says_what_the_first_choice_would() {
        let pieces = [
            r#"{"index":1,"delta":{"role":"assistant","content":""}}"#,
            r#"{"index":1.0,"delta":{"content":"<thi"}}"#,
            r#"{"index":1,"delta":{"content":"nk>hm</think>a\ud83d"},"logprobs":null}"#,
            r#"{"index":1,"delta":{"content":"\ude00"},"logprobs":{"content":[-0.50]}}"#,
            r#"{"index":2,"delta":{"content":"not asked for"}}"#,
            r#"{"index":1,"delta":{"tool_calls":[{"index":0}]},"finish_reason":"stop"}"#,
            r#"{"index":1,"delta":{"content":"late"}}"#,
        ];
        let expected = [
            r#"{"delta":{"reasoning_content":"hm","content":"a"}}"#,
            r#"{"delta":{"content":"😀"},"logprobs":{"content":[-0.50]}}"#,
            r#"{"delta":{"tool_calls":[{"index":0}]},"finish_reason":"tool_calls"}"#,
        ];
        assert_eq!(told(&pieces), expected);
    }

    #[test]
    fn what_was_held_back_is_told_at_the_end() {
        let pieces = [r#"{"index":1,"delta":{"content":"a</thi"}}"#];
        assert_eq!(told(&pieces).len(), 2, "a tag that never came is text");
    }
}
