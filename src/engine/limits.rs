//! Every limit of the engine, with its unit and its reason.
use std::time::Duration;

/// What a generation, a reader and a process may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A prompt's text, in bytes.
    pub prompt_bytes: usize,
    /// A generation's time from its start in this process: no generation runs for ever.
    pub generation_wall: Duration,
    /// A generation's answer, in bytes.
    pub output_bytes: usize,
    /// Generations that run at a time in this process.
    pub running: usize,
    /// Generations that wait for a place; more are refused with 503.
    pub waiting: usize,
    /// How long a cancel waits for the truth before it answers 202.
    pub cancel_wait: Duration,
    /// How long a generation is kept while the log cannot be written; after that its upstream is
    /// closed, and it ends `interrupted` when the log is back.
    pub write_outage: Duration,
    /// How long a reader is kept while the log cannot be read; after that its stream ends, so that
    /// it reconnects, maybe elsewhere.
    pub read_outage: Duration,
    /// Silence after which a reader gets a sign of life.
    pub heartbeat: Duration,
    /// How often a reader of a generation that runs elsewhere looks at the log.
    pub poll: Duration,
    /// How long an instance owns its generations without a sign of life.
    pub lease: Duration,
    /// Days that events are kept.
    pub retention_days: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            prompt_bytes: 262_144,
            generation_wall: Duration::from_secs(1800),
            output_bytes: 4_194_304,
            running: 4096,
            waiting: 1024,
            cancel_wait: Duration::from_secs(10),
            write_outage: Duration::from_secs(60),
            read_outage: Duration::from_secs(60),
            heartbeat: Duration::from_secs(15),
            poll: Duration::from_millis(250),
            lease: Duration::from_secs(10),
            retention_days: 7,
        }
    }
}
