//! `lastword.toml`.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::ConfigError;
use super::limits::FileLimits;
use super::signals::FileNats;
use crate::domain::nearest::unknown_name;
use crate::engine::OnLoss;

/// The file, every key optional.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) listen: Option<SocketAddr>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) database_url: Option<String>,
    pub(super) postgres_bin: Option<PathBuf>,
    pub(super) default_model: Option<String>,
    pub(super) lease_s: Option<f64>,
    pub(super) heartbeat_s: Option<f64>,
    pub(super) database_wait_s: Option<f64>,
    pub(super) shutdown_grace_s: Option<f64>,
    pub(super) retention_days: Option<u32>,
    pub(super) prompt_retention_days: Option<u32>,
    pub(super) notify: Option<bool>,
    pub(super) signals: Option<String>,
    pub(super) nats: FileNats,
    pub(super) detect: Option<bool>,
    pub(super) require_key: Option<bool>,
    pub(super) tls_cert: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) h2c: Option<bool>,
    pub(super) cors_origins: Vec<String>,
    pub(super) public_url: Option<String>,
    pub(super) trusted_proxies: Vec<String>,
    pub(super) frame_ancestors: Vec<String>,
    pub(super) models: Vec<ModelConfig>,
    pub(super) limits: FileLimits,
}

/// A model, as `[[models]]` describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The name that clients use.
    pub name: String,
    /// The kind of server that answers.
    pub provider: ProviderKind,
    /// The upstream's own name for it; the same by default.
    pub upstream_model: Option<String>,
    /// Where the upstream is: up to and with `/v1` for `openai`, without it for `anthropic`.
    pub base_url: Option<String>,
    /// Which of OpenAI's two APIs an `openai` upstream is asked by.
    pub wire: Option<WireWord>,
    /// The environment variable that holds the key; never the key itself.
    pub api_key_env: Option<String>,
    /// How this upstream can go on from a text.
    #[serde(default)]
    pub continuation: Option<ContinuationWord>,
    /// The reaction to an answer that breaks off.
    #[serde(default, rename = "on_loss")]
    pub on_loss: OnLossWord,
    /// Attempts at one answer, the first included.
    #[serde(default = "three")]
    pub max_attempts: u32,
    /// The model that answers when the attempts are spent.
    pub fallback: Option<String>,
    /// Tokens of its window: a conversation that is longer loses its oldest turns.
    pub context_tokens: Option<NonZeroU32>,
    /// Whether it sees pictures; without a word they are sent, and its server may refuse them.
    pub pictures: Option<bool>,
    /// The limit of an answer where the client sets none, in tokens.
    pub max_output_tokens: Option<NonZeroU32>,
    /// Fields of every request to the upstream; they beat the client's.
    #[serde(default)]
    pub set: Map<String, Value>,
    /// Fields of the client that are sent although they would be left out.
    #[serde(default)]
    pub pass: Vec<String>,
    /// Fields that are never sent.
    #[serde(default)]
    pub drop: Vec<String>,
    /// Headers of every request.
    #[serde(default)]
    pub headers: BTreeMap<String, Given>,
    /// Parameters of every request's URL.
    #[serde(default)]
    pub query: BTreeMap<String, Given>,
    /// Whether the proxy of the environment is used.
    #[serde(default)]
    pub proxy: bool,
    /// The role of instructions: `system`, `developer`, or `keep` for what the client says.
    pub system_role: Option<String>,
    /// Whether several messages of instructions become one.
    pub join_system: Option<bool>,
    /// Whether thoughts between tags in the text are told from the answer.
    pub think_tags: Option<ThinkTagsWord>,
    /// The largest event of the model's stream, in bytes.
    pub max_event_bytes: Option<NonZeroUsize>,
    /// Whether a continuation keeps to the grammar of structured output that was begun.
    #[serde(default)]
    pub continues_structured: bool,
    /// Whether it goes on inside thoughts that broke off.
    #[serde(default)]
    pub continues_thoughts: bool,
    /// Seconds that an answer goes on without a reader, over the vendors' protocols.
    pub disconnect_grace_s: Option<u32>,
    /// Whether the same request takes the answer over also where its client had closed by itself.
    pub attach_after_close: Option<bool>,
    /// Seconds that a server that cannot be reached is waited for, once an answer has begun.
    pub reconnect_for_s: Option<f64>,
    /// The same where there is a fallback.
    pub fallback_after_s: Option<f64>,
    /// Seconds for the connection, TLS included.
    pub connect_timeout_s: Option<f64>,
    /// Seconds from the request to the first byte of the answer.
    pub first_byte_timeout_s: Option<f64>,
    /// Seconds from the request to the first event, while keep-alives come.
    pub first_event_timeout_s: Option<f64>,
    /// Seconds between any two bytes after that.
    pub idle_bytes_timeout_s: Option<f64>,
    /// Seconds between any two events after that.
    pub idle_events_timeout_s: Option<f64>,
}

/// A value of the file, or the name of the environment variable that holds it.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a text, or { env = \"NAME\" }")]
pub enum Given {
    /// The value itself.
    Literal(String),
    /// Where it is.
    Env {
        /// The variable's name.
        env: String,
    },
}

/// `think_tags` as the file spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "true, false or \"opened\"")]
pub enum ThinkTagsWord {
    /// Whether they are looked for.
    Is(bool),
    /// The template of the prompt opens them.
    Opened(OpenedWord),
}

/// The one word beside true and false.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OpenedWord {
    /// See [`ThinkTagsWord::Opened`].
    Opened,
}

fn three() -> u32 {
    3
}

/// The kinds of upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// Any server with OpenAI's chat completions.
    Openai,
    /// Anthropic's Messages API.
    Anthropic,
    /// The built-in one, which is no AI.
    Demo,
}

/// OpenAI's APIs, as the file spells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WireWord {
    /// Chat completions.
    Chat,
    /// Responses.
    Responses,
}

/// How an upstream can go on from a text, as the file spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContinuationWord {
    /// It goes on exactly behind the last assistant message: vLLM, llama.cpp, DeepSeek, Mistral.
    Prefix,
    /// It is asked to go on, as any model can be.
    Instruct,
    /// It keeps the answer itself, and is asked for the rest of it.
    ProviderResume,
    /// It cannot.
    None,
}

/// [`OnLoss`] as the file spells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLossWord {
    /// See [`OnLoss::Continue`].
    #[default]
    Continue,
    /// See [`OnLoss::Restart`].
    Restart,
    /// See [`OnLoss::Interrupt`].
    Interrupt,
}

impl From<OnLossWord> for OnLoss {
    fn from(word: OnLossWord) -> Self {
        match word {
            OnLossWord::Continue => Self::Continue,
            OnLossWord::Restart => Self::Restart,
            OnLossWord::Interrupt => Self::Interrupt,
        }
    }
}

impl File {
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| ConfigError(format!("cannot read {}: {e}", path.display())))?;
        Self::parse(&text).map_err(|e| ConfigError(format!("{}: {e}", path.display())))
    }

    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|e| {
            let hint = match unknown_name(e.message()) {
                Some((_, Some(known))) => format!(" Did you mean `{known}`?"),
                Some((_, None)) | None => String::new(),
            };
            ConfigError(format!("{}{hint}", e.to_string().trim_end()))
        })
    }
}
