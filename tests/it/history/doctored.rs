//! The checker finds every kind of fault: it gets a true history, and one lie at a time.
use reqwest::StatusCode;
use serde_json::json;

use super::{Connection, History, Started};
use crate::client::Received;

const ID: &str = "the-generation";

fn event(id: u64, name: &str, mut fields: serde_json::Value) -> Received {
    fields["seq"] = id.into();
    fields["type"] = name.into();
    Received { id, name: name.into(), data: fields.to_string() }
}

/// Started, "Hel", taken over, "lo", done.
fn log() -> Vec<Received> {
    vec![
        event(1, "started", json!({ "generation": ID })),
        event(2, "delta", json!({ "text": "Hel" })),
        event(3, "resumed", json!({ "reason": "takeover", "attempt": 2 })),
        event(4, "delta", json!({ "text": "lo" })),
        event(5, "done", json!({ "status": "completed", "usage": { "output_tokens": 2 } })),
    ]
}

fn connection(after: u64, events: &[Received]) -> Connection {
    Connection { after, status: StatusCode::OK, events: events.to_vec() }
}

fn truth() -> History {
    let log = log();
    let usage = json!({ "output_tokens": 2 });
    let view = json!({ "status": "completed", "text": "Hello", "last_seq": 5, "usage": usage });
    let mut receipt = view.clone();
    receipt["cancelled"] = false.into();
    let end = Connection { after: 5, status: StatusCode::NO_CONTENT, events: vec![] };
    History {
        id: ID.into(),
        starts: vec![
            Started { id: ID.into(), replayed: false },
            Started { id: ID.into(), replayed: true },
        ],
        readers: vec![
            vec![connection(0, &log)],
            vec![connection(0, &log[..2]), connection(2, &[]), connection(2, &log[2..]), end],
        ],
        views: vec![json!({ "status": "running", "text": "Hel", "last_seq": 3 }), view.clone()],
        receipts: vec![receipt],
        log,
        view,
        text: Some("Hello".into()),
        restored: false,
    }
}

/// A lie, and a word of the rule that it breaks.
type Lie = (&'static str, fn(&mut History), &'static str);

fn lies_of_the_log() -> Vec<Lie> {
    vec![
        ("a hole", |h| drop(h.log.remove(2)), "events.numbered"),
        ("a repeat", |h| h.log.insert(3, h.log[3].clone()), "events.numbered"),
        ("no ending", |h| drop(h.log.pop()), "ending.one: watched 1: the stream has no ending"),
        ("two endings", |h| h.log.push(event(6, "done", json!({}))), "ending.one"),
        (
            "a word behind the end",
            |h| h.log.push(event(6, "delta", json!({ "text": "!" }))),
            "ending.last",
        ),
        (
            "a second start",
            |h| h.log[2] = event(3, "started", json!({})),
            "`started` at the log's place 3",
        ),
        (
            "a false seq",
            |h| h.log[1].data = h.log[1].data.replace("\"seq\":2", "\"seq\":3"),
            "contradicts itself",
        ),
        ("another's log", |h| h.log[0] = event(1, "started", json!({})), "another generation's"),
        ("empty", |h| h.log.clear(), "ending.one"),
    ]
}

fn lies_of_readers() -> Vec<Lie> {
    vec![
        ("a hole", |h| drop(h.readers[0][0].events.remove(2)), "resume.gap: watched 1: reader"),
        (
            "a repeat",
            |h| h.readers[1][2].events.insert(0, log()[1].clone()),
            "resume.gap: watched 1: reader",
        ),
        (
            "a jump at the reconnect",
            |h| drop(h.readers[1][2].events.remove(0)),
            "resume.gap: watched 1: reader",
        ),
        ("other bytes", |h| h.readers[0][0].events[1].data.push(' '), "resume.gap"),
        (
            "an event that nobody else has",
            |h| {
                h.log.truncate(4);
                h.log.push(event(5, "done", json!({ "status": "failed" })));
            },
            "resume.gap",
        ),
        (
            "an event beyond the log",
            |h| h.readers[0][0].events.push(event(6, "delta", json!({ "text": "!" }))),
            "is not in the stream",
        ),
        (
            "a word behind the end",
            |h| h.readers[0][0].events.push(event(6, "delta", json!({ "text": "!" }))),
            "ending.last",
        ),
        ("let in too early", |h| h.readers[1][3].after = 4, "204 behind 4"),
        ("turned away", |h| h.readers[1][1].status = StatusCode::NOT_FOUND, "404 behind 2"),
        (
            "told to forget",
            |h| {
                h.readers[0][0].events[1] = event(2, "snapshot", json!({ "text": "Hel" }));
            },
            "told to forget",
        ),
        (
            "a false snapshot",
            |h| {
                h.restored = true;
                h.readers[0][0].events[1] = event(2, "snapshot", json!({ "text": "Hey" }));
            },
            "a snapshot: ",
        ),
    ]
}

fn lies_of_answers() -> Vec<Lie> {
    vec![
        ("another text", |h| h.view["text"] = "Hell".into(), "views.true"),
        ("another status", |h| h.view["status"] = "failed".into(), "differ in status"),
        ("another usage", |h| h.view["usage"] = json!({}), "differ in usage"),
        ("another length", |h| h.view["last_seq"] = 4.into(), "views.true"),
        ("a view that went back", |h| h.views.swap(0, 1), "went back from 5 to 3"),
        ("a view ahead of the log", |h| h.views[0]["text"] = "Hello".into(), "views.true"),
        ("a view that changed", |h| h.views[1]["attempts"] = 1.into(), "changed after the end"),
        (
            "a false receipt",
            |h| h.receipts[0]["last_seq"] = 4.into(),
            "a receipt of the whole stream is at",
        ),
        (
            "a receipt of a cancel that was none",
            |h| h.receipts[0]["cancelled"] = true.into(),
            "contradicts itself",
        ),
        (
            "cancelled by nobody",
            |h| {
                h.receipts.clear();
                h.log[4] = event(5, "done", json!({ "status": "cancelled" }));
            },
            "nobody had asked",
        ),
        ("two generations", |h| h.starts[1].id = "another".into(), "several generations"),
        ("two starts", |h| h.starts[1].replayed = false, "one key, 2 starts"),
        ("a word too few", |h| h.text = Some("Hello!".into()), "ending.true"),
        (
            "a word twice",
            |h| {
                h.log[3] = event(4, "delta", json!({ "text": "Hello" }));
            },
            "ending.true",
        ),
    ]
}

#[test]
fn the_truth_breaks_no_rule() {
    assert_eq!(truth().check(), [""; 0]);
    let mut reader_left = truth();
    reader_left.readers[0][0].events.truncate(4);
    assert_eq!(reader_left.check(), [""; 0], "a reader may leave before the end");
    let mut restored = truth();
    restored.restored = true;
    restored.readers[0] = vec![
        connection(0, &[log()[0].clone(), event(2, "delta", json!({ "text": "lost" }))]),
        connection(2, &[event(1, "snapshot", json!({ "text": "" }))]),
        connection(1, &log()[1..]),
    ];
    assert_eq!(restored.check(), [""; 0], "a restored log may be told");
}

#[test]
fn every_lie_is_seen() {
    let lies = [lies_of_the_log(), lies_of_readers(), lies_of_answers()].concat();
    for (name, doctor, rule) in &lies {
        let mut history = truth();
        doctor(&mut history);
        let found = history.check();
        assert!(found.iter().any(|v| v.contains(rule)), "{name}: {found:#?}");
    }
    println!("{} lies", lies.len());
}
