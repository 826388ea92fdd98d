//! The content blocks of an answer: one after the other, whatever order their pieces come in.
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::json_end::JsonEnd;
use super::signature::Signer;
use crate::domain::raw_json::RawJson;

/// The kind of a block.
#[derive(Debug)]
pub(super) enum Kind {
    /// Text of the answer.
    Text(Text),
    /// A block as its vendor made it, with its pieces.
    Foreign(Foreign),
    /// Thinking.
    Thinking(Thinking),
    /// Thinking that only its vendor can read.
    Redacted { data: String },
    /// A tool call.
    Call(Call),
}

/// A vendor's block. It may have megabytes, which are those of the event that it came in.
#[derive(Debug, Default)]
pub(super) struct Foreign {
    /// As it starts.
    pub(super) block: Option<RawJson>,
    /// The list of its pieces.
    pub(super) deltas: Option<RawJson>,
}

impl Foreign {
    /// Its pieces, one by one.
    pub(super) fn deltas(&self) -> Vec<&RawValue> {
        let list = self.deltas.as_ref().and_then(|list| serde_json::from_str(list.get()).ok());
        list.unwrap_or_default()
    }

    /// The block with all of its pieces: its input as JSON.
    fn whole(&self) -> Value {
        let deltas: Vec<Value> =
            self.deltas().iter().filter_map(|raw| serde_json::from_str(raw.get()).ok()).collect();
        let mut block = self.start();
        deltas.iter().for_each(|delta| apply(&mut block, delta));
        if let Some(input) = pieced(&deltas) {
            block["input"] = input;
        }
        block
    }

    fn start(&self) -> Value {
        let raw = self.block.as_ref().and_then(|raw| serde_json::from_str(raw.get()).ok());
        raw.unwrap_or_default()
    }
}

/// A text block, beside its text.
#[derive(Debug, Default)]
pub(super) struct Text {
    /// The vendor's fields of it.
    pub(super) fields: Map<String, Value>,
    /// All citations, where somebody wants them.
    pub(super) citations: Vec<Value>,
    /// Those that are not told yet.
    pub(super) waiting: Vec<Value>,
}

/// A thinking block's signature.
#[derive(Debug)]
pub(super) struct Thinking {
    signer: Signer,
    /// The vendor's own.
    pub(super) signature: Option<String>,
    /// The next delta belongs to another block.
    pub(super) sealed: bool,
    /// Its size in bytes.
    pub(super) bytes: usize,
}

impl Thinking {
    /// One whose text `signer` signs.
    pub(super) fn new(signer: Signer) -> Self {
        Self { signer, signature: None, sealed: false, bytes: 0 }
    }

    /// The vendor's signature, or ours.
    pub(super) fn signature(&self) -> String {
        self.signature.clone().unwrap_or_else(|| self.signer.signature())
    }
}

/// A tool call.
#[derive(Debug)]
pub(super) struct Call {
    /// The upstream's number of it.
    pub(super) index: u32,
    pub(super) id: String,
    pub(super) name: String,
    /// The vendor's own fields.
    pub(super) more: Map<String, Value>,
    end: JsonEnd,
}

impl Call {
    pub(super) fn new(index: u32, more: Map<String, Value>) -> Self {
        Self { index, id: String::new(), name: String::new(), more, end: JsonEnd::default() }
    }
}

/// One block.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) kind: Kind,
    /// Whether its start was told.
    pub(super) started: bool,
    /// The text that waits because an earlier block is not at its end.
    pub(super) waiting: String,
    /// All of it, where somebody wants it.
    text: Option<String>,
}

impl Block {
    /// A block without anything in it; `whole` keeps its text.
    pub(super) fn new(kind: Kind, whole: bool) -> Self {
        let text = whole.then(String::new);
        Self { kind, started: false, waiting: String::new(), text }
    }

    /// Adds a piece; what of it counts. Behind the end of a call's JSON nothing does.
    pub(super) fn add<'a>(&mut self, piece: &'a str) -> &'a str {
        let piece = match &mut self.kind {
            Kind::Text(_) | Kind::Redacted { .. } | Kind::Foreign(_) => piece,
            Kind::Thinking(thinking) => {
                thinking.signer.push(piece);
                thinking.bytes += piece.len();
                piece
            }
            Kind::Call(call) => piece.get(..call.end.push(piece)).unwrap_or(piece),
        };
        if let Some(text) = &mut self.text {
            text.push_str(piece);
        }
        piece
    }

    /// Whether its start can be told.
    pub(super) fn can_start(&self) -> bool {
        match &self.kind {
            Kind::Call(call) => !call.name.is_empty(),
            Kind::Text(_) | Kind::Thinking(_) | Kind::Redacted { .. } | Kind::Foreign(_) => true,
        }
    }

    /// Whether nothing more can come for it once another block has begun.
    pub(super) fn can_end(&self) -> bool {
        match &self.kind {
            Kind::Call(call) => self.started && call.end.is_over(),
            Kind::Text(_) | Kind::Thinking(_) | Kind::Redacted { .. } | Kind::Foreign(_) => true,
        }
    }

    /// Lets go of what was told and nobody wants again: a vendor's block may have megabytes.
    pub(super) fn told(&mut self) {
        if let (Kind::Foreign(foreign), None) = (&mut self.kind, &self.text) {
            *foreign = Foreign::default();
        }
    }

    /// The block as it starts, empty.
    pub(super) fn empty(&self) -> Value {
        match &self.kind {
            Kind::Text(text) => with(json!({ "type": "text", "text": "" }), &text.fields),
            Kind::Foreign(foreign) => foreign.start(),
            Kind::Thinking(_) => json!({ "type": "thinking", "thinking": "", "signature": "" }),
            Kind::Redacted { data } => json!({ "type": "redacted_thinking", "data": data }),
            Kind::Call(Call { id, name, more, .. }) => {
                with(json!({ "type": "tool_use", "id": id, "name": name, "input": {} }), more)
            }
        }
    }

    /// The block as it stands; `None` for a call whose input is not complete.
    pub(super) fn whole(&self, ended: bool) -> Option<Value> {
        let text = self.text.as_deref().unwrap_or_default();
        if let Kind::Foreign(foreign) = &self.kind {
            return Some(foreign.whole());
        }
        let mut block = self.empty();
        match &self.kind {
            Kind::Text(of) => {
                block["text"] = text.into();
                if !of.citations.is_empty() {
                    block["citations"] = of.citations.clone().into();
                }
            }
            Kind::Thinking(thinking) => {
                block["thinking"] = text.into();
                block["signature"] = thinking.signature().into();
            }
            Kind::Redacted { .. } | Kind::Foreign(_) => {}
            Kind::Call(call) => {
                if !ended && !call.end.is_over() {
                    return None;
                }
                block["input"] = input(text);
            }
        }
        Some(block)
    }
}

fn with(mut block: Value, fields: &Map<String, Value>) -> Value {
    for (name, value) in fields {
        block[name] = value.clone();
    }
    block
}

/// Adds a piece to a vendor's block: its input as JSON, its texts joined, of the rest the last.
fn apply(block: &mut Value, delta: &Value) {
    let Some(fields) = delta.as_object() else { return };
    for (name, value) in fields.iter().filter(|(name, _)| *name != "type") {
        match (name.as_str(), block.get_mut(name), value) {
            ("partial_json", ..) => {}
            (_, Some(Value::String(known)), Value::String(more)) => known.push_str(more),
            (name, _, value) => block[name] = value.clone(),
        }
    }
}

/// The input of a vendor's block, from its pieces.
fn pieced(deltas: &[Value]) -> Option<Value> {
    let pieces = deltas.iter().filter_map(|delta| delta["partial_json"].as_str());
    let all: String = pieces.collect();
    (!all.is_empty()).then(|| input(&all))
}

/// The arguments as the object that clients expect. A model's broken JSON is not lost: it is in
/// the form that the API's documentation has for it.
fn input(arguments: &str) -> Value {
    if arguments.trim().is_empty() {
        return json!({});
    }
    match serde_json::from_str(arguments) {
        Ok(object @ Value::Object(_)) => object,
        Ok(_) | Err(_) => json!({ "INVALID_JSON": arguments }),
    }
}
