//! Asks a model to go on, on whatever wire: behind the cut first, then behind the whole text.
use async_trait::async_trait;
use futures_util::future::BoxFuture;

use super::{Continued, Rejoin, cut_at, rejoined};
use crate::ports::{Attempt, Deltas, ProviderError};
use crate::providers::upstream::overlap;

/// Letters of a word that are one token at least, mostly.
const TOKEN: usize = 3;

/// A model that goes on behind a text that is sent as the beginning of its answer.
#[async_trait]
pub(crate) trait GoesOn: Clone + Send + Sync + 'static {
    /// Asks for what follows the text of `attempt`, and for `again` tokens above what is left of
    /// its limit; `None` if nothing is left.
    ///
    /// # Errors
    /// See [`crate::ports::Provider::start`].
    async fn ask_on(&self, attempt: &Attempt, again: u64) -> Result<Option<Asked>, ProviderError>;
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

/// The output of `model` behind the text so far of `attempt`.
///
/// # Errors
/// See [`crate::ports::Provider::start`].
pub(crate) async fn go_on(model: &impl GoesOn, attempt: Attempt) -> Result<Deltas, ProviderError> {
    let thinks = attempt.so_far.is_empty();
    let text = if thinks { &attempt.reasoning } else { &attempt.so_far };
    let cut = cut_at(text);
    // Thoughts without a text would be gone on with.
    let cut = if cut == 0 && !thinks && !attempt.reasoning.is_empty() { text.len() } else { cut };
    let tail = text.get(cut..).unwrap_or_default().to_owned();
    if tail.is_empty() {
        let whole = behind_whole(model, attempt).await?;
        return Ok(whole.map_or_else(overlap::spent, |whole| rejoined(whole, None)));
    }
    let mut shorter = attempt.clone();
    let kept = if thinks { &mut shorter.reasoning } else { &mut shorter.so_far };
    kept.truncate(cut);
    let asked = model.ask_on(&shorter, tokens(&tail)).await?;
    let Some(Asked { deltas, sent, left }) = asked else { return Ok(overlap::spent()) };
    let rejoin = Rejoin::new(if thinks { &shorter.reasoning } else { &sent }, &tail);
    let continued = Continued { deltas, rejoin, left, thinks };
    let model = model.clone();
    let again = Box::new(move || {
        let asked = async move {
            let whole = behind_whole(&model, attempt).await?;
            Ok(whole.unwrap_or_else(|| Continued {
                deltas: overlap::spent(),
                rejoin: Rejoin::new("", ""),
                left: None,
                thinks,
            }))
        };
        Box::pin(asked) as BoxFuture<'static, Result<Continued, ProviderError>>
    });
    Ok(rejoined(continued, Some(again)))
}

/// Asks behind all of the text: of that, only white space at its end may be said again.
async fn behind_whole(
    model: &impl GoesOn,
    attempt: Attempt,
) -> Result<Option<Continued>, ProviderError> {
    let thinks = attempt.so_far.is_empty();
    let text = if thinks { &attempt.reasoning } else { &attempt.so_far };
    let blank = text.get(text.trim_end().len()..).unwrap_or_default();
    let Some(Asked { deltas, sent, left }) = model.ask_on(&attempt, 0).await? else {
        return Ok(None);
    };
    let rejoin = Rejoin::new(if thinks { text } else { &sent }, blank);
    Ok(Some(Continued { deltas, rejoin, left, thinks }))
}

/// Tokens of `tail`, rather too many: what comes above the limit is cut off, what is missing is
/// not.
fn tokens(tail: &str) -> u64 {
    let letters = tail.chars().filter(char::is_ascii_alphabetic).count();
    let others = tail.trim_start().chars().filter(|c| !c.is_ascii_alphabetic()).count();
    (letters.div_ceil(TOKEN) + others).max(1) as u64
}
