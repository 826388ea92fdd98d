//! The rules of a repeat over each protocol: its own bodies, its own ends.
use std::collections::HashSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{RETRY, is_attached};
use crate::harness::TestApp;
use crate::keys::{locked, make_key};
use crate::raw::{Answer as Bytes, RawStream, exchange, request};
use crate::upstream::{Answer, Gate, Script, Upstream};

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";
/// Fields that every protocol has, in front of the question.
const FIELDS: [(&str, &str); 2] = [("model", "\"scripted\""), ("stream", "true")];

/// The question of a route: the field and its value.
fn question(route: &str, text: &str) -> (&'static str, Value) {
    match route {
        RESPONSES => ("input", json!(text)),
        _ => ("messages", json!([{ "role": "user", "content": text }])),
    }
}

/// The fields of a body, in the order in which they are sent.
fn fields(route: &str, text: &str) -> Vec<(&'static str, String)> {
    let (name, value) = question(route, text);
    let mut fields: Vec<_> =
        FIELDS.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    fields.push((name, value.to_string()));
    fields.extend((route == MESSAGES).then(|| ("max_tokens", "100".to_owned())));
    fields
}

fn posted(route: &str, head: &str, fields: &[(&str, String)]) -> Vec<u8> {
    let body: Vec<String> =
        fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    let head = format!("Content-Type: application/json\r\n{head}");
    request(&format!("POST {route}"), &head, format!("{{{}}}", body.join(",")).as_bytes())
}

fn asked(route: &str, head: &str, text: &str) -> Vec<u8> {
    posted(route, head, &fields(route, text))
}

/// Whether the stream has all of the answer, once, and its end.
fn whole(answer: &Bytes) -> bool {
    let text = String::from_utf8_lossy(&answer.body);
    let ends = ["data: [DONE]", "event: response.completed", "event: message_stop"];
    let counts = ends.map(|end| text.matches(end).count());
    // A response ends with `[DONE]`, too.
    text.contains("Hel") && counts.contains(&1) && counts.iter().all(|count| *count < 2)
}

fn generation(answer: &Bytes) -> String {
    answer.header("lastword-generation").unwrap().to_owned()
}

async fn begun(app: &TestApp, posted: &[u8]) -> RawStream {
    let mut stream = RawStream::of(app.address, posted).await;
    stream.until("Hel", 1).await;
    stream
}

/// Each is read to its end, and whole.
async fn ended(streams: &mut [RawStream]) {
    for stream in streams {
        stream.end().await;
        assert!(whole(&stream.answer()), "{}", stream.seen());
    }
}

/// A model that begins, and goes on when the gate is open; without an end where it is asked so.
async fn gated(gate: &Gate) -> (TestApp, Upstream) {
    let goes_on = Answer::sse().text("Hel").wait(gate).text("lo").complete();
    let script = Script::with(move |request, _| {
        if request.text().contains("for ever") {
            return Answer::sse().text("Hel").stall();
        }
        goes_on.clone()
    });
    TestApp::scripted(script, |_| {}).await
}

async fn keeps_to_the_rules(route: &str) {
    let gate = Gate::default();
    let (app, upstream) = gated(&gate).await;
    let same = fields(route, "q");
    let first = begun(&app, &posted(route, "", &same)).await;
    let id = generation(&first.answer());
    // While the first still reads.
    let second = begun(&app, &posted(route, RETRY, &same)).await;
    assert!(!is_attached(&second.answer()), "{route}: the first still reads");
    drop(first);
    app.until_cut(1).await;
    let spelled_out = [&same[..], &[("temperature", "1".into())]].concat();
    let mut streams = vec![second];
    for other in [fields(route, "Q"), spelled_out] {
        let stream = begun(&app, &posted(route, RETRY, &other)).await;
        assert!(!is_attached(&stream.answer()), "{route}: another body");
        streams.push(stream);
    }
    let paid = upstream.requests().len();
    let reordered: Vec<_> = same.iter().cloned().rev().collect();
    let again = begun(&app, &posted(route, RETRY, &reordered)).await;
    assert!(is_attached(&again.answer()), "{route}: the same body");
    assert_eq!(generation(&again.answer()), id);
    assert_eq!(upstream.requests().len(), paid);
    streams.push(again);
    gate.open();
    ended(&mut streams).await;
    let later = exchange(app.address, &posted(route, RETRY, &same)).await;
    assert!(!is_attached(&later) && whole(&later), "{route}: after the end");
    assert_eq!(upstream.requests().len(), paid + 1);
    let cancelled = begun(&app, &asked(route, "", "for ever")).await;
    let id = generation(&cancelled.answer());
    drop(cancelled);
    app.until_cut(2).await;
    app.client.cancel(&id).await;
    let again = begun(&app, &asked(route, RETRY, "for ever")).await;
    assert!(!is_attached(&again.answer()), "{route}: after a cancel");
    app.client.cancel(&generation(&again.answer())).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_protocol_keeps_to_the_rules() {
    join_all([CHAT, RESPONSES, MESSAGES].map(keeps_to_the_rules)).await;
}

/// Many that ask the same get an answer each. Many that leave and come back find one each.
async fn pairs_one_to_one(route: &str) {
    const TWINS: usize = 50;
    let gate = Gate::default();
    let (app, upstream) = gated(&gate).await;
    let first = join_all((0..TWINS).map(async |_| begun(&app, &asked(route, "", "q")).await)).await;
    assert_eq!(upstream.requests().len(), TWINS, "{route}: an answer each");
    let of = |streams: &[RawStream]| -> HashSet<String> {
        streams.iter().map(|stream| generation(&stream.answer())).collect()
    };
    let paid = of(&first);
    assert_eq!(paid.len(), TWINS);
    drop(first);
    app.until_cut(TWINS as u64).await;
    let again = (0..TWINS).map(async |_| begun(&app, &asked(route, RETRY, "q")).await);
    let mut again = join_all(again).await;
    gate.open();
    ended(&mut again).await;
    assert!(again.iter().all(|stream| is_attached(&stream.answer())), "{route}");
    assert_eq!(of(&again), paid, "{route}: one to one");
    assert_eq!(upstream.requests().len(), TWINS, "{route}: nothing is paid twice");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_of_each_protocol_that_come_back_pair_one_to_one() {
    // Chat completions are in `attacks`.
    for route in [RESPONSES, MESSAGES] {
        pairs_one_to_one(route).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_or_tenant_takes_nothing_over_in_any_protocol() {
    let (app, own) = locked(&["--tenant", "one"]).await;
    let same_tenant = make_key(&app.database, &["--tenant", "one"]).await;
    let another = make_key(&app.database, &["--tenant", "two"]).await;
    let mut cut = 0;
    for route in [CHAT, RESPONSES, MESSAGES] {
        let mut body = fields(route, "/demo tokens=40 tps=100 ttft_ms=0");
        body[0].1 = "\"demo\"".into();
        let asked = |key: &str, sign: &str| {
            posted(route, &format!("Authorization: Bearer {key}\r\n{sign}"), &body)
        };
        let mut first = RawStream::of(app.address, &asked(&own, "")).await;
        first.until("demo", 1).await;
        let id = generation(&first.answer());
        drop(first);
        cut += 1;
        app.until_cut(cut).await;
        for key in [&same_tenant, &another] {
            let answer = exchange(app.address, &asked(key, "Lastword-Attach: 1\r\n")).await;
            assert_eq!(answer.status, 200, "{route}");
            assert!(!is_attached(&answer), "{route}: not its own");
        }
        let answer = exchange(app.address, &asked(&own, "Lastword-Attach: 1\r\n")).await;
        assert!(is_attached(&answer), "{route}");
        assert_eq!(generation(&answer), id, "{route}");
    }
    app.stop().await;
}
