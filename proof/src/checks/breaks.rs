//! Servers that were killed, and upstreams that broke off.
use super::Word;
use super::endings::difference;
use super::resume::keeps_what_was_shown;
use crate::history::{Closed, Connection, Ending, History, Reader, Run, Scenario, text};

fn killed(run: &Run) -> Option<&Reader> {
    run.readers.first().filter(|_| run.scenario == Scenario::Kill && run.problem.is_none())
}

/// The reader was still reading when the server died.
fn was_cut(reader: &Reader) -> bool {
    reader.connections.first().is_some_and(|first| first.ending().is_none())
}

pub(super) fn shown(_: &History, run: &Run) -> Word {
    let reader = killed(run).filter(|reader| was_cut(reader) && run.resumable)?;
    if reader.connections.len() < 2 {
        return Some(Err("the server never answered again".into()));
    }
    // A 204 that declares it void is a silent loss: the reader gets nothing in its place.
    if reader.connections.iter().any(|connection| connection.status == 204) {
        let had = reader.connections[0].text().len();
        return Some(Err(format!("{had} bytes were shown, and the stream is gone (204)")));
    }
    Some(keeps_what_was_shown(reader, run.replays).and_then(|()| has_it_still(run, reader)))
}

/// A reader that begins at the stream's beginning gets the shown text, too.
fn has_it_still(run: &Run, reader: &Reader) -> Result<(), String> {
    let Some(replay) = &run.replay else { return Ok(()) };
    if !replay.let_in() {
        return Err(format!("read again, and answered with {}", replay.status));
    }
    let had = text(reader.assembled(run.replays).into_iter());
    let again = replay.text();
    if again.starts_with(&had) {
        return Ok(());
    }
    let shown = had.len();
    Err(format!("{shown} bytes were shown, and read again it has {}", difference(&had, &again)))
}

pub(super) fn ending(_: &History, run: &Run) -> Word {
    let reader = killed(run).filter(|reader| was_cut(reader))?;
    let broken = reader
        .connections
        .iter()
        .any(|c| c.closed == Closed::Broken && c.ending() == Some(Ending::Success));
    if broken {
        return Some(Err("broken off, and a success".into()));
    }
    let events = reader.assembled(run.replays);
    let ended = events.iter().find_map(|event| event.ending);
    let said = text(events.iter().copied());
    match (ended, run.expected.as_deref()) {
        (Some(Ending::Success), Some(expected)) if said != expected => {
            Some(Err(format!("a success, but {}", difference(expected, &said))))
        }
        (Some(_), _) => Some(Ok(())),
        (None, _) if !run.resumable => Some(Ok(())),
        (None, _) => Some(Err(format!("no ending after the restart: it {}", outcome(run)))),
    }
}

/// The outcome of a stream whose server was killed.
pub(super) fn outcome(run: &Run) -> &'static str {
    let Some(reader) = run.readers.first() else { return "could not be killed" };
    if !was_cut(reader) {
        return "was over before the kill";
    }
    let later = &reader.connections[1..];
    let Some(last) = later.last() else { return "cannot be resumed" };
    if !last.let_in() || last.status == 204 {
        return "is lost";
    }
    let void = later.iter().any(|c| c.events.iter().any(|event| event.void));
    match later.iter().find_map(Connection::ending) {
        None => "stays without an ending",
        Some(Ending::Failed | Ending::Incomplete | Ending::Cancelled) => {
            "ends, and says that it was cut"
        }
        Some(Ending::Success) if void => "begins again, and says so",
        Some(Ending::Success) => "goes on",
    }
}

pub(super) fn upstream_cut(_: &History, run: &Run) -> Word {
    if !matches!(run.scenario, Scenario::UpstreamReset | Scenario::UpstreamTruncated) {
        return None;
    }
    let connection = run.readers.first()?.last()?;
    let expected = run.expected.as_deref()?;
    let said = connection.text();
    let ended = connection.ending();
    Some(match ended {
        Some(Ending::Success) if said != expected => {
            let (had, all) = (said.len(), expected.len());
            Err(format!("a success with {had} of {all} bytes"))
        }
        // Without an ending it is no success: a reader can tell that a part is missing.
        Some(_) | None => Ok(()),
    })
}
