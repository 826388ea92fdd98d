//! What a client asks a model: parsed once, limits checked, valid from then on.
use serde::{Deserialize, Serialize};

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions of the operator or the application.
    System,
    /// The newer name of `system`, kept as it came.
    Developer,
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// One message of a prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// Its text.
    pub content: String,
}

/// How the model shall answer; absent means the upstream's own default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Parameters {
    /// At most so many tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// 0 … 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// 0 … 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Texts that end the answer, at most [`Parameters::MAX_STOPS`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// For upstreams that can repeat an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
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

impl Parameters {
    /// More stop texts than any upstream takes are a mistake.
    pub const MAX_STOPS: usize = 16;

    fn check(&self) -> Result<(), PromptError> {
        in_range("temperature", self.temperature, 0.0, 2.0)?;
        in_range("top_p", self.top_p, 0.0, 1.0)?;
        let tokens = self.max_output_tokens.map(f64::from);
        in_range("max_output_tokens", tokens, 1.0, f64::from(u32::MAX))?;
        if self.stop.len() > Self::MAX_STOPS {
            #[expect(clippy::cast_precision_loss, reason = "a small constant")]
            let max = Self::MAX_STOPS as f64;
            return Err(PromptError::OutOfRange { field: "stop", min: 0.0, max });
        }
        for (n, stop) in self.stop.iter().enumerate() {
            check_text(|| format!("stop[{n}]"), stop, stop.is_empty())?;
        }
        Ok(())
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
        for (n, message) in messages.iter().enumerate() {
            let blank = message.content.trim().is_empty() && message.role != Role::Assistant;
            check_text(|| format!("messages[{n}].content"), &message.content, blank)?;
        }
        parameters.check()?;
        let bytes = messages.iter().map(|m| m.content.len()).sum();
        if bytes > limit {
            return Err(PromptError::TooLong { bytes, limit });
        }
        Ok(Self { messages, parameters })
    }

    /// The last thing that the person said.
    #[must_use]
    pub fn last_user_text(&self) -> &str {
        self.messages.iter().rev().find(|m| m.role == Role::User).map_or("", |m| m.content.as_str())
    }

    /// A rough count of the prompt's tokens, for usage that the provider does not report.
    #[must_use]
    pub fn estimated_tokens(&self) -> u64 {
        self.messages.iter().map(|m| estimate_tokens(&m.content)).sum()
    }
}

/// About four bytes a token: the usual rule of thumb for English text.
#[must_use]
pub fn estimate_tokens(text: &str) -> u64 {
    (text.len() as u64).div_ceil(4)
}

fn in_range(
    field: &'static str,
    value: Option<f64>,
    min: f64,
    max: f64,
) -> Result<(), PromptError> {
    match value {
        Some(v) if !(min..=max).contains(&v) => Err(PromptError::OutOfRange { field, min, max }),
        Some(_) | None => Ok(()),
    }
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
        vec![Message { role: Role::User, content: content.into() }]
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
        assert!(matches!(
            parse("hi", hot),
            Err(PromptError::OutOfRange { field: "temperature", .. })
        ));
        let nan = Parameters { top_p: Some(f64::NAN), ..plain };
        assert!(parse("hi", nan).is_err());
    }
}
