//! The durable log: what is not in it did not happen.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::conversations::Conversations;
use super::operations::Operations;
use super::request_reads::RequestReads;
use crate::domain::entry::Entry;
use crate::domain::event::Status;
use crate::domain::generation::{
    BackgroundResponse, Generation, Idempotency, NewGeneration, Outcome,
};
use crate::domain::id::{ConversationId, Epoch, GenerationId, InstanceId, Seq, Tenant};

/// The durable log of all generations. An event that is not in the log did not happen.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Stores a new generation with its first event, `started`, in one transaction. Repeating it
    /// with the same id changes nothing.
    async fn create(&self, new: &NewGeneration) -> Result<Created, LogError>;

    /// The outcome of an earlier start with this key; `None` if there was none.
    async fn repeated(
        &self,
        tenant: &Tenant,
        key: &Idempotency,
    ) -> Result<Option<Created>, LogError>;

    /// The conversations beside it, in the same database.
    fn conversations(&self) -> Arc<dyn Conversations>;

    /// The readers of the answers to requests, in the same database.
    fn request_reads(&self) -> Arc<dyn RequestReads>;

    /// The operator's view of all tenants, in the same database.
    fn operations(&self) -> Arc<dyn Operations>;

    /// A connection of its own for one lane of `owner`'s recorder.
    fn writer(&self, owner: InstanceId) -> Box<dyn LogWriter>;

    /// At most `limit` entries after `after`, oldest first.
    async fn read(&self, at: &Address, after: Seq, limit: u32) -> Result<Vec<Entry>, LogError>;

    /// The same for many generations, each behind its own seq, at most `limit` of each; those
    /// without any are missing.
    async fn read_many(
        &self,
        wanted: &[(Address, Seq)],
        limit: u32,
    ) -> Result<HashMap<GenerationId, Vec<Entry>>, LogError>;

    /// Notes that readers on this instance follow these generations of other owners, for as long as
    /// `lasting`. Only generations whose fate depends on readers count. Returns the owners of those
    /// that go on.
    async fn renew_readers(
        &self,
        which: &[Address],
        lasting: Duration,
    ) -> Result<HashMap<GenerationId, InstanceId>, LogError>;

    /// How long ago the generation was last read on another instance; zero while it is, `None` if
    /// it never was.
    async fn unread_elsewhere(&self, at: &Address) -> Result<Option<Duration>, LogError>;

    /// The generation's row; `None` if the tenant has none of that id.
    async fn generation(&self, at: &Address) -> Result<Option<Generation>, LogError>;

    /// The newest generation of a chat, by the name that its client gave it.
    async fn newest_of(&self, tenant: &Tenant, chat: &str) -> Result<Option<Generation>, LogError>;

    /// The tenant's generations, newest first.
    async fn list(&self, tenant: &Tenant, filter: &Filter) -> Result<Vec<Generation>, LogError>;

    /// Erases an ended generation with all its events, and its message: what was said below that
    /// moves up to its parent.
    async fn delete(&self, at: &Address) -> Result<Deleted, LogError>;

    /// Notes that a cancel is asked for, unless the generation has ended; its owner by then.
    async fn request_cancel(&self, at: &Address) -> Result<Option<InstanceId>, LogError>;

    /// Of the generations of `owner` that go on, those whose cancel was asked for.
    async fn cancel_requests(&self, owner: InstanceId) -> Result<Vec<GenerationId>, LogError>;

    /// Of `running`, those that are on record for another owner than `owner`, or for none.
    async fn owned_elsewhere(
        &self,
        owner: InstanceId,
        running: &[GenerationId],
    ) -> Result<Vec<GenerationId>, LogError>;

    /// Begins the lease of `owner`, who takes generations from now on.
    async fn acquire_lease(&self, owner: InstanceId, lease: Duration) -> Result<(), LogError>;

    /// Notes that `owner` takes no more generations; whether an instance is alive that does.
    async fn mark_draining(&self, owner: InstanceId) -> Result<bool, LogError>;

    /// Gives one generation of `owner` up, so that others may take it over at once, unless it has
    /// ended or has another owner or epoch.
    async fn give_up(&self, at: &Address, owner: InstanceId, epoch: Epoch) -> Result<(), LogError>;

    /// Renews the lease of `owner` for `lease` by the database's clock.
    async fn heartbeat(&self, owner: InstanceId, lease: Duration) -> Result<(), LogError>;

    /// Notes which models `owner` has.
    async fn advertise_models(&self, owner: InstanceId, models: &[String]) -> Result<(), LogError>;

    /// Whether an instance other than `owner` is alive that takes generations of this model.
    async fn is_offered_elsewhere(&self, owner: InstanceId, model: &str) -> Result<bool, LogError>;

    /// Gives the lease of `owner`, which appends no more, up, so that others may take its
    /// generations over at once.
    async fn release(&self, owner: InstanceId) -> Result<(), LogError>;

    /// Unfinished generations that `orphans` describes, oldest first, at most `limit`.
    async fn orphans(&self, which: &Orphans, limit: u32) -> Result<Vec<Orphan>, LogError>;

    /// Raises the epoch *and* appends the first entry of the new owner, in one transaction; from
    /// then on appends of the old one are refused. A process that claims its own generation has
    /// made sure that none of its appends is under way.
    ///
    /// A cancel that is asked for before it is in what it returns; one that is asked for later
    /// learns the new owner.
    async fn take_over(&self, claim: &Claim) -> Result<Claimed, LogError>;

    /// Sorts some of the events that `owner` has appended by generation, and events that others
    /// have left. Returns how many; zero when nothing is left to sort. Nothing that is read changes
    /// by it: it gets cheaper.
    ///
    /// Events under a seq that is taken are put aside, and [`LogError::Doubled`] names them all;
    /// the rest is folded then.
    async fn compact(&self, owner: InstanceId) -> Result<u64, LogError>;

    /// Makes room for the days ahead and drops the events of generations begun more than `days`
    /// days ago; returns how many days' tables were dropped.
    async fn retain(&self, days: u32) -> Result<u64, LogError>;

    /// The connections in use and in store.
    fn pools(&self) -> Vec<Pool>;

    /// How often a stored row could not be read since this was last asked.
    fn take_unreadable(&self) -> u64;

    /// Bytes of all events with their indexes.
    async fn bytes(&self) -> Result<i64, LogError>;

    /// How often a connection was refused because the database had no place for it.
    fn refused(&self) -> u64 {
        0
    }

    /// Cuts listeners of processes that stand still, and looks for a transaction that is open for
    /// long.
    async fn look_around(&self) -> Result<Option<Holder>, LogError> {
        Ok(None)
    }

    /// How the database is, asked by a connection that is there anyway.
    async fn condition(&self) -> Result<Condition, LogError>;
}

/// One connection that appends. It never reconnects silently: a lost connection is an error of
/// the next call, so that its user knows to look at the log again.
#[async_trait]
pub trait LogWriter: Send {
    /// Connects, where the first call would do it otherwise.
    async fn open(&mut self) -> Result<(), LogError> {
        Ok(())
    }

    /// Appends all of `batch` in one transaction, durable when it returns.
    async fn append(&mut self, batch: &[&Append]) -> Result<(), LogError>;

    /// The last entry of each of these generations, as the database has it now.
    async fn tails(&mut self, ids: &[GenerationId]) -> Result<Vec<Tail>, LogError>;
}

/// The connections of one pool.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    /// The purpose.
    pub name: &'static str,
    /// Connections that wait for work.
    pub idle: i64,
    /// Connections at work.
    pub busy: i64,
    /// Connections that may still be opened.
    pub free: i64,
}

/// How the database is.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    /// It takes no writes: it is a standby, or was made one.
    pub read_only: bool,
    /// For how long the oldest of our commits has waited for a standby to acknowledge it.
    pub unacknowledged: Option<Duration>,
}

/// A session with a transaction that keeps PostgreSQL from cleaning up behind us.
#[derive(Clone, Debug, PartialEq)]
pub struct Holder {
    /// Its process.
    pub pid: i32,
    /// The name that it gives itself.
    pub application: String,
    /// Its role.
    pub user: String,
    /// How long the transaction is open; `None` if our role may not see it.
    pub open_for: Option<Duration>,
    /// How many transactions have begun since.
    pub age: i64,
}

/// A generation of a tenant.
#[derive(Clone, Debug)]
pub struct Address {
    /// The owner.
    pub tenant: Tenant,
    /// Which.
    pub id: GenerationId,
}

/// The result of a start.
#[derive(Debug)]
pub enum Created {
    /// It is new; its first entries.
    New(Box<Generation>, Vec<Entry>),
    /// The same start was made before.
    Replayed(Box<Generation>),
    /// The idempotency key was used for another request.
    KeyReused,
    /// As many generations as the API key may have at a time have not ended.
    KeyBusy,
}

/// The result of a delete.
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
    /// Seqs without a gap; none where only the row changes.
    pub entries: Vec<Entry>,
    /// The change of the row in the same transaction.
    pub row: RowChange,
}

/// How an append changes the generation's row.
#[derive(Clone, Debug)]
pub enum RowChange {
    /// Not at all.
    None,
    /// The model begins.
    Started,
    /// The model begins, or a new attempt does: which answer its upstream keeps.
    Background(Option<BackgroundResponse>),
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
    /// The current owner's epoch; zero if the generation is gone.
    pub epoch: Epoch,
}

/// Which unfinished generations have nobody who runs them.
#[derive(Clone, Debug)]
pub enum Orphans {
    /// Those whose owner's lease ran out.
    LeaseExpired,
    /// The generations that are on record for this instance and that its process does not run. An
    /// earlier process left them, their start's reply was lost, or their task died.
    Unattended {
        /// This instance.
        owner: InstanceId,
        /// The generations that its process runs, or is about to run.
        attended: Vec<GenerationId>,
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
    /// The answer that its upstream keeps.
    pub kept: Option<BackgroundResponse>,
}

/// A take-over of a generation.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The new owner.
    pub owner: InstanceId,
    /// The owner on record and its epoch, who must still be it.
    pub from: (InstanceId, Epoch),
    /// The new owner's first entries, with its new epoch.
    pub append: Append,
}

/// The result of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// It is the new owner's.
    Ours {
        /// Whether a cancel was asked for by then.
        cancel_requested: bool,
    },
    /// Somebody else was faster, or the old owner appended meanwhile.
    No,
}

/// Which generations to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only those of this status.
    pub status: Option<Status>,
    /// Only those of this conversation.
    pub conversation: Option<ConversationId>,
    /// Only those older than this one.
    pub before: Option<GenerationId>,
    /// At most so many.
    pub limit: u32,
}

/// Two events of one generation under one seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubled {
    /// Which generation.
    pub generation: GenerationId,
    /// The first such seq that was seen.
    pub seq: Seq,
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
    /// Two events with one seq: only a broken fence can have written them, and seqs cannot tell
    /// them apart.
    #[error("two events of a generation have one seq: {}", shown(.0))]
    Doubled(Vec<Doubled>),
}

fn shown(doubled: &[Doubled]) -> String {
    let each = doubled.iter().map(|one| format!("{} at {}", one.generation, one.seq));
    each.collect::<Vec<_>>().join(", ")
}
