//! A continuation that fits. The text so far goes up without its last word, the model says that
//! word again, and the repetition is dropped. Pure; `rejoin` has the streams.
//!
//! A model that goes on behind half a word sees tokens that it would never have made itself. It
//! then loses letters, joins words or indents wrongly. Templates that trim do the same harm to
//! white space at the end. Behind a whole word both go well.
mod ask;
#[cfg(test)]
mod fuzz;
mod rejoin;

pub(crate) use ask::{Again, Asked, GoesOn, is_begun};
pub(crate) use rejoin::go_on;

/// The most of a text that is said again, in characters of its last word.
const WORD: usize = 48;
/// The most white space beside that word, in characters on each side: deep indentation fits.
const BLANK: usize = 256;
/// Characters of a script without spaces that are said again.
const LETTERS: usize = 4;
/// A shorter text at the beginning of an answer is no echo of the request, in characters.
const ECHO: usize = 4;

/// Where `text` is cut, in bytes: in front of its last word and of the white space before it. The
/// end of the text where there is no such place within the bounds.
pub(crate) fn cut_at(text: &str) -> usize {
    let whole = text.len();
    let trimmed = text.trim_end();
    let blank = |text: &str, from: usize| text.get(from..).map_or(0, |blank| blank.chars().count());
    if blank(text, trimmed.len()) > BLANK {
        return whole;
    }
    let Some(word) = last_word(trimmed) else { return whole };
    let before = trimmed.get(..word).unwrap_or_default();
    let kept = before.trim_end().len();
    if blank(before, kept) > BLANK { whole } else { kept }
}

/// Where the last word of `text` begins, in bytes. A script without spaces has words of a few
/// letters; a long word, such as an address, has them between its marks.
fn last_word(text: &str) -> Option<usize> {
    let mut letters = 0;
    let mut mark = None;
    let mut from = text.len();
    for (count, (at, c)) in text.char_indices().rev().enumerate() {
        if c.is_whitespace() {
            return Some(from);
        }
        if is_unspaced(c) {
            if letters == 0 && count > 0 {
                // The word of another script behind it is whole.
                return Some(from);
            }
            letters += 1;
            if is_stop(c) && letters > 1 {
                return Some(from);
            }
            if letters >= LETTERS && !is_mark(c) {
                return Some(at);
            }
        } else if letters > 0 {
            return Some(from);
        }
        if count == WORD {
            return mark;
        }
        if c.is_ascii_punctuation() {
            mark = Some(at);
        }
        from = at;
    }
    // A text that is one word is said anew.
    Some(0)
}

/// Whether `c` is of a script that is written without spaces, or one of its marks.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{0E00}'..='\u{0EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}'
        | '\u{3000}'..='\u{30FF}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}'
        | '\u{F900}'..='\u{FAFF}' | '\u{FF00}'..='\u{FFEF}' | '\u{20000}'..='\u{3FFFF}')
}

/// Whether `c` belongs to the letter before it.
fn is_mark(c: char) -> bool {
    matches!(c,
        '\u{0E31}' | '\u{0E33}'..='\u{0E3A}' | '\u{0E47}'..='\u{0E4E}' | '\u{0EB1}'
        | '\u{0EB3}'..='\u{0EBC}' | '\u{0EC8}'..='\u{0ECE}' | '\u{102B}'..='\u{103E}'
        | '\u{17B4}'..='\u{17D3}' | '\u{3099}' | '\u{309A}' | '\u{30FC}')
}

/// Whether a sentence or a part of it ends behind `c`.
fn is_stop(c: char) -> bool {
    matches!(
        c,
        '\u{3001}' | '\u{3002}' | '\u{FF01}' | '\u{FF0C}' | '\u{FF1A}' | '\u{FF1B}' | '\u{FF1F}'
    )
}

/// The expected beginning of a continuation, and the text that may stand in front of it.
#[derive(Clone, Debug)]
pub(crate) struct Rejoin {
    /// The beginning of the answer that went up: some servers say it first.
    sent: String,
    /// The text so far behind the cut: white space, a word, white space.
    before: String,
    word: String,
    after: String,
}

/// How much of a continuation's beginning is known already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// More of it is needed.
    Open,
    /// So many bytes of it were in the text already.
    New(usize),
    /// The model says something else than before.
    Other,
}

impl Rejoin {
    /// For a continuation behind `sent`, where `tail` of the text so far is to be said again.
    pub(crate) fn new(sent: &str, tail: &str) -> Self {
        let (before, rest) = tail.split_at(tail.len() - tail.trim_start().len());
        let (word, after) = rest.split_at(rest.trim_end().len());
        let [before, word, after] = [before, word, after].map(str::to_owned);
        Self { sent: sent.to_owned(), before, word, after }
    }

    /// Looks at the beginning of a continuation; `ended` if nothing follows.
    pub(crate) fn find(&self, said: &str, ended: bool) -> Found {
        let plain = self.again(said, ended);
        match self.echo(said) {
            Echo::None => plain,
            Echo::Open if ended => plain,
            Echo::Open => Found::Open,
            Echo::Whole(at) => match self.again(said.get(at..).unwrap_or_default(), ended) {
                Found::New(more) => Found::New(at + more),
                // The beginning of the text may come again as a part of it.
                Found::Other if matches!(plain, Found::New(_)) => plain,
                other @ (Found::Open | Found::Other) => other,
            },
        }
    }

    /// The tail said again at the beginning of `said`.
    fn again(&self, said: &str, ended: bool) -> Found {
        if self.word.is_empty() {
            return self.blank_again(said, ended);
        }
        let at = said.len() - said.trim_start().len();
        let rest = said.get(at..).unwrap_or_default();
        if at > 2 * BLANK {
            return Found::Other;
        }
        let Some(behind) = rest.strip_prefix(self.word.as_str()) else {
            let may_come = !ended && self.word.starts_with(rest);
            return if may_come { Found::Open } else { Found::Other };
        };
        let word_end = at + self.word.len();
        if self.after.is_empty() {
            return Found::New(word_end);
        }
        let blank_len = behind.len() - behind.trim_start().len();
        let (blank, next) = behind.split_at(blank_len);
        if blank.starts_with(&self.after) {
            return Found::New(word_end + self.after.len());
        }
        if next.is_empty() {
            let short = self.after.starts_with(blank) || !self.after.contains('\n');
            return match (ended, short) {
                (true, _) => Found::New(said.len()),
                (false, true) => Found::Open,
                (false, false) => Found::Other,
            };
        }
        // A space at the end of a line is no harm; another indentation is.
        let new_line = blank.starts_with('\n') && !self.after.contains('\n');
        if new_line { Found::New(word_end) } else { Found::Other }
    }

    /// The same where no word is to be said again: white space of the text's end may be.
    fn blank_again(&self, said: &str, ended: bool) -> Found {
        let blank = format!("{}{}", self.before, self.after);
        if blank.is_empty() {
            return if said.is_empty() && !ended { Found::Open } else { Found::New(0) };
        }
        if said.starts_with(&blank) {
            return Found::New(blank.len());
        }
        if !ended && blank.starts_with(said) { Found::Open } else { Found::New(0) }
    }

    /// The text that went up at the beginning of `said`. Templates may have trimmed it.
    fn echo(&self, said: &str) -> Echo {
        let mut open = false;
        for sent in [self.sent.as_str(), self.sent.trim_start()] {
            let too_short = sent.chars().count() < ECHO;
            if too_short && (self.word.is_empty() || sent.is_empty()) {
                continue;
            }
            if said.starts_with(sent) {
                return Echo::Whole(sent.len());
            }
            open |= sent.starts_with(said);
        }
        if open { Echo::Open } else { Echo::None }
    }
}

/// Whether an answer begins with what was asked.
enum Echo {
    None,
    Open,
    Whole(usize),
}

#[cfg(test)]
mod tests {
    use crate::providers::upstream::cut_back::*;

    #[test]
    fn the_last_word_and_the_white_space_before_it_are_said_again() {
        let kept = |text: &str| text[..cut_at(text)].to_owned();
        for (text, expected) in [
            ("It was ver", "It was"),
            ("It was ", "It"),
            ("It", ""),
            ("a:\n    return fo", "a:\n    return"),
            ("def f():\n    ", "def"),
            ("| one | tw", "| one |"),
            ("so **bo", "so"),
            ("ABC人", "ABC"),
            ("人ABC", "人"),
            ("人工智能很好", "人工"),
            ("你好。我", "你好。"),
            ("你好。我们", "你好。"),
            (
                "see https://example.com/a/long/address/with/many/parts/and-mo",
                "see https://example",
            ),
        ] {
            assert_eq!(kept(text), expected, "{text}");
        }
        for text in ["x".repeat(WORD + 1), format!("a{}b", " ".repeat(BLANK + 1))] {
            assert_eq!(kept(&text), text, "out of bounds");
        }
    }

    #[test]
    fn what_is_said_again_is_found() {
        let find = |sent: &str, tail: &str, said: &str| Rejoin::new(sent, tail).find(said, false);
        assert_eq!(find("It was", " ver", " very"), Found::New(4));
        assert_eq!(find("It was", " ver", " qu"), Found::Other);
        assert_eq!(find("It was", " ver", " v"), Found::Open);
        assert_eq!(find("It was", " ver", "It wa"), Found::Open, "an echo");
        assert_eq!(find("It was", " ver", "It was very"), Found::New(10));
        assert_eq!(find("The cat. ", "The", "The cat. The"), Found::New(12), "it begins alike");
        assert_eq!(find("foo", " bar\n    ", " bar\n  x"), Found::Other, "another indentation");
        assert_eq!(find("foo", " bar ", " bar\nx"), Found::New(4), "a space at a line's end");
        assert_eq!(find("foo", " bar ", " barn"), Found::Other);
        assert_eq!(Rejoin::new("foo", " bar\n").find(" bar", true), Found::New(4));
        assert_eq!(Rejoin::new("foo", " bar").find("", true), Found::Other);
    }

    #[test]
    fn behind_the_whole_text_only_its_white_space_is_said_again() {
        let find = |said: &str| Rejoin::new("foo bar \n", " \n").find(said, false);
        assert_eq!(find(" \nx"), Found::New(2));
        assert_eq!(find("x"), Found::New(0));
        assert_eq!(find("foo bar \nx"), Found::New(9), "an echo");
        assert_eq!(Rejoin::new("foo", "").find("x", false), Found::New(0));
        assert_eq!(Rejoin::new("a", "").find("ab", false), Found::New(0), "too short for an echo");
    }
}
