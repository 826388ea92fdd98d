//! One generation from its prompt to its last word: start, cancel, read. All that `http` sees.
mod access;
mod background_response;
mod cancel;
mod closing;
mod converse;
mod cut_reader;
mod delta_batch;
mod doubled;
mod ending;
mod follower_notifier;
mod following;
mod full_window;
mod generate;
mod hand_over;
mod hints;
mod key_limits;
mod limits;
pub mod live;
mod meter;
mod models;
mod open;
mod overview;
mod pace;
mod pictures;
mod policy;
mod poll_gate;
mod presence;
mod read;
mod recorder;
mod recover;
mod remote;
mod remote_tailer;
mod request_reads;
mod sealing;
mod shutdown;
mod spans;
mod start;
mod starting;
mod stop_conditions;
mod unsettled_reads;
mod upkeep;
mod waiting;
mod wake_batch;
mod window;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

pub use access::{Access, Anonymous, Caller, Denied, Ended, SESSION, TICKET};
pub use cancel::Receipt;
pub use converse::{
    Continue, ConverseError, MessagePage, Messages, VIEWERS, ViewError, Viewed, Viewing, Which,
};
pub use generate::chance;
pub use limits::{Limits, SocketLimits};
pub use models::{DisconnectPolicy, Model, Models, OnLoss, Recovery};
pub use open::Opened;
pub use overview::{Here, MOMENTS, Overview};
pub use poll_gate::{Alarm, PollGate};
pub use presence::{Change, Changes, Membership, TYPING};
pub use read::{Item, Session};
pub use request_reads::{Repeat, RequestRead};
pub use spans::{Ended as EndedSpan, Export};
pub use start::{Start, StartError, Started};
pub use wake_batch::drive_wakes;

use tokio::sync::{Mutex, Notify, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::domain::generation::{Generation, View};
use crate::domain::id::{InstanceId, Seq, Tenant};
use crate::domain::key::SigningKey;
use crate::domain::room::Participant;
use crate::domain::sealed::SealingKeys;
use crate::domain::transcript::{Answer, Transcript};
use crate::metrics::Metrics;
use crate::ports::{Address, Condition, ConversationAt, Deleted, Filter, Log, LogError, Signals};
use crate::tasks::Tasks;
use closing::Closing;
use converse::Links;
use live::Live;
use overview::Picture;
use presence::Presence;
use recorder::Recorder;
use recover::Foreign;
use remote::Remotes;

/// Runs generations and serves their logs. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

/// The leaves that an engine stands on.
pub struct Leaves {
    /// The durable log.
    pub log: Log,
    /// Hints to and from other instances.
    pub signals: Arc<dyn Signals>,
    /// The models that prompts can name.
    pub models: Models,
}

struct Inner {
    log: Log,
    signals: Arc<dyn Signals>,
    /// Replaced as a whole when servers come and go.
    models: RwLock<Arc<Models>>,
    limits: Limits,
    instance: InstanceId,
    tasks: Tasks,
    /// Set before the soft stop: what readers look at with every event.
    draining: AtomicBool,
    /// When each of them leaves then.
    closing: Closing,
    live: Live,
    remotes: Remotes,
    links: Links,
    /// Places for generations that run; the others wait.
    places: Arc<Semaphore>,
    recorder: Recorder,
    /// A reason for the upkeep to look at once.
    look: Notify,
    presence: Presence,
    metrics: Arc<Metrics>,
    /// Unfinished generations with events of a newer version.
    foreign: Foreign,
    request_reads: request_reads::Queue,
    signing: OnceLock<SigningKey>,
    /// Replaced as a whole when one is added or dropped.
    sealing: RwLock<SealingKeys>,
    /// The operators' last view.
    picture: Mutex<Option<Picture>>,
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
/// How long the log may take to say its size: less than a scrape waits.
const MEASURING: Duration = Duration::from_secs(2);

impl Engine {
    /// An engine on `leaves` as `instance`; its recorder begins at once.
    #[must_use]
    pub fn new(leaves: Leaves, limits: Limits, instance: InstanceId, tasks: Tasks) -> Self {
        let Leaves { log, signals, models } = leaves;
        let metrics = Arc::new(Metrics::default());
        let recorder = Recorder::start(|| log.events.writer(instance), &tasks, &metrics);
        let live = Live::default();
        let places = Arc::new(Semaphore::new(limits.running));
        let models = RwLock::new(Arc::new(models));
        let draining = AtomicBool::new(false);
        let presence = Presence::new(instance, Arc::clone(&signals));
        let (request_reads, ends) = request_reads::queue();
        let inner = Inner {
            log,
            signals,
            models,
            limits,
            instance,
            tasks,
            draining,
            closing: Closing::default(),
            live,
            remotes: Remotes::default(),
            links: Links::default(),
            places,
            recorder,
            look: Notify::new(),
            presence,
            metrics,
            foreign: Foreign::default(),
            request_reads,
            signing: OnceLock::new(),
            sealing: RwLock::default(),
            picture: Mutex::new(None),
        };
        let engine = Self { inner: Arc::new(inner) };
        engine.note_request_reads(ends);
        engine
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

    /// The counters of this process.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// How long a connection that opens now may last, a little different for each.
    #[must_use]
    pub fn connection_age(&self) -> Duration {
        self.inner.limits.connection_age.mul_f64(0.9 + 0.2 * generate::chance())
    }

    /// Whether the server is about to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.inner.draining.load(Ordering::Acquire)
    }

    /// Cancelled when the server is about to stop; [`Engine::leave`] says when a reader goes.
    #[must_use]
    pub fn closing(&self) -> CancellationToken {
        self.inner.tasks.soft().clone()
    }

    /// Runs a future on the main runtime. A future that nobody polls for a while, as on a socket
    /// that cannot send, would hold its connection to the log.
    pub fn aside<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> AbortOnDropHandle<T> {
        AbortOnDropHandle::new(self.inner.tasks.spawn_aside(work))
    }

    /// Lets a participant into a conversation, for as long as the membership lives. Whether the
    /// conversation exists is for [`Engine::conversation`] to say.
    #[must_use]
    pub fn enter(&self, at: &ConversationAt, participant: Participant) -> (Membership, Changes) {
        self.inner.presence.join((at.tenant.clone(), at.id), participant)
    }

    /// Generations that this process runs now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.inner.live.len()
    }

    /// Looks up the gauges that nobody counts along: what runs, the pools, the log's size.
    pub async fn measure(&self) {
        let metrics = self.metrics();
        metrics.running.set(i64::try_from(self.running()).unwrap_or(i64::MAX));
        for pool in self.inner.log.upkeep.pools() {
            for (state, count) in [("idle", pool.idle), ("busy", pool.busy), ("free", pool.free)] {
                metrics.pool.get_or_create(&[("pool", pool.name), ("state", state)]).set(count);
            }
        }
        metrics.unreadable.inc_by(self.inner.log.upkeep.take_unreadable());
        let refused = self.inner.log.upkeep.refused();
        metrics.refused.inc_by(refused.saturating_sub(metrics.refused.get()));
        if let Ok(condition) = self.ready().await {
            let waits = condition.unacknowledged.unwrap_or_default();
            metrics.unacknowledged.set(waits.as_secs_f64());
        }
        // Without the log the old figure stays: the other metrics are wanted all the more.
        if let Ok(Ok(bytes)) = timeout(MEASURING, self.inner.log.upkeep.bytes()).await {
            metrics.log_bytes.set(bytes);
        }
        if let Ok(Ok(bytes)) = timeout(MEASURING, self.inner.log.upkeep.unsorted_bytes()).await {
            metrics.unsorted_bytes.set(bytes);
        }
    }

    /// How the log is.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn ready(&self) -> Result<Condition, LogError> {
        self.inner.log.upkeep.condition().await
    }

    /// A generation's row, with what was asked.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn generation(&self, at: &Address) -> Result<Generation, EngineError> {
        self.inner.log.generations.generation(at).await?.ok_or(EngineError::NotFound)
    }

    /// The newest generation of a chat, by the name that its client gave it.
    ///
    /// # Errors
    /// The log is out of reach or broken.
    pub async fn newest_of(
        &self,
        tenant: &Tenant,
        chat: &str,
    ) -> Result<Option<Generation>, EngineError> {
        Ok(self.inner.log.generations.newest_of(tenant, chat).await?)
    }

    /// A generation as it stands.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn view(&self, at: &Address) -> Result<View, EngineError> {
        let row = self.inner.log.generations.generation(at).await?.ok_or(EngineError::NotFound)?;
        self.view_of(row).await
    }

    async fn view_of(&self, row: Generation) -> Result<View, EngineError> {
        if let Some(outcome) = row.result.clone() {
            return Ok(View::of(row, outcome.answer, outcome.attempts));
        }
        let at = Address { tenant: row.tenant.clone(), id: row.id };
        let transcript = match self.transcript(&at, row.last_seq).await {
            Ok(transcript) => transcript,
            // It is shown as far as it can be: a list must not fail for one of many.
            Err(LogError::Broken(why)) => {
                tracing::warn!(generation = %row.id, %why, "its events cannot be read");
                self.metrics().unreadable.inc();
                let unreadable = Some(why);
                return Ok(View::of(Generation { unreadable, ..row }, Answer::default(), 1));
            }
            Err(LogError::Doubled(doubled)) => {
                let unreadable = Some(LogError::Doubled(doubled).to_string());
                return Ok(View::of(Generation { unreadable, ..row }, Answer::default(), 1));
            }
            Err(other @ (LogError::Conflict | LogError::Unavailable(_))) => {
                return Err(other.into());
            }
        };
        let mut view = View::of(row, transcript.answer, transcript.attempts);
        view.last_seq = transcript.seq;
        Ok(view)
    }

    /// The fold of the log up to `until`.
    async fn transcript(&self, at: &Address, until: Seq) -> Result<Transcript, LogError> {
        let broken = |e: &dyn std::fmt::Display| LogError::Broken(e.to_string());
        let mut transcript = Transcript::default();
        while transcript.seq < until {
            let page = self.inner.log.events.read(at, transcript.seq, PAGE).await;
            let entries = page.inspect_err(|error| self.note_doubled(error))?;
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
        let mut rows = self.inner.log.generations.list(tenant, &filter).await?;
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
        Ok(self.inner.log.generations.delete(at).await?)
    }
}
