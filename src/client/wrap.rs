//! Breaks lines between words, where the answer is shown on a terminal while it comes.
use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar;

/// Narrower than this, words do not fit anyhow, in columns.
const NARROW: usize = 20;

/// Where the cursor stands, and the word that it stands behind.
#[derive(Debug, Default)]
pub(super) struct Wrap {
    column: usize,
    /// The last word, which moves to the next line if its rest does not fit.
    word: String,
    /// Where that word begins.
    begins: usize,
    /// The line so far, as far as it tells what kind of line it is.
    head: String,
    /// Within a block of code.
    code: bool,
}

impl Wrap {
    /// The cursor stands at the beginning of a line: something else was shown.
    pub(super) fn moved(&mut self) {
        self.column = 0;
        self.end_word();
    }

    /// The text to write for `text`, in a terminal of so many columns.
    pub(super) fn wrapped(&mut self, text: &str, columns: usize) -> String {
        if columns < NARROW {
            return text.to_owned();
        }
        let mut out = String::with_capacity(text.len() + 8);
        for c in text.chars() {
            self.write(c, columns, &mut out);
        }
        out
    }

    fn write(&mut self, c: char, columns: usize, out: &mut String) {
        if c == '\n' {
            self.code ^= is_fence(&self.head);
            self.head.clear();
            self.moved();
            out.push(c);
            return;
        }
        if self.head.len() < 8 {
            self.head.push(c);
        }
        if self.is_verbatim() {
            out.push(c);
            return;
        }
        let width = c.width().unwrap_or(0);
        if c.is_whitespace() {
            self.end_word();
            if self.column + width > columns {
                // The space between two lines.
                self.moved();
                out.push('\n');
                return;
            }
            self.column += width;
            self.begins = self.column;
            out.push(c);
            return;
        }
        if self.column + width > columns {
            self.break_line(out);
        }
        if width == 2 {
            // Between wide characters a line may end.
            self.end_word();
        } else {
            self.word.push(c);
        }
        out.push(c);
        self.column += width;
        if width == 2 {
            self.begins = self.column;
        }
    }

    /// The word moves to a new line; a word of a whole line is cut.
    fn break_line(&mut self, out: &mut String) {
        if self.begins == 0 {
            self.end_word();
        } else if !self.word.is_empty() {
            // Back to where it begins, and away with it.
            let _infallible = write!(out, "\x1b[{}G\x1b[K", self.begins + 1);
        }
        out.push('\n');
        out.push_str(&self.word);
        self.column = self.word.chars().filter_map(UnicodeWidthChar::width).sum();
        self.begins = 0;
    }

    fn end_word(&mut self) {
        self.word.clear();
        self.begins = self.column;
    }

    /// Code and tables stay as they are.
    fn is_verbatim(&self) -> bool {
        self.code || self.head.starts_with('|') || self.head.starts_with("    ")
    }
}

/// Whether a line that begins so opens or closes a block of code.
fn is_fence(head: &str) -> bool {
    let head = head.trim_start();
    head.starts_with("```") || head.starts_with("~~~")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The screen of a terminal of so many columns.
    fn screen(written: &str, columns: usize) -> Vec<String> {
        let mut lines: Vec<Vec<char>> = vec![Vec::new()];
        let mut rest = written;
        while let Some(c) = rest.chars().next() {
            let last = lines.last_mut().unwrap();
            if let Some(after) = rest.strip_prefix("\x1b[K") {
                rest = after;
                continue;
            }
            if let Some(after) = rest.strip_prefix("\x1b[") {
                let (column, after) = after.split_once('G').unwrap();
                let (mut at, end) = (0, column.parse::<usize>().unwrap() - 1);
                let kept = last.iter().take_while(|c| {
                    at += c.width().unwrap_or(0);
                    at <= end
                });
                let kept = kept.count();
                last.truncate(kept);
                rest = after;
                continue;
            }
            rest = &rest[c.len_utf8()..];
            let used: usize = last.iter().filter_map(|c| c.width()).sum();
            if c == '\n' {
                lines.push(Vec::new());
            } else if used + c.width().unwrap_or(0) > columns {
                lines.push(vec![c]);
            } else {
                last.push(c);
            }
        }
        lines.into_iter().map(|line| line.into_iter().collect()).collect()
    }

    fn shown(pieces: &[&str], columns: usize) -> Vec<String> {
        let mut wrap = Wrap::default();
        let written: String = pieces.iter().map(|piece| wrap.wrapped(piece, columns)).collect();
        screen(&written, columns).iter().map(|line| line.trim_end().to_owned()).collect()
    }

    #[test]
    fn a_word_stays_whole_however_it_comes() {
        let pieces = ["The river car", "ries some", "body", " downstr", "eam.\nEnd"];
        let lines = ["The river carries", "somebody downstream.", "End"];
        assert_eq!(shown(&pieces, 20), lines);
        assert_eq!(shown(&[&pieces.concat()], 20), lines);
        assert_eq!(shown(&["exactly twenty chars and"], 20), ["exactly twenty chars", "and"]);
        let long = "a".repeat(45);
        assert_eq!(shown(&["so ", &long], 20), ["so", &long[..20], &long[..20], &long[..5]]);
    }

    #[test]
    fn wide_characters_break_anywhere_and_code_nowhere() {
        assert_eq!(
            shown(&["川は海へ流れる。川は海へ流れる。"], 20),
            ["川は海へ流れる。川は", "海へ流れる。"]
        );
        let code = format!("```\n{} {}\n```\nx", "a".repeat(15), "b".repeat(10));
        let lines = ["```", "aaaaaaaaaaaaaaa bbbb", "bbbbbb", "```", "x"];
        assert_eq!(shown(&[&code], 20), lines);
        let table = "| a long cell | another |";
        assert_eq!(Wrap::default().wrapped(table, 20), table);
        assert_eq!(
            Wrap::default().wrapped("a b c d e f g h i j k l", 10),
            "a b c d e f g h i j k l"
        );
    }

    proptest! {
        /// Nothing but spaces becomes ends of lines, and no line is too long.
        #[test]
        fn nothing_is_lost(words in prop::collection::vec("[a-z]{1,24}|[川海山]{1,9}", 1..30), columns in 20usize..40, cut in 1usize..9) {
            let text = words.join(" ");
            let chars: Vec<char> = text.chars().collect();
            let pieces: Vec<String> = chars.chunks(cut).map(|piece| piece.iter().collect()).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let lines = shown(&pieces, columns);
            let bare = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(bare(&lines.join("")), bare(&text));
            for word in words.iter().filter(|w| w.len() <= 24 && w.is_ascii() && w.len() <= columns) {
                prop_assert!(lines.iter().any(|line| line.split(' ').any(|part| part.contains(word.as_str()))), "{word} in {lines:?}");
            }
        }
    }
}
