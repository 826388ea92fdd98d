//! Tells other instances that generations which run here and are read there have grown. Nobody
//! reads elsewhere, nobody is told: an instance that is alone sends nothing.
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::remote_tailer::BELIEVED;
use crate::domain::id::{GenerationId, InstanceId, Seq};
use crate::engine::Engine;
use crate::engine::run::live::{Behind, Tail};
use crate::ports::{Carried, Signal, To};

impl Engine {
    /// Readers at `reader` have the generation up to `after`, and want to hear of more.
    pub(in crate::engine) fn followed(
        &self,
        reader: InstanceId,
        generation: GenerationId,
        after: Seq,
    ) {
        let Some(tail) = self.inner.runs.live.get(generation) else { return };
        // Before the look at the head: what comes after it is told by the task.
        let seen = tail.waiters().changes();
        let new = tail.followed_by(reader, Instant::now() + BELIEVED);
        let told = tail.head();
        if told > after {
            self.inner
                .fleet
                .signals
                .send(To::One(reader), grown(&tail, after, self.inner.fleet.signals.room()));
        }
        if new {
            let engine = self.clone();
            let read_elsewhere = self.inner.fleet.read_elsewhere.clone();
            self.inner.tasks.spawn_service(async move {
                let hard = engine.inner.tasks.hard().clone();
                hard.run_until_cancelled(engine.notify_followers(tail, seen, told)).await;
                drop(read_elsewhere);
            });
        }
    }

    /// Hands in one hint a publication and follower; the outbox makes one of many.
    async fn notify_followers(&self, tail: Arc<Tail>, mut seen: u64, mut told: Seq) {
        loop {
            let Some((followers, until)) = tail.followers(Instant::now()) else { return };
            tokio::select! {
                () = tail.waiters().changed(&mut seen) => {
                    let head = tail.head();
                    let hint = grown(&tail, told, self.inner.fleet.signals.room());
                    told = head;
                    for follower in followers {
                        self.inner.fleet.signals.send(To::One(follower), hint.clone());
                    }
                    if tail.ended() || tail.is_detached() {
                        return;
                    }
                }
                () = sleep_until(until) => {}
            }
        }
    }
}

/// That there is more behind `after`, and what it is if it has room.
fn grown(tail: &Tail, after: Seq, room: usize) -> Signal {
    let entries = match tail.after(after) {
        Behind::Entries(entries) => Carried::all(&entries, room),
        Behind::Nothing | Behind::Log(_) => Vec::new(),
    };
    Signal::Grown { generation: tail.id, entries }
}
