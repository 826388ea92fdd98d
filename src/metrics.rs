//! The metrics, each by its name, in one place.
//!
//! Prometheus' rules for names: base units (seconds, bytes), `_total` for what only grows.
mod latency_histogram;
mod register;

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use strum::IntoEnumIterator as _;

use latency_histogram::LatencyHistogram;
pub use latency_histogram::{Counts, quantile};

use crate::domain::event::{ErrorCode, SnapshotReason, Status};

/// From a commit on a fast disk to an outage.
const WAITS: [f64; 14] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];
/// From a model on this machine to one that thinks for a minute.
const MODEL_WAITS: [f64; 12] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];
/// Events of one commit.
const BATCHES: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// One label with its value.
type Label = [(&'static str, &'static str); 1];
/// Two labels with their values.
type Labels = [(&'static str, &'static str); 2];

/// How events reach a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Server-sent events.
    Sse,
    /// A WebSocket.
    WebSocket,
}

impl Transport {
    fn as_str(self) -> &'static str {
        match self {
            Self::Sse => "sse",
            Self::WebSocket => "websocket",
        }
    }
}

/// Everything that one process counts.
pub struct Metrics {
    registry: Registry,
    /// Readers of answers to requests that were cut before the end, once that is noted.
    pub readers_cut: Counter,
    /// Repeated requests that took an earlier answer over.
    pub attached: Counter,
    /// Generations that were started or taken over here.
    pub started: Counter,
    ended: Family<Label, Counter>,
    /// Generations that run or wait here.
    pub running: Gauge,
    streams: Family<Labels, Gauge>,
    /// WebSocket connections that are open.
    pub sockets: Gauge,
    /// Events that became durable.
    pub appended: Counter,
    delivered_sse: Counter,
    delivered_websocket: Counter,
    commit: Histogram,
    batch: Histogram,
    lag: LatencyHistogram,
    /// Open streams of all kinds.
    readers: Gauge,
    first_token: Histogram,
    token_gap: LatencyHistogram,
    upstream_errors: Family<Label, Counter>,
    /// Generations taken over from a dead owner, or taken up after a restart.
    pub takeovers: Counter,
    /// Writers that were stopped because another owner writes.
    pub fenced: Counter,
    /// Calls to the log that were answered by nobody.
    pub log_outages: Counter,
    /// Rounds in which the journal could not be folded.
    pub fold_failures: Counter,
    /// Events found under a seq that another event of their generation has.
    pub doubled: Counter,
    /// Times that the listener of hints had to be made anew.
    pub listener_rebuilds: Counter,
    /// Times that a stored row could not be read.
    pub unreadable: Counter,
    snapshots: Family<Label, Counter>,
    /// Readers that were cut because they took nothing for too long.
    pub slow_cut: Counter,
    /// Connections to Postgres, by pool and state.
    pub pool: Family<Labels, Gauge>,
    /// Connections that Postgres had no place for.
    pub refused: Counter,
    /// Seconds that the oldest commit has waited for a standby.
    pub unacknowledged: Gauge<f64, AtomicU64>,
    /// Seconds that the transaction is open that keeps most from being cleaned up.
    pub oldest_transaction: Gauge<f64, AtomicU64>,
    /// Bytes of all event tables with their indexes.
    pub log_bytes: Gauge,
    /// Bytes of events that have no table for their day.
    pub unsorted_bytes: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("lastword"),
            readers_cut: Counter::default(),
            attached: Counter::default(),
            started: Counter::default(),
            ended: Family::default(),
            running: Gauge::default(),
            streams: Family::default(),
            sockets: Gauge::default(),
            appended: Counter::default(),
            delivered_sse: Counter::default(),
            delivered_websocket: Counter::default(),
            commit: Histogram::new(WAITS),
            batch: Histogram::new(BATCHES),
            lag: LatencyHistogram::default(),
            readers: Gauge::default(),
            first_token: Histogram::new(MODEL_WAITS),
            token_gap: LatencyHistogram::default(),
            upstream_errors: Family::default(),
            takeovers: Counter::default(),
            fenced: Counter::default(),
            log_outages: Counter::default(),
            fold_failures: Counter::default(),
            doubled: Counter::default(),
            listener_rebuilds: Counter::default(),
            unreadable: Counter::default(),
            snapshots: Family::default(),
            slow_cut: Counter::default(),
            pool: Family::default(),
            refused: Counter::default(),
            unacknowledged: Gauge::default(),
            oldest_transaction: Gauge::default(),
            log_bytes: Gauge::default(),
            unsorted_bytes: Gauge::default(),
        };
        metrics.register_generations();
        metrics.register_readers();
        metrics.register_log();
        metrics.register_database();
        metrics.begin_at_zero();
        metrics
    }
}

impl Metrics {
    /// Counters begin at zero, so that a rate of the first time is right.
    fn begin_at_zero(&self) {
        Status::iter().filter(|s| s.is_ended()).for_each(|s| drop(self.ending(s)));
        ErrorCode::iter().for_each(|code| drop(self.loss(code)));
        SnapshotReason::iter().for_each(|reason| drop(self.snapshot(reason)));
        drop(self.open_streams(Transport::Sse, "native"));
        drop(self.open_streams(Transport::WebSocket, "native"));
    }

    /// Generations that ended here with this status.
    #[must_use]
    pub fn ending(&self, status: Status) -> Counter {
        self.ended.get_or_create_owned(&[("status", status.as_str())])
    }

    /// Attempts that were lost with this code.
    #[must_use]
    pub fn loss(&self, code: ErrorCode) -> Counter {
        self.upstream_errors.get_or_create_owned(&[("code", code.as_str())])
    }

    /// Snapshots served in place of events for this reason.
    #[must_use]
    pub fn snapshot(&self, reason: SnapshotReason) -> Counter {
        self.snapshots.get_or_create_owned(&[("reason", reason.as_str())])
    }

    /// A group commit of `events` took `time`.
    pub fn committed(&self, events: usize, time: Duration) {
        self.appended.inc_by(events as u64);
        #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
        self.batch.observe(events as f64);
        self.commit.observe(time.as_secs_f64());
    }

    /// `events` were handed to a reader.
    pub fn handed_out(&self, transport: Transport, events: usize) {
        match transport {
            Transport::Sse => self.delivered_sse.inc_by(events as u64),
            Transport::WebSocket => self.delivered_websocket.inc_by(events as u64),
        };
    }

    /// An event that a live reader gets became durable `lag` ago.
    pub fn lag(&self, lag: Duration) {
        self.lag.observe(lag);
    }

    /// A generation's first content came so long after it was accepted.
    pub fn first_token(&self, after: Duration) {
        self.first_token.observe(after.as_secs_f64());
    }

    /// Content came so long after the content before it.
    pub fn token_gap(&self, gap: Duration) {
        self.token_gap.observe(gap);
    }

    /// The gauge of open streams of one kind.
    #[must_use]
    pub fn open_streams(&self, transport: Transport, dialect: &'static str) -> Gauge {
        self.streams.get_or_create_owned(&[("transport", transport.as_str()), ("dialect", dialect)])
    }

    /// Counts one more stream of this kind for as long as what it returns lives.
    #[must_use]
    pub fn reading(&self, transport: Transport, dialect: &'static str) -> Counted {
        let gauges = [self.open_streams(transport, dialect), self.readers.clone()];
        for gauge in &gauges {
            gauge.inc();
        }
        Counted(gauges.into())
    }

    /// Open streams of all kinds.
    #[must_use]
    pub fn readers(&self) -> i64 {
        self.readers.get()
    }

    /// Events handed to readers, whatever their transport.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered_sse.get() + self.delivered_websocket.get()
    }

    /// How many deliveries took how long, since the start.
    #[must_use]
    pub fn lags(&self) -> Counts {
        self.lag.counts()
    }

    /// The Prometheus text exposition.
    #[must_use]
    pub fn exposition(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(fmt::Error) => String::new(),
        }
    }
}

/// Holds gauges up by one for as long as it lives.
#[derive(Debug)]
pub struct Counted(Box<[Gauge]>);

impl Counted {
    /// Counts one more until it is dropped.
    #[must_use]
    pub fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self([gauge].into())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        for gauge in &self.0 {
            gauge.dec();
        }
    }
}
