//! The events of a run; a file keeps the faults.
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::history::History;

/// Histories that are kept: one is enough to understand a fault, and a flood helps nobody.
const KEPT: usize = 20;

/// Counts, from all clients and all faults.
pub(crate) struct Report {
    seed: u64,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    ended: BTreeMap<String, usize>,
    events: usize,
    readers: usize,
    reconnects: usize,
    taken_over: usize,
    times: Vec<Duration>,
    faults: BTreeMap<&'static str, usize>,
    violations: Vec<String>,
    kept: usize,
}

impl Report {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, counts: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn fault(&self, name: &'static str) {
        *self.lock().faults.entry(name).or_default() += 1;
    }

    pub(crate) fn generation(&self, history: &History, reconnects: usize, took: Duration) {
        let mut counts = self.lock();
        let status = history.view["status"].as_str().unwrap_or("?").to_owned();
        *counts.ended.entry(status).or_default() += 1;
        counts.events += history.log.len();
        counts.readers += history.readers.len();
        counts.reconnects += reconnects;
        let by = |e: &&crate::client::Received| e.json()["reason"] == "takeover";
        counts.taken_over += history.log.iter().filter(by).count();
        counts.times.push(took);
    }

    /// Prints them at once, and writes the first histories down.
    pub(crate) fn violations(&self, history: &History, found: Vec<String>) {
        let mut counts = self.lock();
        found.iter().for_each(|violation| println!("VIOLATION {violation:.600}"));
        counts.violations.extend(found);
        counts.kept += 1;
        if counts.kept <= KEPT {
            let path = kept(self.seed, &history.id);
            let written = std::fs::write(&path, format!("{history:#?}"));
            println!("its history is in {}: {written:?}", path.display());
        }
    }

    /// A line while it runs.
    pub(crate) fn so_far(&self) -> String {
        let counts = self.lock();
        let (faults, ended): (usize, usize) =
            (counts.faults.values().sum(), counts.ended.values().sum());
        format!("{ended} generations, {faults} faults, {} violations", counts.violations.len())
    }

    /// The end of the run; whether all promises were kept.
    pub(crate) fn conclude(&self, epochs: i64) -> (String, bool) {
        let mut counts = self.lock();
        counts.times.sort_unstable();
        let ended: usize = counts.ended.values().sum();
        let faults: usize = counts.faults.values().sum();
        let at =
            |part: usize| counts.times.get(ended * part / 100).or(counts.times.last()).copied();
        let mut text = String::new();
        let mut line = |what: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{what:<12} {value}");
        };
        line("generations", format!("{ended} {:?}", counts.ended));
        line("events", counts.events.to_string());
        line("took", format!("half {:?}, 99 % {:?}, all {:?}", at(50), at(99), at(100)));
        line("faults", faults.to_string());
        for (name, count) in &counts.faults {
            line("", format!("{count:>5} {name}"));
        }
        line("readers", counts.readers.to_string());
        line("reconnects", counts.reconnects.to_string());
        line("take-overs", format!("{epochs}, {} of them told as such", counts.taken_over));
        line("violations", counts.violations.len().to_string());
        (text, counts.violations.is_empty() && ended > 0)
    }
}

/// The place where a history, or a server's output, is kept.
pub(crate) fn kept(seed: u64, name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{seed}-{name}.txt"))
}
