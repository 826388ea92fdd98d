//! What was seen of a server: the whole input of the checks. It is written to a file as JSON and
//! can be judged again without the server.
use serde::{Deserialize, Serialize};

/// The version of the file's format.
pub(crate) const FORMAT: u32 = 1;

/// All that one test of one server saw.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct History {
    pub(crate) format: u32,
    pub(crate) protocol: String,
    pub(crate) targets: Vec<String>,
    pub(crate) seed: u64,
    /// When the test began, as RFC 3339.
    pub(crate) begun_at: String,
    /// How long after a cancel the upstream may stay open, in milliseconds.
    pub(crate) cancel_within_ms: u64,
    /// Checks that count as failed where they are not offered.
    pub(crate) expected: Vec<String>,
    pub(crate) runs: Vec<Run>,
}

/// What one scenario did with one stream.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scenario {
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
}

/// One stream, and what was done to it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Run {
    pub(crate) scenario: Scenario,
    pub(crate) n: u32,
    /// The whole answer, where the scripted upstream gave it.
    pub(crate) expected: Option<String>,
    /// The protocol's means in this run: whether there is a resume, and a cancel.
    pub(crate) resumable: bool,
    /// Whether a resume says everything again from the beginning.
    pub(crate) replays: bool,
    pub(crate) cancellable: bool,
    pub(crate) readers: Vec<Reader>,
    /// A reader from the beginning, after all the others.
    pub(crate) replay: Option<Connection>,
    pub(crate) cancel: Option<Cancelled>,
    /// What the scripted upstream saw.
    pub(crate) upstream: Option<UpstreamSaw>,
    pub(crate) kills: u32,
    /// What kept the scenario from being done, if something did.
    pub(crate) problem: Option<String>,
}

/// One reader's connections, in their order.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Reader {
    pub(crate) name: String,
    pub(crate) connections: Vec<Connection>,
}

/// One connection: its question, its answer's status, and what came.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Connection {
    pub(crate) target: usize,
    /// The cursor that it resumed from; none from the beginning.
    pub(crate) cursor: Option<String>,
    pub(crate) status: u16,
    /// The stream's id, as the protocol has it.
    pub(crate) id: Option<String>,
    /// The server says itself that it attached this start to an earlier one.
    pub(crate) replayed: bool,
    pub(crate) events: Vec<Event>,
    pub(crate) closed: Closed,
    /// From the request to the first byte of the body, in milliseconds.
    pub(crate) first_ms: Option<u64>,
    /// From the request to the end of the body, in milliseconds.
    pub(crate) took_ms: u64,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Closed {
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
}

/// One event of a stream.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Event {
    /// The bytes that readers have to agree in.
    pub(crate) raw: String,
    /// The cursor behind this event, if the protocol gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ending: Option<Ending>,
    /// What was shown before is void: the answer begins again, and readers are told.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) void: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) usage: bool,
    /// Part of the protocol's frame that is not the same for each reader.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) transient: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}

/// What a stream says of its own end.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ending {
    Success,
    /// The answer met a limit, and says so.
    Incomplete,
    Failed,
    Cancelled,
}

/// A cancel, and its receipt.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Cancelled {
    /// By a request, or by going away.
    pub(crate) asked: bool,
    pub(crate) status: u16,
    /// What the receipt says of the stream, if it says anything.
    pub(crate) says: Option<Ending>,
    /// From the cancel until the upstream was closed, in milliseconds; none: not within the wait.
    pub(crate) upstream_closed_ms: Option<u64>,
    /// The upstream had not finished by itself when it was cancelled.
    pub(crate) was_running: bool,
}

/// What the scripted upstream saw of a run.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct UpstreamSaw {
    pub(crate) requests: u32,
}

impl Connection {
    /// The events that all readers have to agree in.
    pub(crate) fn lasting(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| !event.transient)
    }

    pub(crate) fn ending(&self) -> Option<Ending> {
        self.events.iter().find_map(|event| event.ending)
    }

    /// The text as a reader has it at the end of this connection alone.
    pub(crate) fn text(&self) -> String {
        text(self.lasting())
    }

    pub(crate) fn let_in(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// The text of these events, without what was declared void.
pub(crate) fn text<'a>(events: impl Iterator<Item = &'a Event>) -> String {
    let mut text = String::new();
    for event in events {
        if event.void {
            text.clear();
        }
        text.push_str(&event.text);
    }
    text
}

impl Reader {
    /// What this reader has after all its connections: each goes on behind the cursor of the one
    /// before; where a resume replays, the last connection that was let in counts alone.
    pub(crate) fn assembled(&self, replays: bool) -> Vec<&Event> {
        let mut have: Vec<&Event> = Vec::new();
        for connection in self.connections.iter().filter(|c| c.let_in() && !c.events.is_empty()) {
            match (&connection.cursor, replays) {
                (None, _) | (_, true) => have.clear(),
                (Some(cursor), false) => {
                    let behind = have.iter().rposition(|e| e.cursor.as_ref() == Some(cursor));
                    have.truncate(behind.map_or(0, |at| at + 1));
                }
            }
            have.extend(&connection.events);
        }
        have.retain(|event| !event.transient);
        have
    }

    pub(crate) fn last(&self) -> Option<&Connection> {
        self.connections.last()
    }
}
