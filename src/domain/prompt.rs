//! A client's request to a model: parsed once, limits checked, valid from then on.
mod client_tool;
mod parameters;
mod parts;

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};

pub use client_tool::{ClientTool, InputText, arguments_of, function_name, input_of};
pub use parameters::{OpenAiOnly, Parameters, Tool, ToolChoice};
pub use parts::{Attachment, AttachmentKind, MessagePart, MessageParts, OwnPart, PartPlace};

use super::picture::PictureId;
use super::thinking::Thought;
use super::transcript::ToolCall;

/// The author of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, EnumString, IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Role {
    /// Instructions of the operator or the application.
    System,
    /// The newer name of `system`, kept as it came.
    Developer,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// A tool's answer to a call of the model.
    Tool,
}

impl Role {
    /// The word on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The role of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        word.parse().ok()
    }
}

/// One message of a prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The author's role.
    pub role: Role,
    /// Its text.
    pub content: String,
    /// Its pictures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
    /// Its files and sounds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// Parts that only one protocol has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub own: Vec<OwnPart>,
    /// The order of its parts; none where the pictures stand behind one text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<PartPlace>,
    /// The calls that the model asked for, if the message is the model's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Which call a [`Role::Tool`] answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// The thinking that led to a message of the model.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reasoning: String,
    /// The same as its vendor has sealed it, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thinking: Vec<Thought>,
}

/// A picture for the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// `https:`, or `data:` with the picture itself.
    pub url: String,
    /// How closely to look, in the words of OpenAI's API: `low`, `high`, `auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Message {
    /// A message that is text and nothing else.
    #[must_use]
    pub fn text(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
            images: Vec::new(),
            attachments: Vec::new(),
            own: Vec::new(),
            places: Vec::new(),
            tool_calls: Vec::new(),
            tool_call_id: None,
            reasoning: String::new(),
            thinking: Vec::new(),
        }
    }

    /// The size of everything in it that a model reads, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.text_bytes() + self.media_bytes()
    }

    /// The size of its text, its thinking and its tool calls, in bytes.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        let calls: usize = self.tool_calls.iter().map(|c| c.name.len() + c.arguments.len()).sum();
        let sealed: usize = self.thinking.iter().map(|thought| thought.block.len()).sum();
        self.content.len() + self.reasoning.len() + sealed + calls
    }

    /// The size of its pictures, files and sounds as they are written, in bytes.
    #[must_use]
    pub fn media_bytes(&self) -> usize {
        let own: usize = self.own.iter().map(|part| part.data.text().len()).sum();
        self.urls().map(String::len).sum::<usize>() + own
    }

    /// Whether it says nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.content.trim().is_empty() && self.is_text() && self.tool_calls.is_empty()
    }

    fn urls(&self) -> impl Iterator<Item = &String> {
        let images = self.images.iter().map(|image| &image.url);
        images.chain(self.attachments.iter().map(|attachment| &attachment.url))
    }

    /// The pictures in it that are kept here.
    pub fn kept_pictures(&self) -> impl Iterator<Item = PictureId> {
        self.images.iter().filter_map(|image| PictureId::of_url(&image.url))
    }

    /// Whether it is thinking that led to nothing.
    #[must_use]
    pub fn is_only_thought(&self) -> bool {
        (!self.reasoning.is_empty() || !self.thinking.is_empty()) && self.is_empty()
    }

    fn more_texts(&self) -> impl Iterator<Item = &String> {
        let calls = self.tool_calls.iter().flat_map(|c| [&c.id, &c.name, &c.arguments]);
        self.urls().chain(calls).chain(&self.tool_call_id).chain([&self.reasoning])
    }
}

/// A conversation to be continued, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    /// At least one, none empty.
    pub messages: Vec<Message>,
    /// How to answer.
    #[serde(default)]
    pub parameters: Parameters,
}

/// Why a prompt is refused.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum PromptError {
    /// Nothing but white space.
    #[error("`{field}` is empty")]
    Empty {
        /// Which field.
        field: String,
    },
    /// Larger than the configured limit.
    #[error("the prompt has {bytes} bytes; the limit is {limit}")]
    TooLong {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Pictures larger than the configured limit.
    #[error("the prompt's pictures have {bytes} bytes; the limit is {limit} (`media_bytes`)")]
    MediaTooLarge {
        /// Their size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A character that cannot be stored.
    #[error("`{field}` contains U+0000")]
    InvalidCharacter {
        /// Which field.
        field: String,
    },
    /// A number outside its range.
    #[error("`{field}` must be between {min} and {max}")]
    OutOfRange {
        /// Which field.
        field: &'static str,
        /// The least value.
        min: f64,
        /// The greatest value.
        max: f64,
    },
}

impl PromptError {
    /// The same about a text as the client wrote it: `written` turns our name of its field into
    /// the client's.
    #[must_use]
    pub fn written(self, written: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Empty { field } => Self::Empty { field: written(field) },
            Self::InvalidCharacter { field } => Self::InvalidCharacter { field: written(field) },
            other @ (Self::TooLong { .. }
            | Self::MediaTooLarge { .. }
            | Self::OutOfRange { .. }) => other,
        }
    }
}

impl Prompt {
    /// Checks `messages` and `parameters` against the rules and `limit`, in bytes of text.
    ///
    /// # Errors
    /// The first rule that is broken, naming the field.
    pub fn parse(
        messages: Vec<Message>,
        parameters: Parameters,
        limit: usize,
    ) -> Result<Self, PromptError> {
        if messages.is_empty() {
            return Err(PromptError::Empty { field: "messages".into() });
        }
        Self::parse_turn(messages, parameters, limit)
    }

    /// The same for what is added to a conversation, which may be nothing: an answer is asked for
    /// again then.
    ///
    /// # Errors
    /// The first rule that is broken, naming the field.
    pub fn parse_turn(
        messages: Vec<Message>,
        parameters: Parameters,
        limit: usize,
    ) -> Result<Self, PromptError> {
        let says_something = messages.iter().any(|message| !message.is_empty());
        for (n, message) in messages.iter().enumerate() {
            // A model may have said nothing, and a tool have nothing to say. A person may send an
            // empty turn beside others, which is for the model to judge.
            let may_be_blank = match message.role {
                Role::Assistant | Role::Tool => true,
                Role::User => says_something,
                Role::System | Role::Developer => false,
            };
            let blank = message.is_empty() && !may_be_blank;
            check_text(|| format!("messages[{n}].content"), &message.content, blank)?;
            for text in message.more_texts() {
                check_text(|| format!("messages[{n}]"), text, false)?;
            }
        }
        parameters.check()?;
        let prompt = Self { messages, parameters };
        let bytes = prompt.text_bytes();
        if bytes > limit {
            return Err(PromptError::TooLong { bytes, limit });
        }
        Ok(prompt)
    }

    /// The size of what is said, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.messages.iter().map(Message::len).sum()
    }

    /// The size of its text, in bytes.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.messages.iter().map(Message::text_bytes).sum()
    }

    /// The size of its pictures, files and sounds, in bytes.
    #[must_use]
    pub fn media_bytes(&self) -> usize {
        self.messages.iter().map(Message::media_bytes).sum()
    }

    /// The last thing that the person said.
    #[must_use]
    pub fn last_user_text(&self) -> &str {
        self.messages.iter().rev().find(|m| m.role == Role::User).map_or("", |m| m.content.as_str())
    }

    /// A rough count of the prompt's tokens, for usage that the provider does not report.
    #[must_use]
    pub fn estimated_tokens(&self) -> u64 {
        let calls = |m: &Message| -> u64 {
            m.tool_calls.iter().map(|call| estimate_tokens(&call.arguments)).sum()
        };
        self.messages.iter().map(|m| estimate_tokens(&m.content) + calls(m)).sum()
    }

    /// The same with its tools and pictures.
    #[must_use]
    pub fn estimated_input(&self) -> u64 {
        let tools = serde_json::to_vec(&self.parameters.tools).unwrap_or_default().len() as u64;
        let tools = if self.parameters.tools.is_empty() { 0 } else { tools };
        let media = |message: &Message| (message.images.len() + message.attachments.len()) as u64;
        let images: u64 = self.messages.iter().map(media).sum();
        self.estimated_tokens() + tools.div_ceil(BYTES_PER_TOKEN) + images * IMAGE_TOKENS
    }
}

/// The thinking that a model is told of: that of the answer which is under way, behind the last
/// thing that the person said. Models are made to go on without earlier thinking.
#[must_use]
pub fn current_reasoning(messages: &[Message]) -> Vec<Option<&str>> {
    let from = messages.iter().rposition(|message| message.role == Role::User).unwrap_or(0);
    let current = messages.iter().enumerate().map(|(n, message)| {
        Some(message.reasoning.as_str()).filter(|text| n >= from && !text.is_empty())
    });
    current.collect()
}

/// Whether the answer which is under way has thinking that its vendor has sealed: no other vendor
/// takes it.
#[must_use]
pub fn has_sealed_thinking(messages: &[Message]) -> bool {
    let mut current = messages.iter().rev().take_while(|message| message.role != Role::User);
    current.any(|message| !message.thinking.is_empty())
}

/// About what Anthropic counts for a picture of the size to which it shrinks large ones, and for a
/// page of a file.
pub const IMAGE_TOKENS: u64 = 1600;

/// The usual rule of thumb for English text.
pub const BYTES_PER_TOKEN: u64 = 4;

/// About four bytes a token.
#[must_use]
pub fn estimate_tokens(text: &str) -> u64 {
    (text.len() as u64).div_ceil(BYTES_PER_TOKEN)
}

fn check_text(field: impl Fn() -> String, text: &str, empty: bool) -> Result<(), PromptError> {
    if empty {
        return Err(PromptError::Empty { field: field() });
    }
    if text.contains('\0') {
        return Err(PromptError::InvalidCharacter { field: field() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(content: &str) -> Vec<Message> {
        vec![Message::text(Role::User, content)]
    }

    fn parse(content: &str, parameters: Parameters) -> Result<Prompt, PromptError> {
        Prompt::parse(user(content), parameters, 10)
    }

    #[test]
    fn the_rules_of_a_prompt() {
        let plain = Parameters::default();
        assert_eq!(parse("hi", plain.clone()).unwrap().last_user_text(), "hi");
        assert!(matches!(parse(" \n", plain.clone()), Err(PromptError::Empty { .. })));
        assert!(matches!(parse("a\0", plain.clone()), Err(PromptError::InvalidCharacter { .. })));
        assert_eq!(
            parse("12345678901", plain.clone()),
            Err(PromptError::TooLong { bytes: 11, limit: 10 })
        );
        assert!(matches!(Prompt::parse(vec![], plain.clone(), 10), Err(PromptError::Empty { .. })));
        let hot = Parameters { temperature: Some(2.1), ..plain.clone() };
        let error = hot.check_ranges();
        assert!(matches!(error, Err(PromptError::OutOfRange { field: "temperature", .. })));
        assert!(parse("hi", hot).is_ok());
        let nan = Parameters { top_p: Some(f64::NAN), ..plain };
        assert!(nan.check_ranges().is_err());
    }
}
