//! A text cut anywhere, its continuation in pieces of any size, and servers of several habits.
use proptest::prelude::*;

use crate::fuzz::hold;
use crate::providers::upstream::cut_back::*;

/// Prose, code, a table, Markdown, scripts without spaces, emoji of several characters, long words.
const WORDS: &[&str] = &[
    "The",
    " cat",
    " sat",
    " on",
    " a",
    ".",
    "\n",
    "\n\n",
    "    ",
    "\t",
    " ",
    "  ",
    "def f(x):",
    "return",
    "{\"a\":",
    "\"b\"}",
    "| a | b |",
    "|---|",
    "**bold**",
    "- item",
    "```rust\n",
    "`x`",
    "人工智能",
    "很好",
    "。",
    "，",
    "日本語です",
    "ภาษาไทย",
    "คำ",
    "é",
    "naïve",
    "🎈",
    "👩\u{200D}👩\u{200D}👧",
    "👍🏽",
    "🇩🇪",
    "https://example.com/a/b?c=d&e=f",
    "=====",
    "supercalifragilisticexpialidocious",
    "Müller",
    "x_y",
    "0.5",
    "100-year-old",
];

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(WORDS), 1..60).prop_map(|words| words.concat())
}

/// How a server continues a text.
#[derive(Clone, Copy, Debug)]
enum Habit {
    /// Behind the last character that was sent.
    Exact,
    /// Trims the end of what was sent: 7 of 20 templates at vLLM 0.32.
    Trims,
    /// Says what was sent first: llama.cpp 11434 without `continue_final_message`.
    Echoes,
    /// Leaves out the white space that its answer begins with.
    LosesBlank,
}

const HABITS: [Habit; 4] = [Habit::Exact, Habit::Trims, Habit::Echoes, Habit::LosesBlank];

impl Habit {
    /// The model's output behind `sent`, when it says `whole` in all.
    fn says(self, whole: &str, sent: &str) -> String {
        match self {
            Self::Exact => whole[sent.len()..].to_owned(),
            Self::Trims => whole[sent.trim_end().len()..].to_owned(),
            Self::Echoes => whole.to_owned(),
            Self::LosesBlank => whole[sent.len()..].trim_start().to_owned(),
        }
    }
}

/// The decision about `said` in pieces of `sizes` characters.
fn found(rejoin: &Rejoin, said: &str, sizes: &[usize]) -> Found {
    let chars: Vec<(usize, char)> = said.char_indices().collect();
    let mut at = 0;
    for size in sizes.iter().cycle() {
        at = (at + size).min(chars.len());
        let bytes = chars.get(at).map_or(said.len(), |(at, _)| *at);
        match rejoin.find(&said[..bytes], false) {
            Found::Open if at == chars.len() => return rejoin.find(said, true),
            Found::Open => {}
            decided @ (Found::New(_) | Found::Other) => return decided,
        }
    }
    Found::Open
}

#[test]
fn the_joined_text_is_the_whole_wherever_it_is_cut() {
    let habit = prop::sample::select(&HABITS[..]);
    let sizes = prop::collection::vec(1..9usize, 1..5);
    let input = (text(), any::<prop::sample::Index>(), 1..3usize, sizes, habit);
    hold("cut back", &input, |(whole, at, words, sizes, habit)| {
        let cuts: Vec<usize> = whole.char_indices().map(|(at, _)| at).skip(1).collect();
        let Some(at) = (!cuts.is_empty()).then(|| *at.get(&cuts)) else { return };
        let so_far = &whole[..at];
        let word = cut_at(so_far);
        // The second place is in front of two words.
        let cut = if words == 2 && word < at { cut_at(&so_far[..word]) } else { word };
        let tail = &so_far[cut..];
        assert!(tail.chars().count() <= words * (WORD + 2 * BLANK), "{tail:?}");
        if tail.is_empty() {
            // Nothing is said again where there is no place to cut.
            assert!(so_far.split_whitespace().last().is_none_or(|w| w.chars().count() >= WORD));
            return;
        }
        let (sent, rejoin) = (&so_far[..cut], Rejoin::new(&so_far[..cut], tail));
        assert_eq!(sent, sent.trim_end(), "templates trim it");
        let said = habit.says(&whole, sent);
        let is_blank = tail.trim().is_empty();
        let repeats = whole[cut..].trim_start().starts_with(sent.trim());
        if matches!(habit, Habit::LosesBlank) && is_blank || repeats && !sent.is_empty() {
            // White space that nobody says, or a text that cannot be told from an echo.
            return;
        }
        let Found::New(new) = found(&rejoin, &said, &sizes) else { panic!("{so_far:?} {said:?}") };
        assert_eq!(format!("{so_far}{}", &said[new..]), whole);
    });
}

#[test]
fn pieces_never_decide_otherwise_than_the_whole() {
    let input =
        (text(), text(), any::<prop::sample::Index>(), prop::collection::vec(1..9usize, 1..5));
    hold("cut back, another answer", &input, |(so_far, said, at, sizes)| {
        let cuts: Vec<usize> = so_far.char_indices().map(|(at, _)| at).collect();
        let (sent, tail) = so_far.split_at(*at.get(&cuts));
        let rejoin = Rejoin::new(sent, tail);
        assert_eq!(found(&rejoin, &said, &sizes), found(&rejoin, &said, &[said.len()]));
    });
}
