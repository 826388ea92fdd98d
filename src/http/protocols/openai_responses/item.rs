//! The output items of a response.
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::domain::event::ToolCallDelta;
use crate::domain::extra::Fields;
use crate::domain::id::GenerationId;
use crate::domain::prompt::InputText;
use crate::domain::raw_json::RawJson;
use crate::domain::thinking::{ThinkingBlock, Thought};
use crate::http::protocols::openai::ids::{item_id, short};

/// One output item, as far as it has come.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) id: String,
    /// Its place among all items that the reader was told of, void ones included.
    pub(super) index: usize,
    pub(super) kind: ItemKind,
    pub(super) state: State,
    /// The item as an upstream of the same protocol has it, without what is told here.
    pub(super) own: Option<Fields>,
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
    Reasoning(Thoughts),
    /// Parts; only the last one grows.
    Message(Vec<Part>),
    Call(Call),
    /// A tool that the provider runs: all of it is in the upstream's own fields.
    Foreign,
}

/// Thinking: the parts of a summary, or the thoughts themselves.
#[derive(Clone, Debug, Default)]
pub(super) struct Thoughts {
    pub(super) parts: Vec<String>,
    pub(super) raw: bool,
    /// The same in blocks that their vendor has sealed.
    pub(super) blocks: Vec<ThinkingBlock>,
    /// All of them, for the client to keep.
    pub(super) sealed: Option<String>,
}

/// A call, of a function or of a tool that takes a text.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// The upstream's index of it.
    pub(super) upstream: u32,
    pub(super) call_id: String,
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) arguments: String,
    /// The text that the tool takes, as far as it has come, and what it comes out of.
    pub(super) input: Option<(String, InputText)>,
}

/// A part of a message.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Text(Text),
    Refusal(String),
}

/// A text, with what is known of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    pub(super) text: String,
    pub(super) annotations: Vec<RawJson>,
    pub(super) logprobs: Vec<Box<RawValue>>,
}

impl Thoughts {
    /// The sealed blocks, behind so many bytes of the answer's text.
    pub(super) fn at(&self, after: usize) -> impl Iterator<Item = Thought> {
        self.blocks.iter().cloned().map(move |block| Thought { after, block })
    }
}

impl Call {
    pub(super) fn new(fragment: &ToolCallDelta, call_id: String) -> Self {
        Self {
            upstream: fragment.index,
            call_id,
            name: fragment.name.clone().unwrap_or_default(),
            namespace: fragment.namespace.clone(),
            arguments: String::new(),
            input: fragment.custom.then(Default::default),
        }
    }

    /// Adds a fragment; what of it the client is told.
    pub(super) fn push(&mut self, fragment: &ToolCallDelta) -> String {
        if self.name.is_empty() {
            self.name.push_str(fragment.name.as_deref().unwrap_or_default());
        }
        self.arguments.push_str(&fragment.arguments);
        let Some((text, input)) = &mut self.input else { return fragment.arguments.clone() };
        let piece = input.push(&fragment.arguments);
        text.push_str(&piece);
        piece
    }

    /// The rest when nothing follows.
    pub(super) fn finish(&mut self) -> String {
        let Some((text, input)) = &mut self.input else { return String::new() };
        let rest = input.finish();
        text.push_str(&rest);
        rest
    }
}

impl Part {
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Text(Text { text, annotations, logprobs }) => json!({
                "type": "output_text", "text": text, "annotations": annotations,
                "logprobs": logprobs,
            }),
            Self::Refusal(text) => json!({ "type": "refusal", "refusal": text }),
        }
    }

    /// The same without its text, as it is announced.
    pub(super) fn empty(&self) -> Self {
        match self {
            Self::Text(_) => Self::Text(Text::default()),
            Self::Refusal(_) => Self::Refusal(String::new()),
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(Text { text, .. }) | Self::Refusal(text) => text,
        }
    }

    pub(super) fn push(&mut self, more: &str) {
        match self {
            Self::Text(Text { text, .. }) | Self::Refusal(text) => text.push_str(more),
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
    pub(super) fn new(
        generation: GenerationId,
        index: usize,
        kind: ItemKind,
        own: Option<Fields>,
    ) -> Self {
        let prefix = match &kind {
            ItemKind::Reasoning(_) => "rs",
            ItemKind::Message(_) => "msg",
            ItemKind::Call(Call { input: Some(_), .. }) => "ctc",
            ItemKind::Call(_) => "fc",
            ItemKind::Foreign => "item",
        };
        let theirs: Option<String> = own.as_ref().and_then(|own| own.read("id"));
        let id = item_id(prefix, &short(generation), index, theirs.as_deref());
        Self { id, index, kind, state: State::Open, own }
    }

    /// Whether it is the item of that id at the upstream.
    pub(super) fn is_theirs(&self, id: &str) -> bool {
        self.own.as_ref().and_then(|own| own.read::<String>("id")).as_deref() == Some(id)
    }

    /// The item as it stands.
    pub(super) fn json(&self) -> Value {
        let mut json = self.told();
        let Some(own) = &self.own else { return json };
        let is_foreign = matches!(self.kind, ItemKind::Foreign);
        // Not all of theirs have a status.
        if matches!(self.kind, ItemKind::Reasoning(_)) && own.read::<Value>("status").is_none() {
            json.as_object_mut().and_then(|json| json.shift_remove("status"));
        }
        for (name, value) in &own.0 {
            let ended = name == "status" && self.state == State::Incomplete;
            if json.get(name).is_none() || (is_foreign && name != "id" && !ended) {
                json[name] = serde_json::from_str(value.get()).unwrap_or_default();
            }
        }
        json
    }

    fn told(&self) -> Value {
        let status = self.state.as_str();
        match &self.kind {
            ItemKind::Reasoning(Thoughts { parts, raw, sealed, .. }) => {
                let kind = if *raw { "reasoning_text" } else { "summary_text" };
                let part = |text: &String| json!({ "type": kind, "text": text });
                let parts: Vec<Value> = parts.iter().map(part).collect();
                let mut json = json!({ "id": self.id, "type": "reasoning", "status": status });
                json["summary"] = if *raw { json!([]) } else { json!(parts) };
                if *raw {
                    json["content"] = json!(parts);
                }
                if let Some(sealed) = sealed {
                    json["encrypted_content"] = sealed.as_str().into();
                }
                json
            }
            ItemKind::Message(parts) => json!({
                "id": self.id, "type": "message", "status": status, "role": "assistant",
                "content": parts.iter().map(Part::json).collect::<Vec<_>>(),
            }),
            ItemKind::Call(call) => {
                let mut json = json!({
                    "id": self.id, "type": "function_call", "status": status,
                    "call_id": call.call_id, "name": call.name, "arguments": call.arguments,
                });
                if let (Some((input, _)), Value::Object(json)) = (&call.input, &mut json) {
                    json.insert("type".into(), "custom_tool_call".into());
                    json.shift_remove("arguments");
                    json.insert("input".into(), input.as_str().into());
                }
                if let Some(namespace) = &call.namespace {
                    json["namespace"] = namespace.as_str().into();
                }
                json
            }
            ItemKind::Foreign => match &self.own {
                Some(own) if own.read::<Value>("status").is_none() => json!({ "id": self.id }),
                Some(_) | None => json!({ "id": self.id, "status": status }),
            },
        }
    }

    /// The item without its content, as it is announced.
    pub(super) fn announced(&self) -> Value {
        let mut json = self.json();
        if matches!(self.kind, ItemKind::Foreign) {
            return json;
        }
        for (field, empty) in [
            ("summary", json!([])),
            ("content", json!([])),
            ("arguments", "".into()),
            ("input", "".into()),
        ] {
            if json.get(field).is_some() {
                json[field] = empty;
            }
        }
        json
    }
}
