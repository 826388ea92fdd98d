//! A generation as it is stored and shown.
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::conversation::TurnPosition;
use super::event::{Done, Failure, FinishReason, Status, Usage};
use super::id::{ConversationId, Epoch, GenerationId, InstanceId, KeyId, MessageId, Seq, Tenant};
use super::json::JsonObject;
use super::prompt::{Parameters, Prompt};
use super::source::Source;
use super::trace::TraceParent;
use super::transcript::Answer;

/// The fate of a generation without readers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OnDisconnect {
    /// It goes on: a reader never decides a generation's fate.
    #[default]
    Continue,
    /// It is cancelled after so many seconds without a reader.
    #[serde(rename = "cancel_after_s")]
    CancelAfter(u32),
}

/// A client's request, checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The model's name.
    pub model: String,
    /// The prompt.
    pub prompt: Prompt,
    /// The client's own notes, given back as they came.
    #[serde(default)]
    pub metadata: JsonObject,
    /// The fate of the generation when nobody reads it.
    #[serde(default)]
    pub on_disconnect: OnDisconnect,
    /// The fields of a dialect's request that are only shown again, such as `instructions`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub echo: Map<String, Value>,
    /// The client's own name of the chat that it belongs to, where a dialect has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<String>,
    /// Seconds that it may take, where its key allows less than the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_s: Option<u32>,
    /// The ended answer that this one goes on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<Continues>,
    /// In whose trace it is. No part of what is asked: a repeat comes in another trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceParent>,
    /// The client's own body, for an upstream of the same protocol; `None` for native starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
}

impl Request {
    /// The substitute for a stored request that cannot be read.
    #[must_use]
    pub fn unreadable(model: String) -> Self {
        Self {
            model,
            prompt: Prompt { messages: Vec::new(), parameters: Parameters::default() },
            metadata: JsonObject::default(),
            on_disconnect: OnDisconnect::default(),
            echo: Map::new(),
            chat: None,
            wall_s: None,
            continues: None,
            trace: None,
            source: None,
        }
    }

    /// Tokens of the answer, about, that were there before the generation began.
    #[must_use]
    pub fn given_tokens(&self) -> u64 {
        self.continues.map_or(0, |earlier| earlier.tokens)
    }

    /// The same request as every writer of it would have it: keys in alphabetical order, without
    /// the body that it was parsed from. Two starts are the same if this is, also across an
    /// upgrade.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let mut same = Self { source: None, ..self.clone() };
        same.metadata = self.metadata.canonical();
        same.prompt.messages.iter_mut().for_each(|message| message.places.clear());
        same.echo.sort_keys();
        same.echo.values_mut().for_each(Value::sort_all_objects);
        let parameters = &mut same.prompt.parameters;
        let schemas = parameters.tools.iter_mut().filter_map(|tool| tool.parameters.as_mut());
        schemas.chain(parameters.openai.response_format.as_mut()).for_each(Value::sort_all_objects);
        same
    }
}

/// An ended answer whose text another generation begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continues {
    /// The generation that made it.
    pub generation: GenerationId,
    /// The length of its text, in bytes.
    pub bytes: usize,
    /// Its length, in tokens, about. They are no part of what the new generation may say.
    pub tokens: u64,
}

/// A generation to be stored for the first time.
#[derive(Clone, Debug)]
pub struct NewGeneration {
    /// Its id.
    pub id: GenerationId,
    /// The owner.
    pub tenant: Tenant,
    /// The request.
    pub request: Request,
    /// The kind of upstream.
    pub provider: String,
    /// The instance that will run it.
    pub owner: InstanceId,
    /// Whether it has to wait for a place.
    pub queued: bool,
    /// The key that makes a repeated start the same start.
    pub idempotency: Option<Idempotency>,
    /// The key that asks, and how many generations it may have at a time.
    pub key: Option<(KeyId, Option<u32>)>,
    /// Its place in a conversation.
    pub place: Option<TurnPosition>,
    /// The fingerprint of the request, where a repeat may take the answer over.
    pub request_hash: Option<Vec<u8>>,
}

/// A client's key, and what it was used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// 1–255 visible ASCII characters.
    pub key: String,
    /// A hash of the request.
    pub fingerprint: Vec<u8>,
}

/// A generation's row.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Its id.
    pub id: GenerationId,
    /// The owner.
    pub tenant: Tenant,
    /// Where it stands.
    pub status: Status,
    /// The request.
    pub request: Request,
    /// The kind of upstream.
    pub provider: String,
    /// Which owner it has.
    pub epoch: Epoch,
    /// When it was accepted.
    pub created_at: OffsetDateTime,
    /// When the model began.
    pub started_at: Option<OffsetDateTime>,
    /// When it ended.
    pub finished_at: Option<OffsetDateTime>,
    /// From `created_at` to the first content event, in milliseconds.
    pub time_to_first_token_ms: Option<f64>,
    /// The seq of the last event.
    pub last_seq: Seq,
    /// Whether its events are still there.
    pub events_retained: bool,
    /// The outcome; present once it has ended.
    pub result: Option<Outcome>,
    /// Its place in a conversation.
    pub place: Option<TurnPosition>,
    /// Why what is stored of it cannot be read; then `request` is empty but for its model.
    pub unreadable: Option<String>,
}

/// The outcome of a generation.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The answer, without what was superseded.
    pub answer: Answer,
    /// The ending.
    pub done: Done,
    /// How many attempts it took.
    pub attempts: u32,
}

/// An answer that its upstream keeps and goes on making by itself, also when nobody listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackgroundResponse {
    /// Our name of the model whose upstream it is.
    pub model: String,
    /// The upstream's name of the answer.
    pub answer: String,
    /// In which attempt of the generation it was begun, from 1.
    pub attempt: u32,
}

/// A generation as `GET` shows it, and as the receipt of a cancel.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    /// The id.
    pub id: GenerationId,
    /// Where it stands.
    pub status: Status,
    /// The model's name.
    pub model: String,
    /// The kind of upstream.
    pub provider: String,
    /// The conversation that it belongs to.
    pub conversation_id: Option<ConversationId>,
    /// The message that it answers.
    pub parent_id: Option<MessageId>,
    /// The answer so far.
    #[serde(flatten)]
    pub answer: Answer,
    /// The seq of the last event.
    pub last_seq: Seq,
    /// Tokens used; absent while it runs.
    pub usage: Option<Usage>,
    /// Why the model stopped.
    pub finish_reason: Option<FinishReason>,
    /// The failure.
    pub error: Option<Failure>,
    /// How many attempts there were.
    pub attempts: u32,
    /// RFC 3339.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// RFC 3339.
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    /// RFC 3339.
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
    /// Milliseconds.
    pub time_to_first_token_ms: Option<f64>,
    /// The client's own notes.
    pub metadata: JsonObject,
    /// The ended generation whose text it begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continues: Option<GenerationId>,
    /// Its request cannot be read any more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unreadable: bool,
}

impl View {
    /// The view of `row`, whose answer so far is `answer`.
    #[must_use]
    pub fn of(row: Generation, answer: Answer, attempts: u32) -> Self {
        let done = row.result.map(|outcome| outcome.done);
        let continues = row.request.continues.map(|earlier| earlier.generation);
        Self {
            id: row.id,
            status: row.status,
            model: row.request.model,
            provider: row.provider,
            conversation_id: row.place.map(|p| p.conversation),
            parent_id: row.place.map(|p| p.parent),
            answer,
            last_seq: row.last_seq,
            usage: done.as_ref().map(|d| d.usage),
            finish_reason: done.as_ref().and_then(|d| d.finish_reason),
            error: done.and_then(|d| d.error),
            attempts,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
            // The first text in the log of a continuation is the earlier answer's.
            time_to_first_token_ms: row.time_to_first_token_ms.filter(|_| continues.is_none()),
            continues,
            metadata: row.request.metadata,
            unreadable: row.unreadable.is_some(),
        }
    }
}
