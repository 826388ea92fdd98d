//! Figures for information: no rule is behind them.
use super::{breaks, ending_word, word};
use crate::history::{Connection, Ending, Event, History, Run, Scenario};

/// Measurements beside the checks, as name and words.
#[must_use]
pub fn facts(history: &History) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    first_event(history, &mut facts);
    facts.extend(latency(history).map(|text| ("from the model to a reader", text)));
    if let Some(memory) = history.memory.filter(|memory| memory.readers > 0) {
        let more = memory.with.saturating_sub(memory.before);
        let each = more / u64::from(memory.readers);
        let (readers, with) = (memory.readers, memory.with);
        let text = format!("{each} KiB each ({readers} readers, then {with} KiB in all)");
        facts.push(("memory for idle readers", text));
    }
    facts.extend(usage(history).map(|text| ("usage", text)));
    facts.extend(beside_a_slow_one(history).map(|text| ("beside a slow reader", text)));
    for run in &history.runs {
        of_run(run, &mut facts);
    }
    facts
}

fn middle(sorted: &[u64]) -> Option<u64> {
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

fn undisturbed(history: &History) -> impl Iterator<Item = (&Run, &Connection)> {
    let runs = history.runs.iter().filter(|run| run.scenario == Scenario::Whole);
    runs.flat_map(|run| {
        run.readers.iter().flat_map(|reader| &reader.connections).map(move |c| (run, c))
    })
}

fn first_event(history: &History, facts: &mut Vec<(&'static str, String)>) {
    let mut first: Vec<u64> =
        undisturbed(history).filter_map(|(_, connection)| connection.first_ms).collect();
    first.sort_unstable();
    facts.extend(middle(&first).map(|median| ("first event after", format!("{median} ms"))));
}

/// How long each token was on its way, from the scripted upstream to the reader.
fn latency(history: &History) -> Option<String> {
    let mut took = Vec::new();
    for (run, connection) in undisturbed(history) {
        let (Some(saw), Some(expected)) = (&run.upstream, &run.expected) else { continue };
        if connection.text() == *expected {
            took.extend(arrivals(connection, expected, &saw.sent_us));
        }
    }
    took.sort_unstable();
    let ms = |us: u64| format!("{}.{} ms", us / 1000, us % 1000 / 100);
    let late = took.get(took.len() * 95 / 100).copied()?;
    let count = took.len();
    Some(format!("median {}, 95 % within {} ({count} tokens)", ms(middle(&took)?), ms(late)))
}

/// The times between a token's departure and the event that completes it.
fn arrivals(connection: &Connection, expected: &str, sent_us: &[u64]) -> Vec<u64> {
    let (mut upto, mut have) = (0, 0);
    let mut events = connection.lasting();
    let mut at = 0;
    let mut took = Vec::new();
    for (n, sent) in sent_us.iter().enumerate() {
        let next = format!("{}:", n + 1);
        upto = expected[upto..].find(&next).map_or(expected.len(), |found| upto + found);
        while have < upto {
            let Some(Event { text, at_us, .. }) = events.next() else { return took };
            have += text.len();
            at = *at_us;
        }
        took.push(at.saturating_sub(*sent));
    }
    took
}

/// How a reader got on while another one did not read.
fn beside_a_slow_one(history: &History) -> Option<String> {
    let run = history.runs.iter().find(|run| run.scenario == Scenario::Slow)?;
    let (stopped, _) = run.paused_us?;
    let first = run.readers.iter().find(|reader| reader.name == "first")?.last()?;
    let mut before = stopped;
    let (mut bytes, mut longest) = (0, 0);
    for event in first.events.iter().filter(|event| event.at_us >= stopped) {
        longest = longest.max(event.at_us - before);
        before = event.at_us;
        bytes += event.text.len();
    }
    let (kib, ms) = (bytes / 1024, longest / 1000);
    Some(format!("the other one got {kib} KiB of text, and waited {ms} ms at most"))
}

/// Which endings told the usage.
fn usage(history: &History) -> Option<String> {
    let all = [Ending::Success, Ending::Incomplete, Ending::Failed, Ending::Cancelled];
    let words = all.into_iter().filter_map(|ending| {
        let connections = history.runs.iter().flat_map(|run| &run.readers).filter_map(|r| r.last());
        let ended: Vec<&Connection> =
            connections.filter(|connection| connection.ending() == Some(ending)).collect();
        let told = ended.iter().filter(|c| c.events.iter().any(|e| e.used.is_some())).count();
        let all = ended.len();
        (all > 0).then(|| format!("{} {told} of {all}", ending_word(ending)))
    });
    let text: Vec<String> = words.collect();
    (!text.is_empty()).then(|| format!("told by {}", text.join(", ")))
}

fn of_run(run: &Run, facts: &mut Vec<(&'static str, String)>) {
    if let Some(closed) = run.cancel.as_ref().and_then(|cancel| cancel.upstream_closed_ms) {
        let how = if run.cancellable { "a cancel" } else { "the reader went away" };
        facts.push(("upstream closed", format!("{closed} ms after {how}")));
    }
    if let Some(ms) = run.age_ms {
        facts.push(("read again", format!("{} s after its end", ms / 1000)));
    }
    if run.scenario == Scenario::Kill {
        facts.push(("killed", breaks::outcome(run).into()));
    }
    if let (Scenario::Retry, Some(saw)) = (run.scenario, &run.upstream) {
        facts.push(("a request sent twice", format!("{} at the upstream", saw.requests)));
    }
    let upstream = run.scenario == Scenario::UpstreamReset
        || run.scenario == Scenario::UpstreamTruncated
        || run.scenario == Scenario::UpstreamBack;
    if let (true, Some(reader)) = (upstream, run.readers.last()) {
        let ending = reader.last().and_then(Connection::ending);
        let ended = ending.map_or("no ending", ending_word);
        facts.push(("upstream", format!("{}: {ended}", word(run.scenario))));
    }
    if let Some(problem) = &run.problem {
        facts.push(("could not be done", format!("{}: {problem}", word(run.scenario))));
    }
}
