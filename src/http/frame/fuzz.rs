//! Frames are read back as they were written, by the specification and by the crate that clients
//! use.
use eventsource_stream::Eventsource;
use futures_util::{FutureExt, StreamExt, stream};
use proptest::prelude::*;

use super::*;
use crate::domain::event::{Event, ToolCallDelta};
use crate::domain::id::Seq;
use crate::fuzz::{cuts, hold, lines, pieces};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "\\PC{0,12}",
        4 => prop::collection::vec(prop::sample::select(vec![
            "\n", "\r", "\r\n", "\n\n", "data: x", "id: 9", ":", "\"", "\\", "\u{0}", "\u{2028}",
            "\u{FEFF}", "\u{1F980}", "\u{85}", "</script>", "event: done\n\n",
        ]), 0..8).prop_map(|parts| parts.concat()),
        1 => prop::collection::vec(any::<char>(), 0..8).prop_map(String::from_iter),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        text().prop_map(|text| Event::Delta { text }),
        text().prop_map(|text| Event::Reasoning { text }),
        text().prop_map(|text| Event::Refusal { text }),
        (text(), text()).prop_map(|(code, message)| Event::Notice { code, message }),
        (any::<u32>(), prop::option::of(text()), prop::option::of(text()), text()).prop_map(
            |(index, id, name, arguments)| {
                Event::ToolCall(ToolCallDelta {
                    index,
                    id,
                    name,
                    arguments,
                    ..ToolCallDelta::default()
                })
            }
        ),
    ]
}

/// The stream's events by the specification: `id`, `event` and `data`.
fn read(bytes: &[u8]) -> Vec<[String; 3]> {
    let (lines, _) = lines(bytes);
    let (mut events, mut now): (_, [Option<String>; 3]) = (Vec::new(), Default::default());
    for line in lines {
        let Some((name, value)) = line else {
            if let [Some(id), Some(kind), Some(data)] = std::mem::take(&mut now) {
                events.push([id, kind, data]);
            }
            continue;
        };
        let place = ["id", "event", "data"].iter().position(|field| field.as_bytes() == name);
        if let Some(place) = place {
            let twice = now[place].replace(String::from_utf8(value).unwrap());
            assert_eq!(twice, None, "one line each");
        }
    }
    assert_eq!(now, [None, None, None], "nothing is left unsaid");
    events
}

#[test]
fn every_event_is_read_as_it_was_written() {
    let entries = prop::collection::vec((1u64..=i64::MAX.unsigned_abs(), event()), 0..6);
    hold("encoder", &(entries, cuts()), |(events, cuts)| {
        let entries: Vec<Entry> =
            events.iter().map(|(seq, event)| Entry::encode(Seq(*seq), event)).collect();
        let bytes = [&opening()[..], &sse(&entries)[..], KEEP_ALIVE].concat();
        let expected: Vec<[String; 3]> = entries
            .iter()
            .map(|e| [e.seq.to_string(), e.kind.as_str().into(), e.json().into()])
            .collect();
        assert_eq!(read(&bytes), expected);
        for (entry, (seq, event)) in entries.iter().zip(&events) {
            assert_eq!(&entry.decode().unwrap(), event);
            let stored = Entry::from_stored(Seq(*seq), entry.kind.as_str(), entry.data()).unwrap();
            assert_eq!(&stored, entry);
        }
        let pieces = pieces(&bytes, &cuts).into_iter().map(|p| Ok::<_, std::io::Error>(p.to_vec()));
        let all = stream::iter(pieces.collect::<Vec<_>>()).eventsource().collect::<Vec<_>>();
        let heard = all.now_or_never().unwrap().into_iter().map(|event| {
            let event = event.unwrap();
            [event.id, event.event, event.data]
        });
        assert_eq!(heard.collect::<Vec<_>>(), expected);
    });
}
