//! Joins neighbouring texts of a backlog, so that a page that reopens a long answer gets a
//! handful of events.
use super::entry::{Entry, Kind};
use super::event::Event;

/// The longest joined text, in bytes: one event stays quick to parse and to show.
const JOINED_BYTES: usize = 64 * 1024;

/// `entries` with each run of texts of one kind joined into one entry. Its `from` is the first seq
/// that it covers.
#[must_use]
pub fn coalesce(entries: Vec<Entry>) -> Vec<Entry> {
    let mut joined: Vec<Entry> = Vec::new();
    let mut run: Vec<Entry> = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        let goes_on = run.last().is_some_and(|last| last.kind == entry.kind)
            && bytes + entry.json().len() <= JOINED_BYTES;
        if !(goes_on && is_text(entry.kind)) {
            joined.extend(close(std::mem::take(&mut run)));
            bytes = 0;
        }
        bytes += entry.json().len();
        run.push(entry);
    }
    joined.extend(close(run));
    joined
}

fn is_text(kind: Kind) -> bool {
    match kind {
        Kind::Delta | Kind::Reasoning | Kind::Refusal => true,
        Kind::Started
        | Kind::ToolCall
        | Kind::Superseded
        | Kind::Resumed
        | Kind::Snapshot
        | Kind::Notice
        | Kind::Extra
        | Kind::Unknown
        | Kind::Done => false,
    }
}

fn close(run: Vec<Entry>) -> Vec<Entry> {
    let [first, .., last] = run.as_slice() else { return run };
    let texts: Option<Vec<String>> = run.iter().map(text).collect();
    match texts {
        Some(texts) => vec![Entry::joined(first.seq, last.seq, last.kind, &texts.concat())],
        None => run,
    }
}

fn text(entry: &Entry) -> Option<String> {
    match entry.decode().ok()? {
        Event::Delta { text } | Event::Reasoning { text } | Event::Refusal { text } => Some(text),
        Event::Started { .. }
        | Event::ToolCall(_)
        | Event::Superseded { .. }
        | Event::Resumed { .. }
        | Event::Snapshot { .. }
        | Event::Notice { .. }
        | Event::Extra(_)
        | Event::Unknown
        | Event::Done(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::LossReason;
    use super::super::id::Seq;
    use super::*;

    #[test]
    fn runs_of_text_become_one_and_nothing_else_does() {
        let delta = |text: &str| Event::Delta { text: text.into() };
        let resumed = Event::Resumed { reason: LossReason::Takeover, attempt: 2 };
        let events = [delta("a"), delta("\"b"), resumed, delta("c"), delta("d"), delta("e")];
        let entries = events.iter().zip(2..).map(|(e, n)| Entry::encode(Seq(n), e)).collect();
        let joined: Vec<String> =
            coalesce(entries).iter().map(|entry| entry.json().to_owned()).collect();
        assert_eq!(
            joined,
            [
                r#"{"seq":3,"from":2,"type":"delta","text":"a\"b"}"#,
                r#"{"seq":4,"type":"resumed","reason":"takeover","attempt":2}"#,
                r#"{"seq":7,"from":5,"type":"delta","text":"cde"}"#,
            ]
        );
    }

    #[test]
    fn a_joined_text_is_bounded() {
        let event = Event::Delta { text: "x".repeat(1000) };
        let entries = (1..=200).map(|n| Entry::encode(Seq(n), &event)).collect();
        let joined = coalesce(entries);
        assert!(joined.len() > 2 && joined.iter().all(|e| e.json().len() <= JOINED_BYTES));
        assert_eq!(joined.last().map(|e| e.seq), Some(Seq(200)));
    }
}
