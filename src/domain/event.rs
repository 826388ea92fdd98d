//! The events of a generation: one closed enum, and its one JSON form.
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use strum::{EnumIter, EnumString, IntoStaticStr, VariantNames};

use super::extra::Extra;
use super::id::{GenerationId, Seq};
use super::rate_limits::RateLimits;

/// One event of a generation, as it is stored and as every transport carries it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// Always seq 1.
    Started {
        /// Which generation the log belongs to.
        generation: GenerationId,
        /// The model's name as clients ask for it.
        model: String,
        /// The kind of upstream that serves it; `demo` is no AI.
        provider: String,
        /// When the prompt was accepted, RFC 3339, by the database's clock.
        created_at: String,
    },
    /// Answer text, as the upstream cut it.
    Delta {
        /// Valid UTF-8, never empty.
        text: String,
    },
    /// Thinking text, where the model gives it.
    Reasoning {
        /// Valid UTF-8, never empty.
        text: String,
    },
    /// The model declines, in words.
    Refusal {
        /// Valid UTF-8, never empty.
        text: String,
    },
    /// A fragment of a call that the model asks for.
    ToolCall(ToolCallDelta),
    /// Everything between `after` and this event is void: a new attempt begins from nothing.
    Superseded {
        /// The last seq that still counts.
        after: Seq,
        /// Why the earlier attempt was lost.
        reason: LossReason,
    },
    /// A new attempt goes on right behind the text so far: nothing is void.
    Resumed {
        /// Why the earlier attempt was lost.
        reason: LossReason,
        /// The number of this attempt; the first was 1.
        attempt: u32,
    },
    /// Never stored: replaces everything up to its seq for a reader whose cursor cannot be served.
    Snapshot {
        /// Why the cursor cannot be served.
        reason: SnapshotReason,
        /// The answer so far.
        text: String,
        /// The thinking so far.
        reasoning: String,
        /// The generation's status at that seq.
        status: Status,
    },
    /// Something that a reader may want to know.
    Notice {
        /// Stable, for programs.
        code: String,
        /// For people.
        message: String,
    },
    /// A field that the upstream sent beside text, thinking and calls, as it came. `Entry::decode`
    /// reads it: an enum with a tag cannot keep JSON as text.
    #[serde(skip_deserializing)]
    Extra(Extra),
    /// Always last, exactly once.
    Done(Done),
    /// Of a type that this version does not know: a newer one beside it wrote it. Never made here.
    #[serde(other)]
    Unknown,
}

/// A fragment of a tool call; the fragments of one `index` are joined.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolCallDelta {
    /// Which call of the answer, from 0.
    pub index: u32,
    /// The call's id, in its first fragment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The function's name, in its first fragment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The namespace that the function is in, if it is in one; in its first fragment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The tool takes a text: the arguments are `{"input":"…"}`. In its first fragment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub custom: bool,
    /// A piece of the arguments' JSON text.
    pub arguments: String,
}

/// Why an attempt was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossReason {
    /// The server that ran it died or was replaced.
    Takeover,
    /// The model's connection broke off before the end.
    Upstream,
}

/// Why a reader gets a snapshot in place of the events that it asked for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, EnumIter, IntoStaticStr, VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum SnapshotReason {
    /// The events after the cursor are no longer retained.
    CursorExpired,
    /// The cursor is ahead of the log, which was restored from a backup.
    CursorAhead,
}

impl SnapshotReason {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A generation's status: three while it goes on, five endings.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    EnumIter,
    EnumString,
    IntoStaticStr,
    VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Status {
    /// Accepted and durable, not yet begun.
    Queued,
    /// The model works on it.
    Running,
    /// A cancel was asked for and is not yet true.
    Cancelling,
    /// The model came to its end.
    Completed,
    /// Cut by a limit: length, content filter, context window, time, a pause.
    Incomplete,
    /// Somebody said no.
    Failed,
    /// We lost it and could not continue.
    Interrupted,
    /// A cancel ended it.
    Cancelled,
}

impl Status {
    /// Whether the generation has its ending.
    #[must_use]
    pub fn is_ended(self) -> bool {
        match self {
            Self::Queued | Self::Running | Self::Cancelling => false,
            Self::Completed
            | Self::Incomplete
            | Self::Failed
            | Self::Interrupted
            | Self::Cancelled => true,
        }
    }

    /// The word on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The status of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        word.parse().ok()
    }
}

/// How a generation ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// One of the five endings.
    pub status: Status,
    /// Why the model stopped, normalised; absent where it did not say.
    pub finish_reason: Option<FinishReason>,
    /// The provider's own word, where it differs from ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_finish_reason: Option<String>,
    /// Tokens used, of all attempts.
    pub usage: Usage,
    /// The failure, for `failed` and `interrupted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// Why a model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, VariantNames)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum FinishReason {
    /// Its natural end or a stop sequence.
    Stop,
    /// It wants tools to be called.
    ToolCalls,
    /// The output limit.
    Length,
    /// The provider's filter.
    ContentFilter,
    /// It declined.
    Refusal,
    /// The context window is full.
    ContextWindow,
    /// The wall-clock limit of this service.
    TimeLimit,
    /// The provider paused a long turn.
    Pause,
    /// A word that we do not know; see `provider_finish_reason`.
    Other,
}

impl FinishReason {
    /// The ending that the reason means.
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            Self::Stop | Self::ToolCalls | Self::Refusal | Self::Other => Status::Completed,
            Self::Length
            | Self::ContentFilter
            | Self::ContextWindow
            | Self::TimeLimit
            | Self::Pause => Status::Incomplete,
        }
    }
}

/// Tokens of one generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt.
    pub input_tokens: u64,
    /// Tokens of the answer, reasoning included.
    pub output_tokens: u64,
    /// Of these, the tokens of reasoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_tokens: Option<u64>,
    /// Of the input, what came from the provider's cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input_tokens: Option<u64>,
    /// Of the input, what the provider wrote to its cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_input_tokens: Option<u64>,
    /// False where the provider did not report it and we estimated.
    pub exact: bool,
}

/// A failure, for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Stable, for programs.
    pub code: ErrorCode,
    /// For people; never holds a key or a prompt.
    pub message: String,
    /// Whether the same prompt may succeed later.
    pub retryable: bool,
    /// How long the upstream asks to wait, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The upstream's own words, where it refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<UpstreamRefusal>,
}

/// A refusal in the upstream's own words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamRefusal {
    /// Its HTTP status, or the one that an error inside a stream means.
    pub status: u16,
    /// Its code, such as `context_length_exceeded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Its type, such as `invalid_request_error`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The field that it is about, such as `tools[0].function.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<Box<str>>,
    /// Its headers about rate limits.
    #[serde(default, skip_serializing_if = "RateLimits::is_empty")]
    pub rate_limits: RateLimits,
}

/// Why a generation failed or was interrupted.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, EnumIter, IntoStaticStr, VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ErrorCode {
    /// No connection, or it was lost before the first byte.
    UpstreamUnavailable,
    /// 429, 529 or a quota.
    UpstreamRateLimited,
    /// It refused the request or the key.
    UpstreamRejected,
    /// No first byte in time.
    UpstreamTimeout,
    /// It went silent in the middle.
    UpstreamStalled,
    /// Its events make no sense.
    UpstreamProtocol,
    /// It ended without saying that it is at its end.
    UpstreamTruncated,
    /// The server that ran it died, and its model cannot go on.
    ServerLost,
    /// The log could not be written for too long.
    StorageUnavailable,
    /// A fault of this service.
    Internal,
}

impl ErrorCode {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
