//! The events that this process has appended and not compacted yet.
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use uuid::Uuid;

use super::lines::note;
use crate::ports::Append;

/// Of each lane; bytes. That is more than a lane writes between two folds; whatever is not kept is
/// read.
const MOST: usize = 16 * 1024 * 1024;

/// The content of one row of the journal: for each event the generation, and a line.
#[derive(Debug, Default)]
pub(super) struct Flush {
    pub(super) ids: Vec<Uuid>,
    pub(super) lines: String,
}

impl Flush {
    pub(super) fn of(batch: &[&Append]) -> Self {
        let mut flush = Self::default();
        for one in batch {
            for entry in &one.entries {
                flush.ids.push(one.at.id.0);
                note(&mut flush.lines, one.epoch, entry);
            }
        }
        flush
    }
}

/// The row of the journal that `batch` becomes: for each event its generation, and a line.
#[must_use]
pub fn journal_row(batch: &[&Append]) -> (Vec<Uuid>, String) {
    let Flush { ids, lines } = Flush::of(batch);
    (ids, lines)
}

/// The rows of a lane, by their numbers.
pub(super) type Flushes = BTreeMap<i64, Flush>;

/// Copies of rows of the journal, so that whoever folds them need not read them. Compaction reads
/// the rows themselves: a copy of a row that is not there is never used.
#[derive(Clone, Debug, Default)]
pub(super) struct AppendCache(Arc<Mutex<HashMap<Uuid, CachedEvents>>>);

#[derive(Debug, Default)]
struct CachedEvents {
    flushes: Flushes,
    bytes: usize,
}

impl AppendCache {
    pub(super) fn keep(&self, lane: Uuid, n: i64, flush: Flush) {
        let mut lanes = self.0.lock();
        let kept = lanes.entry(lane).or_default();
        if kept.bytes > MOST {
            *kept = CachedEvents::default();
        }
        kept.bytes += flush.lines.len() + size_of_val(flush.ids.as_slice());
        kept.flushes.insert(n, flush);
    }

    /// Gives away what is kept of `lane`.
    pub(super) fn take(&self, lane: Uuid) -> Flushes {
        let mut lanes = self.0.lock();
        lanes.remove(&lane).unwrap_or_default().flushes
    }

    /// Forgets all lanes but these.
    pub(super) fn retain(&self, open: &[Uuid]) {
        let mut lanes = self.0.lock();
        lanes.retain(|lane, _| open.contains(lane));
    }
}
