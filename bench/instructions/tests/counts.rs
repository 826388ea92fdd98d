//! The cost of each event on its way, in instructions. It is a count, not a time, so that no busy
//! machine makes it fail.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers")]

use std::process::{Command, Stdio};

/// Instructions for each event as they were measured (x86-64, Rust 1.95): optimised, and in a debug
/// build.
const MEASURED: [(&str, u64, u64); 5] = [
    ("append", 1282, 16_009),
    ("frame", 913, 4877),
    ("fanout", 482, 3106),
    // Sixteen generations a commit, from the writer to the tail, without the database.
    ("commit", 4930, 34_603),
    // A chunk of chat completions a piece, from the socket's bytes to the delta.
    ("gateway", 10_340, 57_448),
];

/// The allowed excess, in per cent: another compiler or library is not a fault of ours.
const HEADROOM: u64 = 20;

/// The fewer and the more events of the two runs, between which the rest of the process makes no
/// difference.
const EVENTS: (u64, u64) = (1_600, 8_000);

#[test]
fn no_event_costs_more_instructions_than_it_did() {
    let there = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        eprintln!(
            "skipped: valgrind, which counts instructions, is missing: scripts/setup test installs it"
        );
        return;
    }
    let mut over = Vec::new();
    for (path, optimised, debug) in MEASURED {
        let measured = if cfg!(debug_assertions) { debug } else { optimised };
        let budget = measured * (100 + HEADROOM) / 100;
        let each = (count(path, EVENTS.1) - count(path, EVENTS.0)) / (EVENTS.1 - EVENTS.0);
        eprintln!("{path}: {each} instructions for an event, {budget} allowed");
        if each > budget {
            over.push(format!("{path}: {each} instructions for an event, {budget} allowed"));
        }
    }
    assert!(over.is_empty(), "{over:#?}");
}

/// All instructions of a process that does `path` so often.
fn count(path: &str, events: u64) -> u64 {
    let paths = env!("CARGO_BIN_EXE_paths");
    let args = ["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", paths];
    let run =
        Command::new("valgrind").args(args).args([path, &events.to_string()]).output().unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    let line = said.lines().find_map(|line| line.split_once("refs:"));
    let Some((_, refs)) = line.filter(|_| run.status.success()) else {
        panic!("valgrind did not count: {said}")
    };
    refs.trim().replace(',', "").parse().unwrap()
}
