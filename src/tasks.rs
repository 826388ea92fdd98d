//! The only spawner: tasks live on the main runtime, and a stop waits for them.
//!
//! A task that is spawned in an actix handler dies with its worker; a generation must not.
use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Spawns, and stops in two steps.
#[derive(Clone, Debug)]
pub struct Tasks {
    runtime: Handle,
    /// Generations: a soft stop lets them come to their end.
    work: TaskTracker,
    /// The tasks that serve generations, and must outlive them.
    services: TaskTracker,
    soft: CancellationToken,
    hard: CancellationToken,
}

impl Tasks {
    /// Takes the runtime that it is called on.
    #[must_use]
    pub fn new() -> Self {
        Self {
            runtime: Handle::current(),
            work: TaskTracker::new(),
            services: TaskTracker::new(),
            soft: CancellationToken::new(),
            hard: CancellationToken::new(),
        }
    }

    /// Spawns a piece of work that a soft stop waits for.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.work.spawn_on(work, &self.runtime)
    }

    /// Spawns what work depends on; it must end by itself at a hard stop.
    pub fn spawn_service(&self, service: impl Future<Output = ()> + Send + 'static) {
        self.services.spawn_on(service, &self.runtime);
    }

    /// Spawns what somebody waits for; it ends by itself, or is dropped by who waited.
    pub fn spawn_aside<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.services.spawn_on(work, &self.runtime)
    }

    /// How many pieces of work there are.
    #[must_use]
    pub fn working(&self) -> usize {
        self.work.len()
    }

    /// Cancelled when readers shall go elsewhere and nothing new may begin.
    #[must_use]
    pub fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// Cancelled when what still runs shall be left for the next owner.
    #[must_use]
    pub fn hard(&self) -> &CancellationToken {
        &self.hard
    }

    /// Waits until there is no work, at most `limit`; says whether there is none.
    pub async fn finish_work(&self, limit: Duration) -> bool {
        self.work.close();
        tokio::time::timeout(limit, self.work.wait()).await.is_ok()
    }

    /// Waits until there are no services, at most `limit`; says whether there are none.
    pub async fn finish_services(&self, limit: Duration) -> bool {
        self.services.close();
        tokio::time::timeout(limit, self.services.wait()).await.is_ok()
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}
