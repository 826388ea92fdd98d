//! Hints as a payload: who sends them, and as many of them as fit.
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::id::InstanceId;
use crate::ports::{Signal, To};

/// How the channels begin.
pub(super) const ALL: &str = "lastword";
/// Postgres refuses 8000 bytes and more.
const PAYLOAD: usize = 7999;

/// The payload of one `NOTIFY`.
#[derive(Serialize, Deserialize)]
struct Envelope {
    from: InstanceId,
    /// Each read for itself: an instance of another version may send what we do not know.
    signals: Vec<Box<RawValue>>,
}

/// The channel of one instance, or of all: of the deployment in one schema, which `space` tells
/// apart.
pub(super) fn channel(space: &str, to: To) -> String {
    match to {
        To::All => format!("{ALL}{space}"),
        // An identifier has at most 63 bytes: these are 50.
        To::One(instance) => format!("{ALL}{space}_{}", instance.0.simple()),
    }
}

/// The payloads, in order, that carry `signals`.
pub(super) fn pack(from: InstanceId, signals: &[Signal]) -> Vec<String> {
    let written = |signals| serde_json::to_string(&Envelope { from, signals }).unwrap_or_default();
    let empty = written(Vec::new()).len();
    let mut payloads = Vec::new();
    let (mut taken, mut length) = (Vec::new(), empty);
    for signal in signals {
        let Ok(json) = serde_json::value::to_raw_value(signal) else { continue };
        let bytes = json.get().len() + 1;
        if bytes > Signal::MOST_BYTES {
            tracing::error!(bytes, "a hint that is too long is dropped: a fault of lastword");
            continue;
        }
        if length + bytes > PAYLOAD {
            payloads.push(written(std::mem::take(&mut taken)));
            length = empty;
        }
        length += bytes;
        taken.push(json);
    }
    if !taken.is_empty() || payloads.is_empty() {
        payloads.push(written(taken));
    }
    payloads
}

/// The sender of a payload and the hints in it that we know; `None` if it is none of ours.
pub(super) fn unpack(payload: &str) -> Option<(InstanceId, Vec<Signal>)> {
    let envelope: Envelope = serde_json::from_str(payload).ok()?;
    let known = envelope.signals.iter().filter_map(|s| serde_json::from_str(s.get()).ok());
    Some((envelope.from, known.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::GenerationId;

    #[test]
    fn many_hints_travel_in_payloads_that_postgres_takes() {
        let me = InstanceId::random();
        let signals: Vec<Signal> =
            (0..500).map(|_| Signal::Cancel { generation: GenerationId::random() }).collect();
        let payloads = pack(me, &signals);
        assert!(payloads.len() > 1 && payloads.iter().all(|p| p.len() <= PAYLOAD));
        let mut back = Vec::new();
        for payload in &payloads {
            let (from, some) = unpack(payload).unwrap();
            assert_eq!(from, me);
            back.extend(some);
        }
        assert_eq!(back, signals);
        assert_eq!(unpack(&pack(me, &[])[0]), Some((me, vec![])));
    }

    #[test]
    fn what_a_later_version_sends_does_not_hide_the_rest() {
        let id = "00000000-0000-7000-8000-000000000000";
        let payload = format!(
            r#"{{"from":"{id}","signals":[{{"type":"news"}},{{"type":"released","owner":"{id}"}}]}}"#
        );
        let (_, known) = unpack(&payload).unwrap();
        assert!(matches!(known[..], [Signal::Released { .. }]));
        assert!(unpack("somebody else's").is_none());
    }
}
