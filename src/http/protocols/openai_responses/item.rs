//! The output items of a response.
use serde_json::{Value, json};

use crate::domain::id::GenerationId;
use crate::http::protocols::openai::ids::short;

/// One output item, as far as it has come.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) id: String,
    /// Its place among all items that the reader was told of, void ones included.
    pub(super) index: usize,
    pub(super) kind: ItemKind,
    pub(super) state: State,
}

/// Where an item stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    Completed,
    /// The generation ended in the middle of it.
    Incomplete,
    /// It was superseded: it is in the stream and not in the response.
    Void,
}

/// The content of an item.
#[derive(Clone, Debug)]
pub(super) enum ItemKind {
    Reasoning(String),
    /// Parts; only the last one grows.
    Message(Vec<Part>),
    Call {
        /// The upstream's index of it.
        upstream: u32,
        call_id: String,
        name: String,
        arguments: String,
    },
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Refusal(String),
}

impl Part {
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Text(text) => {
                json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
            }
            Self::Refusal(text) => json!({ "type": "refusal", "refusal": text }),
        }
    }

    /// The same without its text, as it is announced.
    pub(super) fn empty(&self) -> Self {
        match self {
            Self::Text(_) => Self::Text(String::new()),
            Self::Refusal(_) => Self::Refusal(String::new()),
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Refusal(text) => text,
        }
    }

    pub(super) fn push(&mut self, more: &str) {
        match self {
            Self::Text(text) | Self::Refusal(text) => text.push_str(more),
        }
    }

    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Open => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete | Self::Void => "incomplete",
        }
    }
}

impl Item {
    pub(super) fn new(generation: GenerationId, index: usize, kind: ItemKind) -> Self {
        let prefix = match &kind {
            ItemKind::Reasoning(_) => "rs",
            ItemKind::Message(_) => "msg",
            ItemKind::Call { .. } => "fc",
        };
        let id = format!("{prefix}_{}_{index}", short(generation));
        Self { id, index, kind, state: State::Open }
    }

    /// The item as it stands.
    pub(super) fn json(&self) -> Value {
        let status = self.state.as_str();
        match &self.kind {
            ItemKind::Reasoning(text) => json!({
                "id": self.id, "type": "reasoning", "status": status,
                "summary": [{ "type": "summary_text", "text": text }],
            }),
            ItemKind::Message(parts) => json!({
                "id": self.id, "type": "message", "status": status, "role": "assistant",
                "content": parts.iter().map(Part::json).collect::<Vec<_>>(),
            }),
            ItemKind::Call { call_id, name, arguments, .. } => json!({
                "id": self.id, "type": "function_call", "status": status,
                "call_id": call_id, "name": name, "arguments": arguments,
            }),
        }
    }

    /// The item without its content, as it is announced.
    pub(super) fn announced(&self) -> Value {
        let mut json = self.json();
        for (field, empty) in
            [("summary", json!([])), ("content", json!([])), ("arguments", "".into())]
        {
            if json.get(field).is_some() {
                json[field] = empty;
            }
        }
        json
    }
}
