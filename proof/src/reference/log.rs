//! A stream's events: on the disk first, then for readers.
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::Changes;

pub(super) struct Log {
    pub(super) id: String,
    pub(super) prompt: String,
    events: Mutex<Vec<(String, Value)>>,
    file: Option<Mutex<File>>,
    grown: watch::Sender<usize>,
    /// A reader had all of it.
    pub(super) was_read: AtomicBool,
}

impl Log {
    /// A new stream; without a file it is in memory only.
    pub(super) fn new(id: String, prompt: String, file: Option<&Path>) -> io::Result<Self> {
        let log = Self::known(id, prompt, Vec::new(), file)?;
        log.keep("start", &json!({ "prompt": log.prompt }));
        Ok(log)
    }

    fn known(
        id: String,
        prompt: String,
        events: Vec<(String, Value)>,
        file: Option<&Path>,
    ) -> io::Result<Self> {
        let file = file.map(|file| OpenOptions::new().create(true).append(true).open(file));
        let file = file.transpose()?.map(Mutex::new);
        let events = Mutex::new(events);
        Ok(Self {
            id,
            prompt,
            events,
            file,
            grown: watch::Sender::new(0),
            was_read: AtomicBool::new(false),
        })
    }

    fn keep(&self, kind: &str, data: &Value) {
        if let Some(file) = &self.file {
            let line = json!({ "id": self.id, "kind": kind, "data": data }).to_string() + "\n";
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            // A disk that is full ends a stream of the reference server, and nothing else.
            let _ = file.write_all(line.as_bytes());
        }
    }

    fn held(&self) -> MutexGuard<'_, Vec<(String, Value)>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event, unless the stream has ended.
    pub(super) fn append(&self, kind: &str, data: Value) {
        let mut events = self.held();
        if events.last().is_none_or(|(last, _)| last != "done") {
            self.keep(kind, &data);
            events.push((kind.into(), data));
            let length = events.len();
            drop(events);
            self.grown.send_replace(length);
        }
    }

    pub(super) fn end(&self, status: &str, usage: Option<Value>) {
        self.append("done", json!({ "status": status, "usage": usage }));
    }

    /// The events from this place on.
    pub(super) fn events(&self, from: usize) -> Vec<(String, Value)> {
        self.held().iter().skip(from).cloned().collect()
    }

    /// How it ended, if it has.
    pub(super) fn status(&self) -> Option<String> {
        let events = self.held();
        let (kind, data) = events.last()?;
        (kind == "done").then(|| data["status"].as_str().unwrap_or_default().to_owned())
    }

    /// Resolves when it has ended.
    pub(super) async fn over(&self) {
        let mut changes = self.changes();
        while self.status().is_none() && changes.changed().await.is_ok() {}
    }

    pub(super) fn changes(&self) -> Changes {
        self.grown.subscribe()
    }
}

/// All streams of a file; a line that was cut by a kill is passed over.
pub(super) fn read(file: &Path) -> io::Result<Vec<Log>> {
    let lines = match File::open(file) {
        Ok(opened) => BufReader::new(opened).lines(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut streams: HashMap<String, (String, Vec<(String, Value)>)> = HashMap::new();
    for line in lines {
        let Ok(line) = serde_json::from_str::<Value>(&line?) else { continue };
        let of = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let (prompt, events) = streams.entry(of("id")).or_default();
        if line["kind"] == "start" {
            *prompt = line["data"]["prompt"].as_str().unwrap_or_default().to_owned();
        } else {
            events.push((of("kind"), line["data"].clone()));
        }
    }
    let known = |(id, (prompt, events))| Log::known(id, prompt, events, Some(file));
    streams.into_iter().map(known).collect()
}
