//! The figures of one kind in one round.

/// What PostgreSQL did for each event, and how long readers waited.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round {
    /// CPU of PostgreSQL per event; microseconds.
    pub(super) cpu_us: f64,
    /// Statements per event, of all instances.
    pub(super) statements: f64,
    /// Of them, those of instances that run nothing; not a number where all run something.
    pub(super) following: f64,
    /// Statements per second of each instance that runs nothing.
    pub(super) follower_per_s: f64,
    /// Connections of all instances.
    pub(super) connections: f64,
    /// From making to reading, on the instance that runs it; milliseconds.
    pub(super) near_p50_ms: f64,
    pub(super) near_p99_ms: f64,
    /// The same on the others; not a number without others.
    pub(super) far_p50_ms: f64,
    pub(super) far_p99_ms: f64,
    /// Events that were made, per second.
    pub(super) per_s: f64,
    /// Streams that broke off or came short.
    pub(super) broken: usize,
}

type Measure = fn(&Round) -> f64;

/// The rows of the table for each kind.
pub(super) const MEASURES: [(&str, &str, Measure); 10] = [
    ("PostgreSQL's CPU per event", "us", |r| r.cpu_us),
    ("statements per event", "", |r| r.statements),
    ("followers' statements per event", "", |r| r.following),
    ("statements of each follower", "/s", |r| r.follower_per_s),
    ("connections", "", |r| r.connections),
    ("wait on the owner, p50", "ms", |r| r.near_p50_ms),
    ("wait on the owner, p99", "ms", |r| r.near_p99_ms),
    ("wait elsewhere, p50", "ms", |r| r.far_p50_ms),
    ("wait elsewhere, p99", "ms", |r| r.far_p99_ms),
    ("events made", "/s", |r| r.per_s),
];

impl Round {
    /// A line of progress.
    pub(super) fn said(&self) -> String {
        format!(
            "{:.1} us, {:.3} statements, followers {:.4}; {:.0} connections; \
             {:.2} / {:.2} ms on the owner, {:.2} / {:.2} ms elsewhere; {:.0}/s, {} broken",
            self.cpu_us,
            self.statements,
            self.following,
            self.connections,
            self.near_p50_ms,
            self.near_p99_ms,
            self.far_p50_ms,
            self.far_p99_ms,
            self.per_s,
            self.broken,
        )
    }
}
