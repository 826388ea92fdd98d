//! A draining instance gives its running generations away at once, where another instance can go on
//! unnoticed. The rest may end here within the grace.
use crate::engine::Engine;
use crate::engine::run::generate::Generation;
use crate::engine::run::policy;
use crate::ports::{Signal, To};

impl Engine {
    /// Begins to hand over, if an instance is there that takes.
    pub(in crate::engine) fn hand_over(&self) {
        let engine = self.clone();
        self.inner.tasks.spawn_service(async move {
            let inner = &engine.inner;
            match inner
                .tasks
                .hard()
                .run_until_cancelled(inner.log.leases.mark_draining(inner.instance))
                .await
            {
                Some(Ok(true)) => inner.runs.live.leaving().cancel(),
                Some(Ok(false)) | None => {}
                Some(Err(error)) => tracing::warn!(%error, "nothing is handed over"),
            }
        });
    }
}

impl Generation {
    /// Notes for the drain whether another instance could go on from here.
    pub(in crate::engine) fn note_movable(&self) {
        let kept = self.resume().is_some();
        let facts = policy::Facts { kept, structured: self.structured };
        self.tail.set_movable(policy::may_move(&self.model, &self.transcript, facts));
    }

    /// Leaves it to whoever is first: everything said is durable, and its owner is nobody.
    pub(in crate::engine) async fn give_up(&self) {
        let inner = &self.engine.inner;
        let given_up = async {
            self.writer.flush().await;
            inner.log.ownership.give_up(&self.at, inner.instance, self.writer.epoch()).await
        };
        match inner.tasks.hard().run_until_cancelled(given_up).await {
            Some(Ok(())) => {
                tracing::info!(generation = %self.at.id, "handed over");
                inner.fleet.signals.send(To::All, Signal::Released { owner: inner.instance });
            }
            // Its lease goes at the end of the process.
            Some(Err(error)) => tracing::warn!(%error, "not handed over yet"),
            None => {}
        }
        self.tail.detach();
    }
}
