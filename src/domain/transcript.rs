//! The fold of a generation's events: what a reader has who saw them all.
use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::event::{Done, Event, Status, ToolCallDelta};
use super::extra::{Extra, Placed};
use super::id::Seq;
use super::prompt::function_name;
use super::thinking;

/// A tool call with its fragments joined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The call's id.
    pub id: String,
    /// The function's name.
    pub name: String,
    /// The namespace that the function is in, if it is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The tool takes a text: the arguments are `{"input":"…"}`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub custom: bool,
    /// The arguments' JSON text.
    pub arguments: String,
}

impl ToolCall {
    /// The function's name for a model whose protocol has no namespaces.
    #[must_use]
    pub fn function_name(&self) -> Cow<'_, str> {
        function_name(self.namespace.as_deref(), &self.name)
    }
}

/// The answer's parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The answer's text.
    pub text: String,
    /// The thinking.
    pub reasoning: String,
    /// The words of a refusal.
    pub refusal: String,
    /// The tool calls, by index.
    pub tool_calls: Vec<ToolCall>,
    /// The upstream's further fields, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extras: Vec<Placed>,
}

impl Answer {
    /// Whether the model has thought. A vendor may keep the words to itself, and only sign them.
    #[must_use]
    pub fn has_thought(&self) -> bool {
        let sealed = || self.extras.iter().any(|placed| thinking::is_mark(&placed.extra));
        !self.reasoning.is_empty() || sealed()
    }

    /// The size of everything in it, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.text_bytes() + self.extras_bytes()
    }

    /// The size of its text and its calls, in bytes.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        let size = |call: &ToolCall| call.id.len() + call.name.len() + call.arguments.len();
        let calls: usize = self.tool_calls.iter().map(size).sum();
        self.text.len() + self.reasoning.len() + self.refusal.len() + calls
    }

    /// The size of what came beside it, in bytes.
    #[must_use]
    pub fn extras_bytes(&self) -> usize {
        self.extras.iter().map(|placed| placed.extra.data.text().len()).sum()
    }

    /// Whether the model has said nothing yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let texts = [&self.text, &self.reasoning, &self.refusal];
        let said = self.extras.iter().any(|placed| placed.extra.at.is_content());
        texts.iter().all(|text| text.is_empty()) && self.tool_calls.is_empty() && !said
    }

    /// Adds what stands behind the text so far.
    pub fn add(&mut self, extra: &Extra) {
        self.extras.push(Placed {
            after: self.text.len(),
            thought: Some(self.reasoning.len()),
            calls: self.tool_calls.len(),
            extra: extra.clone(),
        });
    }
}

/// The sum of a generation's events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transcript {
    /// The seq of the last event applied.
    pub seq: Seq,
    /// The answer so far, without what was superseded.
    pub answer: Answer,
    /// How many attempts there were.
    pub attempts: u32,
    /// The ending, once there is one.
    pub done: Option<Done>,
    /// Whether there are events of a type that this version does not know: the answer is what the
    /// others add up to.
    pub unknown: bool,
    /// Bytes of all notices.
    noticed: usize,
    /// The answer as it stood at each boundary of attempts.
    boundaries: Vec<(Seq, Answer)>,
}

/// A sequence of events that no generation can have.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FoldError {
    /// The next event is not seq + 1.
    #[error("event {got} follows event {after}")]
    Gap {
        /// The last seq applied.
        after: Seq,
        /// The seq that came.
        got: Seq,
    },
    /// Something follows the ending.
    #[error("event {0} follows the ending")]
    AfterEnding(Seq),
    /// `started` is not the first event, or not the only one of its kind.
    #[error("event {0} breaks the rule that `started` is event 1 and no other")]
    Start(Seq),
    /// `superseded` names a seq that is no boundary of attempts.
    #[error("event {0} supersedes up to a seq where no attempt began")]
    Superseded(Seq),
    /// A snapshot in a log.
    #[error("event {0} is a snapshot, which is never stored")]
    Snapshot(Seq),
}

impl Transcript {
    /// The substitute for a log up to `seq` that cannot be read: only an ending can follow it.
    #[must_use]
    pub fn unreadable(seq: Seq) -> Self {
        Self { seq, attempts: 1, ..Self::default() }
    }

    /// Applies the event at `seq`.
    ///
    /// # Errors
    /// The event cannot stand there; the transcript is unchanged then.
    pub fn apply(&mut self, seq: Seq, event: &Event) -> Result<(), FoldError> {
        self.check(seq, event)?;
        match event {
            Event::Started { .. } => {
                self.attempts = 1;
                self.boundaries.push((seq, self.answer.clone()));
            }
            Event::Delta { text } => self.answer.text.push_str(text),
            Event::Reasoning { text } => self.answer.reasoning.push_str(text),
            Event::Refusal { text } => self.answer.refusal.push_str(text),
            Event::ToolCall(delta) => self.tool_call(delta),
            Event::Superseded { after, .. } => {
                self.boundaries.retain(|(at, _)| at <= after);
                if let Some((_, answer)) = self.boundaries.last() {
                    self.answer = answer.clone();
                }
                self.attempts += 1;
                self.boundaries.push((seq, self.answer.clone()));
            }
            Event::Resumed { attempt, .. } => {
                self.attempts = *attempt;
                self.boundaries.push((seq, self.answer.clone()));
            }
            Event::Notice { code, message } => {
                self.noticed += message.len();
                let begun = self.boundaries.last().map_or(0, |(_, a)| a.reasoning.len());
                thinking::seal(&mut self.answer, begun, (code, message));
            }
            Event::Extra(extra) => self.answer.add(extra),
            Event::Snapshot { .. } => {}
            Event::Done(done) => self.done = Some(done.clone()),
            Event::Unknown => self.unknown = true,
        }
        self.seq = seq;
        Ok(())
    }

    fn check(&self, seq: Seq, event: &Event) -> Result<(), FoldError> {
        if self.done.is_some() {
            return Err(FoldError::AfterEnding(seq));
        }
        if seq != self.seq.next() {
            return Err(FoldError::Gap { after: self.seq, got: seq });
        }
        let first = seq == Seq::ZERO.next();
        match event {
            Event::Started { .. } if !first => Err(FoldError::Start(seq)),
            Event::Snapshot { .. } => Err(FoldError::Snapshot(seq)),
            Event::Superseded { after, .. }
                if !self.boundaries.iter().any(|(at, _)| at == after) =>
            {
                Err(FoldError::Superseded(seq))
            }
            Event::Started { .. } => Ok(()),
            Event::Delta { .. }
            | Event::Reasoning { .. }
            | Event::Refusal { .. }
            | Event::ToolCall(_)
            | Event::Superseded { .. }
            | Event::Resumed { .. }
            | Event::Notice { .. }
            | Event::Extra(_)
            | Event::Unknown
            | Event::Done(_) => {
                if first {
                    Err(FoldError::Start(seq))
                } else {
                    Ok(())
                }
            }
        }
    }

    fn tool_call(&mut self, delta: &ToolCallDelta) {
        // The index is the upstream's: a wild one must not make us allocate.
        const MAX_TOOL_CALLS: usize = 256;
        let index = usize::try_from(delta.index).unwrap_or(usize::MAX).min(MAX_TOOL_CALLS - 1);
        if self.answer.tool_calls.len() <= index {
            self.answer.tool_calls.resize_with(index + 1, ToolCall::default);
        }
        if let Some(call) = self.answer.tool_calls.get_mut(index) {
            call.id.push_str(delta.id.as_deref().unwrap_or_default());
            call.name.push_str(delta.name.as_deref().unwrap_or_default());
            call.custom |= delta.custom;
            if delta.namespace.is_some() {
                call.namespace.clone_from(&delta.namespace);
            }
            call.arguments.push_str(&delta.arguments);
        }
    }

    /// The model's output in bytes: the answer's text, and what it produced beside it, without
    /// [`Answer::extras_bytes`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.answer.text_bytes() + self.noticed
    }

    /// Whether it has said nothing yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.answer.is_empty() && self.noticed == 0
    }

    /// The status that the events show: a cancel that is asked for is not an event.
    #[must_use]
    pub fn status(&self) -> Status {
        match &self.done {
            Some(done) => done.status,
            None if self.seq == Seq::ZERO => Status::Queued,
            None => Status::Running,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::event::{LossReason, Usage};
    use super::super::id::GenerationId;
    use super::*;

    fn started() -> Event {
        Event::Started {
            generation: GenerationId(uuid::Uuid::nil()),
            model: "m".into(),
            provider: "demo".into(),
            created_at: String::new(),
        }
    }

    fn done() -> Event {
        Event::Done(Done {
            status: Status::Completed,
            finish_reason: None,
            provider_finish_reason: None,
            usage: Usage::default(),
            error: None,
        })
    }

    fn delta(text: &str) -> Event {
        Event::Delta { text: text.into() }
    }

    fn fold(events: &[Event]) -> Result<Transcript, FoldError> {
        let mut transcript = Transcript::default();
        for (n, event) in events.iter().enumerate() {
            transcript.apply(Seq(n as u64 + 1), event)?;
        }
        Ok(transcript)
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            1 => Just(started()),
            8 => "[a-c]{1,2}".prop_map(|text| Event::Delta { text }),
            1 => (0u64..6).prop_map(|n| Event::Superseded { after: Seq(n), reason: LossReason::Upstream }),
            1 => Just(Event::Resumed { reason: LossReason::Takeover, attempt: 2 }),
            1 => Just(done()),
        ]
    }

    proptest! {
        /// For any input, accepted logs have one start, at most one ending and no gap.
        #[test]
        fn accepts_only_what_a_generation_can_be(
            events in prop::collection::vec((any_event(), 0u64..4), 0..40)
        ) {
            let mut transcript = Transcript::default();
            let mut accepted = Vec::new();
            for (event, jump) in events {
                let seq = Seq((transcript.seq.0 + jump).max(1));
                let before = transcript.clone();
                match transcript.apply(seq, &event) {
                    Ok(()) => accepted.push((seq, event)),
                    Err(_) => prop_assert_eq!(&before, &transcript),
                }
            }
            for (n, (seq, event)) in accepted.iter().enumerate() {
                prop_assert_eq!(seq.0, n as u64 + 1);
                prop_assert_eq!(matches!(event, Event::Started { .. }), n == 0);
            }
            let endings = accepted.iter().filter(|(_, e)| matches!(e, Event::Done(_))).count();
            prop_assert!(endings <= 1);
            if endings == 1 {
                prop_assert!(matches!(accepted.last(), Some((_, Event::Done(_)))));
                prop_assert!(transcript.status().is_ended());
            }
        }
    }

    #[test]
    fn superseded_text_is_void_and_resumed_text_goes_on() {
        let resumed = Event::Resumed { reason: LossReason::Takeover, attempt: 2 };
        let superseded =
            |after| Event::Superseded { after: Seq(after), reason: LossReason::Upstream };
        let t = fold(&[started(), delta("a"), resumed.clone(), delta("b")]).unwrap();
        assert_eq!((t.answer.text.as_str(), t.attempts), ("ab", 2));
        let t = fold(&[started(), delta("a"), superseded(1), delta("b")]).unwrap();
        assert_eq!((t.answer.text.as_str(), t.attempts), ("b", 2));
        let t = fold(&[started(), delta("a"), resumed, delta("b"), superseded(3), delta("c")]);
        assert_eq!(t.unwrap().answer.text, "ac", "void only behind the boundary that it names");
        assert_eq!(
            fold(&[started(), delta("a"), superseded(2)]),
            Err(FoldError::Superseded(Seq(3)))
        );
    }

    #[test]
    fn what_is_unknown_is_passed_by_and_noted() {
        let t = fold(&[started(), delta("a"), Event::Unknown, delta("b"), done()]).unwrap();
        assert_eq!((t.answer.text.as_str(), t.seq, t.unknown), ("ab", Seq(5), true));
        assert!(!fold(&[started(), delta("a")]).unwrap().unknown);
        assert_eq!(fold(&[Event::Unknown]), Err(FoldError::Start(Seq(1))));
    }

    #[test]
    fn tool_calls_are_joined_by_index() {
        let call = |index, id: Option<&str>, arguments: &str| {
            Event::ToolCall(ToolCallDelta {
                index,
                id: id.map(Into::into),
                name: id.map(|_| "f".into()),
                arguments: arguments.into(),
                ..ToolCallDelta::default()
            })
        };
        let t = fold(&[
            started(),
            call(0, Some("c0"), "{\"a\""),
            call(1, Some("c1"), "{}"),
            call(0, None, ":1}"),
            call(u32::MAX, None, "wild"),
        ])
        .unwrap();
        assert_eq!(t.answer.tool_calls[0].arguments, "{\"a\":1}");
        assert_eq!(t.answer.tool_calls[1].id, "c1");
        assert_eq!(t.answer.tool_calls.len(), 256);
    }
}
