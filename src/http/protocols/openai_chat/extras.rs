//! The fields of an upstream of the same protocol beside text, thinking and calls, in their own
//! form.
use serde_json::value::to_raw_value;
use serde_json::{Map, Value};

use crate::domain::extra::{Extra, Fields, Placed, Spot};
use crate::domain::merged::{grow, merge};
use crate::domain::raw_json::RawJson;
use crate::domain::reasoning_details;
use crate::domain::source::WireProtocol;
use crate::domain::thinking;
use crate::domain::thinking::ThinkingBlock;
use crate::domain::transcript::Answer;
use crate::http::protocols::openai::citations::{in_chat, url_citations};

/// The word for an upstream that has none. Without a text here, Cerebras' SDK for Python takes a
/// chunk for a whole completion.
pub(crate) const FINGERPRINT: &str = "fp_lastword";
/// The longest value that goes with every chunk from then on, in bytes; others are said once.
const SHORT: usize = 256;
/// Fields of a message that hold sound or pictures.
const MEDIA: [&str; 2] = ["audio", "images"];

/// The fields for the next chunk.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// Fields of every chunk from now on.
    pub(crate) lasting: Fields,
    pub(crate) chunk: Fields,
    pub(crate) choice: Fields,
    pub(crate) message: Fields,
    calls: Vec<(u32, Fields)>,
    pub(crate) usage: Option<Value>,
    /// Blocks of thinking so far.
    thoughts: usize,
}

impl Extras {
    /// Adds a block of thinking for the client to send back. It is whole although its words were
    /// told before: clients keep what stands in these fields only.
    pub(crate) fn sealed(&mut self, block: &ThinkingBlock) {
        let fields = reasoning_details::fields(std::slice::from_ref(block), self.thoughts);
        self.thoughts += 1;
        let raw = fields
            .iter()
            .filter_map(|(name, list)| Some(((*name).to_owned(), to_raw_value(list).ok()?)));
        join(&mut self.message, raw.collect());
    }

    /// Adds what is said behind so many characters of the text.
    pub(crate) fn add(&mut self, extra: &Extra, said: usize) {
        if extra.protocol != WireProtocol::OpenaiChat {
            let cited = annotations(extra, said).and_then(|all| to_raw_value(&all).ok());
            let fields = cited.map(|all| ("annotations".to_owned(), all));
            join(&mut self.message, fields.into_iter().collect());
            return;
        }
        let fields = Fields::of(&extra.data);
        match extra.at {
            Spot::Chunk => {
                for (name, value) in fields.0 {
                    let short = value.get().len() <= SHORT && !value.get().starts_with(['{', '[']);
                    let place = if short { &mut self.lasting } else { &mut self.chunk };
                    place.set(name, value);
                }
            }
            Spot::Choice => join(&mut self.choice, fields),
            Spot::Message => join(&mut self.message, fields),
            Spot::Call => {
                let index = extra.index.unwrap_or_default();
                match self.calls.iter_mut().find(|(known, _)| *known == index) {
                    Some((_, known)) => join(known, fields),
                    None => self.calls.push((index, fields)),
                }
            }
            Spot::Usage => self.usage = value(&extra.data),
            Spot::Block | Spot::Citation | Spot::Event | Spot::OtherChoice => {}
        }
    }

    /// Our own fingerprint, unless the upstream has one.
    pub(crate) fn fingerprint(&self) -> Option<&'static str> {
        let name = "system_fingerprint";
        let known = [&self.lasting, &self.chunk].into_iter().flat_map(|fields| &fields.0);
        known.into_iter().all(|(known, _)| known != name).then_some(FINGERPRINT)
    }

    /// Whether sound or pictures wait for a chunk: they come without text, and are told at once.
    pub(crate) fn has_media(&self) -> bool {
        self.message.0.iter().any(|(name, _)| MEDIA.contains(&name.as_str()))
    }

    /// The fields of a call that were not said yet.
    pub(crate) fn take_call(&mut self, index: u32) -> Fields {
        let place = self.calls.iter().position(|(known, _)| *known == index);
        place.map(|place| self.calls.swap_remove(place).1).unwrap_or_default()
    }
}

/// All of an answer's fields, for the completion in one piece.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    pub(crate) chunk: Map<String, Value>,
    pub(crate) choice: Map<String, Value>,
    pub(crate) message: Map<String, Value>,
    calls: Vec<(u32, Map<String, Value>)>,
    pub(crate) usage: Option<Value>,
}

impl Whole {
    pub(crate) fn of(answer: &Answer) -> Self {
        let mut whole = Self::default();
        for Placed { extra, after, .. } in &answer.extras {
            let said = || answer.text.get(..*after).unwrap_or_default().chars().count();
            if extra.protocol != WireProtocol::OpenaiChat {
                let cited = annotations(extra, said()).map(|all| ("annotations".to_owned(), all));
                grow(&mut whole.message, cited.into_iter().collect());
            } else if let Some(Value::Object(fields)) = value(&extra.data) {
                whole.add(extra, fields);
            }
        }
        whole
    }

    fn add(&mut self, extra: &Extra, fields: Map<String, Value>) {
        match extra.at {
            Spot::Chunk => self.chunk.extend(fields),
            Spot::Choice => grow(&mut self.choice, fields),
            Spot::Message => grow(&mut self.message, fields),
            Spot::Call => {
                let index = extra.index.unwrap_or_default();
                match self.calls.iter_mut().find(|(known, _)| *known == index) {
                    Some((_, known)) => grow(known, fields),
                    None => self.calls.push((index, fields)),
                }
            }
            Spot::Usage => self.usage = Some(fields.into()),
            Spot::Block | Spot::Citation | Spot::Event | Spot::OtherChoice => {}
        }
    }

    /// The fields of a call.
    pub(crate) fn take_call(&mut self, index: usize) -> Map<String, Value> {
        let is = |known: u32| usize::try_from(known) == Ok(index);
        let place = self.calls.iter().position(|(known, _)| is(*known));
        place.map(|place| self.calls.swap_remove(place).1).unwrap_or_default()
    }
}

/// The thinking of an answer for the client to send back, in the fields of its message.
pub(super) fn thoughts(answer: &Answer) -> Map<String, Value> {
    let blocks = thinking::of_answer(answer).into_iter().map(|thought| thought.block);
    let blocks: Vec<ThinkingBlock> = blocks.collect();
    if blocks.is_empty() {
        return Map::new();
    }
    let fields = reasoning_details::fields(&blocks, 0);
    fields.into_iter().map(|(name, list)| (name.to_owned(), list)).collect()
}

/// Citations of an upstream of another protocol.
fn annotations(extra: &Extra, said: usize) -> Option<Value> {
    let all: Vec<Value> = url_citations(extra, said).into_iter().map(in_chat).collect();
    (!all.is_empty()).then(|| all.into())
}

fn value(data: &crate::domain::json::JsonObject) -> Option<Value> {
    serde_json::from_str(data.text()).ok()
}

/// Adds fields to those that wait for the same chunk.
fn join(known: &mut Fields, more: Fields) {
    for (name, new) in more.0 {
        let old = known.0.iter().find(|(known, _)| *known == name);
        let both = old.and_then(|(_, old)| both(&name, old, &new));
        known.set(name, both.unwrap_or(new));
    }
}

fn both(name: &str, old: &RawJson, new: &RawJson) -> Option<RawJson> {
    let mut all: Value = serde_json::from_str(old.get()).ok()?;
    merge(name, &mut all, serde_json::from_str(new.get()).ok()?);
    to_raw_value(&all).ok().map(RawJson::from)
}
