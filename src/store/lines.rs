//! Events as the tables have them: a line each, in one text.
//!
//! The text format of stored events. A row of the journal has a line per event, `seq epoch type
//! data`. A segment has `microseconds type data`, counted from its first event. `data` is
//! [`Entry::data`], JSON without a line break.
use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::str::FromStr;

use uuid::Uuid;

use crate::domain::entry::{BadEntry, Entry, decimal};
use crate::domain::id::{Epoch, Seq};
use crate::ports::{Append, LogError};

/// A line of the journal, taken apart.
#[derive(Clone, Copy)]
pub(super) struct Noted<'a> {
    pub(super) seq: i64,
    pub(super) epoch: i32,
    /// Type and data.
    pub(super) event: &'a str,
}

/// Adds a line for the journal to `lines`.
pub(super) fn note(lines: &mut String, epoch: Epoch, entry: &Entry) {
    begin(lines);
    lines.push_str(decimal(entry.seq.0, &mut [0; 20]));
    lines.push(' ');
    lines.push_str(decimal(epoch.0.unsigned_abs().into(), &mut [0; 20]));
    for word in [entry.name(), entry.data()] {
        lines.push(' ');
        lines.push_str(word);
    }
}

/// The row of the journal that `batch` becomes: for each event its generation, and its line in
/// parts that copy no long event.
pub(super) fn in_parts<'a>(batch: &[&'a Append]) -> (Vec<Uuid>, Vec<Cow<'a, str>>) {
    let (mut ids, mut parts) = (Vec::new(), Vec::new());
    for append in batch {
        for entry in &append.entries {
            let line = if ids.is_empty() { "" } else { "\n" };
            let (seq, epoch) = (entry.seq, append.epoch.0.unsigned_abs());
            parts.push(Cow::Owned(format!("{line}{seq} {epoch} {} ", entry.name())));
            parts.push(Cow::Borrowed(entry.data()));
            ids.push(append.at.id.0);
        }
    }
    (ids, parts)
}

/// The lines of a row of the journal, in the order of its generations.
pub(super) fn noted(lines: &str) -> impl Iterator<Item = Result<Noted<'_>, LogError>> {
    lines.split('\n').map(|line| {
        let (seq, rest) = number(line)?;
        let (epoch, event) = number(rest)?;
        Ok(Noted { seq, epoch, event })
    })
}

/// Adds a line for a segment to `lines`: an event's type and data, so many microseconds behind the
/// first.
pub(super) fn add(lines: &mut String, micros: u64, event: &str) {
    begin(lines);
    lines.push_str(decimal(micros, &mut [0; 20]));
    lines.push(' ');
    lines.push_str(event);
}

/// The events of a segment that lie `within`; its first one is `first`.
pub(super) fn entries(
    first: Seq,
    epoch: Epoch,
    lines: &str,
    within: &RangeInclusive<Seq>,
) -> impl Iterator<Item = Result<Entry, LogError>> {
    let numbered = (first.0..).map(Seq).zip(lines.split('\n'));
    numbered.filter(|(seq, _)| within.contains(seq)).map(move |(seq, line)| {
        let mut words = line.splitn(3, ' ');
        let (Some(_), Some(kind), Some(data)) = (words.next(), words.next(), words.next()) else {
            return Err(broken());
        };
        let bad = |e: BadEntry| LogError::Broken(e.to_string());
        Ok(Entry::from_stored(seq, kind, data).map_err(bad)?.by(epoch))
    })
}

fn begin(lines: &mut String) {
    if !lines.is_empty() {
        lines.push('\n');
    }
}

fn number<T: FromStr>(line: &str) -> Result<(T, &str), LogError> {
    let (number, rest) = line.split_once(' ').ok_or_else(broken)?;
    Ok((number.parse().map_err(|_| broken())?, rest))
}

fn broken() -> LogError {
    LogError::Broken("a line of the log is not one of ours".into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::event::Event;

    proptest! {
        #[test]
        fn what_is_noted_and_folded_is_read_back(
            texts in prop::collection::vec(any::<String>(), 1..6),
            first in 1u64..1 << 50,
            epoch in 1i32..,
        ) {
            let events = texts.into_iter().map(|text| Event::Delta { text });
            let said: Vec<Entry> = (first..)
                .zip(events)
                .map(|(seq, event)| Entry::encode(Seq(seq), &event).by(Epoch(epoch)))
                .collect();
            let (mut journal, mut segment) = (String::new(), String::new());
            said.iter().for_each(|entry| note(&mut journal, Epoch(epoch), entry));
            for (n, line) in (0..).zip(noted(&journal)) {
                let line = line.unwrap();
                prop_assert_eq!((line.seq.unsigned_abs(), line.epoch), (first + n, epoch));
                add(&mut segment, n * 1000, line.event);
            }
            let read = |within| {
                let read = entries(Seq(first), Epoch(epoch), &segment, &within);
                read.collect::<Result<Vec<_>, _>>().unwrap()
            };
            prop_assert_eq!(&read(Seq::ZERO..=Seq(u64::MAX)), &said);
            prop_assert_eq!(&read(Seq(first + 1)..=Seq(first + 2)), &said[1..said.len().min(3)]);
        }
    }

    #[test]
    fn what_is_no_line_is_an_error() {
        for text in ["", "1", "1 1", "x 1 delta }", "1 x delta }"] {
            assert!(noted(text).any(|line| line.is_err()), "{text}");
        }
        for text in ["", "0", "0 delta", "0 Token }", "0 delta []"] {
            let mut read = entries(Seq(1), Epoch(1), text, &(Seq(1)..=Seq(9)));
            assert!(read.any(|entry| entry.is_err()), "{text}");
        }
    }
}
