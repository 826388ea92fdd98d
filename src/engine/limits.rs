//! Every limit of the engine, with its unit and its reason.
use std::time::Duration;

use super::run::spans::Export;

/// The limits of generations, readers and processes.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A prompt's text, in bytes: a window of a million tokens by default.
    pub prompt_bytes: usize,
    /// A prompt's pictures as they are written in it (`data:` URLs), in bytes.
    pub media_bytes: usize,
    /// Request bodies that have arrived and are not yet parsed, of all connections, in bytes.
    pub bodies_bytes: usize,
    /// The context of a conversation that a model gets, in bytes of text; its generation stores it.
    pub context_bytes: usize,
    /// A generation's time from its start in this process: no generation runs for ever.
    pub generation_wall: Duration,
    /// A generation's answer, in bytes of text.
    pub output_bytes: usize,
    /// Pictures, sounds and fields that an upstream sends beside an answer's text, in bytes.
    pub extras_bytes: usize,
    /// Generations that run at a time in this process.
    pub running: usize,
    /// Generations that wait for a place; more are refused with 503.
    pub waiting: usize,
    /// How long a cancel waits for the truth before it answers 202.
    pub cancel_wait: Duration,
    /// How long a generation waits while the log cannot be written. After that its upstream is
    /// closed, and it ends `interrupted` when the log is back.
    pub write_outage: Duration,
    /// How long a reader is kept while the log cannot be read; after that its stream ends, so that
    /// it reconnects, maybe elsewhere.
    pub read_outage: Duration,
    /// Silence after which a reader gets a sign of life.
    pub heartbeat: Duration,
    /// Open connections of this process; each is a file, and at rest a few KiB.
    pub connections: usize,
    /// How long a connection may wait for its next request: longer than a proxy keeps it idle.
    pub idle: Duration,
    /// How long a stream or a socket may last, give or take a tenth; its client comes back. So that
    /// load spreads over new instances, and nothing that was once allowed is allowed for ever.
    pub connection_age: Duration,
    /// How often the log is looked at for readers of generations that run elsewhere.
    pub poll: Duration,
    /// The same while hints between instances arrive: only a lost one is found by it.
    pub poll_with_hints: Duration,
    /// How long an instance owns its generations without a sign of life.
    pub lease: Duration,
    /// Days that events are kept.
    pub retention_days: u32,
    /// Days that prompts and answers are kept; `None` keeps them until a client erases them.
    pub prompt_retention_days: Option<u32>,
    /// How long a client may take nothing of what is sent to it.
    pub stuck: Duration,
    /// The limits of one WebSocket.
    pub socket: SocketLimits,
    /// The exporter that hears of each generation's end; no limit, but as free to choose.
    pub spans: Option<Export>,
}

/// The limits of one WebSocket.
#[derive(Clone, Copy, Debug)]
pub struct SocketLimits {
    /// A message of a client, in bytes: a prompt and what is around it.
    pub frame_bytes: usize,
    /// Generations that one socket follows at a time.
    pub subscriptions: usize,
    /// Conversations that one socket is in at a time.
    pub joins: usize,
    /// Frames that a client may send in the long run; ten times as many at once.
    pub frames_per_s: u32,
    /// Malformed frames in a minute that end it: a client that sends them is broken.
    pub mistakes_per_minute: u32,
    /// How long a client without credentials may take to say who it is.
    pub hello: Duration,
    /// How often a client is asked whether it is still there.
    pub ping: Duration,
}

impl Default for SocketLimits {
    fn default() -> Self {
        Self {
            frame_bytes: 262_144,
            subscriptions: 256,
            joins: 64,
            frames_per_s: 100,
            mistakes_per_minute: 10,
            hello: Duration::from_secs(5),
            ping: Duration::from_secs(20),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            prompt_bytes: 8 << 20,
            media_bytes: 32 << 20,
            bodies_bytes: 256 << 20,
            context_bytes: 4 << 20,
            generation_wall: Duration::from_secs(1800),
            output_bytes: 4_194_304,
            extras_bytes: 32 << 20,
            running: 4096,
            waiting: 1024,
            cancel_wait: Duration::from_secs(10),
            write_outage: Duration::from_secs(60),
            read_outage: Duration::from_secs(60),
            heartbeat: Duration::from_secs(15),
            connections: 15_000,
            idle: Duration::from_secs(75),
            connection_age: Duration::from_secs(3600),
            poll: Duration::from_millis(250),
            poll_with_hints: Duration::from_secs(2),
            lease: Duration::from_secs(10),
            retention_days: 7,
            prompt_retention_days: None,
            stuck: Duration::from_secs(30),
            socket: SocketLimits::default(),
            spans: None,
        }
    }
}
