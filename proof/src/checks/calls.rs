//! Cancels and repeated requests.
use super::{Word, ending_word, watched};
use crate::history::{Cancelled, Connection, Ending, History, Run, Scenario};

/// The cancel of a run that was still running, and the known ending of its stream.
fn cancelled(run: &Run) -> Option<(&Cancelled, Option<Ending>)> {
    let cancel = run.cancel.as_ref()?;
    let last = run.readers.first()?.last()?;
    // Where the stream only stops, its state names the ending.
    let state = run.views.last().and_then(|view| view.ending).filter(|_| last.ended_silently());
    let seen = state.or(last.ending());
    let replay = run.replay.as_ref().and_then(Connection::ending);
    (cancel.asked && cancel.was_running).then_some((cancel, seen.or(replay)))
}

pub(super) fn receipt(_: &History, run: &Run) -> Word {
    let (cancel, ended) = cancelled(run)?;
    if !(200..300).contains(&cancel.status) {
        // A server that has no cancel for this stream says so.
        return None;
    }
    let (says, ended) = (cancel.says?, ended?);
    let words = (ending_word(says), ending_word(ended));
    Some(if says == ended {
        Ok(())
    } else {
        Err(format!("the receipt says {}, the stream {}", words.0, words.1))
    })
}

pub(super) fn ending(_: &History, run: &Run) -> Word {
    if run.scenario == Scenario::Watched {
        let ended = run.replay.as_ref()?.ending()?;
        let unasked = ended == Ending::Cancelled && !run.views.iter().any(|view| view.receipt);
        return Some(if unasked {
            Err("cancelled, and nobody had asked for it".into())
        } else {
            Ok(())
        });
    }
    let (cancel, ended) = cancelled(run)?;
    if !(200..300).contains(&cancel.status) {
        return None;
    }
    // Readers and a replay have to agree in it.
    let seen = run.readers.first()?.last()?.ending();
    let replay = run.replay.as_ref().filter(|replay| replay.let_in()).and_then(Connection::ending);
    if let (Some(seen), Some(replay)) = (seen, replay)
        && seen != replay
    {
        let words = (ending_word(seen), ending_word(replay));
        return Some(Err(format!("ended {}, and read again {}", words.0, words.1)));
    }
    Some(match ended {
        Some(Ending::Success) => Err("cancelled, and it ended as a success".into()),
        Some(Ending::Cancelled | Ending::Incomplete | Ending::Failed) => Ok(()),
        None => Err("cancelled, and it never ended".into()),
    })
}

/// Closed in time; a disconnect is a cancel only for servers that treat it as one.
pub(super) fn upstream(history: &History, run: &Run) -> Word {
    let cancel = run.cancel.as_ref().filter(|cancel| cancel.was_running)?;
    run.upstream.as_ref()?;
    let within = history.cancel_within_ms;
    match cancel.upstream_closed_ms {
        Some(_) => Some(Ok(())),
        None if cancel.asked && (200..300).contains(&cancel.status) => {
            Some(Err(format!("still open after {within} ms")))
        }
        None => None,
    }
}

/// The two answers, if the server says that they are one generation.
fn one_generation(run: &Run) -> Option<(&Connection, &Connection)> {
    if run.scenario != Scenario::Retry {
        return None;
    }
    let of = |name: &str| run.readers.iter().find(|r| r.name == name)?.last();
    let (first, second) = (of("first")?, of("repeated")?);
    let same = first.id.is_some() && first.id == second.id;
    // An id that every answer has identifies nothing.
    let scripted = first.id.as_deref() == Some("chatcmpl-streamproof");
    (second.replayed || same && !scripted).then_some((first, second))
}

pub(super) fn generation(_: &History, run: &Run) -> Word {
    if run.scenario == Scenario::Watched {
        return watched::starts(run);
    }
    let (first, second) = one_generation(run)?;
    let (before, after) = (first.text(), second.text());
    if first.id != second.id {
        return Some(Err(format!("replayed, but {:?} became {:?}", first.id, second.id)));
    }
    if second.let_in() && !after.starts_with(&before) {
        return Some(Err("one generation, but it says something else".into()));
    }
    Some(Ok(()))
}

pub(super) fn asked_once(_: &History, run: &Run) -> Word {
    one_generation(run)?;
    match run.upstream.as_ref()?.requests {
        0 | 1 => Some(Ok(())),
        more => Some(Err(format!("{more} requests at the upstream"))),
    }
}
