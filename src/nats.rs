//! Hints between instances by NATS, in place of `NOTIFY`: a subject for all, and one for each
//! instance. Entries travel in them as their owner commits them, so that following a generation
//! that runs elsewhere costs the database nothing.
//!
//! Nothing depends on it but how soon something happens: what is lost, late or doubled is found in
//! the log.
mod access;
mod carrier;
mod options;
mod seal;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::ServerAddr;
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use tokio::sync::broadcast;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::domain::id::InstanceId;
use crate::domain::key::SigningKey;
use crate::ports::{Outbox, Received, Signal, Signals, To, received};
pub use options::{NatsError, NatsOptions};
use seal::Seal;

/// Hints that a receiver may be behind; one that is further behind gets a gap.
const BEHIND: usize = 4096;
/// Bytes of entries that a hint carries, at most: some hundred tokens, or one large event.
const CARRIED: usize = 64 * 1024;

/// How often the connection is proved.
#[derive(Clone, Copy, Debug)]
pub struct NatsPace {
    /// Between two messages to oneself. One that is not back by the next says that hints do not
    /// arrive.
    pub beat: Duration,
}

impl Default for NatsPace {
    fn default() -> Self {
        Self { beat: Duration::from_secs(5) }
    }
}

/// Hints by NATS.
#[derive(Clone)]
pub struct NatsSignals {
    shared: Arc<Carrier>,
}

struct Carrier {
    me: InstanceId,
    options: NatsOptions,
    servers: Vec<ServerAddr>,
    /// The beginning of all subjects of this deployment.
    prefix: String,
    seal: Seal,
    pace: NatsPace,
    outbox: Outbox,
    heard: broadcast::Sender<Received>,
    /// Whether there is a connection.
    connected: watch::Sender<bool>,
    /// Whether our own messages come back.
    works: AtomicBool,
    /// Bytes of entries that a hint may carry, as the server allows.
    room: AtomicUsize,
    /// Whether somebody was told that there are forged messages.
    forged: AtomicBool,
    /// Nothing more is to be sent.
    closing: CancellationToken,
    /// Cancelled when the waiting hints are sent.
    sent: CancellationToken,
}

impl NatsSignals {
    /// For the instance `me` on the database with this key. Nothing happens until [`Signals::run`].
    ///
    /// # Errors
    /// The options make no sense. A server that is away is no error.
    pub fn new(
        options: NatsOptions,
        key: &SigningKey,
        me: InstanceId,
        pace: NatsPace,
    ) -> Result<Self, NatsError> {
        let seal = Seal::new(key);
        let servers = options.servers()?;
        let prefix = options.prefix(&seal.deployment())?;
        // Said now rather than by a task.
        options.connection(pace.beat)?;
        let shared = Carrier {
            me,
            options,
            servers,
            prefix,
            seal,
            pace,
            outbox: Outbox::default(),
            heard: broadcast::Sender::new(BEHIND),
            connected: watch::Sender::new(false),
            works: AtomicBool::new(false),
            room: AtomicUsize::new(CARRIED),
            forged: AtomicBool::new(false),
            closing: CancellationToken::new(),
            sent: CancellationToken::new(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Where it connects to, without names and passwords.
    #[must_use]
    pub fn describe(&self) -> String {
        let servers = self.shared.servers.iter();
        let hosts: Vec<String> =
            servers.map(|server| format!("{}:{}", server.host(), server.port())).collect();
        format!("NATS at {}", hosts.join(", "))
    }

    /// The subject of one instance, or of all.
    #[must_use]
    pub fn subject(&self, to: To) -> String {
        self.shared.subject(to)
    }
}

impl Carrier {
    fn subject(&self, to: To) -> String {
        match to {
            To::All => format!("{}.all", self.prefix),
            To::One(instance) => format!("{}.{}", self.prefix, instance.0.simple()),
        }
    }
}

#[async_trait]
impl Signals for NatsSignals {
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
        self.shared.room.load(Ordering::Relaxed)
    }

    async fn run(self: Arc<Self>) {
        Arc::clone(&self.shared).carry().await;
        self.shared.sent.cancel();
    }

    async fn close(&self) {
        /// A server that is away must not hold the stop up for hints.
        const LAST: Duration = Duration::from_secs(1);
        self.shared.closing.cancel();
        let _ = tokio::time::timeout(LAST, self.shared.sent.cancelled()).await;
    }
}
