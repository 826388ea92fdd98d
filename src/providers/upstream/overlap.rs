//! Where a new attempt goes on behind a text: what to ask for, and what the two have in common.
use futures_util::{StreamExt, stream};

use crate::domain::event::FinishReason;
use crate::domain::extra::Extra;
use crate::ports::{Continuation, Delta, Deltas, ProviderError};

/// How much of the text's end a repetition is looked for in, in characters: a model that begins
/// again further back is not recognised.
const TAIL: usize = 200;
/// Shorter repetitions are taken for chance, in characters: `Hel` is rightly followed by `lo`.
const CHANCE: usize = 8;
/// Shorter texts at the beginning of an answer are no echo of the request, in characters.
const ECHO: usize = 4;
/// How much of the text's end the instruction quotes, in characters.
const QUOTE: usize = 100;

/// The request to a model that cannot be made to go on exactly.
pub(crate) fn instruction(so_far: &str) -> String {
    format!(
        "Your previous response was interrupted and ended with `{}`. Continue exactly from where \
         you left off, without repeating.",
        last(so_far, QUOTE)
    )
}

/// The deltas without what they repeat of the end of `so_far`.
pub(crate) fn clean(deltas: Deltas, continuation: Continuation, so_far: &str) -> Deltas {
    match continuation {
        Continuation::Instruct if !so_far.is_empty() => {
            without_overlap(deltas, Overlap::new(last(so_far, TAIL), CHANCE))
        }
        Continuation::Instruct
        | Continuation::None
        | Continuation::Prefix
        | Continuation::ProviderResume => deltas,
    }
}

/// Whether the answer `so_far` repeats the beginning that the client itself gave it, as some
/// servers do: then it stands for both.
pub(crate) fn is_echoed(own: &str, so_far: &str) -> bool {
    own.trim().chars().count() >= ECHO && so_far.starts_with(own)
}

/// An answer whose limit is used up: there is nothing to ask for.
pub(crate) fn spent() -> Deltas {
    let finish = Delta::Finish { reason: FinishReason::Length, raw: None };
    stream::iter([Ok(finish)]).boxed()
}

/// The deltas behind a notice about what of the request was left out.
pub(crate) fn told(deltas: Deltas, left_out: &[String]) -> Deltas {
    if left_out.is_empty() {
        return deltas;
    }
    let message = format!("not sent to the model: {}", left_out.join(", "));
    let notice = Delta::Notice { code: "left_out", message };
    stream::iter([Ok(notice)]).chain(deltas).boxed()
}

fn without_overlap(deltas: Deltas, mut overlap: Overlap) -> Deltas {
    deltas.flat_map(move |item| stream::iter(overlap.item(item))).boxed()
}

fn last(text: &str, characters: usize) -> &str {
    let at = text.char_indices().rev().nth(characters.saturating_sub(1)).map_or(0, |(at, _)| at);
    &text[at..]
}

/// Holds the first text back until it is clear whether it repeats the end of the text before.
struct Overlap {
    /// Empty once it is decided.
    tail: String,
    shortest: usize,
    held: String,
    /// The extras that came with the held text.
    extras: Vec<Extra>,
}

impl Overlap {
    fn new(tail: &str, shortest: usize) -> Self {
        Self { tail: tail.to_owned(), shortest, held: String::new(), extras: Vec::new() }
    }

    /// The deltas that may be passed on, in their order.
    fn item(&mut self, item: Result<Delta, ProviderError>) -> Vec<Result<Delta, ProviderError>> {
        match item {
            Ok(Delta::Text(text)) => {
                let before = self.held.len() + text.len();
                let text = self.text(text);
                let mut items = self.released(before != text.len());
                items.extend(text_only(text));
                items
            }
            Ok(Delta::Extra(extra)) if !self.tail.is_empty() => {
                self.extras.push(extra);
                Vec::new()
            }
            Ok(
                Delta::Reasoning(_)
                | Delta::Extra(_)
                | Delta::Usage(_)
                | Delta::Notice { .. }
                | Delta::Background(_)
                | Delta::Repeated(_)
                | Delta::AskedAgain
                | Delta::Forgotten,
            ) => vec![item],
            Ok(Delta::Refusal(_) | Delta::ToolCall(_) | Delta::Finish { .. }) | Err(_) => {
                let text = self.release();
                let mut items = self.released(false);
                items.extend(text_only(text));
                items.push(item);
                items
            }
        }
    }

    fn text(&mut self, text: String) -> String {
        if self.tail.is_empty() {
            return text;
        }
        self.held.push_str(&text);
        for (at, _) in self.tail.char_indices() {
            let suffix = &self.tail[at..];
            if suffix.chars().count() < self.shortest {
                break;
            }
            if suffix.len() > self.held.len() {
                if suffix.starts_with(&self.held) {
                    return String::new();
                }
            } else if self.held.starts_with(suffix) {
                self.held.drain(..suffix.len());
                break;
            }
        }
        self.release()
    }

    /// The extras of a text that was decided about. Those of `repeated` text were told before.
    fn released(&mut self, repeated: bool) -> Vec<Result<Delta, ProviderError>> {
        if !self.tail.is_empty() {
            return Vec::new();
        }
        let extras = std::mem::take(&mut self.extras).into_iter();
        let new = extras.filter(|extra| !(repeated && extra.is_of_text()));
        new.map(|extra| Ok(Delta::Extra(extra))).collect()
    }

    fn release(&mut self) -> String {
        self.tail.clear();
        std::mem::take(&mut self.held)
    }
}

fn text_only(text: String) -> Vec<Result<Delta, ProviderError>> {
    if text.is_empty() { Vec::new() } else { vec![Ok(Delta::Text(text))] }
}

#[cfg(test)]
mod tests {
    use crate::providers::upstream::overlap::*;

    fn joined(so_far: &str, pieces: &[&str]) -> String {
        let mut overlap = Overlap::new(last(so_far, TAIL), CHANCE);
        let mut text = so_far.to_owned();
        let finish = Delta::Finish { reason: FinishReason::Stop, raw: None };
        let pieces = pieces.iter().map(|p| Delta::Text((*p).into())).chain([finish]);
        for delta in pieces.flat_map(|p| overlap.item(Ok(p))) {
            if let Ok(Delta::Text(more)) = delta {
                text.push_str(&more);
            }
        }
        text
    }

    #[test]
    fn a_repetition_at_the_seam_is_dropped_wherever_it_is_cut() {
        let so_far = "It was a dark and stormy night; the räin";
        let again = "stormy night; the räin fell in torrents";
        let whole = "It was a dark and stormy night; the räin fell in torrents";
        for (cut, _) in again.char_indices() {
            assert_eq!(joined(so_far, &[&again[..cut], &again[cut..]]), whole, "{cut}");
        }
        let letters: Vec<String> = again.chars().map(String::from).collect();
        let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
        assert_eq!(joined(so_far, &letters), whole);
    }

    #[test]
    fn what_only_looks_like_a_repetition_stays() {
        let cases: [(&str, &[&str], &str); 5] = [
            ("Hel", &["lo"], "Hello"),
            ("one two three four", &[" five"], "one two three four five"),
            ("one two three four", &["two thr", "ough"], "one two three fourtwo through"),
            ("one two three four", &["two thr"], "one two three fourtwo thr"),
            ("x", &[], "x"),
        ];
        for (so_far, pieces, whole) in cases {
            assert_eq!(joined(so_far, pieces), whole);
        }
    }

    #[test]
    fn an_answer_that_begins_with_the_clients_own_words_stands_for_both() {
        assert!(is_echoed("Blue an", "Blue and"));
        assert!(!is_echoed("Blue an", "d green"));
        assert!(!is_echoed("1", "11"), "too short to tell");
    }

    #[test]
    fn the_instruction_quotes_the_end_only() {
        let asked = instruction(&("a".repeat(500) + "é."));
        assert!(asked.contains(&format!("{}é.`", "a".repeat(98))), "{asked}");
        assert!(asked.len() < 300);
    }
}
