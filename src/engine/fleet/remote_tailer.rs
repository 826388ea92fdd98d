//! The tailer: reads for all readers here of generations that run elsewhere.
//!
//! One query a round for all that may have grown; readers follow the tails that it fills. A hint
//! of the owner wakes it; a poll finds what no hint told. It begins with the first such reader and
//! ends with the last.
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::domain::id::Seq;
use crate::engine::Engine;
use crate::engine::readers::following::Following;
use crate::engine::run::live::Tail;
use crate::ports::{Address, LogError, Signal, To};

/// How often owners are told that their generations are read here.
const RENEWAL: Duration = Duration::from_secs(5);
/// How long an owner believes it: two renewals may be lost.
pub(super) const BELIEVED: Duration = Duration::from_secs(15);
/// Generations in one query.
const TOGETHER: usize = 512;
/// Entries that one query asks for, shared among its generations: what it may hold in memory.
const ENTRIES: usize = 4096;
/// A generation's share, at least and at most.
const SHARE: (usize, usize) = (8, 256);

impl Engine {
    /// The tail of a generation, wherever it runs, if it is followed here already.
    pub(in crate::engine) fn tail_of(&self, at: &Address) -> Option<Following> {
        let here = self.inner.runs.live.find(&at.tenant, at.id).filter(|tail| !tail.is_detached());
        match here {
            Some(tail) => Some(Following::new(tail.reader(), false)),
            None => self.inner.fleet.remotes.find(at).map(|reading| Following::new(reading, true)),
        }
    }

    /// Follows a generation that does not run here, from the end of its log, which was `cursor` a
    /// moment ago.
    pub(in crate::engine) fn join(&self, at: &Address, cursor: Seq) -> Option<Following> {
        let joined = self.inner.fleet.remotes.join(at, cursor)?;
        if joined.first {
            self.inner.tasks.spawn_service(self.clone().tail_remotes());
        }
        // A take-over by us shows its tail first and then ends the remote one: whoever joins that
        // one too late finds the other.
        let following = Following::new(joined.reading, true);
        let here = self.inner.runs.live.find(&at.tenant, at.id).filter(|tail| !tail.is_detached());
        Some(here.map_or(following, |tail| Following::new(tail.reader(), false)))
    }

    async fn tail_remotes(self) {
        let hard = self.inner.tasks.hard().clone();
        hard.run_until_cancelled(self.fill()).await;
    }

    async fn fill(&self) {
        let remotes = &self.inner.fleet.remotes;
        let (mut polled, mut renewed) = (Instant::now(), Instant::now());
        loop {
            let limits = &self.inner.limits;
            let works = self.inner.fleet.signals.work();
            let poll = if works { limits.poll_with_hints } else { limits.poll };
            tokio::select! {
                () = remotes.wake.notified() => {}
                () = sleep_until(polled + poll) => {
                    polled = Instant::now();
                    remotes.read_all();
                }
                () = sleep_until(renewed + RENEWAL) => {
                    renewed = Instant::now();
                    remotes.follow_all();
                }
            }
            let Some(round) = remotes.round() else { return };
            if !round.follow.is_empty() {
                // Beside the reads: they are what readers wait for.
                self.inner.tasks.spawn_service(self.clone().announce(round.follow));
            }
            for some in round.read.chunks(TOGETHER) {
                self.read_on(some).await;
            }
        }
    }

    /// Reads what has come to these tails, in one query.
    async fn read_on(&self, tails: &[Arc<Tail>]) {
        let remotes = &self.inner.fleet.remotes;
        let share = (ENTRIES / tails.len().max(1)).clamp(SHARE.0, SHARE.1);
        let limit = u32::try_from(share).unwrap_or(u32::MAX);
        let wanted: Vec<(Address, Seq)> =
            tails.iter().map(|tail| (tail.address(), tail.head())).collect();
        let mut found = match self.inner.log.events.read_many(&wanted, limit).await {
            Ok(found) => found,
            Err(error) => {
                self.note_doubled(&error);
                // Each reader looks for itself, and finds out whether it is the log or one row.
                tracing::warn!(%error, readers_of = tails.len(), "cannot be followed");
                remotes.detach_all();
                return;
            }
        };
        for tail in tails {
            let Some(page) = found.remove(&tail.id) else { continue };
            let more = page.cut || page.entries.len() >= share;
            if !tail.extend(page.entries) {
                remotes.detach(&tail.tenant, tail.id);
            } else if tail.ended() {
                remotes.ended(tail);
            } else if more {
                remotes.grown(tail.id, false);
            }
        }
    }

    /// Tells the owners of these tails that they have readers here: by the log while that matters
    /// to their fate, and by a hint.
    async fn announce(self, tails: Vec<Arc<Tail>>) {
        let inner = &self.inner;
        let addresses: Vec<Address> = tails.iter().map(|tail| tail.address()).collect();
        let told = inner.log.ownership.renew_readers(&addresses, BELIEVED);
        let owners = match inner.tasks.hard().run_until_cancelled(told).await {
            Some(Ok(owners)) => owners,
            Some(Err(LogError::Unavailable(_))) | None => return,
            Some(Err(
                error @ (LogError::Conflict | LogError::Broken(_) | LogError::Doubled(_)),
            )) => {
                tracing::error!(%error, "owners cannot be told of their readers");
                return;
            }
        };
        for tail in tails {
            match owners.get(&tail.id) {
                Some(owner) if *owner != inner.instance => {
                    let (reader, generation, after) = (inner.instance, tail.id, tail.head());
                    inner
                        .fleet
                        .signals
                        .send(To::One(*owner), Signal::Follow { reader, generation, after });
                }
                // Ours, but not yet running here: the take-over will show it.
                Some(_) => {}
                // It has ended: there is an ending to read.
                None => inner.fleet.remotes.grown(tail.id, false),
            }
        }
    }
}
