//! Rows that hold what this build cannot read: each is shown as such, counted, and named in the
//! log once. None of them keeps others from being read.
use std::collections::HashSet;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::postgres::PgLog;
use super::rows::generation;
use crate::domain::generation::Generation;
use crate::ports::LogError;

/// Ids that are remembered as named in the log: a list that is asked for again and again must not
/// fill it.
const NAMED: usize = 1000;

/// The rows that this process could not read.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    reads: AtomicU64,
    named: Mutex<HashSet<Uuid>>,
}

impl Unreadable {
    /// How often a row could not be read since this was last asked.
    pub(super) fn take(&self) -> u64 {
        self.reads.swap(0, Ordering::Relaxed)
    }

    /// Counts a row that could not be read, and names it in the log the first time.
    pub(super) fn note(&self, table: &str, id: Uuid, why: &dyn Display) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let mut named = self.named.lock();
        if named.len() < NAMED && named.insert(id) {
            tracing::error!(table, %id, %why, "a stored row cannot be read");
        }
    }
}

impl PgLog {
    /// The generation in `row`, as far as it can be read.
    pub(super) fn generation_in(&self, row: &PgRow) -> Result<Generation, LogError> {
        let generation = generation(row)?;
        if let Some(why) = &generation.unreadable {
            self.unreadable.note("generations", generation.id.0, why);
        }
        Ok(generation)
    }

    /// Maps each of `rows` by `read`, and leaves out those that it cannot read.
    pub(super) fn all_readable<T>(
        &self,
        table: &str,
        rows: &[PgRow],
        read: impl Fn(&PgRow) -> Result<T, LogError>,
    ) -> Vec<T> {
        let readable = |row: &PgRow| match read(row) {
            Ok(value) => Some(value),
            Err(why) => {
                let id = row.try_get("id").unwrap_or_default();
                self.unreadable.note(table, id, &why);
                None
            }
        };
        rows.iter().filter_map(readable).collect()
    }
}
