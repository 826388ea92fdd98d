//! A turn's content blocks become messages that any model can be told.
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::document;
use super::document::{image, search_result};
use super::signature::{Worth, check};
use crate::domain::key::SigningKey;
use crate::domain::prompt::{Attachment, Message, MessageParts, Role};
use crate::domain::source::WireProtocol;
use crate::domain::transcript::ToolCall;
use crate::http::problem::Problem;
use crate::http::protocols::openai::fields::{missing, unsupported};

/// The beginning of Claude Code's first system block, which is for its vendor's billing.
const BILLING: &str = "x-anthropic-billing-header:";

/// The names of the fields that a model does not get.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeSet<String>);

impl Told {
    /// More names than anybody reads, or a longer one, are a mistake or a joke.
    const MOST: usize = 32;
    const LONGEST: usize = 64;

    /// Notes that something of that name was left out.
    pub(super) fn left_out(&mut self, name: &str) {
        let is_name = name.len() <= Self::LONGEST
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
        if is_name && self.0.len() < Self::MOST {
            self.0.insert(name.to_owned());
        }
    }

    /// Notes what another has noted.
    pub(super) fn extend(&mut self, other: Self) {
        other.0.iter().for_each(|name| self.left_out(name));
    }

    /// The names as a header's value; `None` if nothing was left out.
    pub(super) fn header(&self) -> Option<String> {
        let names: Vec<&str> = self.0.iter().map(String::as_str).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }
}

/// A turn.
#[derive(Debug, Deserialize)]
pub(super) struct Turn {
    role: String,
    content: Content,
}

/// A text, or blocks.
#[derive(Debug)]
pub(super) enum Content {
    Text(String),
    Blocks(Vec<Block>),
}

/// A block of any kind; what else is in it is looked at where it counts.
#[derive(Debug, Deserialize)]
pub(super) struct Block {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    source: Option<Value>,
    title: Option<String>,
    context: Option<String>,
    thinking: Option<String>,
    signature: Option<String>,
    id: Option<String>,
    name: Option<String>,
    /// As it came: the order of its keys is part of what the model said.
    input: Option<Box<RawValue>>,
    tool_use_id: Option<String>,
    content: Option<Box<RawValue>>,
    is_error: Option<bool>,
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of blocks")
            }

            fn visit_str<E>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut blocks: A) -> Result<Content, A::Error> {
                let mut all = Vec::new();
                while let Some(block) = blocks.next_element()? {
                    all.push(block);
                }
                Ok(Content::Blocks(all))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// The reader of the turns.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    /// The model's vendor gets the body itself: what only it understands is not refused.
    pub(super) native: bool,
    /// The protocol that the model speaks.
    pub(super) speaks: Option<WireProtocol>,
    pub(super) told: &'a mut Told,
    /// The key that signs our thinking.
    pub(super) signing: SigningKey,
}

/// The parts of a message.
#[derive(Debug, Default)]
struct Parts {
    said: MessageParts,
    calls: Vec<ToolCall>,
    call_id: Option<String>,
}

impl Parts {
    fn is_empty(&self) -> bool {
        self.said.is_empty() && self.calls.is_empty()
    }

    /// The one place where messages are made.
    fn message(self, role: Role) -> Message {
        let said = self.said.message(role);
        Message { tool_calls: self.calls, tool_call_id: self.call_id, ..said }
    }
}

impl Reading<'_> {
    /// The instructions, without what is for a vendor's billing; none if nothing is left.
    pub(super) fn system(&mut self, content: Content) -> Result<Option<Message>, Problem> {
        let mut parts = Parts::default();
        for text in self.parts("system", content)?.0.said.texts() {
            let text = without_billing(text);
            if !text.trim().is_empty() {
                parts.said.text(text.to_owned());
            }
        }
        Ok((!parts.is_empty()).then(|| parts.message(Role::System)))
    }

    /// The messages of the turn at `n`: what tools answered first, as strict models want it.
    pub(super) fn turn(&mut self, n: usize, turn: Turn) -> Result<Vec<Message>, Problem> {
        let field = format!("messages[{n}].content");
        let role = match turn.role.as_str() {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => return Ok(self.system(turn.content)?.into_iter().collect()),
            _ => {
                let field = format!("messages[{n}].role");
                return Err(unsupported(&field, "user, assistant or system"));
            }
        };
        let (parts, results) = self.parts(&field, turn.content)?;
        let mut messages: Vec<Message> =
            results.into_iter().map(|result| result.message(Role::Tool)).collect();
        if !parts.is_empty() || messages.is_empty() {
            messages.push(parts.message(role));
        }
        Ok(messages)
    }

    fn parts(&mut self, field: &str, content: Content) -> Result<(Parts, Vec<Parts>), Problem> {
        let (mut parts, mut results) = (Parts::default(), Vec::new());
        match content {
            Content::Text(text) => parts.said.text(text),
            Content::Blocks(blocks) => {
                for (n, block) in blocks.into_iter().enumerate() {
                    self.block(&format!("{field}[{n}]"), block, &mut parts, &mut results)?;
                }
            }
        }
        Ok((parts, results))
    }

    fn block(
        &mut self,
        field: &str,
        block: Block,
        parts: &mut Parts,
        results: &mut Vec<Parts>,
    ) -> Result<(), Problem> {
        let missing = |name: &str| missing(&format!("{field}.{name}"));
        match block.kind.as_str() {
            "text" => parts.said.text(block.text.ok_or_else(|| missing("text"))?),
            "image" => {
                let source = block.source.ok_or_else(|| missing("source"))?;
                match image(&source) {
                    Some(image) => parts.said.image(image),
                    None => self.only_native(field, "image", parts)?,
                }
            }
            "document" | "search_result" => match (readable(&block), self.file(&block)) {
                (Some(text), _) => parts.said.text(text),
                (None, Some(file)) => parts.said.attachment(file, &block.kind),
                (None, None) => self.only_native(field, &block.kind, parts)?,
            },
            "thinking" => self.thinking(&block),
            "redacted_thinking" => self.not_passed_on("messages.redacted_thinking"),
            "tool_use" => parts.calls.push(ToolCall {
                id: block.id.ok_or_else(|| missing("id"))?,
                name: block.name.ok_or_else(|| missing("name"))?,
                arguments: block.input.map_or_else(|| "{}".into(), |raw| raw.get().to_owned()),
                ..ToolCall::default()
            }),
            "tool_result" => {
                let call_id = block.tool_use_id.ok_or_else(|| missing("tool_use_id"))?;
                let failed = block.is_error.unwrap_or(false);
                let mut result = self.result(field, block.content.as_deref(), failed)?;
                if self.speaks == Some(WireProtocol::OpenaiChat) {
                    // Strict models take no pictures from tools: they stand behind all results.
                    parts.said.append(result.said.take_media());
                }
                results.push(Parts { call_id: Some(call_id), ..result });
            }
            _ => self.only_native(field, &block.kind, parts)?,
        }
        Ok(())
    }

    /// A tool's answer. Only Anthropic has a mark for a failure; others are told in words.
    fn result(
        &mut self,
        field: &str,
        content: Option<&RawValue>,
        failed: bool,
    ) -> Result<Parts, Problem> {
        let content = match content.map(RawValue::get) {
            None | Some("null") => Content::Blocks(Vec::new()),
            Some(json) => serde_json::from_str(json)
                .map_err(|e| unsupported(&format!("{field}.content"), &e.to_string()))?,
        };
        let (mut parts, _) = self.parts(&format!("{field}.content"), content)?;
        if failed {
            parts.said.first("Error:");
        }
        Ok(parts)
    }

    fn thinking(&mut self, block: &Block) {
        let text = block.thinking.as_deref().unwrap_or_default();
        match check(&self.signing, text, block.signature.as_deref().unwrap_or_default()) {
            // The log has it, and no protocol but its own takes it back.
            Worth::Ours => {}
            Worth::Broken => self.told.left_out("messages.thinking"),
            Worth::Foreign => self.not_passed_on("messages.thinking"),
        }
    }

    fn not_passed_on(&mut self, name: &str) {
        if !self.native {
            self.told.left_out(name);
        }
    }

    /// The file in a document, where the model can be given it. Its vendor gets the block itself.
    fn file(&self, block: &Block) -> Option<Attachment> {
        let file = document::file(block.source.as_ref()?, block.title.as_deref())?;
        let inline = file.inline().is_some();
        (!self.native && (inline || self.speaks == Some(WireProtocol::OpenaiResponses)))
            .then_some(file)
    }

    /// A block that only Anthropic understands. Its place is kept, for a count of what is there.
    fn only_native(&self, field: &str, kind: &str, parts: &mut Parts) -> Result<(), Problem> {
        if self.native {
            parts.said.text(format!("[{}]", crate::domain::nearest::shown(kind)));
            return Ok(());
        }
        let kind = crate::domain::nearest::shown(kind);
        let why = format!("this model cannot be given this block of type `{kind}`");
        Err(unsupported(field, &why))
    }
}

/// The text of a document or search result, if it is one.
fn readable(block: &Block) -> Option<String> {
    let content = block.content.as_deref().and_then(|raw| serde_json::from_str(raw.get()).ok());
    let mut value = serde_json::json!({ "title": block.title, "context": block.context });
    value["source"] = block.source.clone().unwrap_or_default();
    value["content"] = content.unwrap_or(Value::Null);
    if block.kind == "document" { document::document(&value) } else { search_result(&value) }
}

/// A system text without Claude Code's line for its vendor's billing.
fn without_billing(text: &str) -> &str {
    if !text.trim_start().starts_with(BILLING) {
        return text;
    }
    text.trim_start().split_once('\n').map_or("", |(_, rest)| rest)
}
