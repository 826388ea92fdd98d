//! How an instance stops: readers first, then what runs, then what it holds.
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::ports::{Signal, To};

impl Engine {
    /// Refuses new work, and ends every reader's stream in its turn, so that it comes back
    /// elsewhere.
    pub fn close(&self) {
        // Before the mark that readers look at: they ask for their turn then.
        let readers = u32::try_from(self.inner.metrics.readers()).unwrap_or_default();
        self.inner.readers.closing.begin(readers);
        if self.inner.readers.draining.swap(true, Ordering::AcqRel) {
            return;
        }
        self.hand_over();
        self.inner.tasks.soft().cancel();
        self.inner.runs.live.wake_readers();
        self.inner.fleet.remotes.wake_readers();
    }

    /// Stops in two steps: what another instance can go on with exactly moves there at
    /// once; the others may end for `grace` or until `hurry`. Then leaves the rest, durable up to
    /// their last event, to whoever takes them over.
    pub async fn drain(&self, grace: Duration, hurry: &CancellationToken) {
        // Long enough for the last group commit, short enough for an impatient supervisor.
        const LAST_COMMIT: Duration = Duration::from_secs(5);
        let inner = &self.inner;
        self.close();
        let ended = hurry.run_until_cancelled(inner.tasks.finish_work(grace)).await;
        if ended != Some(true) {
            tracing::info!(left = inner.runs.live.len(), "left to the next owner");
        }
        inner.tasks.hard().cancel();
        inner.runs.live.let_go();
        inner.tasks.finish_work(LAST_COMMIT).await;
        inner.runs.recorder.close(LAST_COMMIT).await;
        match inner.log.leases.release(inner.instance).await {
            Ok(()) => inner.fleet.signals.send(To::All, Signal::Released { owner: inner.instance }),
            Err(error) => tracing::warn!(%error, "the lease was not given up; it will run out"),
        }
        inner.fleet.signals.close().await;
        inner.tasks.finish_services(LAST_COMMIT).await;
    }
}
