//! How a model shall answer, and with which tools.
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ClientTool, PromptError, check_text};

/// How the model shall answer; absent means the upstream's own default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Parameters {
    /// At most so many tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// How freely it chooses; 0 … 2 at most servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// The share of likely tokens that it chooses from; 0 … 1 at most servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Texts that end the answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// For upstreams that can repeat an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// The tools that the model may call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// The tools that the client knows in another form: calls come back to it in that form.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub client_tools: Vec<ClientTool>,
    /// Whether it calls one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<ToolChoice>,
    /// Whether it may call several at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_tool_calls: Option<bool>,
    /// The parameters that only upstreams of OpenAI's API understand.
    #[serde(skip_serializing_if = "OpenAiOnly::is_empty")]
    pub openai: OpenAiOnly,
}

/// Fields of OpenAI's chat completions that other upstreams do not have, as they came. A start
/// refuses them for models of other providers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OpenAiOnly {
    /// Structured outputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_format: Option<Value>,
    /// How long to think.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_effort: Option<String>,
    /// -2 … 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    /// -2 … 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
}

impl OpenAiOnly {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A function that the model may ask to be called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Its purpose, for the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A JSON schema of its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
    /// Whether the arguments must keep to the schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
}

/// Whether the model calls a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// As it likes.
    Auto,
    /// Not at all.
    None,
    /// At least one.
    Required,
    /// This one.
    Function(String),
}

impl Parameters {
    /// A native start has at most so many stop texts.
    pub const MAX_STOPS: usize = 16;

    /// Checks the limits of a native start. A dialect's client is told its server's own limits,
    /// which differ: OpenAI ends at a temperature of 2, llama.cpp and vLLM do not.
    ///
    /// # Errors
    /// The first value that is out of its range, naming the field.
    pub fn check_ranges(&self) -> Result<(), PromptError> {
        in_range("temperature", self.temperature, 0.0, 2.0)?;
        in_range("top_p", self.top_p, 0.0, 1.0)?;
        if self.stop.len() > Self::MAX_STOPS {
            #[expect(clippy::cast_precision_loss, reason = "a small constant")]
            let max = Self::MAX_STOPS as f64;
            return Err(PromptError::OutOfRange { field: "stop", min: 0.0, max });
        }
        Ok(())
    }

    pub(super) fn check(&self) -> Result<(), PromptError> {
        let tokens = self.max_output_tokens.map(f64::from);
        in_range("max_output_tokens", tokens, 1.0, f64::from(u32::MAX))?;
        for (n, stop) in self.stop.iter().enumerate() {
            check_text(|| format!("stop[{n}]"), stop, stop.is_empty())?;
        }
        Ok(())
    }
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
