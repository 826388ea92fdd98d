//! The figures: a table for people, JSON for comparisons.
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::args::Args;
use crate::cpu::memory;
use crate::load::Load;
use crate::server::Server;
use crate::ttft::Ttft;
use crate::{Failure, now_us};

/// The outcome of one run.
pub(crate) struct Report {
    /// In the order of the table.
    rows: Vec<(&'static str, Value)>,
    scenario: String,
    complete: bool,
}

impl Report {
    /// Adds everything up. The server must still run: its memory is read here.
    pub(crate) fn new(args: &Args, server: &Server, load: Load, ttft: Option<Ttft>) -> Self {
        let memory = memory(server.pid());
        let mut sum = Sum::of(args, &load);
        sum.latencies.sort_unstable();
        let at = |permille: usize| {
            let last = sum.latencies.len().saturating_sub(1);
            sum.latencies.get(last * permille / 1000).copied().unwrap_or(0)
        };
        let events = sum.latencies.len();
        let seconds = load.window.as_secs_f64();
        // Zero events cost nothing per event.
        let per_event = |ns: u64| ns as f64 / 1000.0 / (events.max(1) as f64);
        let spent = load.spent;
        let scenario = format!("{:?}", args.scenario).to_lowercase();
        let mut rows = vec![
            ("scenario", json!(scenario)),
            ("generations", json!(args.generations)),
            ("tokens_per_second_each", json!(args.tps)),
            ("seconds", json!(args.seconds)),
            ("cores", json!(std::thread::available_parallelism().map_or(0, usize::from))),
            ("fsync_us_p50", json!(server.fsync_us)),
            ("ready_in_ms", json!(server.ready_in.as_millis() as u64)),
            ("events_in_window", json!(events)),
            ("events_per_second", json!(events as f64 / seconds)),
            ("latency_us_p50", json!(at(500))),
            ("latency_us_p90", json!(at(900))),
            ("latency_us_p99", json!(at(990))),
            ("latency_us_max", json!(at(1000))),
            ("cpu_us_per_event_server", json!(per_event(spent.server))),
            ("cpu_us_per_event_postgres", json!(per_event(spent.postgres))),
            ("cpu_us_per_event_both", json!(per_event(spent.server + spent.postgres))),
            ("cpu_us_per_event_client", json!(per_event(spent.client))),
            ("cpu_us_per_event_upstream", json!(per_event(spent.upstream))),
            ("cores_server", json!(spent.server as f64 / 1e9 / seconds)),
            ("cores_postgres", json!(spent.postgres as f64 / 1e9 / seconds)),
            ("rss_peak_mib_server", json!(mib(memory.server_peak))),
            ("pss_mib_postgres", json!(mib(memory.postgres))),
            ("streams_complete", json!(sum.complete)),
            ("streams_failed", json!(load.failures.len())),
            ("seq_gaps", json!(sum.gaps)),
            ("tokens_missing", json!(sum.missing)),
            ("events_after_done", json!(sum.late)),
        ];
        if let Some(ttft) = ttft {
            rows.push(("ttft_us_direct", json!(ttft.direct)));
            rows.push(("ttft_us_through", json!(ttft.through)));
            rows.push(("ttft_us_through_p99", json!(ttft.through_p99)));
            rows.push(("ttft_us_added", json!(ttft.through.saturating_sub(ttft.direct))));
        }
        if let Some(failure) = load.failures.first() {
            rows.push(("first_failure", json!(failure)));
        }
        Self { rows, scenario, complete: sum.complete as u64 == args.generations }
    }

    /// Figures without a change.
    pub(crate) fn of(args: &Args, rows: Vec<(&'static str, Value)>, complete: bool) -> Self {
        Self { rows, scenario: format!("{:?}", args.scenario).to_lowercase(), complete }
    }

    /// Whether every stream came without a gap and to its `done`.
    pub(crate) fn complete(&self) -> bool {
        self.complete
    }

    /// One of its figures.
    pub(crate) fn value(&self, name: &str) -> f64 {
        let row = self.rows.iter().find(|(known, _)| *known == name);
        row.and_then(|(_, value)| value.as_f64()).unwrap_or(f64::NAN)
    }

    /// One figure per line.
    pub(crate) fn table(&self) -> String {
        let mut table = String::new();
        for (name, value) in &self.rows {
            let text = match value {
                Value::Number(n) if n.is_f64() => format!("{:.2}", n.as_f64().unwrap_or(0.0)),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let _ = writeln!(table, "{:<28} {text:>14}", name.replace('_', " "));
        }
        table
    }

    /// Writes it to a new file, whose path it returns.
    pub(crate) fn write(&self) -> Result<PathBuf, Failure> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
        let path = dir.join(format!("{}-{}.json", self.scenario, now_us() / 1_000_000));
        let object: Value = self.rows.iter().cloned().collect();
        let text = format!("{object:#}\n");
        let written = fs::create_dir_all(&dir).and_then(|()| fs::write(&path, text));
        written.map(|()| path).map_err(|e| format!("cannot write to {}: {e}", dir.display()))
    }
}

#[derive(Default)]
struct Sum {
    latencies: Vec<u32>,
    complete: usize,
    gaps: u64,
    missing: u64,
    late: u64,
}

impl Sum {
    fn of(args: &Args, load: &Load) -> Self {
        let mut sum = Self::default();
        for seen in &load.streams {
            let missing = args.tokens().abs_diff(seen.tokens);
            sum.latencies.extend(&seen.latencies);
            sum.gaps += seen.gaps;
            sum.missing += missing;
            sum.late += seen.late;
            sum.complete += usize::from(seen.is_whole(args.tokens()));
        }
        sum
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}
