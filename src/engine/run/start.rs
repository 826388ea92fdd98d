//! A prompt becomes a generation: durable first, then run.
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout};

use super::background_response::BackgroundState;
use super::generate::Generation;
use super::key_limits::bound;
use super::live::Tail;
use super::pace::Pace;
use super::policy;
use crate::domain::conversation::TurnAsked;
use crate::domain::entry::Entry;
use crate::domain::event::Status;
use crate::domain::generation::{self, BackgroundResponse, Idempotency, NewGeneration, Request};
use crate::domain::id::{Epoch, GenerationId, Seq, Tenant};
use crate::domain::picture::PictureId;
use crate::domain::prompt::PromptError;
use crate::domain::transcript::Transcript;
use crate::engine::Engine;
use crate::engine::access::Caller;
use crate::engine::models::Model;
use crate::engine::readers::request_reads::{Repeat, RequestRead};
use crate::ports::{Address, Created, LogError};

/// How long a start tries to reach the log before it says that it cannot.
const PATIENCE: Duration = Duration::from_secs(5);
/// A request of so many bytes has a second more: cutting, sending and storing it takes that on a
/// machine that is busy.
const A_SECOND_MORE: usize = 1024 * 1024;
/// The patience with the longest request: what a statement may take.
const MOST_PATIENCE: Duration = Duration::from_secs(15);
/// The pause between two tries.
pub(in crate::engine) const PAUSE: Duration = Duration::from_millis(100);

/// The generation to start.
#[derive(Debug)]
pub struct Start {
    /// The client: its tenant and its limits.
    pub caller: Caller,
    /// The request; its model is one of ours.
    pub request: Request,
    /// The key that makes a repeat the same start.
    pub idempotency: Option<Idempotency>,
    /// The turn that it adds to a conversation, whose branch becomes the context.
    pub turn: Option<TurnAsked>,
    /// The repeat that takes an earlier answer over.
    pub repeat: Option<Repeat>,
}

/// A generation that was started now or before.
#[derive(Debug)]
pub struct Started {
    /// Its row as it was then.
    pub generation: generation::Generation,
    /// Whether it was there before.
    pub replayed: bool,
    /// Whether it is the answer to an earlier request, taken over.
    pub attached: bool,
    /// The reader of its answer, where a repeat may take that over.
    pub read: Option<RequestRead>,
}

impl Started {
    /// A start that was made before, under the same key.
    fn replayed(generation: generation::Generation) -> Self {
        Self { generation, replayed: true, attached: false, read: None }
    }
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
    /// As many generations as the key may have at a time wait or run.
    #[error("this key has {0} `concurrent_generations`, and as many are not yet at their end")]
    KeyBusy(u32),
    /// It is more than the key may ask for.
    #[error(transparent)]
    KeyLimits(#[from] PromptError),
    /// The model takes no pictures.
    #[error("the model `{0}` cannot see pictures")]
    CannotSee(String),
    /// The tenant has no such picture.
    #[error("there is no picture {0}: send it first, to `/v1/pictures`")]
    NoPicture(PictureId),
    /// The server is about to stop.
    #[error("the server is about to stop")]
    Draining,
    /// The tenant has no such conversation.
    #[error("there is no conversation of that id")]
    NoConversation,
    /// The parent is no message of the conversation.
    #[error("there is no message of that id in this conversation")]
    NoMessage,
    /// The message to be answered again is not a user's.
    #[error("only a user's message can be answered")]
    NotAQuestion,
    /// There is no message to be answered again.
    #[error("the branch has no user's message to answer; say something in `prompt`")]
    NoQuestion,
    /// The answer to go on from does not allow it, or its model does not.
    #[error("{0}")]
    CannotContinue(&'static str),
    /// This generation answers on the branch.
    #[error("an answer is running on this branch; cancel it, wait for it, or say `concurrent`")]
    Busy(GenerationId),
    /// The log did not answer: whether this start is in it shows when it is back.
    #[error("the database did not answer; if the start was stored after all, it is generation {0}")]
    Unanswered(GenerationId),
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
    pub async fn start(&self, mut start: Start) -> Result<Started, StartError> {
        bound(&mut start, &self.inner.limits)?;
        if let Some(attached) = self.attach(&start).await? {
            return Ok(attached);
        }
        if let Err(refusal) = self.has_room() {
            let (tenant, key) = (start.caller.tenant(), start.idempotency.as_ref());
            return self.repeat(tenant, key).await?.ok_or(refusal);
        }
        let model = self.models().find(Some(&start.request.model)).cloned();
        let model = model.ok_or(StartError::UnknownModel)?;
        self.check_pictures(&start, &model).await?;
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

    /// Finds a start that was made before. Naming it again costs nothing, and a client that lost
    /// its stream has only the key to come back with.
    pub(in crate::engine) async fn repeat(
        &self,
        tenant: &Tenant,
        key: Option<&Idempotency>,
    ) -> Result<Option<Started>, StartError> {
        let Some(key) = key else { return Ok(None) };
        match self.inner.log.generations.repeated(tenant, key).await? {
            None => Ok(None),
            Some(Created::KeyReused) => Err(StartError::KeyReused),
            // A repeat starts nothing, so it is never one too many.
            Some(Created::KeyBusy) => Ok(None),
            Some(Created::New(row, _) | Created::Replayed(row)) => {
                Ok(Some(Started::replayed(*row)))
            }
        }
    }

    async fn store(&self, start: Start, model: Model) -> Result<Started, StartError> {
        let place = Arc::clone(&self.inner.runs.places).try_acquire_owned().ok();
        let limit = start.caller.limits().concurrent_generations;
        let new = NewGeneration {
            id: GenerationId::random(),
            tenant: start.caller.tenant().clone(),
            key: start.caller.key().map(|key| (key, limit)),
            request: start.request,
            provider: model.provider.name().into(),
            owner: self.inner.instance,
            queued: place.is_none(),
            idempotency: start.idempotency,
            place: None,
            request_hash: start.repeat.map(|repeat| repeat.hash),
        };
        let hash = new.request_hash.clone();
        // Until it is stored: the same request, tried again, shall find it.
        let unsettled = &self.inner.readers.request_reads.unsettled;
        let _storing = hash.as_ref().map(|hash| unsettled.begin(hash, false));
        // Until it runs: the upkeep shall not take for abandoned what is just beginning.
        let _starting = self.inner.runs.live.starting().begin(new.id);
        let id = new.id;
        let created = match start.turn {
            None => self.create(&new).await.map_err(StartError::from),
            Some(turn) => self.begin_turn(new, turn, &model).await,
        };
        if let Err(StartError::Log(LogError::Unavailable(why))) = &created {
            tracing::warn!(generation = %id, why, "a start was not answered");
            // If it was stored after all, nobody reads it.
            let read = hash.map(|hash| self.request_read(id, hash));
            read.iter().for_each(|read| read.cut().store(true, Ordering::Relaxed));
            return Err(StartError::Unanswered(id));
        }
        let created = created?;
        let (row, first) = match created {
            Created::KeyReused => return Err(StartError::KeyReused),
            Created::KeyBusy => return Err(StartError::KeyBusy(limit.unwrap_or_default())),
            Created::Replayed(row) => return Ok(Started::replayed(*row)),
            Created::New(row, first) => (*row, first),
        };
        let read = hash.map(|hash| self.request_read(id, hash));
        let mut transcript = Transcript::default();
        for entry in &first {
            let event = entry.decode().map_err(|e| LogError::Broken(e.to_string()))?;
            transcript.apply(entry.seq, &event).map_err(|e| LogError::Broken(e.to_string()))?;
        }
        let generation = row.clone();
        let epoch = row.epoch;
        self.run(Owned { row, model, epoch, transcript, first, place, kept: None });
        Ok(Started { generation, replayed: false, attached: false, read })
    }

    /// Repeating is safe: the id tells the log that it is the same start. A start whose outcome
    /// stays unknown is found by the upkeep if it was stored after all.
    async fn create(&self, new: &NewGeneration) -> Result<Created, LogError> {
        let patience = patience(&new.request);
        let give_up = Instant::now() + patience;
        loop {
            let stored = timeout(patience, self.inner.log.generations.create(new)).await;
            match stored.unwrap_or_else(|_| Err(LogError::Unavailable("no answer in time".into())))
            {
                Err(LogError::Unavailable(why)) if Instant::now() < give_up => {
                    tracing::debug!(why, "the start is tried again");
                    sleep(PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Runs a generation that this process has come to own.
    pub(in crate::engine) fn run(&self, owned: Owned) {
        let Owned { row, model, epoch, transcript, first, place, kept } = owned;
        let at = Address { tenant: row.tenant.clone(), id: row.id };
        let before = first.first().map_or(Seq::ZERO, |e| Seq(e.seq.0.saturating_sub(1)));
        let tail = Tail::new(row.tenant, row.id, before);
        tail.publish(first);
        self.inner.runs.live.insert(tail.clone());
        self.inner.fleet.remotes.detach(&at.tenant, at.id);
        self.inner.metrics.started.inc();
        let writer = self.inner.runs.recorder.open(at.clone(), epoch, tail.clone());
        let answering = row.place.map(|place| {
            let at = (at.tenant.clone(), place.conversation);
            self.inner.presence.answers(at, row.id, &row.request.model)
        });
        let structured = policy::is_structured(&row.request);
        let generation = Generation {
            structured,
            _answering: answering,
            engine: self.clone(),
            at,
            model,
            request: row.request,
            tail,
            writer,
            transcript,
            queued: row.status == Status::Queued,
            background: BackgroundState::stored(kept),
            pace: Pace::new(epoch > Epoch::FIRST),
            taken_over: epoch > Epoch::FIRST,
        };
        self.inner.tasks.spawn(generation.run(place));
    }
}

/// How long a start of `request` tries to reach the log.
pub(in crate::engine) fn patience(request: &Request) -> Duration {
    let body = request.source.as_ref().map_or(0, |source| source.body.len());
    let seconds = (request.prompt.bytes() + body) / A_SECOND_MORE;
    let more = Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX));
    PATIENCE.saturating_add(more).min(MOST_PATIENCE)
}

/// A generation that this process has come to own, by a start or a take-over.
pub(in crate::engine) struct Owned {
    pub(in crate::engine) row: generation::Generation,
    pub(in crate::engine) model: Model,
    pub(in crate::engine) epoch: Epoch,
    /// The log's content, up to and with `first`.
    pub(in crate::engine) transcript: Transcript,
    /// The entries that made it ours.
    pub(in crate::engine) first: Vec<Entry>,
    /// Its place among the running ones, if there was one.
    pub(in crate::engine) place: Option<OwnedSemaphorePermit>,
    /// The answer that its upstream keeps.
    pub(in crate::engine) kept: Option<BackgroundResponse>,
}

/// However it ends: what no longer runs must not look as if it did, or nobody takes it over.
impl Drop for Generation {
    fn drop(&mut self) {
        self.engine.inner.runs.live.remove(&self.tail);
        if std::thread::panicking() {
            self.tail.detach();
        }
    }
}
