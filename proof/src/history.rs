//! The observations of a server: the whole input of the checks. It is written to a file as JSON and
//! can be judged again without the server.
use serde::{Deserialize, Serialize};

mod reading;

pub use reading::text;

/// The version of the file's format.
pub const FORMAT: u32 = 3;

/// The raw bytes of an ending without an event: the body ended by HTTP's rules.
pub const SILENT_END: &str = "the end of the body";

/// All observations of one test of one server.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct History {
    /// [`FORMAT`].
    pub format: u32,
    /// The name of the protocol, as `--protocol` has it.
    pub protocol: String,
    /// The base URLs.
    pub targets: Vec<String>,
    /// Decides where streams are cut.
    pub seed: u64,
    /// When the test began, as RFC 3339.
    pub begun_at: String,
    /// How long after a cancel the upstream may stay open, in milliseconds.
    pub cancel_within_ms: u64,
    /// Checks that count as failed where they are not offered.
    pub expected: Vec<String>,
    /// In their order.
    pub runs: Vec<Run>,
    /// The memory of idle readers, where the server's process is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
}

/// The resident memory of the server's process, in KiB.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Memory {
    /// How many readers waited for one stream.
    pub readers: u32,
    /// Before they came.
    pub before: u64,
    /// While they waited.
    pub with: u64,
}

/// The treatment of one stream by one scenario.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scenario {
    /// One reader, from the beginning to the end.
    Whole,
    /// A client that goes away several times and resumes.
    Cut,
    /// Resumed after the end: from the beginning, from the middle, from the last event.
    AfterEnd,
    /// Resumed some time after the end.
    Later,
    /// Resumed with a cursor that never was.
    Impossible,
    /// Two readers of one stream at a time.
    TwoReaders,
    /// One reader that reads slowly beside one that does not.
    Slow,
    /// Cancelled by the protocol's own means, or by going away where there is none.
    Cancel,
    /// The same request twice with the same idempotency key.
    Retry,
    /// The server is killed and started again.
    Kill,
    /// The upstream's connection is reset in the middle of the answer.
    UpstreamReset,
    /// The upstream's answer ends in the middle, but its body ends well.
    UpstreamTruncated,
    /// The upstream is not there, and comes back.
    UpstreamBack,
    /// Each connection goes to the next target.
    RoundRobin,
    /// Many readers of a stream that says next to nothing.
    Idle,
    /// Recorded by another program, which chose its own faults.
    Watched,
}

/// One stream, and its treatment.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Run {
    /// The scenario of the run.
    pub scenario: Scenario,
    /// Counts the runs of a scenario, from 0.
    pub n: u32,
    /// The whole answer, where it is known.
    pub expected: Option<String>,
    /// Output tokens of the whole answer, where they are known.
    #[serde(default)]
    pub tokens: Option<u64>,
    /// The protocol has a resume in this run.
    pub resumable: bool,
    /// A resume says everything again from the beginning.
    pub replays: bool,
    /// The protocol has a cancel.
    pub cancellable: bool,
    /// Cursors are numbers that go up by one.
    #[serde(default)]
    pub numbered: bool,
    /// The server's store was set back meanwhile: readers may be told to forget.
    #[serde(default)]
    pub restored: bool,
    /// When the slow reader did not read: microseconds since the program's start. It went on when
    /// the fast one was done.
    #[serde(default)]
    pub paused_us: Option<(u64, u64)>,
    /// How long the stream was over when it was read again, in milliseconds.
    #[serde(default)]
    pub age_ms: Option<u64>,
    /// Readers, each with its connections.
    pub readers: Vec<Reader>,
    /// A reader from the beginning, after all the others.
    pub replay: Option<Connection>,
    /// The answers to all starts with one idempotency key.
    #[serde(default)]
    pub starts: Vec<Start>,
    /// The server's descriptions of the stream when it was asked, in this order.
    #[serde(default)]
    pub views: Vec<View>,
    /// The cancel, if there was one.
    pub cancel: Option<Cancelled>,
    /// The observations of the scripted upstream.
    pub upstream: Option<UpstreamSaw>,
    /// How often the server was killed.
    pub kills: u32,
    /// The obstacle that kept the scenario from being done, if there was one.
    pub problem: Option<String>,
}

impl Run {
    /// A run without any observation yet.
    #[must_use]
    pub fn new(scenario: Scenario, n: u32) -> Self {
        Self {
            scenario,
            n,
            expected: None,
            tokens: None,
            resumable: false,
            replays: false,
            cancellable: false,
            numbered: false,
            restored: false,
            paused_us: None,
            age_ms: None,
            readers: Vec::new(),
            replay: None,
            starts: Vec::new(),
            views: Vec::new(),
            cancel: None,
            upstream: None,
            kills: 0,
            problem: None,
        }
    }
}

/// The answer to a start.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Start {
    /// The stream's id.
    pub id: String,
    /// The server says that it attached this start to an earlier one.
    pub replayed: bool,
}

/// The server's description of a stream, on request or as a cancel's receipt.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct View {
    /// A receipt of a cancel.
    #[serde(default)]
    pub receipt: bool,
    /// How the stream ended; none while it goes on.
    pub ending: Option<Ending>,
    /// The text so far.
    pub text: Option<String>,
    /// The cursor behind the last event that it covers.
    pub place: Option<String>,
    /// Output tokens, where it says them.
    pub used: Option<u64>,
    /// All of it: once a stream has ended, it stays the same.
    pub raw: String,
}

/// One reader's connections, in their order.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Reader {
    /// Its purpose.
    pub name: String,
    /// In their order.
    pub connections: Vec<Connection>,
}

/// One connection: its request, its answer's status, and its events.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Connection {
    /// The place of its server in [`History::targets`].
    pub target: usize,
    /// The cursor that it resumed from; none from the beginning.
    pub cursor: Option<String>,
    /// The answer's HTTP status; 0 without an answer.
    pub status: u16,
    /// The stream's id, as the protocol has it.
    pub id: Option<String>,
    /// The server says itself that it attached this start to an earlier one.
    pub replayed: bool,
    /// In the order in which they came.
    pub events: Vec<Event>,
    /// How it ended.
    pub closed: Closed,
    /// The answer in place of a stream: an error's first words, or the body's type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
    /// From the request to the first byte of the body, in milliseconds.
    pub first_ms: Option<u64>,
    /// From the request to the end of the body, in milliseconds.
    pub took_ms: u64,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Closed {
    /// The body was complete by HTTP's rules.
    #[default]
    Server,
    /// The body broke off.
    Broken,
    /// The reader left on purpose.
    Reader,
    /// Nothing came for too long.
    Silent,
    /// There was no connection.
    Refused,
    /// More bytes came than the client reads.
    TooMuch,
}

/// One event of a stream.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The bytes that readers have to agree in.
    pub raw: String,
    /// The cursor behind this event, if the protocol gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Its addition to the answer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// The stream's own word for its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// The text before is void: the answer begins again, and readers are told.
    #[serde(default, skip_serializing_if = "is_false")]
    pub void: bool,
    /// Output tokens, where it says them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// When it came: microseconds since the program's start.
    #[serde(default)]
    pub at_us: u64,
    /// Part of the protocol's frame that is not the same for each reader.
    #[serde(default, skip_serializing_if = "is_false")]
    pub transient: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}

/// A stream's description of its own end.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The answer is complete.
    Success,
    /// The answer met a limit, and says so.
    Incomplete,
    /// The answer failed.
    Failed,
    /// A client cancelled it.
    Cancelled,
}

/// A cancel, and its receipt.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Cancelled {
    /// By a request, or by going away.
    pub asked: bool,
    /// The HTTP status of the answer to that request.
    pub status: u16,
    /// The receipt's description of the stream, if it has one.
    pub says: Option<Ending>,
    /// From the cancel until the upstream was closed, in milliseconds; none: not within the wait.
    pub upstream_closed_ms: Option<u64>,
    /// The upstream had not finished by itself when it was cancelled.
    pub was_running: bool,
}

/// The scripted upstream's observations of a run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct UpstreamSaw {
    /// Requests for this answer.
    pub requests: u32,
    /// When each token of the first was sent: microseconds since the program's start.
    #[serde(default)]
    pub sent_us: Vec<u64>,
}
