//! Whether a model goes on from a text: ten tokens of an answer, then the first five sent back, and
//! both compared.
use futures_util::StreamExt;

use crate::domain::event::ErrorCode;
use crate::engine::Model;
use crate::ports::{Attempt, Delta, Deltas, ProviderError};

/// Shorter beginnings come again by chance, in bytes.
const CHANCE: usize = 3;

/// A continuation, beside the answer without a loss.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Continued {
    /// The same words follow.
    Same,
    /// Other words follow, which says nothing: models choose.
    Other,
    /// It was not tried: too little was said.
    Untried,
    /// It does not go on, for this reason.
    No(String),
}

/// The text of a model, without its repetition.
#[derive(Default)]
struct Said {
    pieces: Vec<String>,
    /// Bytes that the text so far had already.
    repeated: usize,
}

/// Asks for ten tokens, as `asked` says, and for what follows the first five of them.
///
/// # Errors
/// The first request failed.
pub(super) async fn goes_on(model: &Model, asked: Attempt) -> Result<Continued, ProviderError> {
    let whole = listen(model.provider.start(asked.clone()).await?).await?.pieces;
    let first = whole.iter().take(whole.len() / 2).map(String::as_str).collect::<String>();
    if first.trim().is_empty() {
        return Ok(Continued::Untried);
    }
    let whole = whole.concat();
    let (mut verdict, repeated) = behind(model, &asked, &first, &whole).await;
    if verdict == Continued::Same && repeated >= first.len() {
        // An echo, or the same answer anew: a beginning that is not its own tells them apart.
        let loud = first.to_uppercase();
        (verdict, _) = behind(model, &asked, &loud, &whole).await;
        if verdict == Continued::Other {
            verdict = Continued::Same;
        }
    }
    Ok(verdict)
}

/// The verdict on what follows `begun`, and how much of it was said again.
async fn behind(model: &Model, asked: &Attempt, begun: &str, whole: &str) -> (Continued, usize) {
    let attempt = Attempt { so_far: begun.to_owned(), ..asked.clone() };
    let heard = match model.provider.start(attempt).await {
        Ok(deltas) => listen(deltas).await,
        Err(refused) => Err(refused),
    };
    match heard {
        Ok(said) => (compare(begun, whole, &said.pieces.concat()), said.repeated),
        Err(refused) if refused.code == ErrorCode::UpstreamRejected => {
            (Continued::No(refused.message), 0)
        }
        // It says nothing about the continuation.
        Err(_) => (Continued::Untried, 0),
    }
}

async fn listen(mut deltas: Deltas) -> Result<Said, ProviderError> {
    let mut said = Said::default();
    while let Some(delta) = deltas.next().await {
        match delta? {
            Delta::Text(text) => said.pieces.push(text),
            Delta::Repeated(bytes) => said.repeated += bytes,
            Delta::Reasoning(_)
            | Delta::Refusal(_)
            | Delta::ToolCall(_)
            | Delta::Extra(_)
            | Delta::Usage(_)
            | Delta::Background(_)
            | Delta::Forgotten
            | Delta::AskedAgain
            | Delta::Notice { .. }
            | Delta::Finish { .. } => {}
        }
    }
    Ok(said)
}

/// The verdict on `said` behind `begun`, where the answer without a loss was `whole`.
fn compare(begun: &str, whole: &str, said: &str) -> Continued {
    let alike = |one: &str, other: &str| one.starts_with(other) || other.starts_with(one);
    let no = |why: &str| Continued::No(why.to_owned());
    if said.is_empty() {
        return no("it says nothing more");
    }
    let wanted = whole.strip_prefix(begun);
    if wanted.is_some_and(|wanted| alike(said, wanted)) {
        return Continued::Same;
    }
    let head = whole.get(..begun.len()).unwrap_or(whole).trim();
    if head.len() > CHANCE && said.trim_start().starts_with(head) {
        return no("it begins anew");
    }
    if wanted.is_some_and(|wanted| alike(said.trim_start(), wanted.trim_start())) {
        return no("white space is lost or repeated at the joint");
    }
    Continued::Other
}

#[cfg(test)]
mod tests {
    use crate::app::check::goes_on::*;

    #[test]
    fn a_continuation_is_compared_with_the_answer() {
        let told = |said: &str| compare("one, two,", "one, two, three, four", said);
        assert_eq!(told(" three, four"), Continued::Same);
        assert_eq!(told(" three, four, five"), Continued::Same);
        assert_eq!(told(" 3, 4"), Continued::Other);
        let loud = |said: &str| compare("ONE, TWO,", "one, two, three, four", said);
        assert_eq!(loud(" THREE"), Continued::Other);
        assert_eq!(loud("one, two, three"), Continued::No("it begins anew".into()));
        for (said, why) in [
            ("", "nothing"),
            ("one, two, three", "anew"),
            ("three, four", "white space"),
            ("  three", "white space"),
        ] {
            let Continued::No(told) = told(said) else { panic!("{said}") };
            assert!(told.contains(why), "{said}: {told}");
        }
    }
}
