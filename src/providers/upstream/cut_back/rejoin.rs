//! The deltas of a continuation without what they repeat. Where the model says something else
//! than before, it is asked again behind another place of the text.
use std::collections::VecDeque;

use futures_util::{StreamExt, stream};

use super::Found;
use super::ask::{Continued, GoesOn, Places};
use crate::domain::event::FinishReason;
use crate::domain::extra::{Extra, Spot};
use crate::domain::token_count::TokenCount;
use crate::ports::{Attempt, Delta, Deltas, ProviderError};

/// The output of `model` behind the text so far of `attempt`.
///
/// # Errors
/// See [`crate::ports::Provider::start`].
pub(crate) async fn go_on(model: &impl GoesOn, attempt: Attempt) -> Result<Deltas, ProviderError> {
    let mut places = Places::new(model.clone(), attempt);
    let first = places.next().await?;
    Ok(rejoined(first, places))
}

/// The new deltas of `continued`; where the model says something else, it is asked behind the next
/// of `places`.
fn rejoined(continued: Continued, places: Places<impl GoesOn>) -> Deltas {
    let joining = Joining {
        continued,
        places,
        is_open: true,
        held: String::new(),
        count: TokenCount::default(),
        extras: Vec::new(),
        ready: VecDeque::new(),
        is_over: false,
    };
    stream::unfold(joining, Joining::next).boxed()
}

struct Joining<M> {
    continued: Continued,
    places: Places<M>,
    /// Whether it is still to be seen what is repeated.
    is_open: bool,
    held: String,
    /// Tokens of the new text.
    count: TokenCount,
    /// The extras that came with the held text.
    extras: Vec<Extra>,
    ready: VecDeque<Result<Delta, ProviderError>>,
    is_over: bool,
}

impl<M: GoesOn> Joining<M> {
    async fn next(mut self) -> Option<(Result<Delta, ProviderError>, Self)> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some((item, self));
            }
            if self.is_over {
                return None;
            }
            let item = self.continued.deltas.next().await?;
            if self.take(item) {
                continue;
            }
            let repeated = self.held.len();
            self.held.clear();
            self.extras.clear();
            self.count = TokenCount::default();
            self.ready.extend([Ok(Delta::Repeated(repeated)), Ok(Delta::AskedAgain)]);
            match self.places.next().await {
                Ok(continued) => self.continued = continued,
                Err(error) => {
                    self.is_over = true;
                    self.ready.push_back(Err(error));
                }
            }
        }
    }

    /// Takes what the model says; false if it is something else than before.
    fn take(&mut self, item: Result<Delta, ProviderError>) -> bool {
        match item {
            Ok(Delta::Text(text)) if self.is_open && !self.continued.thinks => {
                self.held.push_str(&text);
                self.look(false)
            }
            Ok(Delta::Reasoning(text)) if self.is_open && self.continued.thinks => {
                self.held.push_str(&text);
                self.look(false)
            }
            Ok(Delta::Extra(extra)) if self.is_open => {
                self.extras.push(extra);
                true
            }
            Ok(Delta::Text(_) | Delta::Refusal(_) | Delta::ToolCall(_) | Delta::Finish { .. })
                if self.is_open =>
            {
                if !self.look(true) {
                    return false;
                }
                self.pass(item);
                true
            }
            // Held text may not be new: the next attempt says it again.
            Err(error) => {
                let held = std::mem::take(&mut self.held);
                if !held.is_empty() {
                    self.ready.push_back(Ok(Delta::Repeated(held.len())));
                }
                self.ready.push_back(Err(error));
                true
            }
            Ok(_) => {
                self.pass(item);
                true
            }
        }
    }

    /// Looks whether it is clear by now what is repeated; false if it is something else.
    fn look(&mut self, ended: bool) -> bool {
        let new = match self.continued.rejoin.find(&self.held, ended) {
            Found::Open => return true,
            Found::New(new) => new,
            Found::Other if self.places.is_more() => return false,
            // It has seen all of the text, so it is what follows.
            Found::Other => 0,
        };
        self.is_open = false;
        let text = self.held.split_off(new.min(self.held.len()));
        if !self.held.is_empty() {
            self.ready.push_back(Ok(Delta::Repeated(self.held.len())));
            self.count.repeated();
            // The tokens of what is repeated were told.
            self.extras.retain(|extra| extra.at != Spot::Choice);
        }
        self.held.clear();
        let extras = std::mem::take(&mut self.extras);
        self.ready.extend(extras.into_iter().map(|extra| Ok(Delta::Extra(extra))));
        if !text.is_empty() {
            let delta = if self.continued.thinks { Delta::Reasoning } else { Delta::Text };
            self.pass(Ok(delta(text)));
        }
        true
    }

    /// Passes it on, within what is left of the answer's limit: what was said again came on top.
    fn pass(&mut self, item: Result<Delta, ProviderError>) {
        let bytes = match &item {
            Ok(Delta::Text(text) | Delta::Reasoning(text) | Delta::Refusal(text)) => text.len(),
            Ok(Delta::ToolCall(call)) => call.arguments.len(),
            Ok(Delta::Usage(usage)) => {
                self.count.told(usage.output_tokens);
                0
            }
            Ok(
                Delta::Extra(_)
                | Delta::Background(_)
                | Delta::Forgotten
                | Delta::Repeated(_)
                | Delta::AskedAgain
                | Delta::Notice { .. }
                | Delta::Finish { .. },
            )
            | Err(_) => 0,
        };
        let before = self.count.at_least();
        self.count.piece(bytes);
        let is_over = |left| match self.count.exact() {
            Some(tokens) => tokens > left,
            None => before >= left,
        };
        if bytes > 0 && self.continued.left.is_some_and(is_over) {
            self.is_over = true;
            let finish = Delta::Finish { reason: FinishReason::Length, raw: None };
            self.ready.push_back(Ok(finish));
            return;
        }
        self.ready.push_back(item);
    }
}
