//! Connections of one kind: few, opened when they are needed, given back when they are not.
//!
//! A place is one connection. A caller that leaves a call half-way keeps its place taken until the
//! server is done with that call. A server that hangs is thus not asked by ever more connections.
mod executor;
mod held;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use sqlx::{Connection, PgConnection};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::supply::{Opened, Supply, is_starting, is_too_many};
pub(super) use held::{Held, Transaction};

/// How long a request waits for a connection: longer, and its client gives up first.
const ACQUIRE: Duration = Duration::from_secs(3);
/// A recently used connection is not tested first: a test would double the time of most queries.
/// Queries that lose their connection to a restart are tried again.
const UNTESTED: Duration = Duration::from_millis(500);
/// How long an answer to that question may take.
const TEST: Duration = Duration::from_secs(1);
/// An idle connection goes back to the server after this time: others may need its place.
const IDLE: Duration = Duration::from_secs(5);
/// A connection that is older is replaced: a server process grows with what it has seen.
const OLD: Duration = Duration::from_secs(30 * 60);
/// Between two tries to open a connection that was refused.
const AGAIN: Duration = Duration::from_millis(100);
/// After this time a call that was left half-way is looked for in the server.
const SETTLE: Duration = Duration::from_secs(30);

/// Connections of one kind. Cheap to clone.
#[derive(Clone)]
pub(super) struct Pool {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    name: &'static str,
    /// Connections that stay, however idle.
    keep: usize,
    supply: Supply,
    /// One permit for each connection that may be at work.
    places: Arc<Semaphore>,
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Default)]
struct State {
    idle: VecDeque<Idle>,
    /// Connections there are, idle or at work.
    open: usize,
    /// Connections there may be.
    most: usize,
    /// Permits to be taken away as soon as they come back.
    excess: usize,
    closed: bool,
}

struct Idle {
    opened: Opened,
    since: Instant,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

/// Connections of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) idle: usize,
    pub(super) busy: usize,
    /// Those that may still be opened.
    pub(super) free: usize,
}

impl Pool {
    /// At most `most` connections, of which `keep` stay when nobody needs them.
    pub(super) fn new(name: &'static str, keep: usize, most: usize, supply: &Supply) -> Self {
        let inner = Arc::new(Inner {
            name,
            keep,
            supply: supply.clone(),
            places: Arc::new(Semaphore::new(most)),
            state: Mutex::new(State { most, ..State::default() }),
            freed: Notify::new(),
        });
        supply.add(Arc::downgrade(&inner));
        Self { inner }
    }

    pub(super) fn of(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    pub(super) fn downgrade(&self) -> Weak<Inner> {
        Arc::downgrade(&self.inner)
    }

    pub(super) fn name(&self) -> &'static str {
        self.inner.name
    }

    pub(super) fn count(&self) -> Count {
        let state = self.inner.state();
        let (idle, open) = (state.idle.len(), state.open);
        Count { idle, busy: open - idle.min(open), free: state.most.saturating_sub(open) }
    }

    /// Changes how many there may be; what is too many goes when it is idle.
    pub(super) fn resize(&self, most: usize) {
        let mut state = self.inner.state();
        if most >= state.most {
            let mut more = most - state.most;
            let forgiven = more.min(state.excess);
            state.excess -= forgiven;
            more -= forgiven;
            self.inner.places.add_permits(more);
        } else {
            let fewer = state.most - most;
            state.excess += fewer - self.inner.places.forget_permits(fewer);
        }
        state.most = most;
    }

    /// Opens what is to stay, before anything else may grow.
    pub(super) async fn fill(&self) -> Result<(), sqlx::Error> {
        let missing = self.inner.keep.saturating_sub(self.inner.state().open);
        let mut held = Vec::with_capacity(missing);
        for _ in 0..missing {
            held.push(self.acquire().await?);
        }
        held.into_iter().for_each(Held::clean);
        Ok(())
    }

    /// A connection: an idle one, a new one, or the next that is given back.
    pub(super) async fn acquire(&self) -> Result<Held, sqlx::Error> {
        let give_up = Instant::now() + ACQUIRE;
        let place = timeout_at(give_up, Arc::clone(&self.inner.places).acquire_owned()).await;
        let place = place.map_err(|_| sqlx::Error::PoolTimedOut)?;
        let place = place.map_err(|_| sqlx::Error::PoolClosed)?;
        loop {
            if let Some(opened) = self.idle().await {
                return Ok(Held::new(
                    opened,
                    PoolPermit { pool: self.clone(), permit: Some(place) },
                ));
            }
            let why = match self.open(give_up).await {
                Err(sqlx::Error::PoolTimedOut) if Instant::now() < give_up => {
                    sqlx::Error::PoolTimedOut
                }
                Ok(opened) => {
                    return Ok(Held::new(
                        opened,
                        PoolPermit { pool: self.clone(), permit: Some(place) },
                    ));
                }
                Err(error) if is_too_many(&error) || is_starting(&error) => error,
                Err(error) => return Err(error),
            };
            let waited = async {
                tokio::select! {
                    () = self.inner.freed.notified() => {}
                    () = sleep(AGAIN) => {}
                }
            };
            if timeout_at(give_up, waited).await.is_err() {
                return Err(why);
            }
        }
    }

    /// A connection that is idle and works.
    async fn idle(&self) -> Option<Opened> {
        loop {
            let Idle { mut opened, since } = self.inner.state().idle.pop_back()?;
            if !self.inner.is_good(&opened) {
                self.inner.gone();
                let _goodbye = opened.connection.close().await;
                continue;
            }
            if since.elapsed() < UNTESTED {
                return Some(opened);
            }
            match timeout(TEST, opened.connection.ping()).await {
                Ok(Ok(())) => return Some(opened),
                Ok(Err(_)) | Err(_) => self.inner.gone(),
            }
        }
    }

    /// A new connection; its place is taken from the first moment on.
    async fn open(&self, give_up: Instant) -> Result<Opened, sqlx::Error> {
        let first = {
            let mut state = self.inner.state();
            let first = state.open < self.inner.keep;
            if !first && self.inner.supply.is_urgent() {
                return Err(sqlx::Error::PoolTimedOut);
            }
            state.open += 1;
            first
        };
        let counted = Counted(&self.inner);
        let opened = timeout_at(give_up, self.inner.supply.open(first)).await;
        let opened = opened.map_err(|_| sqlx::Error::PoolTimedOut)??;
        std::mem::forget(counted);
        Ok(opened)
    }

    /// Ends all connections; those at work when they come back.
    pub(super) async fn close(&self) {
        let idle = {
            let mut state = self.inner.state();
            state.closed = true;
            std::mem::take(&mut state.idle)
        };
        for Idle { opened, .. } in idle {
            self.inner.gone();
            let _goodbye = opened.connection.close().await;
        }
        let most = u32::try_from(self.inner.state().most).unwrap_or(u32::MAX);
        let _all_are_back = self.inner.places.acquire_many(most).await;
        self.inner.places.close();
    }
}

/// Counts down a connection that did not come to be.
struct Counted<'a>(&'a Inner);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.gone();
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn gone(&self) {
        self.state().open -= 1;
    }

    /// Whether a connection may be used again.
    fn is_good(&self, opened: &Opened) -> bool {
        let state = self.state();
        let wanted = self.supply.is_urgent() && state.open > self.keep;
        let fits = state.open <= state.most && !state.closed && !wanted;
        fits && self.supply.is_current(opened) && opened.since.elapsed() < OLD
    }

    /// Idle connections for the caller to close: all that are not needed, or only those that have
    /// been idle for long.
    pub(super) fn give_up_idle(&self, all: bool) -> Vec<PgConnection> {
        let mut state = self.state();
        let mut given = Vec::new();
        while state.open > self.keep.min(state.most) || state.closed {
            match state.idle.front() {
                Some(oldest) if all || oldest.since.elapsed() >= IDLE => {}
                Some(_) | None => break,
            }
            let Some(idle) = state.idle.pop_front() else { break };
            state.open -= 1;
            given.push(idle.opened.connection);
        }
        given
    }
}

/// A place at work. It is free when this is dropped.
struct PoolPermit {
    pool: Pool,
    permit: Option<OwnedSemaphorePermit>,
}

impl PoolPermit {
    /// Gives a connection back that is in order.
    fn put(self, mut opened: Opened) {
        // A call with a value of megabytes leaves buffers of its size.
        opened.connection.shrink_buffers();
        let inner = &self.pool.inner;
        if inner.is_good(&opened) {
            inner.state().idle.push_back(Idle { opened, since: Instant::now() });
        } else {
            inner.gone();
            let goodbye = opened.connection.close();
            inner.supply.aside(async { drop(goodbye.await) });
        }
    }
}

impl Drop for PoolPermit {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            let mut state = self.pool.inner.state();
            if state.excess > 0 {
                state.excess -= 1;
                permit.forget();
            }
        }
        self.pool.inner.freed.notify_one();
    }
}

/// The pools of a process, for whoever takes from them.
pub(super) type Pools = Vec<Weak<Inner>>;
