//! A prompt becomes a generation: durable first, then run.
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};

use super::Engine;
use super::generate::Generation;
use super::live::Tail;
use super::models::Model;
use crate::domain::entry::Entry;
use crate::domain::event::Status;
use crate::domain::generation::{self, Idempotency, NewGeneration, Request};
use crate::domain::id::{Epoch, GenerationId, Seq, Tenant};
use crate::domain::transcript::Transcript;
use crate::ports::{Address, Created, LogError};

/// How long a start tries to reach the log before it says that it cannot.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// What to start.
#[derive(Debug)]
pub struct Start {
    /// Whose it is.
    pub tenant: Tenant,
    /// What is asked; its model is one of ours.
    pub request: Request,
    /// What makes a repeat the same start.
    pub idempotency: Option<Idempotency>,
}

/// A generation that was started now or before.
#[derive(Debug)]
pub struct Started {
    /// Its row as it was then.
    pub generation: generation::Generation,
    /// Whether it was there before.
    pub replayed: bool,
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No model of that name.
    #[error("there is no model of that name")]
    UnknownModel,
    /// The idempotency key was used for another request.
    #[error("this Idempotency-Key was used with another request")]
    KeyReused,
    /// As many generations as the limits allow run and wait.
    #[error("too many generations at once")]
    Overloaded,
    /// The server is about to stop.
    #[error("the server is about to stop")]
    Draining,
    /// The log is out of reach or broken.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Engine {
    /// Stores the start and runs it, on the main runtime: the client's going away, which drops
    /// this future, does not stop it half-way.
    ///
    /// # Errors
    /// See [`StartError`]; nothing was started then.
    pub async fn start(&self, start: Start) -> Result<Started, StartError> {
        if let Err(refusal) = self.has_room() {
            return self.repeat(&start).await?.ok_or(refusal);
        }
        let model = self.models().find(Some(&start.request.model)).cloned();
        let model = model.ok_or(StartError::UnknownModel)?;
        let engine = self.clone();
        let task = self.inner.tasks.spawn(async move { engine.store(start, model).await });
        task.await.unwrap_or_else(|e| Err(LogError::Broken(e.to_string()).into()))
    }

    fn has_room(&self) -> Result<(), StartError> {
        let limits = &self.inner.limits;
        if self.is_draining() {
            Err(StartError::Draining)
        } else if self.inner.tasks.working() >= limits.running + limits.waiting {
            Err(StartError::Overloaded)
        } else {
            Ok(())
        }
    }

    /// A start that was made before: it costs nothing to name it again, and its client, which may
    /// have lost its stream, has nothing but the key to come back with.
    async fn repeat(&self, start: &Start) -> Result<Option<Started>, StartError> {
        let Some(key) = &start.idempotency else { return Ok(None) };
        match self.inner.log.repeated(&start.tenant, key).await? {
            None => Ok(None),
            Some(Created::KeyReused) => Err(StartError::KeyReused),
            Some(Created::New(row, _) | Created::Replayed(row)) => {
                Ok(Some(Started { generation: *row, replayed: true }))
            }
        }
    }

    async fn store(&self, start: Start, model: Model) -> Result<Started, StartError> {
        let place = Arc::clone(&self.inner.places).try_acquire_owned().ok();
        let new = NewGeneration {
            id: GenerationId::random(),
            tenant: start.tenant,
            request: start.request,
            provider: model.provider.name().into(),
            owner: self.inner.instance,
            queued: place.is_none(),
            idempotency: start.idempotency,
        };
        let (row, first) = match self.create(&new).await? {
            Created::KeyReused => return Err(StartError::KeyReused),
            Created::Replayed(row) => return Ok(Started { generation: *row, replayed: true }),
            Created::New(row, first) => (*row, first),
        };
        let mut transcript = Transcript::default();
        let event = first.decode().map_err(|e| LogError::Broken(e.to_string()))?;
        transcript.apply(first.seq, &event).map_err(|e| LogError::Broken(e.to_string()))?;
        let generation = row.clone();
        self.run(Owned { epoch: row.epoch, row, model, transcript, last: first, place });
        Ok(Started { generation, replayed: false })
    }

    /// Repeating is safe: the id tells the log that it is the same start. A start whose outcome
    /// stays unknown is found by the upkeep if it was stored after all.
    async fn create(&self, new: &NewGeneration) -> Result<Created, LogError> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            match self.inner.log.create(new).await {
                Err(LogError::Unavailable(why)) if Instant::now() < give_up => {
                    tracing::debug!(why, "the start is tried again");
                    sleep(PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Runs a generation that this process has come to own.
    pub(super) fn run(&self, owned: Owned) {
        let Owned { row, model, epoch, transcript, last, place } = owned;
        let at = Address { tenant: row.tenant.clone(), id: row.id };
        let before = Seq(last.seq.0.saturating_sub(1));
        let tail = Tail::new(row.tenant, row.id, before);
        tail.publish(vec![last]);
        self.inner.live.insert(tail.clone());
        let writer = self.inner.recorder.open(at.clone(), epoch, tail.clone());
        let generation = Generation {
            engine: self.clone(),
            at,
            model,
            request: row.request,
            tail,
            writer,
            transcript,
            queued: row.status == Status::Queued,
        };
        self.inner.tasks.spawn(generation.run(place));
    }
}

/// A generation that this process has come to own, by a start or a take-over.
pub(super) struct Owned {
    pub(super) row: generation::Generation,
    pub(super) model: Model,
    pub(super) epoch: Epoch,
    /// What the log says, up to and with `last`.
    pub(super) transcript: Transcript,
    /// The entry that made it ours.
    pub(super) last: Entry,
    /// Its place among the running ones, if there was one.
    pub(super) place: Option<OwnedSemaphorePermit>,
}

/// However it ends: what no longer runs must not look as if it did, or nobody takes it over.
impl Drop for Generation {
    fn drop(&mut self) {
        self.engine.inner.live.remove(&self.tail);
        if std::thread::panicking() {
            self.tail.detach();
        }
    }
}
