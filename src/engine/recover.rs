//! The upkeep of this instance: its lease, cancels from elsewhere, and generations without an
//! owner, which it takes over.
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep, timeout};

use super::Engine;
use super::generate::{ended, failed};
use super::policy::{self, Next};
use super::start::Owned;
use crate::domain::entry::Entry;
use crate::domain::event::{Done, ErrorCode, Event, Failure, LossReason, Status};
use crate::domain::generation::Outcome;
use crate::domain::id::Seq;
use crate::domain::transcript::Transcript;
use crate::ports::{Address, Append, Claim, LogError, Orphan, Orphans, RowChange};

/// Orphans that are looked at in one round.
const ROUND: u32 = 500;
/// Take-overs at a time, within the pool.
const AT_ONCE: usize = 8;
/// Between two looks at the days' tables.
const HOUSEKEEPING: Duration = Duration::from_secs(3600);

impl Engine {
    /// Takes up what an earlier process of this instance left, before the first request.
    ///
    /// # Errors
    /// The log is out of reach or broken.
    pub async fn take_up(&self) -> Result<usize, LogError> {
        let inner = &self.inner;
        inner.log.heartbeat(inner.instance, inner.limits.lease).await?;
        let mut taken = 0;
        loop {
            let mine = Orphans::Unattended {
                owner: inner.instance,
                running: inner.live.ids(),
                young_too: true,
            };
            let left = inner.log.orphans(&mine, ROUND).await?;
            let now = self.adopt_all(left).await;
            taken += now;
            // None left, or none that can be taken: the upkeep goes on trying.
            if now == 0 {
                return Ok(taken);
            }
        }
    }

    /// Spawns the upkeep; it ends at the hard stop.
    pub fn keep_up(&self) {
        let engine = self.clone();
        self.inner.tasks.spawn_service(async move {
            let hard = engine.inner.tasks.hard().clone();
            hard.run_until_cancelled(engine.upkeep()).await;
        });
    }

    async fn upkeep(&self) {
        let inner = &self.inner;
        let every = inner.limits.lease / 4;
        let mut housekeeping = Instant::now();
        loop {
            sleep(every).await;
            // One slow answer must not cost the lease, and with it every generation.
            let round = timeout(inner.limits.lease / 2, self.round()).await;
            match round {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "upkeep"),
                Err(_) => tracing::warn!("upkeep: the log does not answer in time"),
            }
            self.take_over_orphans().await;
            if Instant::now() >= housekeeping {
                housekeeping = Instant::now() + HOUSEKEEPING;
                if let Err(error) = inner.log.retain(inner.limits.retention_days).await {
                    tracing::warn!(%error, "retention");
                }
            }
        }
    }

    async fn round(&self) -> Result<(), LogError> {
        let inner = &self.inner;
        inner.log.heartbeat(inner.instance, inner.limits.lease).await?;
        for id in inner.log.cancel_requests(inner.instance).await? {
            inner.live.cancel(id);
        }
        Ok(())
    }

    async fn take_over_orphans(&self) {
        if self.is_draining() {
            return;
        }
        let inner = &self.inner;
        let unattended = Orphans::Unattended {
            owner: inner.instance,
            running: inner.live.ids(),
            young_too: false,
        };
        for which in [Orphans::LeaseExpired, unattended] {
            match inner.log.orphans(&which, ROUND).await {
                Ok(orphans) => drop(self.adopt_all(orphans).await),
                Err(error) => tracing::warn!(%error, "take-over"),
            }
        }
    }

    async fn adopt_all(&self, orphans: Vec<Orphan>) -> usize {
        // A lease that ran out in an outage is no reason to take a generation from oneself.
        let running = self.inner.live.ids();
        let orphans = orphans.into_iter().filter(|o| !running.contains(&o.row.id));
        let adopted = stream::iter(orphans).map(|orphan| async move {
            let id = orphan.row.id;
            match self.adopt(orphan).await {
                Ok(taken) => usize::from(taken),
                Err(error) => {
                    tracing::warn!(generation = %id, %error, "take-over");
                    0
                }
            }
        });
        adopted.buffer_unordered(AT_ONCE).fold(0, async |sum, one| sum + one).await
    }

    /// Takes one over: its first entry by us says how it goes on, and fences the old owner.
    async fn adopt(&self, orphan: Orphan) -> Result<bool, LogError> {
        let row = &orphan.row;
        let at = Address { tenant: row.tenant.clone(), id: row.id };
        let mut transcript = self.transcript(&at, Seq(u64::MAX)).await?;
        let event = self.first_event(&orphan, &transcript);
        let seq = transcript.seq.next();
        let epoch = row.epoch.next();
        let entry = Entry::encode(seq, &event);
        transcript
            .apply(seq, &event)
            .map_err(|e| LogError::Broken(format!("generation {}: {e}", row.id)))?;
        let row_change = match transcript.done.clone() {
            Some(done) => RowChange::Ended(Box::new(Outcome {
                answer: transcript.answer.clone(),
                done,
                attempts: transcript.attempts,
            })),
            None => RowChange::None,
        };
        let append = Append { at, epoch, entries: vec![entry.clone()], row: row_change };
        let claim = Claim { owner: self.inner.instance, from: orphan.owner, append };
        if !self.inner.log.take_over(&claim).await? {
            return Ok(false);
        }
        tracing::info!(generation = %row.id, epoch = epoch.0, seq = seq.0, "taken over");
        let model = self.models().find(Some(&row.request.model)).cloned();
        if transcript.done.is_none()
            && let Some(model) = model
        {
            let row = orphan.row;
            self.run(Owned { row, model, epoch, transcript, last: entry, place: None });
        }
        Ok(true)
    }

    fn first_event(&self, orphan: &Orphan, transcript: &Transcript) -> Event {
        let row = &orphan.row;
        if orphan.cancel_requested {
            return Event::Done(Done {
                usage: self.usage(orphan, transcript),
                ..ended(Status::Cancelled)
            });
        }
        let lost = |message: &str| {
            let failure = Failure {
                code: ErrorCode::ServerLost,
                message: message.into(),
                retryable: true,
                retry_after_ms: None,
            };
            Event::Done(Done { usage: self.usage(orphan, transcript), ..failed(failure) })
        };
        let Some(model) = self.models().find(Some(&row.request.model)).cloned() else {
            return lost("its server was lost, and its model is no longer configured");
        };
        match policy::next(&model, transcript, LossReason::Takeover) {
            Next::Continue(event) | Next::Restart(event) => event,
            Next::Again => {
                Event::Resumed { reason: LossReason::Takeover, attempt: transcript.attempts + 1 }
            }
            Next::End => lost("its server was lost, and its model cannot go on"),
        }
    }

    fn usage(&self, orphan: &Orphan, transcript: &Transcript) -> crate::domain::event::Usage {
        let input = orphan.row.request.prompt.estimated_tokens();
        super::meter::Meter::new(input, &transcript.answer, transcript.attempts).total()
    }
}
