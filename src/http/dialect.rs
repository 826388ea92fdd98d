//! A dialect: the same log in the frames of another protocol. Pure: no HTTP, no clock.
//!
//! A dialect is a fold from the first event on, and its frames are numbered as they are made. So
//! the numbers follow from the log, and every instance makes the same frames with the same
//! numbers, before and after a crash. To resume is to fold silently up to the cursor.
mod frames;

pub(super) use frames::{Frames, frames_in};

use super::large::LARGE;
use crate::domain::entry::{BadEntry, Entry};
use crate::domain::event::{Done, Event, ToolCallDelta};
use crate::domain::extra::{Extra, Placed};
use crate::domain::generation::Outcome;
use crate::domain::id::Seq;
use crate::domain::rate_limits::RateLimits;
use crate::domain::thinking;
use crate::domain::thinking::ThinkingBlock;
use crate::domain::transcript::{Answer, ToolCall, Transcript};

/// An event for a protocol that knows nothing of attempts.
pub(super) enum DialectEvent<'a> {
    /// The generation is there.
    Started,
    /// More thinking.
    Reasoning(&'a str),
    /// More of the answer.
    Text(&'a str),
    /// More of a refusal.
    Refusal(&'a str),
    /// More of a tool call.
    Call(&'a ToolCallDelta),
    /// A field that only the upstream's own protocol has a place for.
    Extra(&'a Extra),
    /// Thinking up to here is a block that its vendor has sealed.
    Sealed(&'a ThinkingBlock),
    /// All that was said is void; what still counts of it is said again.
    Void,
    /// The ending.
    Done(&'a Done),
}

/// The frames of one protocol.
pub(super) trait Dialect {
    /// Its name in the metrics.
    const NAME: &'static str;

    /// Writes what `said` comes to.
    fn said(&mut self, said: &DialectEvent<'_>, frames: &mut Frames);

    /// An event that is no part of the answer: a notice, or the border of two attempts.
    fn beside(&mut self, _event: &Event, _frames: &mut Frames) {}

    /// The thought that grows is torn: what comes next is another, which its vendor seals alone.
    fn torn(&mut self, _frames: &mut Frames) {}

    /// Everything up to `seq` was said, and more may follow: the place for a cursor.
    fn paused(&self, _seq: Seq, _frames: &mut Frames) {}

    /// The stream ends here, though the generation does not: what tells the client so.
    fn cut(&self, _frames: &mut Frames) {}

    /// A sign of life that this protocol's clients survive.
    fn keep_alive(&self) -> &'static [u8] {
        b": keep-alive\n\n"
    }
}

/// The fold that both tells a dialect what was said and knows what of it still counts.
#[derive(Debug, Default)]
pub(super) struct EventReplay {
    transcript: Transcript,
    /// Whether the model's server seals its thinking.
    seals: bool,
    /// The rate limits that the model's server told last.
    rate_limits: RateLimits,
}

impl EventReplay {
    /// The seq of the last event.
    pub(super) fn seq(&self) -> Seq {
        self.transcript.seq
    }

    /// The ending, once there is one.
    pub(super) fn done(&self) -> Option<&Done> {
        self.transcript.done.as_ref()
    }

    /// The answer so far.
    pub(super) fn answer(&self) -> &Answer {
        &self.transcript.answer
    }

    /// The rate limits that the model's server told last.
    pub(super) fn rate_limits(&self) -> &RateLimits {
        &self.rate_limits
    }

    /// Tells one event.
    pub(super) fn tell(
        &mut self,
        entry: &Entry,
        dialect: &mut impl Dialect,
        frames: &mut Frames,
    ) -> Result<(), BadEntry> {
        let event = entry.decode()?;
        // The end of an answer may say all of it once more.
        frames.large |= entry.is_large();
        if let Err(error) = self.transcript.apply(entry.seq, &event)
            && !matches!(event, Event::Snapshot { .. })
        {
            tracing::error!(%error, "a log that cannot be");
        }
        match &event {
            Event::Started { provider, .. } => {
                self.seals = provider == thinking::SEALER;
                dialect.said(&DialectEvent::Started, frames);
            }
            Event::Delta { text } => dialect.said(&DialectEvent::Text(text), frames),
            Event::Reasoning { text } => dialect.said(&DialectEvent::Reasoning(text), frames),
            Event::Refusal { text } => dialect.said(&DialectEvent::Refusal(text), frames),
            Event::ToolCall(call) => dialect.said(&DialectEvent::Call(call), frames),
            Event::Extra(extra) => dialect.said(&DialectEvent::Extra(extra), frames),
            Event::Superseded { .. } => {
                dialect.said(&DialectEvent::Void, frames);
                say(&self.transcript.answer, dialect, frames);
            }
            Event::Notice { code, message } if code == RateLimits::NOTICE => {
                self.rate_limits = RateLimits::in_notice(message);
            }
            Event::Resumed { .. } => {
                if self.seals {
                    dialect.torn(frames);
                }
                dialect.beside(&event, frames);
            }
            // A notice is no part of the answer, unless it seals thinking.
            Event::Notice { .. } => match self.sealed(&event) {
                Some(block) => dialect.said(&DialectEvent::Sealed(&block), frames),
                None => dialect.beside(&event, frames),
            },
            // A dialect of this version cannot express an event of a newer one.
            Event::Unknown => {}
            Event::Snapshot { text, reasoning, .. } => {
                let answer = Answer {
                    text: text.clone(),
                    reasoning: reasoning.clone(),
                    ..Answer::default()
                };
                self.all(entry.seq, answer, dialect, frames);
            }
            Event::Done(done) => dialect.said(&DialectEvent::Done(done), frames),
        }
        Ok(())
    }

    /// The block that a notice has just ended.
    fn sealed(&self, event: &Event) -> Option<ThinkingBlock> {
        let Event::Notice { code, .. } = event else { return None };
        let answer = &self.transcript.answer;
        let last = answer.extras.last().filter(|_| thinking::seals(code))?;
        thinking::block(&last.extra, &answer.reasoning)
    }

    /// Tells a generation whose events are no longer there by what it came to.
    pub(super) fn outcome(
        &mut self,
        last: Seq,
        outcome: &Outcome,
        dialect: &mut impl Dialect,
        frames: &mut Frames,
    ) {
        frames.large |= outcome.answer.extras_bytes() > LARGE;
        self.all(last, outcome.answer.clone(), dialect, frames);
        dialect.said(&DialectEvent::Done(&outcome.done), frames);
        self.transcript.done = Some(outcome.done.clone());
    }

    /// Everything up to `seq` at once.
    fn all(&mut self, seq: Seq, answer: Answer, d: &mut impl Dialect, frames: &mut Frames) {
        let first = self.transcript.seq == Seq::ZERO;
        d.said(if first { &DialectEvent::Started } else { &DialectEvent::Void }, frames);
        say(&answer, d, frames);
        self.transcript.seq = seq;
        self.transcript.answer = answer;
    }
}

/// Says an answer in one go, each part in its place.
fn say(answer: &Answer, dialect: &mut impl Dialect, frames: &mut Frames) {
    let mut told = Told::default();
    for Placed { after, thought, calls, extra } in &answer.extras {
        let thought = thought.unwrap_or(answer.reasoning.len());
        let block = thinking::block(extra, answer.reasoning.get(..thought).unwrap_or_default());
        let Some(block) = block else {
            told.up_to(answer, [thought, *after, *calls], dialect, frames);
            dialect.said(&DialectEvent::Extra(extra), frames);
            continue;
        };
        // A block of thinking stands behind the text that was said before it.
        told.up_to(answer, [0, *after, *calls], dialect, frames);
        let begin = thought - block.text().len();
        if told.up_to(answer, [begin, 0, 0], dialect, frames) {
            dialect.torn(frames);
        }
        told.up_to(answer, [thought, 0, 0], dialect, frames);
        dialect.said(&DialectEvent::Sealed(&block), frames);
    }
    told.up_to(answer, [answer.reasoning.len(), answer.text.len(), 0], dialect, frames);
    if !answer.refusal.is_empty() {
        dialect.said(&DialectEvent::Refusal(&answer.refusal), frames);
    }
    told.up_to(answer, [0, 0, answer.tool_calls.len()], dialect, frames);
}

/// How much of an answer was said again.
#[derive(Default)]
struct Told {
    thought: usize,
    text: usize,
    calls: usize,
}

impl Told {
    /// Says what is missing up to there; whether there was thinking in it.
    fn up_to(
        &mut self,
        answer: &Answer,
        [thought, text, calls]: [usize; 3],
        dialect: &mut impl Dialect,
        frames: &mut Frames,
    ) -> bool {
        let thinking = more(&answer.reasoning, &mut self.thought, thought);
        if let Some(piece) = thinking {
            dialect.said(&DialectEvent::Reasoning(piece), frames);
        }
        if let Some(piece) = more(&answer.text, &mut self.text, text) {
            dialect.said(&DialectEvent::Text(piece), frames);
        }
        while self.calls < calls {
            let call = answer.tool_calls.get(self.calls);
            // The upstream's indices may have gaps.
            if let Some(call) = call.filter(|call| **call != ToolCall::default()) {
                let index = u32::try_from(self.calls).unwrap_or(u32::MAX);
                dialect.said(&DialectEvent::Call(&whole(index, call)), frames);
            }
            self.calls += 1;
        }
        thinking.is_some()
    }
}

/// The part of `all` between `from` and `to`, if there is any.
fn more<'a>(all: &'a str, from: &mut usize, to: usize) -> Option<&'a str> {
    let piece = all.get(*from..to).filter(|piece| !piece.is_empty())?;
    *from = to;
    Some(piece)
}

fn whole(index: u32, call: &ToolCall) -> ToolCallDelta {
    ToolCallDelta {
        index,
        id: Some(call.id.clone()),
        name: Some(call.name.clone()),
        namespace: call.namespace.clone(),
        custom: call.custom,
        arguments: call.arguments.clone(),
    }
}
