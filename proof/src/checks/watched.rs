//! Streams of which more is known than their readers' connections. The history has all of the
//! stream, the server's words about it, and the answers to its starts.
use super::endings::{difference, shortened};
use super::{Word, ending_word};
use crate::history::{Connection, Event, History, Reader, Run, Scenario, View, text};

/// Numbers go up by one, from the first on. A late reader need not be told of void content. Numbers
/// may then be missing that other readers had before they were told so.
pub(super) fn numbered(_: &History, run: &Run) -> Word {
    if !run.numbered {
        return None;
    }
    let whole = run.replay.as_ref().filter(|replay| replay.let_in())?;
    let mut numbers = whole.lasting().filter_map(|event| Some((number(event)?, event.void)));
    let (mut last, _) = numbers.next()?;
    if run.scenario == Scenario::Watched && last != 1 {
        return Some(Err(format!("the first event is number {last}")));
    }
    for (number, is_void) in numbers {
        if number != last + 1 && !(is_void && were_shown(run, last + 1, number)) {
            return Some(Err(format!("{number} follows {last}")));
        }
        last = number;
    }
    Some(Ok(()))
}

fn number(event: &Event) -> Option<u64> {
    event.cursor.as_ref()?.parse().ok()
}

/// Readers had all events from this number to before that one.
fn were_shown(run: &Run, from: u64, to: u64) -> bool {
    let had = |wanted: u64| {
        let mut all = run.readers.iter().flat_map(|reader| &reader.connections);
        all.any(|c| c.events.iter().any(|event| number(event) == Some(wanted)))
    };
    from < to && (from..to).all(had)
}

/// Every connection has the stream's events behind its cursor, and nothing else.
pub(super) fn readers(run: &Run) -> Word {
    let whole: Vec<&Event> = run.replay.as_ref()?.lasting().collect();
    let judged = run.readers.iter().map(|reader| reads(run, reader, &whole));
    judged.reduce(Result::and)
}

fn reads(run: &Run, reader: &Reader, whole: &[&Event]) -> Result<(), String> {
    let forgets = |c: &Connection| c.events.iter().any(|event| is_snapshot(event, whole));
    let told = reader.connections.iter().rposition(forgets);
    if told.is_some() && !run.restored {
        return Err(format!("{}: told to forget what it had", reader.name));
    }
    for (n, connection) in reader.connections.iter().enumerate() {
        let place = |what: String| format!("{}, connection {}: {what}", reader.name, n + 1);
        if told.is_none_or(|last| n >= last) {
            follows(connection, whole).map_err(place)?;
        }
        let last = whole.last().and_then(|event| event.cursor.as_ref());
        match connection.status {
            200 => {}
            204 if connection.cursor.as_ref() == last => {}
            other => {
                let behind = connection.cursor.as_deref().unwrap_or("the beginning");
                return Err(place(format!("{other} behind {behind}")));
            }
        }
    }
    Ok(())
}

/// An event that replaces what came before, and that the stream itself does not have.
fn is_snapshot(event: &Event, whole: &[&Event]) -> bool {
    event.void && !whole.iter().any(|other| other.raw == event.raw)
}

/// Each event right behind the one before, with the stream's own bytes.
fn follows(connection: &Connection, whole: &[&Event]) -> Result<(), String> {
    let place = |cursor: &Option<String>| {
        let at = whole.iter().position(|event| &event.cursor == cursor);
        at.map_or(0, |at| at + 1)
    };
    let mut next = place(&connection.cursor);
    let snapshot = connection.events.iter().rposition(|event| is_snapshot(event, whole));
    let events = &connection.events[snapshot.unwrap_or_default()..];
    for event in events.iter().filter(|event| !event.transient) {
        if is_snapshot(event, whole) {
            next = place(&event.cursor);
            let expected = text(whole[..next].iter().copied());
            if event.text != expected {
                return Err(format!("a snapshot: {}", difference(&expected, &event.text)));
            }
            continue;
        }
        let raw = shortened(&event.raw);
        match whole.get(next) {
            Some(expected) if expected.raw == event.raw => next += 1,
            Some(expected) => return Err(format!("{raw} for {}", shortened(&expected.raw))),
            None => return Err(format!("{raw} is not in the stream")),
        }
    }
    Ok(())
}

/// The server's description of a stream is true of the stream.
pub(super) fn views(_: &History, run: &Run) -> Word {
    let whole = run.replay.as_ref().filter(|replay| replay.ending().is_some())?;
    let mut last = 0;
    let mut ended: Option<&View> = None;
    for view in &run.views {
        if let Err(violation) = says(run, view, whole) {
            return Some(Err(violation));
        }
        let place = view.place.as_ref().and_then(|place| place.parse().ok()).unwrap_or(last);
        // Receipts are asked for beside other questions: their order is not known.
        if place < last && !run.restored && !view.receipt {
            return Some(Err(format!("went back from {last} to {place}")));
        }
        last = if view.receipt { last } else { place };
        if view.ending.is_some() {
            if let Some(earlier) = ended.filter(|earlier| earlier.raw != view.raw) {
                let (was, is) = (shortened(&earlier.raw), shortened(&view.raw));
                return Some(Err(format!("changed after the end: {was}, then {is}")));
            }
            ended = Some(view);
        }
    }
    (!run.views.is_empty()).then_some(Ok(()))
}

fn says(run: &Run, view: &View, whole: &Connection) -> Result<(), String> {
    let what = if view.receipt { "a receipt" } else { "a view" };
    let place = view.place.as_ref();
    let behind = place.and_then(|p| whole.lasting().position(|e| e.cursor.as_ref() == Some(p)));
    if let Some(said) = &view.text {
        let all = whole.text();
        let right = match (behind, view.ending) {
            (Some(at), _) => *said == text(whole.lasting().take(at + 1)),
            (None, Some(_)) => *said == all,
            // The text that was void meanwhile may have been true then.
            (None, None) => all.starts_with(said.as_str()) || whole.events.iter().any(|e| e.void),
        };
        let is_lost = run.restored && view.ending.is_none();
        if !right && !is_lost {
            return Err(format!("{what}: {}", difference(&all, said)));
        }
    }
    let (Some(says), Some(ended)) = (view.ending, whole.ending()) else { return Ok(()) };
    if says != ended && !whole.ended_silently() {
        let words = (ending_word(says), ending_word(ended));
        return Err(format!("{what} says {}, the stream {}", words.0, words.1));
    }
    let last = whole.lasting().last().and_then(|event| event.cursor.as_ref());
    if place.is_some() && place != last {
        return Err(format!("{what} of the whole stream is at {place:?}, not at {last:?}"));
    }
    let used = whole.events.iter().find_map(|event| event.used);
    if view.place.is_some() && used.is_some() && used != view.used {
        return Err(format!("{what} says {:?} output tokens, the stream {used:?}", view.used));
    }
    Ok(())
}

/// One key, one generation.
pub(super) fn starts(run: &Run) -> Word {
    let first = run.starts.first()?;
    if run.starts.iter().any(|start| start.id != first.id) {
        return Some(Err(format!("one key, several generations: {:?}", run.starts)));
    }
    let anew = run.starts.iter().filter(|start| !start.replayed).count();
    Some(if anew > 1 { Err(format!("one key, {anew} starts")) } else { Ok(()) })
}

#[cfg(test)]
mod tests {
    use super::numbered;
    use crate::history::{Connection, Ending, Event, History, Reader, Run, Scenario};

    fn events(numbers: &[u64], void: u64) -> Vec<Event> {
        let event = |n: &u64| Event {
            cursor: Some(n.to_string()),
            void: *n == void,
            ending: (n == numbers.last().unwrap()).then_some(Ending::Success),
            ..Event::default()
        };
        numbers.iter().map(event).collect()
    }

    fn judged(shown: &[u64], replayed: &[u64], void: u64) -> bool {
        let connection = |events| Connection { status: 200, events, ..Connection::default() };
        let mut run = Run::new(Scenario::Kill, 0);
        run.numbered = true;
        let connections = vec![connection(events(shown, void))];
        run.readers.push(Reader { name: "reader".into(), connections });
        run.replay = Some(connection(events(replayed, void)));
        numbered(&History::default(), &run).unwrap().is_ok()
    }

    #[test]
    fn only_what_was_shown_and_is_void_may_be_left_out() {
        let all = [1, 2, 3, 4, 5, 6];
        assert!(judged(&all, &all, 5));
        assert!(judged(&all, &[1, 2, 5, 6], 5));
        assert!(!judged(&all, &[1, 2, 5, 6], 4), "nobody was told that it is void");
        assert!(!judged(&[1, 2, 4, 5, 6], &[1, 2, 5, 6], 5), "nobody saw the third");
        assert!(!judged(&all, &[1, 2, 2, 3, 4, 5, 6], 2), "one number twice");
    }
}
