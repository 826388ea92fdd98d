//! Where connections come from: one door for all, so that what an instance cannot do without comes
//! first.
//!
//! When the server has no place left (SQLSTATE 53300), this process gives back what it does not
//! use.
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use sqlx::{Connection, Error, PgConnection};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::pool::{Inner, Pool, Pools};
use super::session_settings::Sessions;

/// How long an opening that cannot be done without tries.
const FIRST: Duration = Duration::from_secs(3);
/// Between two of its tries.
const AGAIN: Duration = Duration::from_millis(50);
/// How often idle connections are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// A refusal that is older says nothing about now.
const RECENT: Duration = Duration::from_secs(5);

/// A connection, fresh or used.
pub(super) struct Opened {
    pub(super) connection: PgConnection,
    /// The server's process.
    pub(super) pid: i32,
    pub(super) since: Instant,
    /// The number of the server's turn that it was opened in.
    turn: u64,
}

/// Opens connections. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Supply {
    shared: Arc<Shared>,
}

struct Shared {
    sessions: Sessions,
    /// The suffix of channel names: nothing for the schema `public`.
    space: String,
    /// Connections belong to the main runtime, and not to a worker that ends before them.
    runtime: Handle,
    pools: Mutex<Pools>,
    /// The watch over the other instances.
    watch: OnceLock<Weak<Inner>>,
    refused: AtomicU64,
    last_refused: Mutex<Option<Instant>>,
    /// Openings under way that cannot be done without.
    urgent: AtomicUsize,
    /// Raised when the server turned out to take no writes.
    turn: AtomicU64,
    /// Whether the last append was answered.
    appends: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supply").finish_non_exhaustive()
    }
}

impl Supply {
    /// Opens by `sessions`; must be called on the main runtime.
    pub(super) fn new(sessions: Sessions, space: String) -> Self {
        let shared = Arc::new(Shared {
            sessions,
            space,
            runtime: Handle::current(),
            pools: Mutex::default(),
            watch: OnceLock::new(),
            refused: AtomicU64::new(0),
            last_refused: Mutex::new(None),
            urgent: AtomicUsize::new(0),
            turn: AtomicU64::new(0),
            appends: AtomicBool::new(true),
        });
        let weak = Arc::downgrade(&shared);
        shared.runtime.spawn(async move {
            loop {
                sleep(LOOK).await;
                let Some(shared) = weak.upgrade() else { return };
                Self { shared }.give_back(false).await;
            }
        });
        Self { shared }
    }

    pub(super) fn sessions(&self) -> &Sessions {
        &self.shared.sessions
    }

    pub(super) fn space(&self) -> &str {
        &self.shared.space
    }

    pub(super) fn add(&self, pool: Weak<Inner>) {
        self.pools().push(pool);
    }

    /// The pool by which the others are looked after.
    pub(super) fn watch_by(&self, pool: &Pool) {
        let _first_wins = self.shared.watch.set(pool.downgrade());
    }

    /// A connection for a pool; for what is to stay (`first`), as [`Supply::open_first`].
    pub(super) async fn open(&self, first: bool) -> Result<Opened, Error> {
        let sessions = &self.shared.sessions;
        if first { self.open_first(sessions).await } else { self.try_open(sessions).await }
    }

    /// A connection that an instance cannot do without. Until it is there, no pool grows, and what
    /// comes back to a pool is closed.
    pub(super) async fn open_first(&self, sessions: &Sessions) -> Result<Opened, Error> {
        let _urgent = self.urgent();
        let give_up = Instant::now() + FIRST;
        loop {
            match self.try_open(sessions).await {
                Err(error) if is_too_many(&error) && Instant::now() < give_up => sleep(AGAIN).await,
                outcome => return outcome,
            }
        }
    }

    /// As long as this lives, no pool grows.
    pub(super) fn urgent(&self) -> Urgent {
        self.shared.urgent.fetch_add(1, Ordering::AcqRel);
        Urgent(Arc::clone(&self.shared))
    }

    pub(super) fn is_urgent(&self) -> bool {
        self.shared.urgent.load(Ordering::Acquire) > 0
    }

    async fn try_open(&self, sessions: &Sessions) -> Result<Opened, Error> {
        match self.open_one(sessions).await {
            Err(error) if is_too_many(&error) => {
                if self.give_back(true).await {
                    self.open_one(sessions).await
                } else {
                    Err(error)
                }
            }
            outcome => outcome,
        }
    }

    async fn open_one(&self, sessions: &Sessions) -> Result<Opened, Error> {
        let turn = self.shared.turn.load(Ordering::Acquire);
        let sessions = sessions.clone();
        let opening = async move {
            let mut connection = sessions.connect().await?;
            let pid = sqlx::query_scalar("select pg_backend_pid()");
            let pid = pid.fetch_one(&mut connection).await?;
            Ok(Opened { connection, pid, since: Instant::now(), turn })
        };
        let opened = AbortOnDropHandle::new(self.shared.runtime.spawn(opening)).await;
        let opened = opened.unwrap_or(Err(Error::WorkerCrashed));
        if opened.as_ref().is_err_and(is_too_many) {
            self.shared.refused.fetch_add(1, Ordering::Relaxed);
            let mut last = self.shared.last_refused.lock();
            *last = Some(Instant::now());
        }
        opened
    }

    /// Closes idle connections of all pools: all that need not stay, or those idle for long;
    /// whether there were any.
    pub(super) async fn give_back(&self, all: bool) -> bool {
        let pools: Vec<Arc<Inner>> = {
            let mut pools = self.pools();
            pools.retain(|pool| pool.strong_count() > 0);
            pools.iter().filter_map(Weak::upgrade).collect()
        };
        let mut given = false;
        for connection in pools.iter().flat_map(|pool| pool.give_up_idle(all)) {
            given = true;
            // A polite goodbye is not worth failing for.
            let _ = connection.close().await;
        }
        given
    }

    /// Does something on the main runtime that nobody waits for.
    pub(super) fn aside(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.shared.runtime.spawn(work);
    }

    /// How often the server had no place.
    pub(super) fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Whether the server has no place for more, and appends are answered all the same.
    pub(super) fn is_full_and_works(&self) -> bool {
        let last = *self.shared.last_refused.lock();
        last.is_some_and(|at| at.elapsed() < RECENT) && self.shared.appends.load(Ordering::Relaxed)
    }

    /// Notes whether an append was answered.
    pub(super) fn appended(&self, answered: bool) {
        self.shared.appends.store(answered, Ordering::Relaxed);
    }

    /// The server takes no writes: what is connected to it goes, for the name may lead elsewhere by
    /// now.
    pub(super) fn turn(&self) {
        self.shared.turn.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn is_current(&self, opened: &Opened) -> bool {
        opened.turn == self.shared.turn.load(Ordering::Acquire)
    }

    /// Whether the server still works on the last call of a connection. One that waits for a
    /// standby is left alone, for what it says is stored; any other is ended.
    pub(super) async fn still_works_on(&self, pid: i32) -> bool {
        let Some(watch) = self.shared.watch.get().and_then(Weak::upgrade).map(Pool::of) else {
            return false;
        };
        let sql = "select count(case when wait_event is distinct from 'SyncRep' \
                     then pg_terminate_backend(pid) end) < count(*) from pg_stat_activity \
                   where pid = $1 and datname = current_database()";
        // If nobody can say, it does.
        sqlx::query_scalar(sql).bind(pid).fetch_one(&watch).await.unwrap_or(true)
    }

    fn pools(&self) -> MutexGuard<'_, Pools> {
        self.shared.pools.lock()
    }
}

/// An opening that cannot be done without is under way.
pub(super) struct Urgent(Arc<Shared>);

impl Drop for Urgent {
    fn drop(&mut self) {
        self.0.urgent.fetch_sub(1, Ordering::AcqRel);
    }
}

fn has_code(error: &Error, code: &str) -> bool {
    error.as_database_error().and_then(|e| e.code()).is_some_and(|found| found == code)
}

/// No place for another connection: of the server, the database or the role.
pub(super) fn is_too_many(error: &Error) -> bool {
    has_code(error, "53300")
}

/// The server is starting, or not yet there.
pub(super) fn is_starting(error: &Error) -> bool {
    let refused = |e: &std::io::Error| e.kind() == std::io::ErrorKind::ConnectionRefused;
    has_code(error, "57P03") || matches!(error, Error::Io(e) if refused(e))
}

/// The server takes no writes: it is a standby, or was made one.
pub(super) fn is_read_only(error: &Error) -> bool {
    has_code(error, "25006")
}
