//! The two borders of the engine: the durable log, and the models.
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::domain::entry::Entry;
use crate::domain::event::{ErrorCode, Failure, FinishReason, ToolCallDelta, Usage};
use crate::domain::generation::{Generation, Idempotency, NewGeneration, Outcome};
use crate::domain::id::{Epoch, GenerationId, InstanceId, Seq, Tenant};
use crate::domain::prompt::Prompt;
use crate::domain::utf8::without_nul;

/// The durable log of all generations. What is not in it did not happen.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Stores a new generation with its first event, `started`, in one transaction. Repeating it
    /// with the same id changes nothing.
    async fn create(&self, new: &NewGeneration) -> Result<Created, LogError>;

    /// What an earlier start with this key came to; `None` if there was none.
    async fn repeated(
        &self,
        tenant: &Tenant,
        key: &Idempotency,
    ) -> Result<Option<Created>, LogError>;

    /// A connection of its own for one lane of the recorder.
    fn writer(&self) -> Box<dyn LogWriter>;

    /// At most `limit` entries after `after`, oldest first.
    async fn read(&self, at: &Address, after: Seq, limit: u32) -> Result<Vec<Entry>, LogError>;

    /// The generation's row; `None` if the tenant has none of that id.
    async fn generation(&self, at: &Address) -> Result<Option<Generation>, LogError>;

    /// The tenant's generations, newest first.
    async fn list(&self, tenant: &Tenant, filter: &Filter) -> Result<Vec<Generation>, LogError>;

    /// Erases an ended generation with all its events.
    async fn delete(&self, at: &Address) -> Result<Deleted, LogError>;

    /// Notes that a cancel is asked for, unless the generation has ended.
    async fn request_cancel(&self, at: &Address) -> Result<(), LogError>;

    /// Of the generations of `owner` that go on, those whose cancel was asked for.
    async fn cancel_requests(&self, owner: InstanceId) -> Result<Vec<GenerationId>, LogError>;

    /// Renews the lease of `owner` for `lease` by the database's clock.
    async fn heartbeat(&self, owner: InstanceId, lease: Duration) -> Result<(), LogError>;

    /// Gives the lease of `owner` up, so that others may take its generations over at once.
    async fn release(&self, owner: InstanceId) -> Result<(), LogError>;

    /// Unfinished generations that `orphans` describes, oldest first, at most `limit`.
    async fn orphans(&self, which: &Orphans, limit: u32) -> Result<Vec<Orphan>, LogError>;

    /// Raises the epoch *and* appends the first entry of the new owner, in one transaction.
    ///
    /// `Ok(false)`: somebody else was faster, or the old owner appended meanwhile.
    async fn take_over(&self, claim: &Claim) -> Result<bool, LogError>;

    /// Makes room for the days ahead and drops the events of generations begun more than `days`
    /// days ago; returns how many days' tables were dropped.
    async fn retain(&self, days: u32) -> Result<u64, LogError>;

    /// Whether the database answers and has the tables that this build needs.
    async fn ping(&self) -> Result<(), LogError>;
}

/// One connection that appends. It never reconnects silently: a lost connection is an error of
/// the next call, so that its user knows to look at the log again.
#[async_trait]
pub trait LogWriter: Send {
    /// Appends all of `batch` in one transaction, durable when it returns.
    async fn append(&mut self, batch: &[&Append]) -> Result<(), LogError>;

    /// The last entry of each of these generations, as the database has it now.
    async fn tails(&mut self, ids: &[GenerationId]) -> Result<Vec<Tail>, LogError>;
}

/// A generation of a tenant.
#[derive(Clone, Debug)]
pub struct Address {
    /// Whose.
    pub tenant: Tenant,
    /// Which.
    pub id: GenerationId,
}

/// What came of a start.
#[derive(Debug)]
pub enum Created {
    /// It is new; its first entry.
    New(Box<Generation>, Entry),
    /// The same start was made before.
    Replayed(Box<Generation>),
    /// The idempotency key was used for another request.
    KeyReused,
}

/// What came of a delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone.
    Gone,
    /// The tenant has none of that id.
    Absent,
    /// It has not ended.
    Running,
}

/// Entries of one generation by one owner, right behind each other.
#[derive(Clone, Debug)]
pub struct Append {
    /// Which generation of which tenant.
    pub at: Address,
    /// The owner that writes.
    pub epoch: Epoch,
    /// At least one; seqs without a gap.
    pub entries: Vec<Entry>,
    /// What to write into the row in the same transaction.
    pub row: RowChange,
}

/// How an append changes the generation's row.
#[derive(Clone, Debug)]
pub enum RowChange {
    /// Not at all.
    None,
    /// The model begins.
    Started,
    /// The last entry is `done`.
    Ended(Box<Outcome>),
}

/// The last entry of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Which generation.
    pub id: GenerationId,
    /// Its last seq; zero if it has no event.
    pub seq: Seq,
    /// Who owns it now; zero if it is gone.
    pub epoch: Epoch,
}

/// Which unfinished generations have nobody who runs them.
#[derive(Clone, Debug)]
pub enum Orphans {
    /// Those whose owner's lease ran out.
    LeaseExpired,
    /// Those on record for this instance that its process does not run: an earlier process left
    /// them, their start's reply was lost, or their task died.
    Unattended {
        /// This instance.
        owner: InstanceId,
        /// What its process runs.
        running: Vec<GenerationId>,
        /// Whether to take young ones, which a running server may just be starting.
        young_too: bool,
    },
}

/// An unfinished generation without an owner that runs it.
#[derive(Clone, Debug)]
pub struct Orphan {
    /// Its row.
    pub row: Generation,
    /// The owner on record.
    pub owner: InstanceId,
    /// Whether a cancel was asked for.
    pub cancel_requested: bool,
}

/// A take-over of a generation.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The new owner.
    pub owner: InstanceId,
    /// The owner on record, who must still be it.
    pub from: InstanceId,
    /// The new owner's first entries, with its new epoch.
    pub append: Append,
}

/// Which generations to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only those of this status.
    pub status: Option<crate::domain::event::Status>,
    /// Only those older than this one.
    pub before: Option<GenerationId>,
    /// At most so many.
    pub limit: u32,
}

/// Why the log could not do it.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Somebody else wrote at that place: nothing of this call was written.
    #[error("the log has another entry at that seq")]
    Conflict,
    /// The database did not answer. Whether this call was carried out is unknown.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The database refused what we asked, or holds what we do not understand: a fault of ours.
    #[error("the log is broken: {0}")]
    Broken(String),
}

/// A kind of model: a prompt goes in, deltas come out. Dropping the stream closes the upstream.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// `openai`, `demo`, …: what `started` shows.
    fn name(&self) -> &'static str;

    /// How [`Attempt::so_far`] is continued.
    fn continuation(&self) -> Continuation;

    /// Begins an attempt; returns when the upstream has accepted the prompt.
    async fn start(&self, attempt: Attempt) -> Result<Deltas, ProviderError>;
}

/// How an upstream goes on from a text that it has begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Continuation {
    /// It cannot.
    #[default]
    None,
    /// It is asked to: the words may differ from those that it would have said.
    Instruct,
    /// Exactly behind the last token.
    Prefix,
}

impl Continuation {
    /// The word in the configuration and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Instruct => "instruct",
            Self::Prefix => "prefix",
        }
    }

    /// Whether it can go on at all.
    #[must_use]
    pub fn is_possible(self) -> bool {
        match self {
            Self::None => false,
            Self::Instruct | Self::Prefix => true,
        }
    }
}

/// Deltas of one attempt. The last is [`Delta::Finish`], or the attempt is lost.
pub type Deltas = BoxStream<'static, Result<Delta, ProviderError>>;

/// One attempt to answer a prompt.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// What to answer.
    pub prompt: Prompt,
    /// The answer's text up to now, to be continued; empty for a fresh start.
    pub so_far: String,
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
    /// Tokens up to now; the last one counts. Not exact where more is to come.
    Usage(Usage),
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
    /// What kind of loss.
    pub code: ErrorCode,
    /// For people; without keys, prompts or answers.
    pub message: String,
    /// Whether another attempt may succeed.
    pub retryable: bool,
    /// How long the upstream asks to wait.
    pub retry_after: Option<Duration>,
}

impl From<ProviderError> for Failure {
    fn from(e: ProviderError) -> Self {
        Self {
            code: e.code,
            message: without_nul(e.message),
            retryable: e.retryable,
            retry_after_ms: e.retry_after.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}
