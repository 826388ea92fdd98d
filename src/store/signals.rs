//! Hints between instances by `NOTIFY`: a channel for all, and one for each instance. One
//! connection listens and one sends, both apart from everything that appends or reads.
mod listener;
mod outbox;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::stream::BoxStream;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::postgres::PgLog;
use super::supply::Supply;
use crate::domain::id::InstanceId;
use crate::ports::{Outbox, Received, Signal, Signals, To, received};
use listener::Listener;

/// How the channels begin.
const ALL: &str = "lastword";
/// Postgres refuses 8000 bytes and more.
const PAYLOAD: usize = 7999;
/// Bytes of entries that a hint carries: a few tokens. More are read, all at once and for all.
const CARRIED: usize = 512;
/// Hints that a receiver may be behind; one that is further behind gets a gap.
const BEHIND: usize = 1024;

/// How often the listener's connection is proved, and how soon hints follow each other.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two notifications to oneself. One that is not back by the next says that the
    /// connection is dead: a black-holed one is noticed within twice this time.
    pub beat: Duration,
    /// Between two notifications of the outbox. `NOTIFY` holds a lock of the whole database at its
    /// commit; at 200 a second nothing of it could be measured.
    pub flush: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { beat: Duration::from_secs(5), flush: Duration::from_millis(5) }
    }
}

/// Hints on the log's database.
#[derive(Clone)]
pub struct PgSignals {
    shared: Arc<Shared>,
}

struct Shared {
    me: InstanceId,
    supply: Supply,
    pace: Pace,
    outbox: Outbox,
    heard: broadcast::Sender<Received>,
    /// Whether our own notifications come back.
    works: AtomicBool,
    /// Nothing more is to be sent.
    closing: CancellationToken,
    /// Cancelled when the waiting hints are sent.
    sent: CancellationToken,
}

impl PgSignals {
    /// For the instance `me`, beside `log`. Nothing happens until [`PgSignals::listen`] and
    /// [`PgSignals::deliver`] run.
    #[must_use]
    pub fn new(log: &PgLog, me: InstanceId, pace: Pace) -> Self {
        let shared = Shared {
            me,
            supply: log.supply.clone(),
            pace,
            outbox: Outbox::default(),
            heard: broadcast::Sender::new(BEHIND),
            works: AtomicBool::new(false),
            closing: CancellationToken::new(),
            sent: CancellationToken::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Listens until [`Signals::close`].
    pub fn listen(&self) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        async move {
            let listener = Listener { shared: &shared };
            shared.closing.run_until_cancelled(listener.run()).map(drop).await;
        }
    }

    /// Sends what is handed in until [`Signals::close`].
    pub fn deliver(&self) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        async move {
            outbox::deliver(&shared).await;
            shared.sent.cancel();
        }
    }
}

/// The channel of one instance, or of all: of the deployment in one schema, which `space` tells
/// apart.
fn channel(space: &str, to: To) -> String {
    match to {
        To::All => format!("{ALL}{space}"),
        // An identifier has at most 63 bytes: these are 50.
        To::One(instance) => format!("{ALL}{space}_{}", instance.0.simple()),
    }
}

#[async_trait]
impl Signals for PgSignals {
    fn send(&self, to: To, signal: Signal) {
        self.shared.outbox.put(to, signal);
    }

    fn receive(&self) -> BoxStream<'static, Received> {
        received(self.shared.heard.subscribe())
    }

    fn work(&self) -> bool {
        self.shared.works.load(Ordering::Relaxed)
    }

    fn room(&self) -> usize {
        CARRIED
    }

    async fn run(self: Arc<Self>) {
        tokio::join!(self.listen(), self.deliver());
    }

    async fn close(&self) {
        /// A database that is away must not hold the stop up for hints.
        const LAST: Duration = Duration::from_secs(1);
        self.shared.closing.cancel();
        let _ = tokio::time::timeout(LAST, self.shared.sent.cancelled()).await;
    }
}
