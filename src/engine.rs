//! One generation from its prompt to its last word: start, cancel, read. All that `http` sees.
mod access;
mod converse;
mod fleet;
mod limits;
mod models;
mod pictures;
mod presence;
mod readers;
mod run;
mod secrets;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use access::{Access, Anonymous, Caller, Denied, Ended, SESSION, TICKET};
pub use converse::{
    Continue, ConverseError, MessagePage, Messages, VIEWERS, ViewError, Viewed, Viewing, Which,
};
pub use fleet::overview::{Here, MOMENTS, Overview};
pub use limits::{Limits, SocketLimits};
pub use models::{DisconnectPolicy, Model, Models, OnLoss, Recovery};
pub use presence::{Change, Changes, Membership, TYPING};
pub use readers::open::Opened;
pub use readers::poll_gate::{Alarm, PollGate};
pub use readers::request_reads::{Repeat, RequestRead};
pub use readers::session::{Item, Session};
pub use run::cancel::Receipt;
pub use run::commit_path::CommitPath;
pub use run::live;
pub use run::spans::{Ended as EndedSpan, Export};
pub use run::start::{Start, StartError, Started};
pub use run::wake_batch::drive_wakes;
pub use secrets::Secrets;

use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::domain::id::InstanceId;
use crate::domain::room::Participant;
use crate::metrics::Metrics;
use crate::ports::{ConversationAt, Log, LogError, Signals};
use crate::tasks::Tasks;
use converse::{Links, Turns};
use fleet::Fleet;
use presence::Presence;
use readers::Readers;
use run::Runs;
use run::recorder::Recorder;

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
    limits: Limits,
    instance: InstanceId,
    tasks: Tasks,
    metrics: Arc<Metrics>,
    /// Replaced as a whole when servers come and go.
    models: RwLock<Arc<Models>>,
    runs: Runs,
    readers: Readers,
    fleet: Fleet,
    links: Links,
    turns: Turns,
    presence: Presence,
    secrets: Secrets,
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
    /// An engine on `leaves` as `instance`; its recorder begins at once.
    #[must_use]
    pub fn new(leaves: Leaves, limits: Limits, instance: InstanceId, tasks: Tasks) -> Self {
        let Leaves { log, signals, models } = leaves;
        let metrics = Arc::new(Metrics::default());
        let recorder = Recorder::start(|| log.events.writer(instance), &tasks, &metrics);
        let runs = Runs::new(recorder, limits.running);
        let (readers, ends) = Readers::new();
        let presence = Presence::new(instance, Arc::clone(&signals));
        let inner = Inner {
            log,
            limits,
            instance,
            tasks,
            metrics,
            models: RwLock::new(Arc::new(models)),
            runs,
            readers,
            fleet: Fleet::new(signals),
            links: Links::default(),
            turns: Turns::default(),
            presence,
            secrets: Secrets::default(),
        };
        let engine = Self { inner: Arc::new(inner) };
        engine.note_request_reads(ends);
        engine
    }

    /// The models that prompts can name now.
    #[must_use]
    pub fn models(&self) -> Arc<Models> {
        self.inner.models.read().clone()
    }

    /// From now on prompts can name these; what runs goes on with the model that it has.
    pub fn set_models(&self, models: Models) {
        *self.inner.models.write() = Arc::new(models);
    }

    /// The keys of what clients keep for us.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.inner.secrets
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
        self.inner.limits.connection_age.mul_f64(0.9 + 0.2 * fastrand::f64())
    }

    /// Whether the server is about to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.inner.readers.draining.load(Ordering::Acquire)
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
        self.inner.runs.live.len()
    }
}
