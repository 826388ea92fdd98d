//! Checks what clients saw of a generation against each other and against the log, by the
//! promises alone: it knows nothing of how the server works.
//!
//! Whoever watches fills a [`History`]; [`History::check`] names every rule that is broken.
use reqwest::StatusCode;
use serde_json::Value;

use crate::client::{Received, text};

#[cfg(test)]
mod doctored;

/// All that was seen of one generation.
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
    /// What the model says if nobody disturbs it.
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
        let mut found = Vec::new();
        self.check_log(&mut found);
        self.check_starts(&mut found);
        for (n, connections) in self.readers.iter().enumerate() {
            self.check_reader(n, connections, &mut found);
        }
        self.check_view(&mut found);
        self.check_earlier_views(&mut found);
        self.check_receipts(&mut found);
        self.check_text(&mut found);
        found.iter().map(|violation| format!("{}: {violation}", self.id)).collect()
    }

    fn ending(&self) -> Value {
        self.log.last().map(Received::json).unwrap_or_default()
    }

    fn last_seq(&self) -> u64 {
        self.log.last().map_or(0, |event| event.id)
    }

    /// 1, 2, 3 … n, one `started`, one `done`, and nothing behind it.
    fn check_log(&self, found: &mut Vec<Violation>) {
        for (event, expected) in self.log.iter().zip(1..) {
            if event.id != expected {
                found.push(format!("a gap or a repeat in the log: {} for {expected}", event.id));
            }
            let json = event.json();
            if json["seq"] != event.id || json["type"] != event.name.as_str() {
                found.push(format!("an event that contradicts itself: {event:?}"));
            }
            if (event.name == "started") != (expected == 1) {
                found.push(format!("`{}` at the log's place {expected}", event.name));
            }
        }
        let endings = self.log.iter().filter(|e| e.name == "done").count();
        if endings != 1 {
            found.push(format!("{endings} endings in the log"));
        }
        if self.log.last().is_none_or(|e| e.name != "done") {
            found.push("the log does not end in `done`".into());
        }
        if self.log.first().is_none_or(|e| e.json()["generation"] != self.id.as_str()) {
            found.push("the log is another generation's".into());
        }
    }

    fn check_starts(&self, found: &mut Vec<Violation>) {
        if self.starts.iter().any(|start| start.id != self.id) {
            found.push(format!("one key, several generations: {:?}", self.starts));
        }
        if self.starts.iter().filter(|start| !start.replayed).count() > 1 {
            found.push(format!("one key, several starts: {:?}", self.starts));
        }
    }

    fn check_reader(&self, reader: usize, connections: &[Connection], found: &mut Vec<Violation>) {
        let forgets = connections.iter().rposition(|c| c.events.iter().any(is_snapshot));
        if forgets.is_some() && !self.restored {
            found.push(format!("reader {reader} was told to forget what it had"));
        }
        for (n, connection) in connections.iter().enumerate() {
            let place = format!("reader {reader}, connection {n}");
            if forgets.is_none_or(|last| n >= last) {
                self.check_events(&place, connection, found);
            }
            self.check_status(&place, connection, found);
        }
    }

    /// Each event right behind the one before, the same bytes as in the log, none behind `done`.
    fn check_events(&self, place: &str, connection: &Connection, found: &mut Vec<Violation>) {
        let forgotten = connection.events.iter().rposition(is_snapshot).unwrap_or_default();
        let mut last = connection.after;
        for event in &connection.events[forgotten..] {
            if is_snapshot(event) {
                self.check_snapshot(place, event, found);
                last = event.id;
                continue;
            }
            let wrong = match self.log.iter().find(|logged| logged.id == event.id) {
                _ if event.id != last + 1 => format!("{} follows {last}", event.id),
                None => format!("event {} is not in the log", event.id),
                Some(logged) if logged != event => {
                    format!("{event:?} differs from the log's {logged:?}")
                }
                Some(_) => {
                    last = event.id;
                    continue;
                }
            };
            // What follows is wrong for the same reason.
            found.push(format!("{place}: {wrong}"));
            break;
        }
        let done = connection.events.iter().position(|e| e.name == "done");
        if done.is_some_and(|at| at + 1 < connection.events.len()) {
            found.push(format!("{place}: something follows `done`"));
        }
    }

    /// A snapshot says what the events up to its own seq add up to.
    fn check_snapshot(&self, place: &str, event: &Received, found: &mut Vec<Violation>) {
        let upto = usize::try_from(event.id).unwrap_or(usize::MAX).min(self.log.len());
        if event.json()["text"] != text(&self.log[..upto]) {
            found.push(format!("{place}: the snapshot at {} is not the log's text", event.id));
        }
    }

    /// A reader is always let in; told that all is said only where it is.
    fn check_status(&self, place: &str, connection: &Connection, found: &mut Vec<Violation>) {
        match connection.status {
            StatusCode::OK => {}
            StatusCode::NO_CONTENT if connection.after == self.last_seq() => {}
            other => found.push(format!("{place}: {other} behind {}", connection.after)),
        }
    }

    fn check_view(&self, found: &mut Vec<Violation>) {
        let done = self.ending();
        for name in ["status", "usage"] {
            if self.view[name] != done[name] {
                found.push(format!(
                    "GET and log differ in {name}: {} {}",
                    self.view[name], done[name]
                ));
            }
        }
        if self.view["text"] != text(&self.log) {
            found.push("GET and log differ in their text".into());
        }
        if self.view["last_seq"] != self.last_seq() {
            found.push(format!("GET says {} events", self.view["last_seq"]));
        }
    }

    /// Each is the truth of its time, and time does not go back.
    fn check_earlier_views(&self, found: &mut Vec<Violation>) {
        let mut last = 0;
        for view in &self.views {
            let seq = view["last_seq"].as_u64().unwrap_or_default();
            if seq < last && !self.restored {
                found.push(format!("GET went back from {last} to {seq}"));
            }
            last = seq;
            let upto = usize::try_from(seq).unwrap_or(usize::MAX).min(self.log.len());
            let of_its_time = view["text"] == text(&self.log[..upto]);
            if !of_its_time && !self.restored {
                found.push(format!("GET at {seq} showed what the log does not hold"));
            }
            if is_over(view) && *view != self.view {
                found.push(format!("GET changed after the end: {view}"));
            }
        }
    }

    /// A receipt is true when it is given, and stays true.
    fn check_receipts(&self, found: &mut Vec<Violation>) {
        for receipt in &self.receipts {
            let mut view = receipt.clone();
            let cancelled = view.as_object_mut().and_then(|fields| fields.remove("cancelled"));
            if is_over(receipt) && view != self.view {
                found.push(format!("a receipt that is not true: {receipt} but {}", self.view));
            }
            if cancelled != Some(Value::Bool(receipt["status"] == "cancelled")) {
                found.push(format!("a receipt that contradicts itself: {receipt}"));
            }
        }
        let asked = !self.receipts.is_empty();
        if self.ending()["status"] == "cancelled" && !asked {
            found.push("cancelled, and nobody had asked for it".into());
        }
    }

    /// The model's words: all of them, or their beginning.
    fn check_text(&self, found: &mut Vec<Violation>) {
        let Some(whole) = &self.text else { return };
        let said = text(&self.log);
        let right = match self.ending()["status"].as_str() {
            Some("completed") => said == *whole,
            _ => whole.starts_with(&said),
        };
        if !right {
            found.push(format!("the model said something else: {said:?} for {whole:?}"));
        }
    }
}

fn is_snapshot(event: &Received) -> bool {
    event.name == "snapshot"
}

fn is_over(view: &Value) -> bool {
    !matches!(view["status"].as_str(), Some("queued" | "running" | "cancelling"))
}
