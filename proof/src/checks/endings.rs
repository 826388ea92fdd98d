//! How streams end.
use super::{Word, undisturbed};
use crate::history::{Closed, Connection, Ending, History, Reader, Run, Scenario, text};

fn endings(connection: &Connection) -> usize {
    connection.events.iter().filter(|event| event.ending.is_some()).count()
}

/// Every connection of the run, with its reader's name.
fn connections(run: &Run) -> impl Iterator<Item = (&str, &Connection)> {
    let of_readers =
        run.readers.iter().flat_map(|r| r.connections.iter().map(|c| (r.name.as_str(), c)));
    of_readers.chain(run.replay.iter().map(|c| ("replay", c)))
}

/// A reader that stayed to the end has one ending; nobody has two.
pub(super) fn one(_: &History, run: &Run) -> Word {
    if let Some((name, two)) = connections(run).find(|(_, c)| endings(c) > 1) {
        return Some(Err(format!("{name}: {} endings", endings(two))));
    }
    if run.scenario == Scenario::Watched {
        let whole = run.replay.as_ref()?;
        return Some(match endings(whole) {
            0 => Err("the stream has no ending".into()),
            _ => Ok(()),
        });
    }
    if !undisturbed(run) {
        return None;
    }
    let stayed = |c: &&Connection| c.let_in() && c.status != 204 && c.closed != Closed::Reader;
    let last: Vec<(&str, &Connection)> = run
        .readers
        .iter()
        .filter(|reader| reader.name != "impossible")
        .filter_map(|reader| reader.last().filter(stayed).map(|c| (reader.name.as_str(), c)))
        // Behind the ending there is nothing left to resume.
        .filter(|(name, _)| *name != "from the last event")
        .collect();
    if let Some((name, c)) = last.iter().find(|(_, c)| endings(c) == 0) {
        let after = c.took_ms;
        return Some(Err(format!("{name}: no ending, {:?} after {after} ms", c.closed)));
    }
    (!last.is_empty()).then_some(Ok(()))
}

pub(super) fn last(_: &History, run: &Run) -> Word {
    let mut seen = None;
    for (name, connection) in connections(run) {
        let Some(at) = connection.events.iter().position(|event| event.ending.is_some()) else {
            continue;
        };
        if let Some(event) = connection.events[at + 1..].iter().find(|event| !event.transient) {
            return Some(Err(format!("{name}: {} follows the ending", shortened(&event.raw))));
        }
        seen = Some(Ok(()));
    }
    seen
}

pub(super) fn closes(_: &History, run: &Run) -> Word {
    let mut seen = None;
    for (name, connection) in connections(run).filter(|(_, c)| endings(c) > 0) {
        match connection.closed {
            Closed::Silent => return Some(Err(format!("{name}: still open after its ending"))),
            Closed::Broken => return Some(Err(format!("{name}: broken off after its ending"))),
            Closed::TooMuch => return Some(Err(format!("{name}: more than is read"))),
            Closed::Server | Closed::Reader | Closed::Refused => seen = Some(Ok(())),
        }
    }
    seen
}

/// Compared with the scripted upstream's text, where there is one.
pub(super) fn whole(_: &History, run: &Run) -> Word {
    let expected = run.expected.as_deref()?;
    let mut seen = None;
    if let (Scenario::Watched, Some(whole)) = (run.scenario, &run.replay) {
        let said = whole.text();
        return Some(if right(whole.ending(), expected, &said) {
            Ok(())
        } else {
            Err(difference(expected, &said))
        });
    }
    // A stream that stops without an ending does so when it is cancelled, too.
    let stopped = |reader: &Reader| {
        run.cancel.is_some() && reader.last().is_some_and(Connection::ended_silently)
    };
    for reader in run.readers.iter().filter(|reader| judged(reader) && !stopped(reader)) {
        let events = reader.assembled(run.replays);
        let said = text(events.iter().copied());
        let ending = events.iter().find_map(|event| event.ending);
        if !right(ending, expected, &said) && !is_upstream_cut(run) {
            return Some(Err(format!("{}: {}", reader.name, difference(expected, &said))));
        }
        seen = Some(Ok(()));
    }
    seen
}

/// A success has all of the text; else it is a beginning of it.
fn right(ending: Option<Ending>, expected: &str, said: &str) -> bool {
    match ending {
        Some(Ending::Success) => said == expected,
        Some(Ending::Incomplete | Ending::Failed | Ending::Cancelled) | None => {
            expected.starts_with(said)
        }
    }
}

/// Another check judges the meaning of an upstream that broke off.
fn is_upstream_cut(run: &Run) -> bool {
    matches!(run.scenario, Scenario::UpstreamReset | Scenario::UpstreamTruncated)
}

fn judged(reader: &Reader) -> bool {
    reader.name != "impossible" && reader.name != "away"
}

/// No server has to report it: a server that never does, does not offer it.
pub(super) fn usage(history: &History, run: &Run) -> Word {
    let told = |connection: &Connection| connection.events.iter().any(|e| e.used.is_some());
    let of_run = |run: &Run| successes(run).next().map(told);
    let offered = history.runs.iter().any(|run| of_run(run) == Some(true));
    let said = of_run(run).filter(|_| offered)?;
    Some(if said { Ok(()) } else { Err("a success without its usage".into()) })
}

/// The last connections of readers from the beginning that saw an undisturbed success.
fn successes(run: &Run) -> impl Iterator<Item = &Connection> {
    let whole = run.readers.iter().filter(|r| undisturbed(run) && r.connections.len() == 1);
    let last = whole.filter_map(Reader::last).filter(|c| c.cursor.is_none());
    last.filter(|connection| connection.ending() == Some(Ending::Success))
}

pub(super) fn used(_: &History, run: &Run) -> Word {
    let expected = run.tokens?;
    let mut seen = None;
    for used in successes(run).filter_map(|c| c.events.iter().find_map(|event| event.used)) {
        if used != expected {
            return Some(Err(format!("{used} output tokens, of {expected}")));
        }
        seen = Some(Ok(()));
    }
    seen
}

/// The place where a text first differs from the expected one.
pub(super) fn difference(expected: &str, said: &str) -> String {
    let at = expected.bytes().zip(said.bytes()).take_while(|(a, b)| a == b).count();
    let (all, have) = (expected.len(), said.len());
    if at == have && have < all {
        return format!("{have} of {all} bytes");
    }
    let rest = String::from_utf8_lossy(&said.as_bytes()[at..]).into_owned();
    format!("at byte {at} of {all} it says {}", shortened(&rest))
}

/// At most 60 characters.
pub(super) fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("`{}`", short.trim().replace('\n', "⏎"))
}
