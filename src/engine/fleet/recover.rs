//! Generations without an owner are taken over.
use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::domain::entry::Entry;
use crate::domain::event::{Done, ErrorCode, Event, Failure, LossReason, Status};
use crate::domain::generation::{BackgroundResponse, Generation, Outcome};
use crate::domain::id::{Epoch, GenerationId, Seq};
use crate::domain::transcript::Transcript;
use crate::engine::Engine;
use crate::engine::models::Model;
use crate::engine::run::background_response::{abandon, is_resumable};
use crate::engine::run::ending::{ended, failed};
use crate::engine::run::policy;
use crate::engine::run::policy::{Facts, Next};
use crate::engine::run::start::Owned;
use crate::ports::{
    Address, Append, Claim, Claimed, LogError, Orphan, Orphans, RowChange, Signal, To,
};

/// Orphans that are looked at in one round.
pub(super) const ROUND: u32 = 500;
/// Take-overs at a time, within the pool.
const AT_ONCE: usize = 8;
/// The stored size of all that are taken over at a time, KiB: in memory, each takes some times as
/// much. A larger one goes alone.
const ROOM: u32 = 16 * 1024;

/// Unfinished generations with events of a type that this version does not know. It learns none
/// while it runs, so they are looked at once.
#[derive(Default)]
pub(in crate::engine) struct Foreign(Mutex<HashSet<GenerationId>>);

impl Foreign {
    fn add(&self, id: GenerationId) {
        self.0.lock().insert(id);
    }

    fn has(&self, id: GenerationId) -> bool {
        self.0.lock().contains(&id)
    }
}

impl Engine {
    /// Takes over what nobody runs; what others own only if `others_too`.
    pub(super) async fn take_over_orphans(&self, others_too: bool) {
        if self.is_draining() {
            return;
        }
        let inner = &self.inner;
        // The lease waits for it; the next look goes on.
        let until = Instant::now() + inner.limits.lease / 4;
        let unattended = self.unattended();
        let expired = others_too.then_some(Orphans::LeaseExpired);
        for which in expired.into_iter().chain([unattended]) {
            match inner.log.ownership.orphans(&which, ROUND).await {
                Ok(orphans) => drop(self.adopt_all(orphans, until).await),
                Err(error) => tracing::warn!(%error, "take-over"),
            }
        }
    }

    /// The generations on record for this instance that neither run nor start here.
    pub(super) fn unattended(&self) -> Orphans {
        let attended = self.inner.runs.live.attended().into_iter().collect();
        Orphans::Unattended { owner: self.inner.instance, attended }
    }

    /// Takes over what it can of `orphans`, and begins none behind `until`. Their requests are in
    /// memory one by one, as many as are taken over at a time.
    pub(super) async fn adopt_all(
        &self,
        mut orphans: Vec<(GenerationId, Epoch)>,
        until: Instant,
    ) -> usize {
        // A lease that expired in an outage is no reason to take a generation from oneself. A start
        // may also have been stored since the query.
        let attended = self.inner.runs.live.attended();
        orphans.retain(|(id, _)| !attended.contains(id));
        // Each instance in an order of its own: those who look at once do not all want the same.
        fastrand::shuffle(&mut orphans);
        if !orphans.is_empty() {
            self.fold_what_is_left(until).await;
        }
        let shares = self.shares(&orphans).await;
        let (shares, room) = (&shares, &Semaphore::new(ROOM as usize));
        let adopted = stream::iter(orphans).map(|listed| async move {
            let share = shares.get(&listed.0).copied().unwrap_or(ROOM);
            let _share = room.acquire_many(share).await;
            if Instant::now() >= until {
                return 0;
            }
            match self.adopt_one(listed).await {
                Ok(taken) => usize::from(taken),
                Err(error) => {
                    tracing::warn!(generation = %listed.0, %error, "take-over");
                    0
                }
            }
        });
        adopted.buffer_unordered(AT_ONCE).fold(0, async |sum, one| sum + one).await
    }

    /// Folds what the old owners have left in the journal. Each take-over would look through it.
    async fn fold_what_is_left(&self, until: Instant) {
        let folding = self.inner.log.upkeep.compact(self.inner.instance);
        match timeout_at(until, folding).await {
            Ok(Ok(_)) => {}
            Ok(Err(error @ LogError::Doubled(_))) => self.note_doubled(&error),
            Ok(Err(error)) => tracing::warn!(%error, "take-overs look through the journal"),
            Err(_) => tracing::warn!("the journal is not folded in time for take-overs"),
        }
    }

    /// The share of [`ROOM`] that each takes; without one, a generation takes all.
    async fn shares(&self, orphans: &[(GenerationId, Epoch)]) -> HashMap<GenerationId, u32> {
        let ids: Vec<GenerationId> = orphans.iter().map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return HashMap::new();
        }
        let stored = self.inner.log.ownership.stored_bytes(&ids).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "take-overs go one by one");
            HashMap::new()
        });
        let share = |bytes: u64| u32::try_from(bytes / 1024).unwrap_or(ROOM).clamp(1, ROOM);
        stored.into_iter().map(|(id, bytes)| (id, share(bytes))).collect()
    }

    async fn adopt_one(&self, listed: (GenerationId, Epoch)) -> Result<bool, LogError> {
        match self.inner.log.ownership.orphan(listed).await? {
            Some(orphan) => self.adopt(orphan).await,
            None => Ok(false),
        }
    }

    /// Takes one over: its first entry by us says how it goes on, and fences the old owner.
    async fn adopt(&self, orphan: Orphan) -> Result<bool, LogError> {
        let row = &orphan.row;
        let at = Address { tenant: row.tenant.clone(), id: row.id };
        if orphan.owner == self.inner.instance {
            self.inner.runs.recorder.settle(&at, row.epoch).await;
        }
        let model = self.model_of(&orphan);
        let Some((mut transcript, readable)) = self.to_take(&orphan, &at, model.as_ref()).await?
        else {
            return Ok(false);
        };
        let event = if readable {
            self.first_event(&orphan, model.as_ref(), &transcript)
        } else {
            unreadable_ending()
        };
        let seq = transcript.seq.next();
        let epoch = row.epoch.next();
        let entry = Entry::encode(seq, &event).by(epoch);
        transcript
            .apply(seq, &event)
            .map_err(|e| LogError::Broken(format!("generation {}: {e}", row.id)))?;
        // Every other way to go on abandons the answer that an upstream keeps.
        let (kept, unwanted) = kept_on(&event, orphan.kept.clone(), model.as_ref());
        let row_change = match transcript.done.clone() {
            Some(done) => RowChange::Ended(Box::new(Outcome {
                answer: transcript.answer.clone(),
                done,
                attempts: transcript.attempts,
            })),
            None if unwanted.is_some() => RowChange::Background(None),
            None => RowChange::None,
        };
        let append = Append { at, epoch, entries: vec![entry.clone()], row: row_change };
        let from = (orphan.owner, row.epoch);
        let claim = Claim { owner: self.inner.instance, from, append };
        let cancel_requested = match self.inner.log.ownership.take_over(&claim).await? {
            Claimed::Ours { cancel_requested } => cancel_requested,
            Claimed::No => return Ok(false),
        };
        tracing::info!(generation = %row.id, epoch = epoch.0, seq = seq.0, "taken over");
        self.inner.metrics.takeovers.inc();
        let generation = row.id;
        let kept_by = unwanted.and_then(|k| Some((self.models().find(Some(&k.model))?.clone(), k)));
        if let Some((model, unwanted)) = kept_by {
            abandon(&self.inner.tasks, &model, unwanted);
        }
        if transcript.done.is_none()
            && let Some(model) = model
        {
            let row = orphan.row;
            self.run(Owned {
                row,
                model,
                epoch,
                transcript,
                first: vec![entry],
                place: None,
                kept,
            });
        }
        // Asked for while we looked at its log.
        if cancel_requested {
            self.inner.runs.live.cancel(generation);
        }
        // For those who read it: here, if that was its ending, and elsewhere.
        self.inner.fleet.remotes.grown(generation, false);
        self.inner.fleet.signals.send(To::All, Signal::TakenOver { generation });
        Ok(true)
    }

    /// The transcript of an orphan, and whether it and its row can be read; `None` if it is not
    /// ours to take.
    async fn to_take(
        &self,
        orphan: &Orphan,
        at: &Address,
        model: Option<&Model>,
    ) -> Result<Option<(Transcript, bool)>, LogError> {
        let can_leave = model.is_none() && orphan.row.unreadable.is_none();
        if self.inner.fleet.foreign.has(at.id) || (can_leave && self.leaves(orphan, at).await?) {
            return Ok(None);
        }
        let (transcript, readable) = self.read_for_claim(&orphan.row, at).await?;
        if transcript.done.is_some() {
            self.has_just_ended(at).await?;
            return Ok(None);
        }
        if transcript.unknown {
            self.leave_to_newer(orphan, at).await?;
            return Ok(None);
        }
        Ok(Some((transcript, readable)))
    }

    /// The owner came back after it had been listed, and wrote the ending: there is nothing to
    /// take.
    async fn has_just_ended(&self, at: &Address) -> Result<(), LogError> {
        let row = self.inner.log.generations.standing(at).await?;
        if row.is_none_or(|row| row.result.is_some()) {
            return Ok(());
        }
        Err(LogError::Broken(format!("generation {}: its ending is not in its row", at.id)))
    }

    /// Leaves a generation with events of a newer version to an instance of that version: what we
    /// made of it would be wrong.
    async fn leave_to_newer(&self, orphan: &Orphan, at: &Address) -> Result<(), LogError> {
        let inner = &self.inner;
        if orphan.owner == inner.instance {
            inner.log.ownership.give_up(at, inner.instance, orphan.row.epoch).await?;
            inner.fleet.signals.send(To::All, Signal::Released { owner: inner.instance });
        }
        inner.fleet.foreign.add(at.id);
        tracing::warn!(
            generation = %at.id,
            "it has events of a type that this version does not know: left to an instance that does"
        );
        Ok(())
    }

    /// The transcript of an orphan, and whether it and its row can be read. An unreadable one
    /// cannot go on, and must not keep others from being taken over.
    async fn read_for_claim(
        &self,
        row: &Generation,
        at: &Address,
    ) -> Result<(Transcript, bool), LogError> {
        match self.transcript(at, Seq(u64::MAX)).await {
            Ok(transcript) => Ok((transcript, row.unreadable.is_none())),
            Err(LogError::Broken(why)) => {
                tracing::error!(generation = %row.id, %why, "its events cannot be read: it ends");
                self.inner.metrics.unreadable.inc();
                Ok((Transcript::unreadable(row.last_seq), false))
            }
            Err(other @ (LogError::Conflict | LogError::Unavailable(_) | LogError::Doubled(_))) => {
                Err(other)
            }
        }
    }

    /// Leaves a generation to another live instance that has its model. Readers would otherwise
    /// hear of a missing configuration by an ending. A cancel needs no model.
    async fn leaves(&self, orphan: &Orphan, at: &Address) -> Result<bool, LogError> {
        let (inner, name) = (&self.inner, &orphan.row.request.model);
        if orphan.cancel_requested
            || !inner.log.leases.is_offered_elsewhere(inner.instance, name).await?
        {
            return Ok(false);
        }
        if orphan.owner == inner.instance {
            // An earlier process of ours had the model; our lease would keep it from the others.
            inner.log.ownership.give_up(at, inner.instance, orphan.row.epoch).await?;
            inner.fleet.signals.send(To::All, Signal::Released { owner: inner.instance });
        }
        Ok(true)
    }

    /// The model that goes on: the one whose upstream keeps the answer, else the requested one.
    fn model_of(&self, orphan: &Orphan) -> Option<Model> {
        let models = self.models();
        let keeper = orphan.kept.as_ref().and_then(|kept| models.find(Some(&kept.model)));
        let keeper = keeper.filter(|model| is_resumable(orphan.kept.as_ref(), model));
        keeper.or_else(|| models.find(Some(&orphan.row.request.model))).cloned()
    }

    fn first_event(
        &self,
        orphan: &Orphan,
        model: Option<&Model>,
        transcript: &Transcript,
    ) -> Event {
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
                upstream: None,
            };
            Event::Done(Done { usage: self.usage(orphan, transcript), ..failed(failure) })
        };
        let Some(model) = model else {
            return lost("its server was lost, and no server that is left has its model");
        };
        let kept = is_resumable(orphan.kept.as_ref(), model);
        let facts = Facts::of(&orphan.row.request, kept);
        match policy::next(model, transcript, LossReason::Takeover, facts) {
            Next::Continue(event) | Next::Restart(event) => event,
            Next::Again => {
                Event::Resumed { reason: LossReason::Takeover, attempt: transcript.attempts + 1 }
            }
            Next::End => lost("its server was lost, and its model cannot go on"),
        }
    }

    fn usage(&self, orphan: &Orphan, transcript: &Transcript) -> crate::domain::event::Usage {
        let input = orphan.row.request.prompt.estimated_tokens();
        crate::engine::run::meter::Meter::new(input, &transcript.answer, transcript.attempts)
            .without(orphan.row.request.given_tokens())
            .total()
    }
}

/// Of what an upstream keeps: the answer that goes on, or the one that nobody wants any more.
fn kept_on(
    event: &Event,
    kept: Option<BackgroundResponse>,
    model: Option<&Model>,
) -> (Option<BackgroundResponse>, Option<BackgroundResponse>) {
    match (event, kept) {
        (Event::Resumed { .. }, Some(kept))
            if model.is_some_and(|m| is_resumable(Some(&kept), m)) =>
        {
            (Some(kept), None)
        }
        (_, unwanted) => (None, unwanted),
    }
}

/// How a generation ends that nobody can go on with, because what is stored of it is unreadable.
fn unreadable_ending() -> Event {
    Event::Done(failed(Failure {
        code: ErrorCode::Internal,
        message: "what is stored of this generation cannot be read".into(),
        retryable: false,
        retry_after_ms: None,
        upstream: None,
    }))
}
