//! Checks what clients saw of a generation against each other and against the log.
//!
//! A test fills a [`History`]; [`History::check`] names every rule that is broken. The rules are
//! those of `streamproof`, which knows nothing of this server. This file only translates the words
//! of this server's own protocol.
use std::collections::BTreeMap;

use reqwest::StatusCode;
use serde_json::Value;
use streamproof::checks::judge;
use streamproof::history as proof;

use crate::client::Received;

#[cfg(test)]
mod doctored;

/// All records of one generation.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) id: String,
    /// The answers to all starts with its key.
    pub(crate) starts: Vec<Started>,
    /// Each reader's connections, in their order.
    pub(crate) readers: Vec<Vec<Connection>>,
    /// Answers to `GET`, each asked for after the one before.
    pub(crate) views: Vec<Value>,
    /// Answers to cancels.
    pub(crate) receipts: Vec<Value>,
    /// In the end: all of the log, and the answer to `GET`.
    pub(crate) log: Vec<Received>,
    pub(crate) view: Value,
    /// The model's text without a disturbance.
    pub(crate) text: Option<String>,
    /// The database was restored to an older state: readers may be told to forget.
    pub(crate) restored: bool,
}

/// The answer to a start.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Started {
    pub(crate) id: String,
    pub(crate) replayed: bool,
}

/// One connection of a reader.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// Its cursor.
    pub(crate) after: u64,
    pub(crate) status: StatusCode,
    pub(crate) events: Vec<Received>,
}

/// A rule that is broken, and where.
pub(crate) type Violation = String;

impl History {
    /// Every rule that is broken.
    pub(crate) fn check(&self) -> Vec<Violation> {
        let mut found = self.own_words();
        let history = proof::History { runs: vec![self.run()], ..proof::History::default() };
        for finding in judge(&history) {
            found.extend(finding.violations.iter().map(|v| format!("{}: {v}", finding.id)));
        }
        found.iter().map(|violation| format!("{}: {violation}", self.id)).collect()
    }

    fn run(&self) -> proof::Run {
        let reader = |(n, connections): (usize, &Vec<Connection>)| proof::Reader {
            name: format!("reader {n}"),
            connections: connections.iter().map(Connection::seen).collect(),
        };
        let whole = Connection { after: 0, status: StatusCode::OK, events: self.log.clone() };
        let starts = self.starts.iter().map(|start| (&start.id, start.replayed));
        let named = std::iter::once((&self.id, true));
        let views = self.views.iter().map(|answer| view(answer, false));
        let receipts = self.receipts.iter().map(|answer| view(answer, true));
        proof::Run {
            expected: self.text.clone(),
            numbered: true,
            restored: self.restored,
            readers: self.readers.iter().enumerate().map(reader).collect(),
            replay: Some(whole.seen()),
            starts: named
                .chain(starts)
                .map(|(id, replayed)| proof::Start { id: id.clone(), replayed })
                .collect(),
            views: views.chain(receipts).chain([view(&self.view, false)]).collect(),
            ..proof::Run::new(proof::Scenario::Watched, 0)
        }
    }

    /// The fields of events, of `GET` and of receipts agree with each other.
    fn own_words(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        for (event, place) in self.log.iter().zip(1..) {
            let json = event.json();
            if json["seq"] != event.id || json["type"] != event.name.as_str() {
                found.push(format!("an event that contradicts itself: {event:?}"));
            }
            if (event.name == "started") != (place == 1) {
                found.push(format!("`{}` at the log's place {place}", event.name));
            }
        }
        if self.log.first().is_none_or(|e| e.json()["generation"] != self.id.as_str()) {
            found.push("the log is another generation's".into());
        }
        let done = self.log.last().map(Received::json).unwrap_or_default();
        for name in ["status", "usage"] {
            let (view, log) = (&self.view[name], &done[name]);
            if view != log {
                found.push(format!("GET and log differ in {name}: {view} {log}"));
            }
        }
        for receipt in &self.receipts {
            if receipt["cancelled"] != Value::Bool(receipt["status"] == "cancelled") {
                found.push(format!("a receipt that contradicts itself: {receipt}"));
            }
        }
        found
    }
}

impl Connection {
    fn seen(&self) -> proof::Connection {
        proof::Connection {
            cursor: (self.after > 0).then(|| self.after.to_string()),
            status: self.status.as_u16(),
            events: self.events.iter().map(event).collect(),
            ..proof::Connection::default()
        }
    }
}

fn event(received: &Received) -> proof::Event {
    let json = received.json();
    let name = received.name.as_str();
    let text = matches!(name, "delta" | "snapshot").then(|| json["text"].as_str()).flatten();
    proof::Event {
        raw: format!("{} {name} {}", received.id, received.data),
        cursor: Some(received.id.to_string()),
        text: text.unwrap_or_default().to_owned(),
        ending: (name == "done").then(|| ending(&json)).flatten(),
        void: matches!(name, "superseded" | "snapshot"),
        used: json["usage"]["output_tokens"].as_u64(),
        ..proof::Event::default()
    }
}

/// None while it goes on.
fn ending(json: &Value) -> Option<proof::Ending> {
    match json["status"].as_str() {
        Some("queued" | "running" | "cancelling") => None,
        Some("completed") => Some(proof::Ending::Success),
        Some("incomplete") => Some(proof::Ending::Incomplete),
        Some("cancelled") => Some(proof::Ending::Cancelled),
        Some(_) | None => Some(proof::Ending::Failed),
    }
}

fn view(answer: &Value, receipt: bool) -> proof::View {
    let fields = answer.as_object().cloned().unwrap_or_default();
    // A receipt is the state at its time, and whether it was this cancel that ended it.
    let lasting = fields.iter().filter(|(name, _)| !receipt || *name != "cancelled");
    let sorted: BTreeMap<_, _> = lasting.collect();
    proof::View {
        receipt,
        ending: ending(answer),
        text: answer["text"].as_str().map(str::to_owned),
        place: answer["last_seq"].as_u64().map(|seq| seq.to_string()),
        used: answer["usage"]["output_tokens"].as_u64(),
        raw: serde_json::to_string(&sorted).unwrap_or_default(),
    }
}
