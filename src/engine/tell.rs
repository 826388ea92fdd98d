//! Tells other instances that generations which run here and are read there have grown. Nobody
//! reads elsewhere, nobody is told: an instance that is alone sends nothing.
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Engine;
use super::hub::BELIEVED;
use super::live::Tail;
use crate::domain::id::{GenerationId, InstanceId, Seq};
use crate::ports::{Signal, To};

impl Engine {
    /// Readers at `reader` have the generation up to `after`, and want to hear of more.
    pub(super) fn followed(&self, reader: InstanceId, generation: GenerationId, after: Seq) {
        let Some(tail) = self.inner.live.get(generation) else { return };
        // Before the look at the head: what comes after it is told by the task.
        let heads = tail.heads();
        let new = tail.followed_by(reader, Instant::now() + BELIEVED);
        if tail.head() > after {
            self.inner.signals.send(To::One(reader), Signal::Grown { generation });
        }
        if new {
            let engine = self.clone();
            self.inner.tasks.spawn_service(async move {
                let hard = engine.inner.tasks.hard().clone();
                hard.run_until_cancelled(engine.tell(tail, heads)).await;
            });
        }
    }

    /// Hands in one hint a publication and follower; the outbox makes one of many.
    async fn tell(&self, tail: Arc<Tail>, mut heads: watch::Receiver<Seq>) {
        loop {
            let Some((followers, until)) = tail.followers(Instant::now()) else { return };
            tokio::select! {
                changed = heads.changed() => {
                    let generation = tail.id;
                    for follower in followers {
                        self.inner.signals.send(To::One(follower), Signal::Grown { generation });
                    }
                    if changed.is_err() || tail.ended() || tail.is_detached() {
                        return;
                    }
                }
                () = sleep_until(until) => {}
            }
        }
    }
}
