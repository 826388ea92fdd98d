//! One generation from its prompt to its last word: start, cancel, read. All that `http` sees.
mod cancel;
mod generate;
mod limits;
mod live;
mod meter;
mod models;
mod open;
mod policy;
mod read;
mod recorder;
mod recover;
mod start;
mod stops;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

pub use cancel::Receipt;
pub use limits::Limits;
pub use models::{Model, Models, OnLoss};
pub use open::Opened;
pub use read::{Item, Session};
pub use start::{Start, StartError, Started};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::domain::generation::View;
use crate::domain::id::{InstanceId, Seq, Tenant};
use crate::domain::transcript::Transcript;
use crate::ports::{Address, Deleted, Filter, Log, LogError};
use crate::tasks::Tasks;
use live::Live;
use recorder::Recorder;

/// Runs generations and serves their logs. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    log: Arc<dyn Log>,
    /// Replaced as a whole when servers come and go.
    models: RwLock<Arc<Models>>,
    limits: Limits,
    instance: InstanceId,
    tasks: Tasks,
    /// Set before the soft stop: what readers look at with every event.
    draining: AtomicBool,
    live: Live,
    /// Places for generations that run; the others wait.
    places: Arc<Semaphore>,
    recorder: Recorder,
}

/// Why a request about one generation is refused.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The tenant has none of that id.
    #[error("there is no generation of that id")]
    NotFound,
    /// The log is out of reach or broken.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Events that are read from the log at a time: enough to be quick, little to hold in memory.
const PAGE: u32 = 512;

impl Engine {
    /// An engine on `log` as `instance`; its recorder begins at once.
    #[must_use]
    pub fn new(
        log: Arc<dyn Log>,
        models: Models,
        limits: Limits,
        instance: InstanceId,
        tasks: Tasks,
    ) -> Self {
        let recorder = Recorder::start(log.as_ref(), &tasks);
        let live = Live::default();
        let places = Arc::new(Semaphore::new(limits.running));
        let models = RwLock::new(Arc::new(models));
        let draining = AtomicBool::new(false);
        let inner =
            Inner { log, models, limits, instance, tasks, draining, live, places, recorder };
        Self { inner: Arc::new(inner) }
    }

    /// The models that prompts can name now.
    #[must_use]
    pub fn models(&self) -> Arc<Models> {
        self.inner.models.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on prompts can name these; what runs goes on with the model that it has.
    pub fn set_models(&self, models: Models) {
        *self.inner.models.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(models);
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// Whether the server is about to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.inner.draining.load(Ordering::Acquire)
    }

    /// Generations that this process runs now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.inner.live.len()
    }

    /// Whether the log can be reached.
    ///
    /// # Errors
    /// It cannot.
    pub async fn ready(&self) -> Result<(), LogError> {
        self.inner.log.ping().await
    }

    /// A generation as it stands.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn view(&self, at: &Address) -> Result<View, EngineError> {
        let row = self.inner.log.generation(at).await?.ok_or(EngineError::NotFound)?;
        self.view_of(row).await
    }

    async fn view_of(
        &self,
        row: crate::domain::generation::Generation,
    ) -> Result<View, EngineError> {
        if let Some(outcome) = row.result.clone() {
            return Ok(View::of(row, outcome.answer, outcome.attempts));
        }
        let at = Address { tenant: row.tenant.clone(), id: row.id };
        let transcript = self.transcript(&at, row.last_seq).await?;
        let mut view = View::of(row, transcript.answer, transcript.attempts);
        view.last_seq = transcript.seq;
        Ok(view)
    }

    /// The fold of the log up to `until`.
    async fn transcript(&self, at: &Address, until: Seq) -> Result<Transcript, LogError> {
        let broken = |e: &dyn std::fmt::Display| LogError::Broken(e.to_string());
        let mut transcript = Transcript::default();
        while transcript.seq < until {
            let entries = self.inner.log.read(at, transcript.seq, PAGE).await?;
            if entries.is_empty() {
                break;
            }
            for entry in entries.iter().take_while(|e| e.seq <= until) {
                let event = entry.decode().map_err(|e| broken(&e))?;
                transcript.apply(entry.seq, &event).map_err(|e| broken(&e))?;
            }
        }
        Ok(transcript)
    }

    /// The tenant's generations, newest first, and whether there are more.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn list(
        &self,
        tenant: &Tenant,
        mut filter: Filter,
    ) -> Result<(Vec<View>, bool), EngineError> {
        let wanted = filter.limit;
        filter.limit += 1;
        let mut rows = self.inner.log.list(tenant, &filter).await?;
        let more = rows.len() > wanted as usize;
        rows.truncate(wanted as usize);
        let mut views = Vec::with_capacity(rows.len());
        for row in rows {
            views.push(self.view_of(row).await?);
        }
        Ok((views, more))
    }

    /// Erases an ended generation.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn delete(&self, at: &Address) -> Result<Deleted, EngineError> {
        Ok(self.inner.log.delete(at).await?)
    }

    /// Ends every reader's stream, so that it comes back elsewhere, and refuses new work.
    pub fn close(&self) {
        self.inner.draining.store(true, Ordering::Release);
        self.inner.tasks.soft().cancel();
        self.inner.live.wake_readers();
    }

    /// Stops in two steps: lets running generations end for `grace` or until `hurry`, then leaves
    /// the rest, durable up to their last event, to whoever takes them over.
    pub async fn drain(&self, grace: Duration, hurry: &CancellationToken) {
        // Long enough for the last group commit, short enough for an impatient supervisor.
        const LAST_COMMIT: Duration = Duration::from_secs(5);
        let inner = &self.inner;
        self.close();
        let ended = hurry.run_until_cancelled(inner.tasks.finish_work(grace)).await;
        if ended != Some(true) {
            tracing::info!(left = inner.live.len(), "left to the next owner");
        }
        inner.tasks.hard().cancel();
        inner.live.let_go();
        inner.tasks.finish_work(LAST_COMMIT).await;
        inner.recorder.close();
        inner.tasks.finish_services(LAST_COMMIT).await;
        if let Err(error) = inner.log.release(inner.instance).await {
            tracing::warn!(%error, "the lease was not given up; it will run out");
        }
    }
}
