//! The last durable entries of one generation, within bounds.
use std::collections::VecDeque;

use crate::domain::entry::{Entry, Kind};
use crate::domain::id::{Epoch, Seq};

/// Entries that a tail keeps: about five seconds of a fast model.
pub(super) const KEPT: usize = 256;
/// Bytes that a tail keeps, whichever is reached first.
pub(super) const KEPT_BYTES: usize = 256 * 1024;

/// Entries that are packed together when there are so many new ones. Single allocations would
/// return to the allocator seconds later and from all over the memory. Entries allocated together
/// are reused at once.
const TOGETHER: usize = 32;
/// Bytes that may be packed together: they leave the window all at once.
const TOGETHER_BYTES: usize = 16 * 1024;

/// The entries that a tail has for a reader.
pub enum Behind {
    /// These come next.
    Entries(Vec<Entry>),
    /// The reader has all there is.
    Nothing,
    /// The window has moved on: read the log, up to this seq. It is in the middle of the window, as
    /// that moves on meanwhile. Newer events are rarely in segments yet.
    Log(Seq),
}

/// A window on the log.
pub(super) struct Window {
    /// The seq before the first entry.
    before: Seq,
    entries: VecDeque<Entry>,
    /// The newest ones, which are not packed.
    loose: usize,
    pub(in crate::engine) bytes: usize,
    /// Whether `done` is durable.
    pub(in crate::engine) ended: bool,
}

impl Window {
    /// An empty one behind `head`.
    pub(in crate::engine) fn new(head: Seq) -> Self {
        Self { before: head, entries: VecDeque::new(), loose: 0, bytes: 0, ended: false }
    }

    /// The last entry's seq, and who wrote it if it is still here.
    pub(in crate::engine) fn last(&self) -> (Seq, Option<Epoch>) {
        self.entries.back().map_or((self.before, None), |entry| (entry.seq, entry.epoch))
    }

    /// Takes entries in and lets go of the oldest; the last one's seq.
    pub(in crate::engine) fn push(&mut self, entries: Vec<Entry>) -> Seq {
        for entry in entries {
            self.bytes += entry.json().len();
            self.ended |= entry.kind == Kind::Done;
            self.entries.push_back(entry);
            self.loose += 1;
        }
        if self.loose >= TOGETHER {
            self.pack();
        }
        let (last, _) = self.last();
        while self.entries.len() > KEPT || self.bytes > KEPT_BYTES {
            let Some(gone) = self.entries.pop_front() else { break };
            self.before = gone.seq;
            self.bytes -= gone.json().len();
        }
        last
    }

    fn pack(&mut self) {
        let loose = self.entries.len().saturating_sub(std::mem::take(&mut self.loose));
        let bytes: usize = self.entries.range(loose..).map(|entry| entry.json().len()).sum();
        if bytes <= TOGETHER_BYTES {
            Entry::pack(self.entries.range_mut(loose..));
        }
    }

    /// The entries behind `cursor`.
    pub(in crate::engine) fn after(&self, cursor: Seq) -> Behind {
        if cursor < self.before {
            let half = self.entries.len().div_ceil(2) as u64;
            return Behind::Log(Seq(self.before.0 + half));
        }
        let known = usize::try_from(cursor.0 - self.before.0).unwrap_or(usize::MAX);
        if known >= self.entries.len() {
            return Behind::Nothing;
        }
        Behind::Entries(self.entries.range(known..).cloned().collect())
    }
}
