//! The fields of a message beside text, thinking and calls. They are blocks of tools that the
//! provider runs, citations, and fields of a token report beside its counts.
use serde_json::value::{RawValue, to_raw_value};

use super::wire::{Block, BlockDelta};
use crate::domain::extra::{Extra, Spot};
use crate::domain::source::WireProtocol;
use crate::providers::upstream::rest::{Rest, extra, object, says_something};
use crate::providers::upstream::text::{ChunkText, TextJoiner};

const MESSAGES: WireProtocol = WireProtocol::AnthropicMessages;
/// The counts that [`crate::domain::event::Usage`] holds.
const COUNTS: [&str; 4] =
    ["input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"];

/// A block that is passed through as a whole, once it is complete.
#[derive(Debug)]
pub(crate) struct Foreign {
    begin: String,
    deltas: String,
}

impl Foreign {
    pub(crate) fn new(kind: String, block: Block) -> Self {
        let mut fields: Rest = Vec::new();
        add(&mut fields, "type", &Some(kind));
        add(&mut fields, "id", &block.id);
        add(&mut fields, "name", &block.name);
        fields.extend(block.input.map(|input| ("input".to_owned(), input)));
        add(&mut fields, "data", &block.data);
        fields.extend(block.rest);
        Self { begin: written(&fields), deltas: String::new() }
    }

    /// Adds a piece, as it came.
    pub(crate) fn push(&mut self, delta: BlockDelta) {
        let mut fields: Rest = Vec::new();
        add(&mut fields, "type", &delta.kind);
        let text = |piece: ChunkText| {
            let mut joiner = TextJoiner::default();
            joiner.push(piece) + &joiner.finish()
        };
        add(&mut fields, "partial_json", &delta.partial_json.map(text));
        fields.extend(delta.rest);
        if !self.deltas.is_empty() {
            self.deltas.push(',');
        }
        self.deltas.push_str(&written(&fields));
    }

    /// Its size in bytes.
    pub(crate) fn len(&self) -> usize {
        self.begin.len() + self.deltas.len()
    }

    pub(crate) fn extra(&self) -> Option<Extra> {
        let Self { begin, deltas } = self;
        let text = format!(r#"{{"content_block":{begin},"deltas":[{deltas}]}}"#);
        object(MESSAGES, Spot::Block, &text)
    }
}

/// The beginning of a text that is a block of its own, with its fields.
pub(crate) fn text_block(fields: &Rest) -> Option<Extra> {
    let mut all: Rest = Vec::new();
    add(&mut all, "type", &Some("text".to_owned()));
    all.extend(fields.iter().cloned());
    object(MESSAGES, Spot::Block, &format!(r#"{{"content_block":{}}}"#, written(&all)))
}

/// A citation of the text so far.
pub(crate) fn citation(fields: &Rest) -> Option<Extra> {
    let (_, citation) = fields.iter().find(|(name, _)| name == "citation")?;
    object(MESSAGES, Spot::Citation, citation.get())
}

/// The fields of a call.
pub(crate) fn call(index: u32, mut fields: Rest) -> Option<Extra> {
    fields.retain(|(_, value)| says_something(value));
    Some(Extra { index: Some(index), ..extra(MESSAGES, Spot::Call, &fields)? })
}

/// Fields of the message or of its last event.
pub(crate) fn of_message(at: Spot, fields: &Rest) -> Option<Extra> {
    extra(MESSAGES, at, fields)
}

/// The fields of a token report beside its counts.
pub(crate) fn usage(report: &RawValue) -> Option<Extra> {
    let fields: crate::domain::extra::Fields = serde_json::from_str(report.get()).ok()?;
    let mut fields = fields.into_boxes();
    fields.retain(|(name, value)| !COUNTS.contains(&name.as_str()) && says_something(value));
    extra(MESSAGES, Spot::Usage, &fields)
}

fn add(fields: &mut Rest, name: &str, value: &Option<String>) {
    let raw = value.as_ref().and_then(|value| to_raw_value(value).ok());
    fields.extend(raw.map(|raw| (name.to_owned(), raw)));
}

fn written(fields: &Rest) -> String {
    let fields: crate::domain::extra::Fields = fields.iter().cloned().collect();
    serde_json::to_string(&fields).unwrap_or_default()
}
