//! Plain English, as far as it can be counted: short sentences that begin with their subject.

use std::fs;
use std::path::{Path, PathBuf};

use super::files;

/// Words of a sentence. A name in backticks is one word.
const MOST_WORDS: usize = 25;
/// Columns of a comment's line in `src`.
const MOST_COLUMNS: usize = 100;
/// Outside `src`, one sentence in so many may break a rule: a list or a table can need it.
const SELDOM: usize = 50;
/// Openings that make the reader look for the subject.
const RIDDLES: [&str; 5] = ["What", "Who", "Whoever", "Whatever", "Whose"];
/// Documents outside `docs`. The changelog is left out: it records the past.
const PAGES: [&str; 6] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "proof/README.md",
    "findings/README.md",
];
/// Behind this mark a command writes the document.
const GENERATED: &str = "<!-- make fidelity: begin -->";

const RUST: [&str; 3] = ["//!", "///", "//"];
const SCRIPT: [&str; 4] = ["//", "/**", "*/", "* "];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Each file's path below the root, and its text.
fn read(paths: impl IntoIterator<Item = PathBuf>) -> impl Iterator<Item = (String, String)> {
    paths.into_iter().map(|path| {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        (name, fs::read_to_string(path).unwrap())
    })
}

fn below(dirs: &[&str], kind: &str) -> Vec<PathBuf> {
    dirs.iter().flat_map(|dir| files(&root().join(dir), &[kind])).collect()
}

/// The comment in a line, without its marks and without the types behind them.
fn comment<'a>(line: &'a str, marks: &[&str]) -> Option<&'a str> {
    let text = marks.iter().find_map(|mark| line.trim_start().strip_prefix(mark))?;
    let text = text.trim_end().trim_end_matches("*/").trim();
    if text.starts_with('@') { Some("") } else { text.split(" @").next() }
}

/// The blocks of comments in a text, each with its lines.
fn comments<'a>(text: &'a str, marks: &[&str]) -> Vec<Vec<&'a str>> {
    let mut blocks = vec![Vec::new()];
    for line in text.lines() {
        match comment(line, marks) {
            Some(comment) => blocks.last_mut().unwrap().push(comment),
            None => blocks.push(Vec::new()),
        }
    }
    blocks
}

/// Items, headings and cells of tables are paragraphs of their own. Code is left out.
fn paragraphs(lines: &[&str]) -> Vec<String> {
    let (mut paragraphs, mut fenced) = (vec![String::new()], false);
    for line in lines.iter().map(|line| line.trim()) {
        fenced ^= line.starts_with("```");
        if fenced || line.starts_with("```") {
            continue;
        }
        if line.starts_with('|') {
            paragraphs.extend(line.trim_matches('|').split(" | ").map(str::to_owned));
            paragraphs.push(String::new());
        } else if line.is_empty() || line.starts_with(['-', '#', '*', '<']) {
            paragraphs.push(line.trim_start_matches(['-', ' ']).to_owned());
        } else {
            let paragraph = paragraphs.last_mut().unwrap();
            *paragraph = format!("{paragraph} {line}");
        }
    }
    paragraphs
}

fn sentences(paragraph: &str) -> Vec<String> {
    let (mut found, mut sentence, mut code) = (Vec::new(), String::new(), false);
    for word in paragraph.split_whitespace() {
        code ^= word.matches('`').count() % 2 == 1;
        sentence = format!("{sentence} {word}").trim().to_owned();
        let bare = word.trim_end_matches([')', '*', '"', '\'', '`']);
        if !code && bare.ends_with(['.', '?', '!']) {
            found.push(std::mem::take(&mut sentence));
        }
    }
    found.push(sentence);
    found
}

fn words(sentence: &str) -> usize {
    let parts = sentence.split('`').enumerate();
    let named: String = parts.map(|(i, part)| if i % 2 == 1 { "name" } else { part }).collect();
    named.split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count()
}

fn is_riddle(sentence: &str) -> bool {
    let sentence = sentence.trim_matches(['*', '(', '"', ' ']);
    let first = sentence.split([' ', ',', '\'', '*']).next().unwrap();
    RIDDLES.contains(&first) && !sentence.ends_with('?')
}

/// The sentences that were read, and those that break a rule.
#[derive(Default)]
struct Verdict {
    sentences: usize,
    wrong: Vec<String>,
}

impl Verdict {
    fn judge(&mut self, name: &str, lines: &[&str]) {
        for sentence in paragraphs(lines).iter().flat_map(|paragraph| sentences(paragraph)) {
            self.sentences += 1;
            if words(&sentence) > MOST_WORDS {
                self.wrong.push(format!("{name}: over {MOST_WORDS} words: {sentence}"));
            }
            if is_riddle(&sentence) {
                self.wrong.push(format!("{name}: who or what? {sentence}"));
            }
        }
    }

    fn comments(&mut self, paths: Vec<PathBuf>, marks: &[&str]) {
        for (name, text) in read(paths) {
            for block in comments(&text, marks) {
                self.judge(&name, &block);
            }
        }
    }

    fn is_plain(&self) {
        assert!(self.wrong.len() * SELDOM <= self.sentences, "{:#?}", self.wrong);
    }
}

#[test]
fn comments_are_plain_english() {
    let mut verdict = Verdict::default();
    verdict.comments(below(&["src"], "rs"), &RUST);
    for (name, text) in read(below(&["src"], "rs")) {
        for line in text.lines().filter(|line| line.chars().count() > MOST_COLUMNS) {
            if comment(line, &RUST).is_some() {
                verdict.wrong.push(format!("{name}: over {MOST_COLUMNS} columns: {line}"));
            }
        }
    }
    assert!(verdict.wrong.is_empty(), "{:#?}", verdict.wrong);
}

#[test]
fn comments_of_tests_and_tools_are_plain_english() {
    let mut verdict = Verdict::default();
    verdict.comments(below(&["tests", "bench", "proof"], "rs"), &RUST);
    verdict.is_plain();
}

#[test]
fn comments_of_the_page_are_plain_english() {
    let mut verdict = Verdict::default();
    verdict.comments(below(&["static", "tests/page"], "js"), &SCRIPT);
    verdict.is_plain();
}

#[test]
fn documents_are_plain_english() {
    let pages = PAGES.iter().map(|page| root().join(page));
    let mut verdict = Verdict::default();
    for (name, text) in read(pages.chain(below(&["docs"], "md"))) {
        let written: Vec<&str> = text.split(GENERATED).next().unwrap().lines().collect();
        verdict.judge(&name, &written);
    }
    verdict.is_plain();
}

#[test]
fn long_sentences_and_riddles_are_found() {
    let mut verdict = Verdict::default();
    let long = "word ".repeat(MOST_WORDS);
    let lines = ["| Who | `What` | **Whose** |", "What is it? (What is lost.)", &long, "end."];
    verdict.judge("page", &lines);
    assert_eq!(verdict.wrong.len(), 4, "{:#?}", verdict.wrong);
}
