//! Conversations: messages as a tree. Nothing is overwritten: an edit and another answer are
//! siblings, and the active branch is named by its leaf.
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::entry::Entry;
use super::event::{Failure, FinishReason, Status, Usage};
use super::generation::Idempotency;
use super::id::{ConversationId, GenerationId, MessageId, Tenant};
use super::json::JsonObject;
use super::picture::PictureId;
use super::prompt::{self, Role};
use super::transcript::{Answer, ToolCall};

/// Where in a conversation a generation belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnPosition {
    /// Which conversation.
    pub conversation: ConversationId,
    /// The user's message that it answers.
    pub parent: MessageId,
}

/// The content of a message, in the form in which it was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// One text.
    Text(String),
    /// Parts.
    Parts(Vec<Part>),
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// A picture.
    Image {
        /// Which one, of those that are kept.
        picture: PictureId,
    },
}

impl Content {
    /// Whether it was given in parts.
    #[must_use]
    pub fn is_parts(&self) -> bool {
        match self {
            Self::Text(_) => false,
            Self::Parts(_) => true,
        }
    }

    /// The text for the model: the parts' texts, a line each.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => {
                let texts = parts.iter().filter_map(|part| match part {
                    Part::Text { text } => Some(text.as_str()),
                    Part::Image { .. } => None,
                });
                texts.collect::<Vec<&str>>().join("\n")
            }
        }
    }

    /// Whether there is a picture in it.
    #[must_use]
    pub fn has_pictures(&self) -> bool {
        match self {
            Self::Text(_) => false,
            Self::Parts(parts) => parts.iter().any(|part| matches!(part, Part::Image { .. })),
        }
    }
}

/// A conversation to be stored.
#[derive(Clone, Debug)]
pub struct NewConversation {
    /// The owner.
    pub tenant: Tenant,
    /// Its name; the first prompt sets it otherwise.
    pub title: Option<String>,
    /// The system message of its generations.
    pub system: Option<String>,
    /// The client's own notes.
    pub metadata: JsonObject,
    /// The key that makes a repeated opening the same one.
    pub idempotency: Option<Idempotency>,
    /// The earlier messages, each below the one before.
    pub messages: Vec<(MessageId, NewMessage)>,
}

/// A conversation as it is shown: what OpenAI's has, and what ours has beside it.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "object", rename = "conversation")]
pub struct Conversation {
    /// The id.
    pub id: ConversationId,
    /// Its name, once it has one.
    pub title: Option<String>,
    /// The system message of its generations.
    pub system: Option<String>,
    /// The client's own notes.
    pub metadata: JsonObject,
    /// The message that the active branch ends in.
    pub active_leaf: Option<MessageId>,
    /// Seconds since 1970, as OpenAI has it.
    #[serde(with = "time::serde::timestamp")]
    pub created_at: OffsetDateTime,
    /// RFC 3339.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// Its generations that have not ended.
    pub running: Vec<GenerationId>,
}

/// The changes to a conversation; a `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Its name; an empty place is filled by the next prompt.
    pub title: Option<Option<String>>,
    /// Its system message.
    pub system: Option<Option<String>>,
    /// The client's own notes, as a whole.
    pub metadata: Option<JsonObject>,
    /// The active branch; without a leaf the next prompt is a new root.
    pub active_leaf: Option<Option<MessageId>>,
}

/// A message as it is shown.
#[derive(Clone, Debug, Serialize)]
pub struct Message {
    /// The id; of an answer its generation's.
    pub id: MessageId,
    /// The message before it; absent for a root.
    pub parent_id: Option<MessageId>,
    /// The author's role.
    pub role: Role,
    /// The content.
    pub content: Content,
    /// All of it, where it is more than a text: calls of tools, a tool's result, pictures.
    #[serde(skip)]
    pub said: Option<Box<prompt::Message>>,
    /// The further facts about an answer.
    #[serde(flatten)]
    pub answer: Option<Box<AnswerDetails>>,
    /// The answer's parts as its model made them, where one was taken out since.
    #[serde(skip)]
    pub made: Option<Box<MadeParts>>,
    /// All messages with the same parent, this one included, in their order.
    pub siblings: Vec<MessageId>,
    /// RFC 3339.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// The parts of an answer. The numbers of its items go by them, whatever is taken out.
#[derive(Clone, Debug, Default)]
pub struct MadeParts {
    /// Whether it began with thoughts.
    pub thought: bool,
    /// Whether it has a text or a refusal.
    pub spoke: bool,
    /// The ids of its calls.
    pub calls: Vec<String>,
}

/// The facts about an answer's generation that its message tells.
#[derive(Clone, Debug, Serialize)]
pub struct AnswerDetails {
    /// The generation.
    pub generation_id: GenerationId,
    /// The model's name.
    pub model: String,
    /// How it ended.
    pub status: Status,
    /// Why the model stopped.
    pub finish_reason: Option<FinishReason>,
    /// The failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Tokens used.
    pub usage: Usage,
    /// The thinking.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reasoning: String,
    /// The words of a refusal.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub refusal: String,
    /// The tool calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
}

/// An answer that is being made: it is no message yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Running {
    /// Its generation, whose id the message will have.
    pub generation: GenerationId,
    /// The user's message that it answers.
    pub parent_id: MessageId,
}

/// The message that a client adds to a conversation, and its place.
#[derive(Clone, Debug, Serialize)]
pub struct TurnAsked {
    /// Which conversation.
    pub conversation: ConversationId,
    /// Below which message.
    pub parent: ParentAsked,
    /// Whether other answers may run on the branch.
    pub concurrent: bool,
    /// A system message in place of the conversation's, for this one answer.
    pub system: Option<String>,
    /// Stored one below the other; none to answer again.
    pub messages: Vec<NewMessage>,
    /// The earlier answer that the new one begins with; the request then says what the model is
    /// told.
    #[serde(skip)]
    pub earlier: Option<Answer>,
}

/// Below which message a turn begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParentAsked {
    /// The active leaf.
    Active,
    /// None: a new root.
    Root,
    /// This one.
    Message(MessageId),
}

/// One message that a client adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewMessage {
    /// The author's role.
    pub role: Role,
    /// The content.
    pub content: Content,
    /// All of it, where it is more than a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub said: Option<Box<prompt::Message>>,
}

impl NewMessage {
    /// A message that is text and nothing else.
    #[must_use]
    pub fn text(role: Role, content: Content) -> Self {
        Self { role, content, said: None }
    }

    /// The message as a model is told it.
    #[must_use]
    pub fn whole(&self) -> prompt::Message {
        let whole = self.said.as_deref().cloned();
        whole.unwrap_or_else(|| prompt::Message::text(self.role, self.content.text()))
    }
}

/// A turn as it is stored, together with its generation.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Below which message it begins; the one that is answered if there are no messages.
    pub parent: Option<MessageId>,
    /// Each below the one before; the last is the one that is answered.
    pub messages: Vec<(MessageId, NewMessage)>,
    /// The active leaf must still be this one.
    pub expected_leaf: Option<Option<MessageId>>,
    /// Whether other answers may run on the branch.
    pub concurrent: bool,
    /// The conversation's name if it has none.
    pub title: Option<String>,
    /// Stored right behind `started`.
    pub first: Vec<Entry>,
}

/// The most characters of a title that a prompt gives.
const TITLE: usize = 80;

/// A name for a conversation that begins with `text`: its beginning, cut at a word, or the name of
/// the file that it is.
#[must_use]
pub fn title_of(text: &str) -> Option<String> {
    let text = file_name(text).unwrap_or(text);
    let mut title = String::new();
    let mut length = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty())
    {
        let word_length = word.chars().count();
        if length == 0 && word_length > TITLE {
            return Some(word.chars().take(TITLE - 1).chain(['…']).collect());
        }
        let grown = length + usize::from(length > 0) + word_length;
        if grown > TITLE {
            // The sign that something is missing needs a place, too.
            if length == TITLE {
                title = title.chars().take(TITLE - 1).collect();
            }
            title.push('…');
            return Some(title);
        }
        if length > 0 {
            title.push(' ');
        }
        title.push_str(word);
        length = grown;
    }
    (length > 0).then_some(title)
}

/// The name of the file that a text begins with, in the form that the page gives it.
fn file_name(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix("<file name=\"")?.split_once("\">\n")?;
    (!name.trim().is_empty() && !name.contains('\n')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_the_beginning_cut_at_a_word() {
        let title = |text: &str| title_of(text).unwrap_or_default();
        assert_eq!(title("  Why is\n the sky\tblue? "), "Why is the sky blue?");
        assert_eq!(title_of(" \n"), None);
        let long = title(&"word ".repeat(40));
        assert_eq!(long.chars().count(), 80);
        assert!(long.ends_with("word…") || long.ends_with("wor…"), "{long}");
        assert_eq!(title(&"語".repeat(200)).chars().count(), 80);
        let exact = "a".repeat(39) + " " + &"b".repeat(40);
        assert_eq!(title(&exact), exact);
        assert!(title(&(exact + " c")).chars().count() <= 80);
        assert_eq!(title("<file name=\"a plan.txt\">\none two\n</file>"), "a plan.txt");
        let name = "n".repeat(96) + ".rs";
        let long = title(&format!("<file name=\"{name}\">\nfn main() {{}}\n</file>"));
        assert_eq!(long, "n".repeat(79) + "…");
        assert_eq!(title("<file name=\"\">\nx\n</file>"), "<file name=\"\"> x </file>");
    }

    #[test]
    fn content_is_kept_as_it_came() {
        for json in [r#""hi""#, r#"[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#] {
            let content: Content = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&content).unwrap(), json);
        }
        let text = |t: &str| Part::Text { text: t.into() };
        assert_eq!(Content::Parts(vec![text("a"), text("b")]).text(), "a\nb");
    }
}
