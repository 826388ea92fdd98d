//! The border to the upkeep of the log: compaction, retention, figures.
use std::time::Duration;

use async_trait::async_trait;

use super::log::LogError;
use crate::domain::id::InstanceId;

/// Generations, and conversations, that one call of [`Upkeep::erase_old`] erases: a second's work.
pub const MOST_ERASED: u32 = 100;

/// The upkeep of the log: compaction, retention, and figures about the database.
#[async_trait]
pub trait Upkeep: Send + Sync + 'static {
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

    /// Erases prompts and answers of more than `days` days ago: ended generations outside of
    /// conversations, and conversations that were last changed before. At most [`MOST_ERASED`] of
    /// each; returns how many.
    async fn erase_old(&self, days: u32) -> Result<u64, LogError>;

    /// Bytes of all events with their indexes.
    async fn bytes(&self) -> Result<i64, LogError>;

    /// Bytes of events that have no table for their day, and wait to be moved or to expire.
    async fn unsorted_bytes(&self) -> Result<i64, LogError>;

    /// The connections in use and in store.
    fn pools(&self) -> Vec<Pool>;

    /// How often a stored row could not be read since this was last asked.
    fn take_unreadable(&self) -> u64;

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

/// Something that keeps PostgreSQL from cleaning up behind us.
#[derive(Clone, Debug, PartialEq)]
pub struct Holder {
    /// Its kind.
    pub kind: HolderKind,
    /// Its process; 0 for a prepared transaction and for a slot that nobody reads.
    pub pid: i32,
    /// The application's name of a session, the id of a prepared transaction, or a slot's name.
    pub name: String,
    /// Its role; empty for a slot.
    pub user: String,
    /// How long the transaction is open; `None` if our role may not see it, or for a slot.
    pub open_for: Option<Duration>,
    /// How many transactions have begun since.
    pub age: i64,
}

/// The kinds of a [`Holder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolderKind {
    /// A session with an open transaction, or a standby that reports one (`hot_standby_feedback`).
    Session,
    /// A transaction that was prepared for two-phase commit and never ended.
    Prepared,
    /// A replication slot, whose standby may be gone for good.
    Slot,
}

impl HolderKind {
    /// Its name in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Prepared => "prepared transaction",
            Self::Slot => "replication slot",
        }
    }
}
