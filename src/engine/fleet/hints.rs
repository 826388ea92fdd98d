//! The hints of other instances. The upkeep finds later what a lost hint would have said.
use futures_util::StreamExt;

use crate::engine::Engine;
use crate::ports::{Carried, Received, Signal};

impl Engine {
    /// Spawns the task that heeds hints; it ends at the hard stop.
    pub(super) fn heed_hints(&self) {
        let engine = self.clone();
        // From now on, not from when the task first runs.
        let mut received = self.inner.fleet.signals.receive();
        self.inner.tasks.spawn_service(async move {
            let hard = engine.inner.tasks.hard().clone();
            let heed = async {
                let mut listened = false;
                while let Some(received) = received.next().await {
                    // The first gap is the beginning.
                    if received == Received::Gap && std::mem::replace(&mut listened, true) {
                        engine.inner.metrics.listener_rebuilds.inc();
                    }
                    engine.heed(&received);
                }
            };
            hard.run_until_cancelled(heed).await;
        });
    }

    fn heed(&self, received: &Received) {
        match received {
            Received::Signal(Signal::Cancel { generation }) => {
                // Not yet here: it is just being taken over, and the upkeep sees the request.
                if !self.inner.runs.live.cancel(*generation) {
                    self.inner.fleet.look.notify_one();
                }
            }
            // Heeded at the door: `access`.
            Received::Signal(Signal::KeyChanged) => {}
            Received::Signal(Signal::ReadersCut) => {
                self.inner.readers.request_reads.cut.notify_waiters();
            }
            Received::Signal(Signal::Follow { reader, generation, after }) => {
                self.followed(*reader, *generation, *after);
            }
            Received::Signal(Signal::Grown { generation, entries }) => {
                let carried: Result<Vec<_>, _> = entries.iter().map(Carried::entry).collect();
                let remotes = &self.inner.fleet.remotes;
                let shown =
                    |entries: Vec<_>| !entries.is_empty() && remotes.extend(*generation, entries);
                if !carried.is_ok_and(shown) {
                    remotes.grown(*generation, false);
                }
            }
            Received::Signal(Signal::TakenOver { generation }) => {
                self.inner.fleet.remotes.grown(*generation, true);
            }
            Received::Signal(Signal::Released { .. }) => self.inner.fleet.look.notify_one(),
            Received::Signal(Signal::Room { from, tenant, conversation, hint }) => {
                self.inner.presence.heard(*from, (tenant.clone(), *conversation), hint);
            }
            Received::Signal(Signal::RoomsAlive { from }) => self.inner.presence.alive(*from),
            Received::Gap => {
                // The database may have been away, and may have come back as it was earlier: each
                // reader has its cursor looked at, and joins again.
                self.inner.fleet.remotes.detach_all();
                self.inner.fleet.look.notify_one();
                self.inner.presence.ask_again();
            }
        }
    }
}
