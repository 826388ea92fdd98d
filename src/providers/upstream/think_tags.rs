//! Thoughts that a server without a reasoning parser leaves in the text, between `<think>` and
//! `</think>`. The tags may be cut anywhere.
use super::adjust::ThinkTags;

const OPENING: &str = "<think>";
const CLOSING: &str = "</think>";

/// Text told apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) thoughts: String,
    pub(crate) text: String,
    /// The closing tag came alone: what came before it was told as text.
    pub(crate) late: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Nothing but white space yet.
    Beginning,
    /// Behind the opening tag, before the thoughts.
    Opened,
    Thoughts,
    /// Behind the thoughts, before the text.
    Between,
    /// In the text; no tag has stood in it.
    Text,
    /// Tags mean nothing any more.
    #[default]
    Over,
}

/// The splitter of one answer.
#[derive(Debug, Default)]
pub(crate) struct Thinking {
    place: Phase,
    /// The possible beginning of a tag.
    held: String,
}

impl Thinking {
    /// For the beginning of an answer.
    pub(crate) fn new(tags: ThinkTags) -> Self {
        let place = match tags {
            ThinkTags::Off => Phase::Over,
            ThinkTags::On => Phase::Beginning,
            ThinkTags::Opened => Phase::Opened,
        };
        Self { place, held: String::new() }
    }

    /// The server has a field for thoughts of its own: tags are the answer's.
    pub(crate) fn is_told_apart(&mut self) {
        if self.place == Phase::Beginning {
            self.place = Phase::Over;
        }
    }

    /// The output that `piece` makes certain.
    pub(crate) fn push(&mut self, piece: String) -> Told {
        if self.place == Phase::Over && self.held.is_empty() {
            return Told { text: piece, ..Told::default() };
        }
        self.held.push_str(&piece);
        let mut told = Told::default();
        while self.step(&mut told) {}
        told
    }

    /// The rest at the end.
    pub(crate) fn finish(&mut self) -> Told {
        let rest = std::mem::take(&mut self.held);
        match self.place {
            Phase::Thoughts => Told { thoughts: rest, ..Told::default() },
            Phase::Opened | Phase::Between => Told::default(),
            Phase::Beginning | Phase::Text | Phase::Over => Told { text: rest, ..Told::default() },
        }
    }

    /// False when more has to come first.
    fn step(&mut self, told: &mut Told) -> bool {
        match self.place {
            Phase::Beginning => {
                let said = self.held.trim_start();
                if let Some(rest) = said.strip_prefix(OPENING) {
                    self.held = rest.to_owned();
                    self.place = Phase::Opened;
                    return true;
                }
                if OPENING.starts_with(said) {
                    return false;
                }
                self.place = Phase::Text;
                true
            }
            Phase::Thoughts => match self.held.split_once(CLOSING) {
                Some((before, after)) => {
                    told.thoughts.push_str(before);
                    self.held = after.to_owned();
                    self.place = Phase::Between;
                    true
                }
                None => {
                    told.thoughts.push_str(&self.release());
                    false
                }
            },
            Phase::Opened => self.skip_blank(Phase::Thoughts),
            Phase::Between => self.skip_blank(Phase::Over),
            Phase::Text => self.text(told),
            Phase::Over => {
                told.text.push_str(&std::mem::take(&mut self.held));
                false
            }
        }
    }

    /// Goes to `next` with the first character that is no white space.
    fn skip_blank(&mut self, next: Phase) -> bool {
        self.held = self.held.trim_start().to_owned();
        if self.held.is_empty() {
            return false;
        }
        self.place = next;
        true
    }

    fn text(&mut self, told: &mut Told) -> bool {
        let (opening, closing) = (self.held.find(OPENING), self.held.find(CLOSING));
        match (opening, closing) {
            // An answer about these tags has both.
            (Some(at), closing) if closing.is_none_or(|closing| at < closing) => {
                self.place = Phase::Over;
                true
            }
            (_, Some(at)) => {
                told.text.push_str(self.held.get(..at).unwrap_or_default());
                self.held.drain(..at + CLOSING.len());
                self.place = Phase::Between;
                told.late = true;
                true
            }
            (_, None) => {
                told.text.push_str(&self.release());
                false
            }
        }
    }

    /// All that cannot be the beginning of a tag.
    fn release(&mut self) -> String {
        let starts = |at: &usize| {
            let tail = self.held.get(*at..).unwrap_or_default();
            CLOSING.starts_with(tail) || OPENING.starts_with(tail)
        };
        let from = self.held.len().saturating_sub(CLOSING.len() - 1);
        let at = (from..self.held.len()).find(|at| self.held.is_char_boundary(*at) && starts(at));
        let rest = self.held.split_off(at.unwrap_or(self.held.len()));
        std::mem::replace(&mut self.held, rest)
    }
}

#[cfg(test)]
mod tests {
    use crate::providers::upstream::think_tags::*;

    fn split(tags: ThinkTags, pieces: &[&str]) -> (String, String, bool) {
        let mut thinking = Thinking::new(tags);
        let mut all = Told::default();
        let pieces = pieces.iter().map(|piece| thinking.push((*piece).into())).collect::<Vec<_>>();
        for told in pieces.into_iter().chain([thinking.finish()]) {
            all.thoughts += &told.thoughts;
            all.text += &told.text;
            all.late |= told.late;
        }
        (all.thoughts, all.text, all.late)
    }

    #[test]
    fn tags_are_found_wherever_they_are_cut() {
        let said = "\n<think>\nwhy é </ not</think>\n\nSo <b> it is";
        let letters: Vec<String> = said.chars().map(String::from).collect();
        let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
        let expected = ("why é </ not".to_owned(), "So <b> it is".to_owned(), false);
        assert_eq!(split(ThinkTags::On, &letters), expected);
        for (cut, _) in said.char_indices() {
            assert_eq!(split(ThinkTags::On, &[&said[..cut], &said[cut..]]), expected, "{cut}");
        }
    }

    #[test]
    fn what_is_no_thought_stays() {
        type Case<'a> = (ThinkTags, &'a [&'a str], (&'a str, &'a str, bool));
        let cases: [Case<'_>; 8] = [
            (ThinkTags::On, &["step", "</thi", "nk>", "\nAnswer"], ("", "stepAnswer", true)),
            (ThinkTags::Opened, &["step", "</thi", "nk>", "\nAnswer"], ("step", "Answer", false)),
            (ThinkTags::Opened, &["only thoughts </th"], ("only thoughts </th", "", false)),
            (ThinkTags::On, &["Write <think>a</think>."], ("", "Write <think>a</think>.", false)),
            (ThinkTags::On, &["  <thin", "g>"], ("", "  <thing>", false)),
            (ThinkTags::On, &["<th"], ("", "<th", false)),
            (ThinkTags::On, &["<think>a</think>b</think>"], ("a", "b</think>", false)),
            (ThinkTags::Off, &["<think>a</think>"], ("", "<think>a</think>", false)),
        ];
        for (tags, pieces, (thoughts, text, late)) in cases {
            let expected = (thoughts.to_owned(), text.to_owned(), late);
            assert_eq!(split(tags, pieces), expected, "{pieces:?}");
        }
    }
}
