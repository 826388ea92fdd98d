//! The text of the demo model: sentences of a small grammar, with the prompt's words woven in.
use crate::domain::prompt::Prompt;

/// The style of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Paragraphs.
    Prose,
    /// Paragraphs with text in it that is hard to cut.
    Unicode,
    /// A document.
    Markdown,
}

/// An endless text, the same for the same seed and topics, token by token.
#[derive(Debug)]
pub(crate) struct DemoText {
    chance: Chance,
    style: Style,
    topics: Vec<String>,
    /// Which sentences are not used up, so that none repeats soon.
    unused: Vec<&'static str>,
    blocks: usize,
    block: String,
    at: usize,
}

impl DemoText {
    /// The text of `seed` about the words of `prompt`.
    pub(crate) fn new(seed: u64, style: Style, prompt: &str) -> Self {
        Self {
            chance: Chance(seed),
            style,
            topics: topics(prompt),
            unused: Vec::new(),
            blocks: 0,
            block: String::new(),
            at: 0,
        }
    }

    /// The same behind `lead`, which stands in place of what the demo says of itself.
    pub(crate) fn behind(self, lead: String) -> Self {
        Self { block: lead, blocks: 1, ..self }
    }

    /// The next token: white space and the word behind it. Never empty.
    pub(crate) fn next_token(&mut self) -> &str {
        if self.at >= self.block.len() {
            self.at = 0;
            self.block = self.next_block();
        }
        let rest = &self.block[self.at..];
        let word = rest.find(|c: char| !c.is_whitespace()).unwrap_or(0);
        let end = rest[word..].find(char::is_whitespace).map_or(rest.len(), |n| word + n);
        self.at += end;
        &rest[..end]
    }

    /// Whether the last token ended a paragraph.
    pub(crate) fn is_at_end_of_block(&self) -> bool {
        self.at == self.block.len()
    }

    fn next_block(&mut self) -> String {
        let number = self.blocks;
        self.blocks += 1;
        let body = match self.style {
            Style::Prose => self.paragraph(number == 0),
            Style::Unicode => format!("{} {}", self.paragraph(number == 0), self.nasty_words()),
            Style::Markdown => self.document_part(number),
        };
        if number == 0 { body } else { format!("\n\n{body}") }
    }

    fn paragraph(&mut self, first: bool) -> String {
        let mut paragraph = if first { self.expand(INTRO) } else { String::new() };
        for _ in 0..3 + self.chance.below(2) {
            let sentence = self.sentence();
            paragraph.extend((!paragraph.is_empty()).then_some(' '));
            paragraph.push_str(&sentence);
        }
        paragraph
    }

    fn sentence(&mut self) -> String {
        if self.unused.is_empty() {
            self.unused = SENTENCES.to_vec();
        }
        let pick = self.chance.below(self.unused.len());
        let template = self.unused.swap_remove(pick);
        self.expand(template)
    }

    fn nasty_words(&mut self) -> String {
        let words: Vec<_> = (0..4).map(|_| self.chance.pick(&NASTY)).collect();
        words.join(" ")
    }

    fn document_part(&mut self, number: usize) -> String {
        let template = MARKDOWN[number % MARKDOWN.len()];
        let mut part = self.expand(template);
        while let Some(place) = part.find('§') {
            let sentence = self.sentence();
            part.replace_range(place..place + '§'.len_utf8(), &sentence);
        }
        part.replace('#', &"#".repeat(1 + usize::from(number > 0)))
    }

    /// Fills a template: `{a|b}` is one of the words, `@` a topic; braces without a choice are
    /// code.
    fn expand(&mut self, template: &str) -> String {
        let mut text = String::with_capacity(template.len());
        let mut rest = template;
        while let Some(at) = rest.find(['{', '@']) {
            text.push_str(&rest[..at]);
            let (topic, tail) = (rest[at..].starts_with('@'), &rest[at + 1..]);
            rest = tail;
            if topic {
                let topic = self.chance.below(self.topics.len());
                text.push_str(&self.topics[topic]);
                continue;
            }
            match tail.split_once('}').filter(|(choice, _)| choice.contains('|')) {
                Some((choice, behind)) => {
                    let words: Vec<&str> = choice.split('|').collect();
                    text.push_str(self.chance.pick(&words));
                    rest = behind;
                }
                None => text.push('{'),
            }
        }
        text.push_str(rest);
        let mut chars = text.chars();
        let first = chars.next().map(char::to_uppercase).into_iter().flatten();
        first.chain(chars).collect()
    }
}

/// The seed that a prompt makes: the same conversation gets the same answer (FNV-1a).
pub(crate) fn seed_of(prompt: &Prompt) -> u64 {
    let bytes = prompt.messages.iter().flat_map(|m| m.content.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A small deterministic generator (splitmix64): this is no place for real chance.
#[derive(Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `end`, which is at least 1.
    fn below(&mut self, end: usize) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "it is below a usize")]
        let below = (self.next() % end.max(1) as u64) as usize;
        below
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words.get(self.below(words.len())).copied().unwrap_or_default()
    }
}

/// The words of a prompt that are worth repeating.
fn topics(prompt: &str) -> Vec<String> {
    const MAX_TOPICS: usize = 5;
    /// The end of a long prompt that is looked at, in bytes. Each word is compared with all before
    /// it, on a thread of all generations.
    const LOOKED_AT: usize = 4096;
    let begin = prompt.ceil_char_boundary(prompt.len().saturating_sub(LOOKED_AT));
    let end = prompt.get(begin..).unwrap_or_default();
    let words = end.split(|c: char| !c.is_alphanumeric() && c != '-');
    let mut topics: Vec<String> = Vec::new();
    for word in words {
        let lower = word.to_lowercase();
        let length = lower.chars().count();
        let fits = (4..=20).contains(&length) && !lower.starts_with('-');
        if fits && !COMMON.contains(&lower.as_str()) && !topics.contains(&lower) {
            topics.push(lower);
        }
    }
    // The last words of a question are mostly what it is about.
    topics.drain(..topics.len().saturating_sub(MAX_TOPICS));
    if topics.is_empty() {
        topics.extend(["rivers", "lighthouses", "old letters"].map(Into::into));
    }
    topics
}

/// Words that say nothing of what a prompt is about.
const COMMON: [&str; 54] = [
    "about",
    "after",
    "also",
    "answer",
    "because",
    "been",
    "before",
    "being",
    "could",
    "demo",
    "describe",
    "does",
    "each",
    "every",
    "explain",
    "from",
    "give",
    "have",
    "hello",
    "here",
    "into",
    "just",
    "know",
    "like",
    "make",
    "many",
    "more",
    "most",
    "much",
    "please",
    "really",
    "short",
    "should",
    "some",
    "something",
    "tell",
    "than",
    "that",
    "their",
    "them",
    "then",
    "there",
    "these",
    "they",
    "thing",
    "this",
    "very",
    "want",
    "what",
    "when",
    "where",
    "which",
    "with",
    "write",
];

const INTRO: &str = "This is lastword's built-in demo, not an AI: it {strings together|puts \
    together|lines up} prepared sentences, {here with|this time with} your words about @.";

const SENTENCES: [&str; 32] = [
    "Anyone who has {watched|followed} @ for a whole {day|season} knows that nothing is {ever lost|in a hurry} there.",
    "There is a {quiet|patient|stubborn} order in @, and it shows best when the {weather|evening} turns.",
    "The first thing to learn about @ is where {to begin|to stop|to slow down}.",
    "With @, a {boatman|clockmaker|gardener} once said, {half|the best part} of the story is never told.",
    "What was written down {stays|remains}; what was only said goes with the {wind|tide}.",
    "In {spring|autumn|winter}, one looks at @ with {other|younger|clearer} eyes.",
    "People come from {far away|the next valley|the coast} to see @, and leave with a {stone|story|sketch} in the pocket.",
    "If the {bridge|lamp|line} fails in the middle, you go on from the last {step|word|mark} that you are sure of.",
    "It helps to {count|listen|wait}, one, two, three, and to miss none.",
    "Between @ and the {sea|harbour|hills} there is room for a {long|slow} conversation.",
    "The old maps show @ in {blue|faded ink|a careful hand}, with a note that nobody can read any more.",
    "Some {mornings|evenings} the mist takes everything away and gives it back {piece by piece|by noon}.",
    "Ask about @ in the {market|library|station} and you will hear {three|seven} answers, all of them {true|kind}.",
    "A good {letter|ferry|signal} arrives even when the road behind it is gone.",
    "Nobody {hurries|owns|finishes} @; one only {takes part|looks on} for a while.",
    "The {lighthouse|bell|ferry} keeps its own time and is never {late|asked why}.",
    "To understand @, follow the {water|light|footsteps} and not the {signs|crowd}.",
    "What begins as a {trickle|whisper|draft} is, a little later, {a river|a chorus|a book}.",
    "The {children|fishermen|archivists} have a word for @ that does not translate.",
    "Here the story pauses, as stories do, and {goes on|picks up} exactly where it stopped.",
    "One {stone|page|token} after the other: that is how anything {long|large|lasting} is made.",
    "Of all that can be said about @, the {simplest|shortest} part is the one that people {forget|remember}.",
    "A {second|late} reader who starts today will read the very same words.",
    "When the {storm|power cut|long night} had passed, nothing was missing: it went on {word for word|stone by stone}.",
    "There are {two|five} ways to tell it, and both of them end {at the water|with a full stop|well}.",
    "Keep a {notebook|lantern|ladder} at hand; with @ you never know.",
    "The {keeper|captain|librarian} writes the {hour|count} into the log before she tells anybody.",
    "Seen from above, all this is one {ribbon|pattern|sentence} that somebody has underlined.",
    "The oldest {drawing|song|record} of @ was made on a Tuesday, which explains {a lot|very little}.",
    "Every {path|thread|sentence} here leads back to @, given time.",
    "The {rain|clock|train} does not know about @ and {helps|arrives} all the same.",
    "And so it ends where it should: at the last {word|bend|light}.",
];

/// Each part stands in its own block; `§` is a sentence.
const MARKDOWN: [&str; 7] = [
    "# A demo about @\n\nThis is lastword's built-in demo, *not an AI*. § §",
    "# What to look for\n\n- **@**: §\n- **the {weather|tide|light}**: §\n- [a link](https://example.org) and `some code`",
    "# In numbers\n\n| what | {before|then} | {after|now} |\n|---|---:|---:|\n| @ | 12 | 48 |\n| {rain|wind} | 7.5 | 3 |\n| *sum* | 19.5 | 51 |",
    "# Step by step\n\n1. §\n2. §\n3. §",
    "> §\n\nSo much for the quotation. §",
    "```rust\n/// Follows the events of {one|a} generation to its last word.\nfn follow(after: u64) -> Vec<Event> {\n    log.read(after).collect()\n}\n```",
    "Then, ~~of course~~ after a pause: §\n\n---",
];

/// Text that breaks where it is cut in the wrong place.
const NASTY: [&str; 12] = [
    "👩‍👩‍👧‍👦",
    "🏳️‍🌈",
    "🇩🇪🇯🇵",
    "e\u{301}cole",
    "Z͑ͫ̓a̴l̵g̶o̷",
    "שלום",
    "مرحبا",
    "नमस्ते",
    "日本語。",
    "한국어",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    "\"quoted\\\"",
];

#[cfg(test)]
mod tests {
    use crate::providers::demo::text::*;

    fn text(seed: u64, style: Style, prompt: &str, tokens: usize) -> String {
        let mut source = DemoText::new(seed, style, prompt);
        (0..tokens).map(|_| source.next_token().to_owned()).collect()
    }

    /// All of a prompt of megabytes held its thread for minutes.
    #[test]
    fn only_the_end_of_a_long_prompt_is_looked_at() {
        let words = |count: usize| (0..count).map(|n| format!("word-{n} ")).collect::<String>();
        let long = format!("lighthouse \u{e9}{} lighthouse", words(20_000));
        assert_eq!(topics(&long).last().unwrap(), "lighthouse");
        assert_eq!(topics(&long).len(), 5);
        assert_eq!(topics(&words(20))[0], "word-15");
    }

    #[test]
    fn a_text_is_fixed_by_its_seed_and_prompt() {
        for style in [Style::Prose, Style::Unicode, Style::Markdown] {
            let one = text(7, style, "Tell me about rivers", 300);
            assert_eq!(one, text(7, style, "Tell me about rivers", 300));
            assert_ne!(one, text(8, style, "Tell me about rivers", 300));
        }
    }

    #[test]
    fn it_says_what_it_is_and_weaves_the_prompt_in() {
        let about = text(1, Style::Prose, "Tell me about the moss of Iceland, please!", 120);
        let first = about.split('.').next().unwrap_or_default();
        assert!(first.contains("built-in demo, not an AI"), "{first}");
        assert!(about.contains("moss") && about.contains("iceland"), "{about}");
        for prompt in ["", "?", "{|}@", "/demo"] {
            assert!(text(1, Style::Prose, prompt, 50).contains("not an AI"));
        }
    }

    #[test]
    fn every_template_fills() {
        for style in [Style::Prose, Style::Unicode, Style::Markdown] {
            let text = text(3, style, "rivers", 5000);
            for mark in ["@", "§", "  rivers", "..", "||\n"] {
                assert!(!text.contains(mark), "{style:?} {mark}");
            }
            assert_eq!(text.contains('|'), style == Style::Markdown);
        }
        let document = text(3, Style::Markdown, "rivers", 500);
        assert!(document.contains("\n\n## Step by step\n\n1. "));
        let code = "-> Vec<Event> {\n    log.read(after).collect()\n}\n```";
        assert!(document.contains(code), "{document}");
    }

    #[test]
    fn no_token_is_empty() {
        let mut source = DemoText::new(1, Style::Unicode, "x");
        assert!((0..2000).all(|_| !source.next_token().is_empty()));
    }
}
