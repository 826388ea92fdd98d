//! The models: a prompt goes in, deltas come out.
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use strum::IntoStaticStr;

use crate::domain::event::{
    ErrorCode, Failure, FinishReason, ToolCallDelta, UpstreamRefusal, Usage,
};
use crate::domain::extra::Extra;
use crate::domain::prompt::Prompt;
use crate::domain::source::{Source, WireProtocol};
use crate::domain::thinking::Thought;
use crate::domain::trace::TraceParent;
use crate::domain::transcript::Answer;
use crate::domain::utf8::without_nul;

/// A kind of model: a prompt goes in, deltas come out. Dropping the stream closes the upstream.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// `openai`, `demo`, …: what `started` shows.
    fn name(&self) -> &'static str;

    /// The protocol of its upstream: a client of the same has its own body sent there.
    fn speaks(&self) -> Option<WireProtocol> {
        None
    }

    /// How [`Attempt::so_far`] is continued.
    fn continuation(&self) -> Continuation;

    /// Begins an attempt; returns when the upstream has accepted the prompt.
    async fn start(&self, attempt: Attempt) -> Result<Deltas, ProviderError>;

    /// How a text is gone on with where its upstream keeps no answer, or none any more.
    fn continuation_without(&self) -> Continuation {
        match self.continuation() {
            Continuation::ProviderResume => Continuation::None,
            other @ (Continuation::None | Continuation::Instruct | Continuation::Prefix) => other,
        }
    }

    /// A name under which the upstream will keep a new answer, where it lets us choose: it is to
    /// be stored before the request.
    fn new_name(&self) -> Option<String> {
        None
    }

    /// Begins an answer that the upstream keeps as `name`, one of [`Provider::new_name`].
    async fn start_as(&self, name: &str, attempt: Attempt) -> Result<Deltas, ProviderError> {
        let _names_nothing = name;
        self.start(attempt).await
    }

    /// Ends an answer that the upstream goes on making by itself, where dropping the stream does
    /// not. Bounded in time, best effort; the default is for upstreams that do no such thing.
    async fn abandon(&self, kept: &str) {
        let _nothing_is_kept = kept;
    }

    /// Tokens of `text` by the upstream's own count, where it has one. Bounded in time, best
    /// effort.
    async fn count(&self, text: &str) -> Option<u64> {
        let _nobody_counts = text;
        None
    }
}

/// How an upstream goes on from a text that it has begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Continuation {
    /// It cannot.
    #[default]
    None,
    /// It is asked to: the words may differ from those that it would have said.
    Instruct,
    /// Exactly behind the last token.
    Prefix,
    /// It keeps the answer itself, see [`Delta::Background`], and is asked for the rest of it.
    ProviderResume,
}

impl Continuation {
    /// The word in the configuration and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether it can go on at all.
    #[must_use]
    pub fn is_possible(self) -> bool {
        match self {
            Self::None => false,
            Self::Instruct | Self::Prefix | Self::ProviderResume => true,
        }
    }
}

/// Deltas of one attempt. The last is [`Delta::Finish`], or the attempt is lost.
pub type Deltas = BoxStream<'static, Result<Delta, ProviderError>>;

/// One attempt to answer a prompt.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The prompt to answer.
    pub prompt: Prompt,
    /// The answer's text up to now, to be continued; empty for a fresh start.
    pub so_far: String,
    /// The answer that the upstream keeps; `None` for a new one.
    pub resume: Option<Resume>,
    /// In whose trace the generation is, for the upstream to know.
    pub trace: Option<TraceParent>,
    /// The client's own body; an upstream of the same protocol gets it with few changes.
    pub source: Option<Source>,
    /// The thoughts that belong to `so_far`.
    pub reasoning: String,
    /// Those of them that their vendor has sealed, each at its place in `so_far`.
    pub thinking: Vec<Thought>,
    /// Tokens of the answer that were said before and still count: they are off its limit.
    pub spent: u64,
    /// Bytes at the beginning of `so_far` that another generation has said: its limits were others.
    pub given: usize,
}

impl Attempt {
    /// A fresh one: nothing of the answer was said yet.
    #[must_use]
    pub fn fresh(prompt: Prompt) -> Self {
        Self {
            prompt,
            so_far: String::new(),
            resume: None,
            trace: None,
            source: None,
            reasoning: String::new(),
            thinking: Vec::new(),
            spent: 0,
            given: 0,
        }
    }
}

/// An answer that its upstream keeps, to be heard on behind what was heard of it.
#[derive(Clone, Debug)]
pub struct Resume {
    /// The upstream's own name for it, as [`Delta::Background`] gave it.
    pub kept: String,
    /// The part that was already heard; exactly this is left out.
    pub heard: Answer,
}

/// A piece of what the upstream says.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// Answer text.
    Text(String),
    /// Thinking text.
    Reasoning(String),
    /// Words of a refusal.
    Refusal(String),
    /// A fragment of a tool call.
    ToolCall(ToolCallDelta),
    /// A part that has no other delta, as it came.
    Extra(Extra),
    /// Tokens up to now; the last one counts. Not exact where more is to come.
    Usage(Usage),
    /// The upstream keeps the answer under this name and goes on with it also without us.
    Background(String),
    /// It does not, or no longer.
    Forgotten,
    /// So many bytes that the text so far has already were made and left out.
    Repeated(usize),
    /// The same is asked once more: what follows is the answer to another request.
    AskedAgain,
    /// Something that a reader may want to know.
    Notice {
        /// Stable, for programs.
        code: &'static str,
        /// For people.
        message: String,
    },
    /// The model came to its end; a [`Delta::Usage`] may still follow.
    Finish {
        /// Our word.
        reason: FinishReason,
        /// The provider's own word, where it differs.
        raw: Option<String>,
    },
}

/// Why an attempt was lost.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
#[error("{message}")]
pub struct ProviderError {
    /// The kind of loss.
    pub code: ErrorCode,
    /// For people; without keys, prompts or answers.
    pub message: String,
    /// Whether another attempt may succeed.
    pub retryable: bool,
    /// How long the upstream asks to wait.
    pub retry_after: Option<Duration>,
    /// The upstream's own words, where it refused.
    pub upstream: Option<Box<UpstreamRefusal>>,
}

impl From<ProviderError> for Failure {
    fn from(e: ProviderError) -> Self {
        Self {
            code: e.code,
            message: without_nul(e.message),
            retryable: e.retryable,
            retry_after_ms: e.retry_after.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
            upstream: e.upstream.map(|said| *said),
        }
    }
}
