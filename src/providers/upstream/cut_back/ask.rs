//! Asks a model to go on, on whatever wire: behind a text without its last word, then behind
//! other places of it.
use std::collections::VecDeque;

use async_trait::async_trait;

use super::{Rejoin, cut_at};
use crate::ports::{Attempt, Deltas, ProviderError};
use crate::providers::upstream::overlap;

/// Letters of a word that are one token at least, mostly.
const TOKEN: usize = 3;

/// The end of a text that the model is to say again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Again<'a> {
    /// Its characters; none behind the whole text.
    pub(crate) tail: &'a str,
    /// Whether the server makes the model say them, where it can.
    pub(crate) forced: bool,
}

impl Again<'_> {
    /// Tokens of it, rather too many: what comes above the limit is cut off, what is missing is
    /// not.
    pub(crate) fn tokens(self) -> u64 {
        if self.tail.is_empty() {
            return 0;
        }
        let letters = self.tail.chars().filter(char::is_ascii_alphabetic).count();
        let others = self.tail.trim_start().chars().filter(|c| !c.is_ascii_alphabetic()).count();
        (letters.div_ceil(TOKEN) + others).max(1) as u64
    }
}

/// A model that goes on behind a text that is sent as the beginning of its answer.
#[async_trait]
pub(crate) trait GoesOn: Clone + Send + Sync + 'static {
    /// Asks for what follows the text of `attempt`. The tokens of `again` come on top of what is
    /// left of its limit; `None` if nothing is left.
    ///
    /// # Errors
    /// See [`crate::ports::Provider::start`].
    async fn ask_on(
        &self,
        attempt: &Attempt,
        again: Again<'_>,
    ) -> Result<Option<Asked>, ProviderError>;
}

/// A request that was sent.
pub(crate) struct Asked {
    /// The model's output.
    pub(crate) deltas: Deltas,
    /// The beginning of the answer as it went up, a client's own included.
    pub(crate) sent: String,
    /// Tokens that the answer may still have.
    pub(crate) left: Option<u64>,
}

/// Whether `attempt` goes on: behind a text, or inside the thoughts.
pub(crate) fn is_begun(attempt: &Attempt) -> bool {
    !attempt.so_far.is_empty() || !attempt.reasoning.is_empty()
}

/// A continuation that was asked for.
pub(crate) struct Continued {
    /// The model's output.
    pub(crate) deltas: Deltas,
    /// The decision so far.
    pub(crate) rejoin: Rejoin,
    /// Tokens that the answer may still have.
    pub(crate) left: Option<u64>,
    /// Whether it goes on inside the thoughts and not in the text.
    pub(crate) thinks: bool,
}

/// The places of a text behind which a model is asked to go on, one after the other.
pub(crate) struct Places<M> {
    model: M,
    attempt: Attempt,
    /// Whether it goes on inside the thoughts and not in the text.
    thinks: bool,
    /// In bytes of the text, and whether what follows there is forced.
    left: VecDeque<(usize, bool)>,
}

impl<M: GoesOn> Places<M> {
    /// In front of the last word, then in front of the last two, where they are forced. At last
    /// behind the whole text. A model that draws its words may draw another one, and a near tie can
    /// fall otherwise where a text is read as a prompt.
    pub(super) fn new(model: M, attempt: Attempt) -> Self {
        let thinks = attempt.so_far.is_empty();
        let text = if thinks { &attempt.reasoning } else { &attempt.so_far };
        let whole = text.len();
        let word = cut_at(text);
        let words = cut_at(text.get(..word).unwrap_or_default());
        // Thoughts without a text would be gone on with.
        let thought = !attempt.reasoning.is_empty() || !attempt.thinking.is_empty();
        let least = usize::from(!thinks && thought);
        let shorter = [(word, false), (words, true)];
        let shorter = shorter.into_iter().filter(|(at, _)| (least..whole).contains(at));
        let left = shorter.chain([(whole, false)]).collect();
        Self { model, attempt, thinks, left }
    }

    /// Whether there is another place.
    pub(super) fn is_more(&self) -> bool {
        !self.left.is_empty()
    }

    /// Asks behind the next place; the model has nothing to say where the limit is used up.
    pub(super) async fn next(&mut self) -> Result<Continued, ProviderError> {
        let thinks = self.thinks;
        let text = if thinks { &self.attempt.reasoning } else { &self.attempt.so_far };
        let (at, forced) = self.left.pop_front().unwrap_or((text.len(), false));
        let mut shorter = self.attempt.clone();
        let kept = if thinks { &mut shorter.reasoning } else { &mut shorter.so_far };
        kept.truncate(at);
        let tail = text.get(at..).unwrap_or_default();
        let Some(asked) = self.model.ask_on(&shorter, Again { tail, forced }).await? else {
            self.left.clear();
            let rejoin = Rejoin::new("", "");
            return Ok(Continued { deltas: overlap::spent(), rejoin, left: None, thinks });
        };
        let Asked { deltas, sent, left } = asked;
        // Behind the whole text only white space at its end may be said again.
        let tail = if tail.is_empty() { text.get(text.trim_end().len()..) } else { Some(tail) };
        let sent = if thinks { &shorter.reasoning } else { &sent };
        let rejoin = Rejoin::new(sent, tail.unwrap_or_default());
        Ok(Continued { deltas, rejoin, left, thinks })
    }
}
