//! For any frames of a client, in any pieces: the session answers or closes, keeps to its limits,
//! and is silent after its end.
use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fuzz::{cuts, hold, pieces};
use crate::http::protocols::websocket::session::*;
use crate::http::protocols::websocket::wire::Decoder;

const AGE: Duration = Duration::from_secs(3600);

/// A value that belongs somewhere, or not.
fn value() -> impl Strategy<Value = Value> {
    let id = |n: u32| json!(format!("0199aaaa-0000-7000-8000-00000000000{n}"));
    prop_oneof![
        6 => (0u32..6).prop_map(id),
        1 => Just(json!("0199AAAA-0000-7000-8000-000000000001")),
        2 => prop::sample::select(vec!["active", "paused", "x", "", "\u{0}", "a b", "é", "k"])
            .prop_map(|text| json!(text)),
        1 => any::<i64>().prop_map(|n| json!(n)),
        1 => any::<u64>().prop_map(|n| json!(n)),
        1 => any::<f64>().prop_map(|n| json!(n)),
        1 => prop::sample::select(vec![json!(null), json!(true), json!([]), json!({}), json!([{}])]),
        1 => Just(json!("x".repeat(300))),
    ]
}

/// A frame with fields that it may have, and others.
fn frame() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec![
        "hello",
        "generate",
        "subscribe",
        "subscribe",
        "unsubscribe",
        "cancel",
        "join",
        "join",
        "leave",
        "typing",
        "ping",
        "welcome",
        "",
        "Ping",
    ]);
    let name = prop::sample::select(vec![
        "ref",
        "generation",
        "conversation",
        "after",
        "coalesce",
        "token",
        "client",
        "state",
        "prompt",
        "messages",
        "conversation_id",
        "parent_id",
        "idempotency_key",
        "type",
        "other",
    ]);
    let named = (value(), value(), any::<bool>()).prop_map(|(generation, conversation, right)| {
        if right {
            json!({"generation": generation, "conversation": conversation, "state": "active"})
        } else {
            json!({})
        }
    });
    let object = (kind, named, prop::collection::vec((name, value()), 0..4)).prop_map(
        |(kind, mut frame, fields)| {
            frame["type"] = json!(kind);
            frame["ref"] = json!("r");
            for (name, value) in fields {
                frame[name] = value;
            }
            frame.to_string()
        },
    );
    prop_oneof![12 => object, 1 => ".{0,20}", 1 => Just("{\"type\":\"ping\"".to_owned())]
}

/// An event on a connection.
#[derive(Clone, Debug)]
enum Step {
    Say(String),
    /// A control frame or one that is wrong: its first byte and its payload.
    Raw(u8, Vec<u8>),
    /// Time passes, in milliseconds.
    Wait(u16),
    /// A credential was looked at.
    Identified(bool),
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let first = prop_oneof![
        3 => prop::sample::select(vec![0x89u8, 0x8a, 0x88, 0x01, 0x80, 0x82]),
        1 => any::<u8>(),
    ];
    prop_oneof![
        20 => frame().prop_map(Step::Say),
        2 => (first, prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(a, b)| Step::Raw(a, b)),
        2 => any::<u16>().prop_map(Step::Wait),
        3 => any::<bool>().prop_map(Step::Identified),
        1 => Just(Step::Close),
    ]
}

/// A client's frame as bytes.
fn masked(first: u8, payload: &[u8], out: &mut Vec<u8>) {
    let mask = [7, 0, 255, 128];
    let mut head = BytesMut::new();
    crate::http::protocols::websocket::wire::text_head(payload.len(), &mut head);
    head[0] = first;
    head[1] |= 0x80;
    out.extend_from_slice(&head);
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// Holds a session to its word.
struct Watched {
    session: Session,
    limits: SocketLimits,
    now: Instant,
    /// The output, for a comparison.
    said: Vec<String>,
}

impl Watched {
    fn new(known: bool, now: Instant) -> Self {
        let limits = SocketLimits { subscriptions: 2, joins: 2, ..SocketLimits::default() };
        let who = ("c".to_owned(), Participant::user("c".into(), "Guest".into()).unwrap());
        let (session, effects) = Session::open(who, limits, (known, AGE), now);
        let mut watched = Self { session, limits, now, said: Vec::new() };
        watched.check(false, &effects);
        watched
    }

    fn check(&mut self, was_closed: bool, effects: &[Effect]) {
        assert!(!was_closed || effects.is_empty(), "nothing after the end: {effects:?}");
        let mut sent = 0;
        for (n, effect) in effects.iter().enumerate() {
            let last = n + 1 == effects.len();
            match effect {
                Effect::Send(frame) => {
                    sent += 1;
                    let frame = serde_json::to_value(frame).unwrap();
                    assert!(frame["type"].is_string(), "{frame}");
                }
                Effect::Close(_) | Effect::Echo(_) => {
                    assert!(last && self.session.is_closed(), "{effects:?}");
                }
                Effect::Ping
                | Effect::Pong(_)
                | Effect::Do(_)
                | Effect::Drop(_)
                | Effect::Leave(_)
                | Effect::Type(..) => {}
            }
        }
        let tasks = effects.iter().filter(|effect| matches!(effect, Effect::Do(_))).count();
        assert!(sent + tasks <= 2, "one answer each, and a welcome: {effects:?}");
        assert!(self.session.following.len() <= self.limits.subscriptions);
        assert!(self.session.joined.len() <= self.limits.joins);
        assert!(self.session.is_closed() || self.session.alarm_at() <= self.now + AGE);
        self.said.push(format!("{effects:?}"));
    }

    fn hear(&mut self, heard: Result<Message, Fault>) {
        let closed = self.session.is_closed();
        let effects = self.session.hear(heard, self.now);
        self.check(closed, &effects);
    }

    fn step(&mut self, step: &Step) {
        let closed = self.session.is_closed();
        let effects = match step {
            Step::Say(_) | Step::Raw(..) => return,
            Step::Wait(ms) => {
                self.now += Duration::from_millis((*ms).into());
                if self.session.alarm_at() <= self.now && !closed {
                    self.session.alarm(self.now)
                } else {
                    Vec::new()
                }
            }
            // Only what was asked for is answered.
            Step::Identified(known) if matches!(self.session.phase, Phase::Identifying) => {
                self.session.identified(None, *known)
            }
            Step::Identified(_) => Vec::new(),
            Step::Close => self.session.close(CloseCode::Draining),
        };
        self.check(closed, &effects);
    }
}

/// Bytes of the steps up to one that is no bytes.
fn bytes_of(steps: &[Step]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for step in steps {
        match step {
            Step::Say(text) => masked(0x81, text.as_bytes(), &mut bytes),
            Step::Raw(first, payload) => masked(*first, payload, &mut bytes),
            Step::Wait(_) | Step::Identified(_) | Step::Close => {}
        }
    }
    bytes
}

fn is_bytes(step: &Step) -> bool {
    matches!(step, Step::Say(_) | Step::Raw(..))
}

/// All that is said to these steps, the bytes cut like this.
fn run(steps: &[Step], known: bool, cuts: &[prop::sample::Index]) -> Vec<String> {
    let mut watched = Watched::new(known, Instant::now());
    let mut decoder = Decoder::new(watched.limits.frame_bytes);
    let mut broken = false;
    for group in steps.chunk_by(|a, b| is_bytes(a) == is_bytes(b)) {
        let bytes = bytes_of(group);
        for piece in pieces(&bytes, cuts) {
            decoder.feed(Bytes::copy_from_slice(piece));
            while !broken && watched.session.hears() {
                match decoder.next() {
                    Ok(Some(message)) => watched.hear(Ok(message)),
                    Ok(None) => break,
                    Err(fault) => {
                        broken = true;
                        watched.hear(Err(fault));
                    }
                }
            }
        }
        for step in group {
            watched.step(step);
        }
    }
    watched.said.retain(|said| said != "[]");
    watched.said
}

#[test]
fn any_conversation_keeps_the_rules_however_its_bytes_are_cut() {
    let steps = prop::collection::vec(step(), 0..25);
    hold("frames", &(steps, any::<bool>(), cuts()), |(steps, known, cuts)| {
        let whole = run(&steps, known, &[]);
        assert_eq!(run(&steps, known, &cuts), whole);
    });
}
