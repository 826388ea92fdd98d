//! The log on Postgres: its connections, and what its parts share.
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;

use super::append_cache::AppendCache;
use super::conversations::PgConversations;
use super::large_reads::LargeReads;
use super::operations::PgOperations;
use super::pictures::PgPictures;
use super::pool;
use super::probe::Probe;
use super::room;
use super::session_settings::Sessions;
use super::signals::{Pace, PgSignals};
use super::supply::Supply;
use super::unreadable::Unreadable;
use crate::domain::entry::Entry;
use crate::domain::extra::Placed;
use crate::domain::id::InstanceId;
use crate::ports::{Keys, Log, LogError, Signals, Storage};

/// How long the connections may take to close.
const CLOSING: Duration = Duration::from_secs(3);

/// The durable log of all generations, in Postgres.
#[derive(Clone, Debug)]
pub struct PgLog {
    /// For readers, so that they never wait for writers or the other way round.
    pub(super) readers: pool::Pool,
    /// For starts, cancels and take-overs.
    pub(super) workers: pool::Pool,
    /// For the lease and the fold, which nothing else may keep waiting.
    pub(super) upkeep: pool::Pool,
    /// For looking at the database and at our own connections.
    pub(super) watch: pool::Pool,
    pub(super) supply: Supply,
    pub(super) probe: Probe,
    pub(super) append_cache: AppendCache,
    /// Events that are shared while they are read.
    pub(super) large_events: LargeReads<Entry>,
    /// Extras in the rows of generations; the same.
    pub(super) large_extras: LargeReads<Placed>,
    pub(super) unreadable: Arc<Unreadable>,
    /// Whether a session was last seen to keep PostgreSQL from cleaning up.
    pub(super) horizon_held: Arc<AtomicBool>,
    /// This process, anew with each start.
    pub(super) process: uuid::Uuid,
}

impl PgLog {
    /// On a database that was checked; nothing is connected yet. Must be called on the main
    /// runtime.
    pub(super) fn on(sessions: Sessions, space: String) -> Self {
        let supply = Supply::new(sessions, space);
        let pool = |name, keep, most| pool::Pool::new(name, keep, most, &supply);
        let watch = pool("watch", 1, 1);
        supply.watch_by(&watch);
        Self {
            readers: pool("readers", 1, room::MOST),
            workers: pool("workers", 1, room::MOST),
            upkeep: pool("upkeep", 2, 2),
            watch,
            probe: Probe::default(),
            append_cache: AppendCache::default(),
            large_events: LargeReads::default(),
            large_extras: LargeReads::default(),
            unreadable: Arc::default(),
            horizon_held: Arc::default(),
            process: InstanceId::random().0,
            supply,
        }
    }

    pub(super) fn all_pools(&self) -> [&pool::Pool; 4] {
        [&self.readers, &self.workers, &self.upkeep, &self.watch]
    }

    /// The log, a part for each kind of user.
    #[must_use]
    pub fn log(&self) -> Log {
        let this = Arc::new(self.clone());
        Log {
            events: this.clone(),
            generations: this.clone(),
            conversations: Arc::new(PgConversations { log: self.clone() }),
            leases: this.clone(),
            ownership: this.clone(),
            request_reads: this.clone(),
            upkeep: this,
            pictures: Arc::new(PgPictures { log: self.clone() }),
            operations: Arc::new(PgOperations { log: self.clone() }),
        }
    }

    /// Ends the pools' connections, in order if the database takes part. Waiting for a connection
    /// whose other end has vanished would never end.
    pub async fn close(&self) {
        let closed = join_all(self.all_pools().map(pool::Pool::close));
        if tokio::time::timeout(CLOSING, closed).await.is_err() {
            tracing::warn!("not all connections to the database closed in order");
        }
    }
}

#[async_trait]
impl Storage for PgLog {
    fn log(&self) -> Log {
        Self::log(self)
    }

    fn keys(&self) -> Arc<dyn Keys> {
        Arc::new(self.clone())
    }

    fn signals(&self, me: InstanceId) -> Arc<dyn Signals> {
        Arc::new(PgSignals::new(self, me, Pace::default()))
    }

    async fn reserve(&self) -> Result<(), LogError> {
        Self::reserve(self).await
    }

    async fn close(&self) {
        Self::close(self).await;
    }
}
