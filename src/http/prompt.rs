//! The body of a start, as clients write it.
use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::object::Object;
use super::problem::Problem;
use crate::domain::generation::{OnDisconnect, Request};
use crate::domain::prompt::{Message, Parameters, Prompt, PromptError, Role};

/// More of a client's own notes than this, in bytes, belongs into the client's own database.
const METADATA_BYTES: usize = 16 * 1024;

/// `POST /v1/generations`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StartBody {
    model: Option<String>,
    prompt: Option<String>,
    messages: Option<Vec<Object<WireMessage>>>,
    system: Option<String>,
    max_output_tokens: Option<u32>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    stop: Option<Texts>,
    seed: Option<i64>,
    metadata: Option<Map<String, Value>>,
    on_disconnect: Option<OnDisconnect>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireMessage {
    role: Role,
    content: Texts,
}

/// A string, or an array of strings or of `{"type":"text","text":…}` parts.
#[derive(Debug)]
struct Texts(Vec<String>);

/// One element of a content array.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Part {
    Text { text: String },
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
        Ok(Texts(vec![text.into()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Texts, A::Error> {
        let mut texts = Vec::new();
        while let Some(TextOrPart(text)) = parts.next_element()? {
            texts.push(text);
        }
        Ok(Texts(texts))
    }
}

struct TextOrPart(String);

impl<'de> Deserialize<'de> for TextOrPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneVisitor;
        impl<'de> Visitor<'de> for OneVisitor {
            type Value = TextOrPart;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a part such as {\"type\":\"text\",\"text\":\"…\"}")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<TextOrPart, E> {
                Ok(TextOrPart(text.into()))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<TextOrPart, A::Error> {
                let Part::Text { text } =
                    Part::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(TextOrPart(text))
            }
        }
        deserializer.deserialize_any(OneVisitor)
    }
}

impl StartBody {
    /// The request in it, checked; `default` is the model when none is named.
    pub(super) fn check(self, default: &str, prompt_bytes: usize) -> Result<Request, Problem> {
        let mut messages = Vec::new();
        let mut names = Vec::new();
        if let Some(system) = self.system {
            names.push("system".to_owned());
            messages.push(Message { role: Role::System, content: system });
        }
        match (self.prompt, self.messages) {
            (Some(_), Some(_)) => {
                let detail = "give either `prompt` or `messages`";
                return Err(Problem::unprocessable("conflicting_fields", detail));
            }
            (None, None) => {
                let detail = "`prompt` or `messages` is missing";
                return Err(Problem::unprocessable("missing_field", detail).with("field", "prompt"));
            }
            (Some(prompt), None) => {
                names.push("prompt".to_owned());
                messages.push(Message { role: Role::User, content: prompt });
            }
            (None, Some(wire)) if wire.is_empty() => {
                let detail = "`messages` is empty";
                return Err(
                    Problem::unprocessable("prompt_empty", detail).with("field", "messages")
                );
            }
            (None, Some(wire)) => {
                names.extend((0..wire.len()).map(inside));
                messages.extend(
                    wire.into_iter()
                        .map(|Object(m)| Message { role: m.role, content: m.content.0.join("\n") }),
                );
            }
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
            stop: self.stop.map(|texts| texts.0).unwrap_or_default(),
            seed: self.seed,
        };
        Ok(Request {
            model: self.model.unwrap_or_else(|| default.into()),
            prompt: Prompt::parse(messages, parameters, prompt_bytes)
                .map_err(|e| as_written(e, &names))?,
            metadata,
            on_disconnect: self.on_disconnect.unwrap_or_default(),
        })
    }
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
    match error {
        PromptError::Empty { field } => PromptError::Empty { field: written(field) },
        PromptError::InvalidCharacter { field } => {
            PromptError::InvalidCharacter { field: written(field) }
        }
        other @ (PromptError::TooLong { .. } | PromptError::OutOfRange { .. }) => other,
    }
}

fn check_metadata(metadata: &Map<String, Value>) -> Result<(), Problem> {
    let text = serde_json::to_string(metadata).unwrap_or_default();
    if text.len() > METADATA_BYTES {
        let detail = format!("`metadata` is larger than {METADATA_BYTES} bytes");
        return Err(
            Problem::unprocessable("metadata_too_large", detail).with("limit", METADATA_BYTES)
        );
    }
    if metadata.iter().any(|(name, value)| name.contains('\0') || has_nul(value)) {
        let detail = "`metadata` contains U+0000";
        return Err(Problem::unprocessable("invalid_character", detail).with("field", "metadata"));
    }
    Ok(())
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(fields) => {
            fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
