//! Hints as a payload: who sends them, and as many of them as fit.
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::signals::Signal;
use crate::domain::id::InstanceId;

/// One payload.
#[derive(Serialize, Deserialize)]
struct Envelope {
    from: InstanceId,
    /// Each read for itself: an instance of another version may send what we do not know.
    signals: Vec<Box<RawValue>>,
}

/// The payloads, in order, that carry `signals`, each of `most` bytes at most; one that says who is
/// there, if there are none. Entries that are too long for a payload stay behind: the log has them.
#[must_use]
pub fn pack(from: InstanceId, signals: &[Signal], most: usize) -> Vec<String> {
    let enveloped =
        |signals| serde_json::to_string(&Envelope { from, signals }).unwrap_or_default();
    let empty = enveloped(Vec::new()).len();
    let mut payloads = Vec::new();
    let (mut taken, mut length) = (Vec::new(), empty);
    for signal in signals {
        let written = |signal: &Signal| {
            let json = serde_json::value::to_raw_value(signal).ok();
            json.filter(|json| empty + json.get().len() < most)
        };
        let Some(json) = written(signal).or_else(|| written(&signal.without_entries())) else {
            tracing::error!(most, "a hint that is too long is dropped: a fault of lastword");
            continue;
        };
        let bytes = json.get().len() + 1;
        if length + bytes > most {
            payloads.push(enveloped(std::mem::take(&mut taken)));
            length = empty;
        }
        length += bytes;
        taken.push(json);
    }
    if !taken.is_empty() || payloads.is_empty() {
        payloads.push(enveloped(taken));
    }
    payloads
}

/// The sender of a payload and the hints in it that we know; `None` if it is none of ours.
#[must_use]
pub fn unpack(payload: &[u8]) -> Option<(InstanceId, Vec<Signal>)> {
    let envelope: Envelope = serde_json::from_slice(payload).ok()?;
    let known = envelope.signals.iter().filter_map(|s| serde_json::from_str(s.get()).ok());
    Some((envelope.from, known.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entry::Entry;
    use crate::domain::event::Event;
    use crate::domain::id::{Epoch, GenerationId, Seq};
    use crate::ports::Carried;

    const MOST: usize = 7999;

    #[test]
    fn many_hints_travel_in_payloads_that_are_taken() {
        let me = InstanceId::random();
        let signals: Vec<Signal> =
            (0..500).map(|_| Signal::Cancel { generation: GenerationId::random() }).collect();
        let payloads = pack(me, &signals, MOST);
        assert!(payloads.len() > 1 && payloads.iter().all(|p| p.len() <= MOST));
        let mut back = Vec::new();
        for payload in &payloads {
            let (from, some) = unpack(payload.as_bytes()).unwrap();
            assert_eq!(from, me);
            back.extend(some);
        }
        assert_eq!(back, signals);
        assert_eq!(unpack(pack(me, &[], MOST)[0].as_bytes()), Some((me, vec![])));
    }

    #[test]
    fn entries_that_do_not_fit_stay_behind_and_their_hint_goes() {
        let (me, generation) = (InstanceId::random(), GenerationId::random());
        let grown = |bytes: usize| {
            let text = Event::Delta { text: "\"".repeat(bytes) };
            let entry = Entry::encode(Seq(1), &text).by(Epoch(1));
            Signal::Grown { generation, entries: Carried::all(&[entry], usize::MAX) }
        };
        for bytes in [1, 1000, 1900, 2000, 2100, 5000, MOST] {
            let payloads = pack(me, &[grown(bytes), Signal::KeyChanged], MOST);
            assert!(payloads.iter().all(|p| p.len() <= MOST), "{bytes}");
            let back: Vec<Signal> =
                payloads.iter().flat_map(|p| unpack(p.as_bytes()).unwrap().1).collect();
            let whole = bytes < 2000;
            let first = if whole { grown(bytes) } else { grown(0).without_entries() };
            assert_eq!(back, [first, Signal::KeyChanged], "{bytes}");
        }
    }

    #[test]
    fn what_a_later_version_sends_does_not_hide_the_rest() {
        let id = "00000000-0000-7000-8000-000000000000";
        let payload = format!(
            r#"{{"from":"{id}","signals":[{{"type":"news"}},{{"type":"released","owner":"{id}"}}]}}"#
        );
        let (_, known) = unpack(payload.as_bytes()).unwrap();
        assert!(matches!(known[..], [Signal::Released { .. }]));
        assert!(unpack(b"somebody else's").is_none());
    }
}
