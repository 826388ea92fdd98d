//! Readers that come back, and readers side by side.
use super::endings::{difference, shortened};
use super::{Word, watched};
use crate::history::{Closed, Connection, Ending, Event, History, Reader, Run, Scenario, text};

/// How a reader's events differ from the stream's.
enum Difference {
    Gap(String),
    Repeat(String),
    Other(String),
}

fn compare(whole: &[&Event], have: &[&Event]) -> Option<Difference> {
    let same = |(a, b): &(&&Event, &&Event)| a.raw == b.raw;
    let at = whole.iter().zip(have).take_while(same).count();
    let place = |what: &Event| format!("event {}: {}", at + 1, shortened(&what.raw));
    match (whole.get(at), have.get(at)) {
        (None, None) => None,
        (Some(missing), None) => Some(Difference::Gap(place(missing))),
        (None, Some(more)) => Some(Difference::Repeat(place(more))),
        (Some(missing), Some(other)) => {
            let later = whole[at..].iter().any(|event| event.raw == other.raw);
            let before = whole[..at].iter().any(|event| event.raw == other.raw);
            Some(match (before, later) {
                (true, _) => Difference::Repeat(place(other)),
                (false, true) => Difference::Gap(place(missing)),
                (false, false) => Difference::Other(place(other)),
            })
        }
    }
}

/// The whole stream: the events of a reader from the beginning, at last.
fn canonical(run: &Run) -> Option<Vec<&Event>> {
    let replay = run.replay.as_ref().filter(|replay| replay.ending().is_some())?;
    Some(replay.lasting().collect())
}

fn cut_readers(run: &Run) -> impl Iterator<Item = &Reader> {
    let cut = matches!(run.scenario, Scenario::Cut | Scenario::RoundRobin);
    // 204: the answer was over before its reader came back, and the protocol says no more.
    let told = |reader: &&Reader| reader.last().is_some_and(|last| last.status != 204);
    let back = move |reader: &&Reader| cut && reader.connections.len() > 1;
    run.readers.iter().filter(back).filter(told)
}

pub(super) fn gap(_: &History, run: &Run) -> Word {
    if run.scenario == Scenario::Watched {
        return watched::readers(run);
    }
    differs(run, |difference| match difference {
        Difference::Gap(place) | Difference::Other(place) => Some(place),
        Difference::Repeat(_) => None,
    })
}

pub(super) fn repeat(_: &History, run: &Run) -> Word {
    differs(run, |difference| match difference {
        Difference::Repeat(place) => Some(place),
        Difference::Gap(_) | Difference::Other(_) => None,
    })
}

fn differs(run: &Run, counts: fn(Difference) -> Option<String>) -> Word {
    let mut seen = None;
    for reader in cut_readers(run) {
        let have = reader.assembled(run.replays);
        let difference = match canonical(run) {
            Some(whole) => compare(&whole, &have),
            None => by_text(run, &have)?,
        };
        if let Some(place) = difference.and_then(counts) {
            return Some(Err(place));
        }
        seen = Some(Ok(()));
    }
    seen
}

/// Without a second reading of the stream, its text is all there is to compare.
fn by_text(run: &Run, have: &[&Event]) -> Option<Option<Difference>> {
    let expected = run.expected.as_deref()?;
    let said = text(have.iter().copied());
    let word = difference(expected, &said);
    Some(match said.len().cmp(&expected.len()) {
        _ if said == expected => None,
        std::cmp::Ordering::Less => Some(Difference::Gap(word)),
        std::cmp::Ordering::Greater => Some(Difference::Repeat(word)),
        std::cmp::Ordering::Equal => Some(Difference::Other(word)),
    })
}

/// A connection's text so far, after each connection, in their order.
fn shown(reader: &Reader, replays: bool) -> Vec<(String, &Connection)> {
    (1..=reader.connections.len())
        .map(|upto| {
            let part =
                Reader { name: String::new(), connections: reader.connections[..upto].to_vec() };
            (text(part.assembled(replays).into_iter()), &reader.connections[upto - 1])
        })
        .collect()
}

/// The shown text stays, unless the server says that it is void.
pub(super) fn keeps_what_was_shown(reader: &Reader, replays: bool) -> Result<(), String> {
    let mut had: Option<String> = None;
    for (after, connection) in shown(reader, replays) {
        let Some(before) = had.take() else {
            had = Some(after);
            continue;
        };
        let void = connection.events.iter().any(|event| event.void);
        if !connection.let_in() {
            return Err(match connection.status {
                0 => "resumed, and there was no answer".into(),
                status => format!("resumed, and answered with {status}"),
            });
        }
        let replaced = connection.status == 204;
        // A reader that leaves a replay early has the beginning of what it had.
        let left = connection.closed == Closed::Reader && connection.ending().is_none();
        if replays && left && before.starts_with(&after) {
            had = Some(before);
            continue;
        }
        if !void && !replaced && !after.starts_with(&before) {
            let lost = before.len();
            return Err(format!("{lost} bytes were shown, then: {}", difference(&before, &after)));
        }
        had = Some(after);
    }
    Ok(())
}

pub(super) fn prefix(_: &History, run: &Run) -> Word {
    let mut seen = None;
    for reader in cut_readers(run) {
        if let Err(violation) = keeps_what_was_shown(reader, run.replays) {
            return Some(Err(violation));
        }
        seen = Some(Ok(()));
    }
    seen
}

pub(super) fn after_end(_: &History, run: &Run) -> Word {
    (run.scenario == Scenario::AfterEnd).then(|| over(run)).flatten()
}

pub(super) fn later(_: &History, run: &Run) -> Word {
    (run.scenario == Scenario::Later).then(|| over(run)).flatten()
}

/// A stream that is over is the same for all later readers.
fn over(run: &Run) -> Word {
    let replay = run.replay.as_ref()?;
    let first = run.readers.first()?.last()?;
    if !replay.let_in() {
        return Some(Err(format!("read again, and answered with {}", replay.status)));
    }
    let whole: Vec<&Event> = first.lasting().collect();
    let again: Vec<&Event> = replay.lasting().collect();
    if let Some(difference) = compare(&whole, &again) {
        return Some(Err(format!("read again: {}", place(difference))));
    }
    for reader in run.readers.iter().skip(1) {
        let status = reader.last().map_or(0, |connection| connection.status);
        if !(200..300).contains(&status) {
            return Some(Err(format!("{}: answered with {status}", reader.name)));
        }
        if let Some(difference) = compare(&whole, &reader.assembled(run.replays)) {
            return Some(Err(format!("{}: {}", reader.name, place(difference))));
        }
    }
    Some(Ok(()))
}

fn place(difference: Difference) -> String {
    match difference {
        Difference::Gap(place) => format!("a gap at {place}"),
        Difference::Repeat(place) => format!("a repeat at {place}"),
        Difference::Other(place) => format!("another {place}"),
    }
}

pub(super) fn impossible(_: &History, run: &Run) -> Word {
    let reader = run.readers.iter().find(|reader| reader.name == "impossible")?;
    let answer = reader.last()?;
    if (400..500).contains(&answer.status) || answer.ending().is_none() && answer.status == 204 {
        return Some(Ok(()));
    }
    let whole = run.readers.first()?.last()?.text();
    let said = answer.text();
    // A snapshot has everything in one event, and may need no ending of its own.
    if answer.let_in() && said == whole {
        return Some(Ok(()));
    }
    let (had, all) = (said.len(), whole.len());
    Some(Err(format!("{} with {had} of {all} bytes, {:?}", answer.status, answer.closed)))
}

/// The first two readers of a run of this scenario.
fn two(run: &Run, scenario: Scenario) -> Option<(&Connection, &Connection)> {
    let of = |name: &str| run.readers.iter().find(|r| r.name == name)?.last();
    let both = (of("first")?, of("second")?);
    (run.scenario == scenario).then_some(both)
}

pub(super) fn agree(_: &History, run: &Run) -> Word {
    let (first, second) = two(run, Scenario::TwoReaders)?;
    // 204: the first reader was done before the second one came.
    (second.status != 204).then(|| same(first, second))
}

fn same(first: &Connection, second: &Connection) -> Result<(), String> {
    if !second.let_in() {
        return Err(format!("the second reader was answered with {}", second.status));
    }
    let whole: Vec<&Event> = first.lasting().collect();
    let other: Vec<&Event> = second.lasting().collect();
    compare(&whole, &other).map_or(Ok(()), |difference| Err(place(difference)))
}

/// The fast reader's connection and the slow reader, if the slow one stopped before the answer was
/// over; and when it stopped.
fn beside_a_slow_one(run: &Run) -> Option<(&Connection, &Reader, u64)> {
    if run.scenario != Scenario::Slow {
        return None;
    }
    let of = |name: &str| run.readers.iter().find(|reader| reader.name == name);
    let (first, second) = (of("first")?.last()?, of("second")?);
    let (stopped, _) = run.paused_us?;
    let ended = first.events.iter().find(|event| event.ending.is_some());
    ended.is_none_or(|event| event.at_us >= stopped).then_some((first, second, stopped))
}

pub(super) fn slow(_: &History, run: &Run) -> Word {
    let (first, second, _) = beside_a_slow_one(run)?;
    let last = second.last()?;
    if !last.let_in() || last.status == 204 {
        return Some(Err(format!("cut off, resumed, and answered with {}", last.status)));
    }
    let have = second.assembled(run.replays);
    let ending = have.iter().find_map(|event| event.ending);
    if ending.is_none() {
        return Some(Err(format!("no ending, {:?}", last.closed)));
    }
    let expected = run.expected.as_deref().filter(|_| ending == Some(Ending::Success));
    let said = text(have.iter().copied());
    if let Some(expected) = expected.filter(|expected| *expected != said) {
        return Some(Err(difference(expected, &said)));
    }
    // A fast reader that was held up has nothing to compare with.
    let whole: Vec<&Event> = first.lasting().collect();
    let differs = first.ending().and_then(|_| compare(&whole, &have));
    Some(differs.map_or(Ok(()), |difference| Err(place(difference))))
}

/// The slow reader reads on when the fast one is done: a fast one without an ending waited for it.
pub(super) fn held_up(_: &History, run: &Run) -> Word {
    let (first, _, stopped) = beside_a_slow_one(run)?;
    if first.ending().is_some() {
        return Some(Ok(()));
    }
    let during = first.events.iter().filter(|event| event.at_us >= stopped).count();
    let (closed, all) = (first.closed, first.events.len());
    Some(Err(format!("{during} of {all} events came while the other one read nothing, {closed:?}")))
}

pub(super) fn instances(history: &History, run: &Run) -> Word {
    if run.scenario != Scenario::RoundRobin {
        return None;
    }
    let words = [gap(history, run), repeat(history, run), prefix(history, run)];
    words.into_iter().flatten().reduce(Result::and)
}

#[cfg(test)]
mod tests {
    use super::keeps_what_was_shown;
    use crate::history::{Closed, Connection, Event, Reader};

    fn reader(texts: &[(&str, Closed)]) -> Reader {
        let connection = |(text, closed): &(&str, Closed)| Connection {
            status: 200,
            closed: *closed,
            events: vec![Event { text: (*text).into(), ..Event::default() }],
            ..Connection::default()
        };
        Reader { name: "reader".into(), connections: texts.iter().map(connection).collect() }
    }

    #[test]
    fn a_replay_that_its_reader_left_early_has_lost_nothing() {
        let (left, over) = (Closed::Reader, Closed::Server);
        let good = reader(&[("Once upon", left), ("Once", left), ("Once upon a time", over)]);
        assert_eq!(keeps_what_was_shown(&good, true), Ok(()));
        let short = reader(&[("Once upon", left), ("Once", over)]);
        assert!(keeps_what_was_shown(&short, true).is_err());
        let other = reader(&[("Once upon", left), ("Once", left), ("Once more", over)]);
        assert!(keeps_what_was_shown(&other, true).is_err(), "what it had first counts");
    }
}
