//! The body of a start, as clients write it.
use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Map;

use super::object::Object;
use crate::domain::conversation::{Content, NewMessage, ParentAsked, Part, TurnAsked};
use crate::domain::generation::{OnDisconnect, Request};
use crate::domain::json::JsonObject;
use crate::domain::picture::PictureId;
use crate::domain::prompt::{Image, Message, MessageParts, Parameters, Prompt, PromptError, Role};
use crate::engine::StartError;
use crate::http::problem::Problem;
use crate::http::proper_id;

/// More of a client's own notes than this, in bytes, belongs into the client's own database.
pub(crate) const METADATA_BYTES: usize = 16 * 1024;

/// `POST /v1/generations`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StartBody {
    model: Option<String>,
    prompt: Option<String>,
    messages: Option<Vec<Object<WireMessage>>>,
    system: Option<String>,
    max_output_tokens: Option<u32>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    stop: Option<Texts>,
    seed: Option<i64>,
    metadata: Option<JsonObject>,
    on_disconnect: Option<OnDisconnect>,
    conversation_id: Option<String>,
    #[serde(default, deserialize_with = "given")]
    parent_id: Option<Option<String>>,
    concurrent: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireMessage {
    role: Role,
    content: Texts,
}

/// A string, or an array of strings or of parts: `{"type":"text","text":…}`,
/// `{"type":"image","picture":…}`.
#[derive(Debug)]
enum Texts {
    One(String),
    Several(Vec<Part>),
}

impl Texts {
    /// The texts of `stop`.
    fn list(self) -> Result<Vec<String>, Problem> {
        let text = |part| match part {
            Part::Text { text } => Ok(text),
            Part::Image { .. } => {
                let detail = "`stop` is a text, or texts";
                Err(Problem::unprocessable("unsupported_value", detail).with("field", "stop"))
            }
        };
        match self {
            Self::One(text) => Ok(vec![text]),
            Self::Several(parts) => parts.into_iter().map(text).collect(),
        }
    }

    fn content(self) -> Content {
        match self {
            Self::One(text) => Content::Text(text),
            Self::Several(parts) => Content::Parts(parts),
        }
    }
}

/// The message that a client adds; one with pictures is kept as a model is told it, too.
fn added(role: Role, content: Content) -> NewMessage {
    let message = NewMessage::text(role, content);
    let Content::Parts(all) = &message.content else { return message };
    if !message.content.has_pictures() {
        return message;
    }
    let mut parts = MessageParts::default();
    for part in all {
        match part {
            Part::Text { text } => parts.text(text.clone()),
            Part::Image { picture } => parts.image(Image { url: picture.url(), detail: None }),
        }
    }
    let said = Some(Box::new(parts.message(role)));
    NewMessage { said, ..message }
}

/// One element of a content array.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum WirePart {
    Text { text: String },
    Image { picture: PictureId },
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array of texts")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Texts, E> {
        Ok(Texts::One(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Texts, A::Error> {
        let mut texts = Vec::new();
        while let Some(TextOrPart(part)) = parts.next_element()? {
            texts.push(part);
        }
        Ok(Texts::Several(texts))
    }
}

struct TextOrPart(Part);

impl<'de> Deserialize<'de> for TextOrPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneVisitor;
        impl<'de> Visitor<'de> for OneVisitor {
            type Value = TextOrPart;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a part such as {\"type\":\"text\",\"text\":\"…\"}")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<TextOrPart, E> {
                Ok(TextOrPart(Part::Text { text: text.into() }))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<TextOrPart, A::Error> {
                let part = WirePart::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(TextOrPart(match part {
                    WirePart::Text { text } => Part::Text { text },
                    WirePart::Image { picture } => Part::Image { picture },
                }))
            }
        }
        deserializer.deserialize_any(OneVisitor)
    }
}

impl StartBody {
    /// The request in it, and what it adds to a conversation, checked; `default` is the model
    /// when none is named.
    pub(super) fn check(
        self,
        default: &str,
        prompt_bytes: usize,
    ) -> Result<(Request, Option<TurnAsked>), Problem> {
        let asked = place(self.conversation_id, self.parent_id, self.concurrent)?;
        let (said, mut names) = said(self.prompt, self.messages, asked.is_some())?;
        let mut messages: Vec<Message> = said.iter().map(NewMessage::whole).collect();
        if let Some(system) = &self.system {
            names.insert(0, "system".to_owned());
            messages.insert(0, Message::text(Role::System, system.as_str()));
        }
        if self.on_disconnect == Some(OnDisconnect::CancelAfter(0)) {
            let (field, min, max) = ("on_disconnect.cancel_after_s", 1.0, f64::from(u32::MAX));
            return Err(PromptError::OutOfRange { field, min, max }.into());
        }
        let metadata = self.metadata.unwrap_or_default();
        check_metadata(&metadata)?;
        let parameters = Parameters {
            max_output_tokens: self.max_output_tokens,
            temperature: self.temperature,
            top_p: self.top_p,
            stop: self.stop.map(Texts::list).transpose()?.unwrap_or_default(),
            seed: self.seed,
            ..Parameters::default()
        };
        parameters.check_ranges()?;
        let parse = if asked.is_some() { Prompt::parse_turn } else { Prompt::parse };
        let request = Request {
            model: self.model.unwrap_or_else(|| default.into()),
            prompt: parse(messages, parameters, prompt_bytes).map_err(|e| as_written(e, &names))?,
            metadata,
            on_disconnect: self.on_disconnect.unwrap_or_default(),
            echo: Map::new(),
            chat: None,
            wall_s: None,
            continues: None,
            trace: None,
            source: None,
        };
        let turn = asked.map(|turn| TurnAsked { system: self.system, messages: said, ..turn });
        Ok((request, turn))
    }
}

/// The messages, and the client's name for the text of each.
fn said(
    prompt: Option<String>,
    messages: Option<Vec<Object<WireMessage>>>,
    in_conversation: bool,
) -> Result<(Vec<NewMessage>, Vec<String>), Problem> {
    match (prompt, messages) {
        (Some(_), Some(_)) => {
            let detail = "give either `prompt` or `messages`";
            Err(Problem::unprocessable("conflicting_fields", detail))
        }
        // The same answer again.
        (None, None) if in_conversation => Ok((Vec::new(), Vec::new())),
        (None, None) => {
            let detail = "`prompt` or `messages` is missing";
            Err(Problem::unprocessable("missing_field", detail).with("field", "prompt"))
        }
        (Some(prompt), None) => {
            let said = NewMessage::text(Role::User, Content::Text(prompt));
            Ok((vec![said], vec!["prompt".to_owned()]))
        }
        (None, Some(wire)) if wire.is_empty() => {
            let detail = "`messages` is empty";
            Err(Problem::unprocessable("prompt_empty", detail).with("field", "messages"))
        }
        (None, Some(wire)) => {
            let names = (0..wire.len()).map(inside).collect();
            let said: Vec<NewMessage> =
                wire.into_iter().map(|Object(m)| added(m.role, m.content.content())).collect();
            let shows = |m: &NewMessage| m.role != Role::User && m.content.has_pictures();
            if let Some(n) = said.iter().position(shows) {
                let detail = "pictures come in messages of the user";
                return Err(
                    Problem::unprocessable("unsupported_value", detail).with("field", inside(n))
                );
            }
            if let Some(n) = said.iter().position(|m| m.role == Role::Tool) {
                let detail = "answers of tools come over the OpenAI-compatible routes";
                let field = format!("messages[{n}].role");
                return Err(
                    Problem::unprocessable("unsupported_value", detail).with("field", field)
                );
            }
            if in_conversation && said.last().is_some_and(|m| m.role != Role::User) {
                let detail = "the last message is what is answered: it must be the user's";
                let field = format!("messages[{}].role", said.len() - 1);
                return Err(
                    Problem::unprocessable("unsupported_value", detail).with("field", field)
                );
            }
            Ok((said, names))
        }
    }
}

/// Where in a conversation it is said; nothing is said yet.
fn place(
    conversation: Option<String>,
    parent: Option<Option<String>>,
    concurrent: Option<bool>,
) -> Result<Option<TurnAsked>, Problem> {
    let Some(conversation) = conversation else {
        if parent.is_none() && concurrent.is_none() {
            return Ok(None);
        }
        let detail = "`parent_id` and `concurrent` need a `conversation_id`";
        let problem = Problem::unprocessable("missing_field", detail);
        return Err(problem.with("field", "conversation_id"));
    };
    let conversation = proper_id(&conversation).ok_or_else(Problem::no_such_conversation)?;
    let parent = match parent {
        None => ParentAsked::Active,
        Some(None) => ParentAsked::Root,
        Some(Some(id)) => ParentAsked::Message(proper_id(&id).ok_or(StartError::NoMessage)?),
    };
    let concurrent = concurrent.unwrap_or_default();
    Ok(Some(TurnAsked {
        conversation,
        parent,
        concurrent,
        system: None,
        messages: Vec::new(),
        earlier: None,
    }))
}

/// Tells a field that is `null` from one that is not there.
pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// How the domain names the text of the message at `n`.
fn inside(n: usize) -> String {
    format!("messages[{n}].content")
}

/// The refusal with the field as the client wrote it: `system` and `prompt` are messages inside.
fn as_written(error: PromptError, names: &[String]) -> PromptError {
    let written = |field: String| {
        let at = names.iter().enumerate().find(|(n, _)| inside(*n) == field);
        at.map(|(_, name)| name.clone()).unwrap_or(field)
    };
    error.written(written)
}

/// Refuses notes that are too large.
pub(crate) fn check_metadata(metadata: &JsonObject) -> Result<(), Problem> {
    if metadata.text().len() > METADATA_BYTES {
        let detail = format!("`metadata` is larger than {METADATA_BYTES} bytes");
        return Err(
            Problem::unprocessable("metadata_too_large", detail).with("limit", METADATA_BYTES)
        );
    }
    Ok(())
}
