//! The border to the events: pages of the log, and the connections that append to it.
use std::collections::HashMap;

use async_trait::async_trait;

use super::log::{Address, LogError};
use crate::domain::entry::Entry;
use crate::domain::generation::{BackgroundResponse, Outcome};
use crate::domain::id::{Epoch, GenerationId, InstanceId, Seq};

/// The bytes of a page, but for the row with which it is full: a slow reader holds it for long.
pub const PAGE_BYTES: u32 = 1024 * 1024;

/// Some entries behind a cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventPage {
    /// Oldest first.
    pub entries: Vec<Entry>,
    /// Whether it is short for its bytes: more entries are there.
    pub cut: bool,
}

/// The events of generations: pages of them, and the connections that append.
#[async_trait]
pub trait Events: Send + Sync + 'static {
    /// A connection of its own for one lane of `owner`'s recorder.
    fn writer(&self, owner: InstanceId) -> Box<dyn LogWriter>;

    /// At most `limit` entries after `after`, oldest first.
    async fn read(&self, at: &Address, after: Seq, limit: u32) -> Result<Vec<Entry>, LogError>;

    /// The same for a reader, in memory that has a bound: it ends behind the stored row with which
    /// it has [`PAGE_BYTES`].
    async fn page(&self, at: &Address, after: Seq, limit: u32) -> Result<EventPage, LogError> {
        Ok(EventPage { entries: self.read(at, after, limit).await?, cut: false })
    }

    /// The same for many generations, each behind its own seq, at most `limit` of each; those
    /// without any are missing. All pages together end as one does, at the row with which they
    /// have [`PAGE_BYTES`]. The next row of each comes first, in the order of `wanted`.
    async fn read_many(
        &self,
        wanted: &[(Address, Seq)],
        limit: u32,
    ) -> Result<HashMap<GenerationId, EventPage>, LogError>;
}

/// One connection that appends. It never reconnects silently: a lost connection is an error of
/// the next call, so that its user knows to look at the log again.
#[async_trait]
pub trait LogWriter: Send {
    /// Connects, where the first call would do it otherwise.
    async fn open(&mut self) -> Result<(), LogError> {
        Ok(())
    }

    /// Takes the right to append, where the first append would do it otherwise. Other instances
    /// see by it whether this process lives.
    async fn register(&mut self) -> Result<(), LogError> {
        Ok(())
    }

    /// Appends all of `batch` in one transaction, durable when it returns.
    async fn append(&mut self, batch: &[&Append]) -> Result<(), LogError>;

    /// The last entry of each of these generations, as the database has it now.
    async fn tails(&mut self, ids: &[GenerationId]) -> Result<Vec<Tail>, LogError>;
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
