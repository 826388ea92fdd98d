//! The fields of an upstream of the same protocol beside text, thinking and calls, in their own
//! form.
use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Messages;
use super::pieces::send;
use crate::domain::extra::{Extra, Fields, Spot};
use crate::domain::json::JsonObject;
use crate::domain::raw_json::RawJson;
use crate::domain::source::WireProtocol;
use crate::domain::thinking::ThinkingBlock;
use crate::http::dialect::Frames;
use crate::http::protocols::anthropic::blocks::{Block, Foreign, Kind, Text};

/// The fields that belong to a block that has not come yet.
#[derive(Debug, Default)]
pub(super) struct More {
    calls: Vec<(u32, Map<String, Value>)>,
    /// Beside counts of tokens.
    pub(super) usage: Map<String, Value>,
    /// Beside the stop reason.
    pub(super) message: Map<String, Value>,
    /// Of the last event.
    pub(super) event: Map<String, Value>,
}

impl More {
    /// The fields of a call that begins.
    pub(super) fn take_call(&mut self, index: u32) -> Map<String, Value> {
        let place = self.calls.iter().position(|(known, _)| *known == index);
        place.map(|place| self.calls.swap_remove(place).1).unwrap_or_default()
    }
}

impl Messages {
    pub(super) fn extra(&mut self, extra: &Extra, frames: &mut Frames) {
        if extra.protocol != WireProtocol::AnthropicMessages {
            return;
        }
        if extra.at == Spot::Block {
            self.add(block(&extra.data), frames);
            return;
        }
        let Ok(data) = serde_json::from_str::<Map<String, Value>>(extra.data.text()) else {
            return;
        };
        match extra.at {
            Spot::Citation => self.citation(data.into(), frames),
            Spot::Call => self.more.calls.push((extra.index.unwrap_or_default(), data)),
            Spot::Usage => self.more.usage.extend(data),
            Spot::Message => self.more.message.extend(data),
            Spot::Chunk => self.more.event.extend(data),
            Spot::Block | Spot::Choice | Spot::Event | Spot::OtherChoice => {}
        }
    }

    /// The vendor's seal of the thinking block that grows, or a block that only it can read. A
    /// stored answer may have thinking of an earlier attempt before what is signed.
    pub(super) fn sealed(&mut self, block: &ThinkingBlock, frames: &mut Frames) {
        match block {
            ThinkingBlock::Thinking { thinking: text, signature } => {
                let place = self.thinking(frames);
                if let Some(Kind::Thinking(thinking)) = self.kind(place) {
                    let whole = thinking.bytes == text.len();
                    thinking.signature = whole.then(|| signature.clone());
                    thinking.sealed = true;
                }
            }
            ThinkingBlock::RedactedThinking { data } => {
                self.add(Kind::Redacted { data: data.clone() }, frames);
            }
        }
    }

    /// A citation of the last text, behind what of it was said.
    fn citation(&mut self, citation: Value, frames: &mut Frames) {
        let place = match self.blocks.last() {
            Some(Block { kind: Kind::Text(_), .. }) => self.blocks.len() - 1,
            Some(_) | None => self.add(Kind::Text(Text::default()), frames),
        };
        let Some(block) = self.blocks.get_mut(place) else { return };
        let Kind::Text(text) = &mut block.kind else { return };
        if block.started {
            send(place, delta_of(&citation), frames);
        } else {
            text.waiting.push(citation.clone());
        }
        if self.whole {
            text.citations.push(citation);
        }
    }
}

/// A text that begins a block of its own, or a block as its vendor made it.
fn block(data: &JsonObject) -> Kind {
    #[derive(Deserialize)]
    struct Typed<'a> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'a, str>,
    }
    let mut fields = Fields::of(data);
    let block = fields.take("content_block");
    let text = block.as_ref().map(RawJson::get).filter(|json| {
        serde_json::from_str::<Typed<'_>>(json).is_ok_and(|block| block.kind == "text")
    });
    match text.map(serde_json::from_str) {
        Some(Ok(fields)) => Kind::Text(Text { fields, ..Text::default() }),
        Some(Err(_)) | None => Kind::Foreign(Foreign { block, deltas: fields.take("deltas") }),
    }
}

/// The piece of a block that a citation is.
pub(super) fn delta_of(citation: &Value) -> Value {
    json!({ "type": "citations_delta", "citation": citation })
}

/// Adds fields to an object.
pub(super) fn extend(json: &mut Value, fields: &Map<String, Value>) {
    for (name, value) in fields {
        json[name] = value.clone();
    }
}
