//! The session without a network: frames in, effects out.
use serde_json::{Value, json};

use crate::http::protocols::websocket::session::*;

const ID: &str = "0199aaaa-0000-7000-8000-000000000001";

const AGE: Duration = Duration::from_secs(3600);

fn who() -> (String, Participant) {
    ("c".into(), Participant::user("c".into(), "Guest".into()).unwrap())
}

fn limits() -> SocketLimits {
    SocketLimits { subscriptions: 2, ..SocketLimits::default() }
}

fn guest() -> Value {
    json!({"id": "c", "name": "Guest", "kind": "user"})
}

/// A connection that needs no credential, past its welcome.
fn open(now: Instant) -> Session {
    Session::open(who(), limits(), (true, AGE), now).0
}

fn say(session: &mut Session, frame: &Value, now: Instant) -> Vec<Effect> {
    session.hear(Ok(Message::Text(frame.to_string())), now)
}

/// The one frame that is sent.
fn sent(effects: &[Effect]) -> Value {
    match effects {
        [Effect::Send(frame)] => serde_json::to_value(frame).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn closed(effects: &[Effect]) -> CloseCode {
    match effects {
        [.., Effect::Close(code)] => *code,
        other => panic!("{other:?}"),
    }
}

fn slot_of(effects: &[Effect]) -> Slot {
    match effects {
        [.., Effect::Do(Task::Open { slot, .. })] => *slot,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_credential_a_hello_has_to_come_in_time() {
    let now = Instant::now();
    let (mut session, effects) = Session::open(who(), limits(), (false, AGE), now);
    assert!(effects.is_empty(), "no welcome yet");
    assert_eq!(session.alarm_at(), now + Duration::from_secs(5));
    assert!(session.alarm(now).is_empty());
    assert_eq!(closed(&session.alarm(session.alarm_at())), CloseCode::NoHello);

    let (mut session, _) = Session::open(who(), limits(), (false, AGE), now);
    let early = json!({"type": "cancel", "ref": 1, "generation": ID});
    assert_eq!(closed(&say(&mut session, &early, now)), CloseCode::Credential);

    let (mut session, _) = Session::open(who(), limits(), (false, AGE), now);
    let effects = say(&mut session, &json!({"type": "hello", "ref": 1, "token": "t"}), now);
    assert!(matches!(&effects[..], [Effect::Do(Task::Identify { token, .. })] if token == "t"));
    assert!(!session.hears(), "what follows waits for who it is");
    let effects = session.identified(Some(Ref::Number(1)), true);
    assert!(matches!(&effects[0], Effect::Send(ServerFrame::Welcome { .. })));
    assert_eq!(sent(&effects[1..]), json!({"type": "ack", "ref": 1, "participant": guest()}));

    let (mut session, _) = Session::open(who(), limits(), (false, AGE), now);
    assert_eq!(closed(&say(&mut session, &json!({"type": "hello"}), now)), CloseCode::Credential);

    let mut session = open(now);
    assert_eq!(sent(&say(&mut session, &json!({"type": "hello", "ref": 1}), now))["type"], "ack");
    say(&mut session, &json!({"type": "hello", "ref": 2, "token": "t"}), now);
    let effects = session.identified(Some(Ref::Number(2)), true);
    assert_eq!(
        sent(&effects),
        json!({"type": "ack", "ref": 2, "participant": guest()}),
        "one welcome"
    );
    say(&mut session, &json!({"type": "hello", "ref": 2, "token": "t"}), now);
    assert_eq!(closed(&session.identified(None, false)), CloseCode::Credential);
    assert!(say(&mut session, &json!({"type": "ping"}), now).is_empty(), "nothing after the end");
}

#[tokio::test(start_paused = true)]
async fn a_malformed_frame_is_answered_with_its_ref_and_ten_are_too_many() {
    let mut now = Instant::now();
    let mut session = open(now);
    let cases = [
        (json!("text"), None, "invalid_type"),
        (json!({"type": "ping", "ref": {}}), None, "invalid_type"),
        (json!({"type": "ping", "ref": 1.5}), None, "invalid_type"),
        (json!({"ref": "a"}), Some("a"), "missing_field"),
        (json!({"type": "pong", "ref": "a"}), Some("a"), "unknown_type"),
        (json!({"type": "cancel", "ref": "a"}), Some("a"), "missing_field"),
        (json!({"type": "cancel", "ref": "a", "generation": 7}), Some("a"), "invalid_type"),
        (
            json!({"type": "subscribe", "ref": "a", "generation": ID, "after": -1}),
            Some("a"),
            "invalid_cursor",
        ),
        (json!({"type": "generate", "ref": "a", "prompt": 7}), Some("a"), "invalid_type"),
    ];
    for (frame, reference, code) in &cases {
        let answer = sent(&say(&mut session, frame, now));
        let got = (answer["type"].as_str(), answer.get("ref").and_then(Value::as_str));
        assert_eq!(got, (Some("error"), *reference), "{frame}");
        assert_eq!(answer["code"], *code, "{frame}: {answer}");
    }
    now += Duration::from_secs(60);
    for _ in 0..9 {
        let effects = session.hear(Ok(Message::Text("{".into())), now);
        assert_eq!(sent(&effects)["code"], "invalid_json");
    }
    let effects = session.hear(Ok(Message::Text("{".into())), now);
    assert_eq!((effects.len(), closed(&effects)), (2, CloseCode::BadFrames));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_exist_is_no_mistake() {
    let now = Instant::now();
    let mut session = open(now);
    for _ in 0..20 {
        for kind in ["subscribe", "unsubscribe", "cancel"] {
            let answer = sent(&say(
                &mut session,
                &json!({"type": kind, "ref": "x", "generation": "nonsense"}),
                now,
            ));
            assert_eq!((&answer["code"], &answer["ref"]), (&json!("not_found"), &json!("x")));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_subscription_replaces_the_first() {
    let now = Instant::now();
    let mut session = open(now);
    let subscribe = json!({"type": "subscribe", "ref": 1, "generation": ID, "after": 3});
    let first = slot_of(&say(&mut session, &subscribe, now));
    let generation = ID.parse().unwrap();
    assert!(session.follows(generation, first));
    let effects = say(&mut session, &subscribe, now);
    assert!(matches!(effects[..], [Effect::Drop(slot), Effect::Do(_)] if slot == first));
    let second = slot_of(&effects);
    assert!(!session.follows(generation, first) && session.follows(generation, second));

    let gone = json!({"type": "unsubscribe", "ref": 2, "generation": ID});
    let effects = say(&mut session, &gone, now);
    assert!(matches!(effects[0], Effect::Drop(slot) if slot == second));
    assert_eq!(sent(&effects[1..]), json!({"type": "ack", "ref": 2, "generation": ID}));
    assert!(!session.follows(generation, second));
    assert_eq!(sent(&say(&mut session, &gone, now))["type"], "ack", "twice is the same as once");
}

#[tokio::test(start_paused = true)]
async fn subscriptions_are_limited_and_their_ends_make_room() {
    let now = Instant::now();
    let mut session = open(now);
    let id = |n: u32| format!("0199aaaa-0000-7000-8000-00000000000{n}");
    let subscribe = |n| json!({"type": "subscribe", "ref": n, "generation": id(n)});
    let one = slot_of(&say(&mut session, &subscribe(1), now));
    say(&mut session, &subscribe(2), now);
    let refusal = sent(&say(&mut session, &subscribe(3), now));
    assert_eq!(
        (&refusal["code"], &refusal["limit"]),
        (&json!("too_many_subscriptions"), &json!(2))
    );
    let generation = id(1).parse().unwrap();
    let complete = Standing { now: Some((Status::Completed, Seq(9))), complete: true };
    let ack = sent(&session.subscribed(Some(Ref::Number(1)), (generation, one), complete));
    let expected = json!({"type": "ack", "ref": 1, "generation": id(1), "status": "completed",
        "last_seq": 9, "complete": true});
    assert_eq!(ack, expected);
    slot_of(&say(&mut session, &subscribe(3), now));
    assert!(session.ended(id(2).parse().unwrap(), true).is_empty(), "`done` has said it");
    let lost = sent(&session.ended(id(3).parse().unwrap(), false));
    assert_eq!((&lost["code"], &lost["generation"]), (&json!("subscription_lost"), &json!(id(3))));
    assert_eq!(lost.get("ref"), None);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_followed_already_goes_on_where_it_is() {
    let now = Instant::now();
    let mut session = open(now);
    let found = |complete| Found {
        generation: ID.parse().unwrap(),
        replayed: true,
        receipt: json!({"id": ID}),
        complete,
    };
    let (effects, slot) = session.started(Some(Ref::Number(1)), found(false));
    assert!(slot.is_some());
    let expected = json!({"type": "ack", "ref": 1, "generation": ID, "replayed": true,
        "complete": false, "id": ID});
    assert_eq!(sent(&effects), expected);
    assert!(session.started(None, found(false)).1.is_none(), "no event comes twice");
    session.ended(ID.parse().unwrap(), true);
    assert!(session.started(None, found(true)).1.is_none(), "nothing follows");
}

#[tokio::test(start_paused = true)]
async fn two_unanswered_pings_are_the_end() {
    let now = Instant::now();
    let mut session = open(now);
    for _ in 0..2 {
        assert!(matches!(session.alarm(session.alarm_at())[..], [Effect::Ping]));
    }
    session.hear(Ok(Message::Pong), session.alarm_at());
    for _ in 0..2 {
        assert!(matches!(session.alarm(session.alarm_at())[..], [Effect::Ping]));
    }
    assert_eq!(closed(&session.alarm(session.alarm_at())), CloseCode::NoPong);

    let mut session = open(now);
    assert_eq!(closed(&session.alarm(now + AGE)), CloseCode::TooOld);
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_cut_and_a_steady_client_is_not() {
    let now = Instant::now();
    let mut session = open(now);
    for n in 0..10_000u32 {
        let at = now + Duration::from_millis(10) * n;
        assert!(session.hear(Ok(Message::Pong), at).is_empty(), "100 a second is allowed");
    }
    let at = now + Duration::from_secs(200);
    for _ in 0..1000 {
        assert!(session.hear(Ok(Message::Part), at).is_empty(), "and 1000 at once");
    }
    assert_eq!(closed(&session.hear(Ok(Message::Part), at)), CloseCode::Rate);

    let mut session = open(now);
    let large = json!({"type": "ping", "x": "x".repeat(250_000)});
    let answers = (0..100).map(|_| say(&mut session, &large, now));
    let codes: Vec<_> = answers.filter(|e| matches!(e[..], [Effect::Close(_)])).collect();
    assert_eq!(closed(&codes[0]), CloseCode::Rate, "bytes count, too");
}

#[tokio::test(start_paused = true)]
async fn a_close_is_answered_with_its_code_and_is_the_last() {
    let now = Instant::now();
    let mut session = open(now);
    assert!(matches!(
        session.hear(Ok(Message::Close(Some(3333))), now)[..],
        [Effect::Echo(Some(3333))]
    ));
    assert!(session.hear(Err(Fault::Protocol), now).is_empty());
    assert!(session.close(CloseCode::Draining).is_empty());
    for (fault, code) in [
        (Fault::Protocol, CloseCode::Protocol),
        (Fault::Binary, CloseCode::Binary),
        (Fault::NotUtf8, CloseCode::NotUtf8),
        (Fault::TooLarge, CloseCode::TooLarge),
    ] {
        assert_eq!(closed(&open(now).hear(Err(fault), now)), code);
    }
}
