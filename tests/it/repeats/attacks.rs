//! Clients that try to get another's answer, or to pay for one's own twice.
use std::time::Duration;

use futures_util::future::join_all;

use super::{RETRY, begun, chat, gated, is_attached, whole};
use crate::harness::TestApp;
use crate::raw::{Answer as Bytes, RawStream, exchange, request};
use crate::upstream::{Answer, Gate};

fn generations(answers: &[Bytes]) -> std::collections::HashSet<&str> {
    answers.iter().map(|answer| answer.header("lastword-generation").unwrap()).collect()
}

/// A chat completion with this body.
fn posted(head: &str, body: &str) -> Vec<u8> {
    let head = format!("Content-Type: application/json\r\n{head}");
    request("POST /v1/chat/completions", &head, body.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_says_something_else_takes_nothing_over() {
    let gate = Gate::default();
    let (app, upstream) = gated(&gate).await;
    drop(begun(&app, "q").await);
    app.until_cut(1).await;
    gate.open();
    for other in [
        r#"{"model":"scripted","stream":true,"messages":[{"role":"user","content":"Q"}]}"#,
        r#"{"model":"scripted","stream":true,"n":1,"messages":[{"role":"user","content":"q"}]}"#,
        r#"{"model":"scripted","stream":true,"messages":[{"role":"system","content":"q"}]}"#,
        r#"{"model":"scripted","stream":true,"messages":[{"role":"user","content":"q"},
            {"role":"user","content":"q"}]}"#,
    ] {
        let answer = exchange(app.address, &posted(RETRY, other)).await;
        assert!(!is_attached(&answer) && whole(&answer), "{other}");
    }
    assert_eq!(upstream.requests().len(), 5);
    // The order of keys, white space and an escape are no difference.
    let same = r#"{ "messages" : [{"content":"\u0071","role":"user"}],
        "stream_options":{"include_usage":true}, "stream":false,"model":"scripted"}"#;
    let answer = exchange(app.address, &posted(RETRY, same)).await;
    assert!(is_attached(&answer));
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "Hello");
    assert_eq!(upstream.requests().len(), 5);
    app.stop().await;
}

/// As on a machine that is too busy to renew it in time.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_ran_out_takes_no_answer_from_a_reader_of_the_same_process() {
    let gate = Gate::default();
    let script = Answer::sse().text("Hel").wait(&gate).text("lo").complete();
    let (app, upstream) = TestApp::scripted(script, |config| {
        config.limits.lease = Duration::from_secs(600);
    })
    .await;
    let mut first = begun(&app, "q").await;
    let expire = "update instances set lease_until = clock_timestamp() - interval '1 second'";
    sqlx::query(expire).execute(&mut app.database.connect().await).await.unwrap();
    let mut second = begun(&app, "q").await;
    assert!(!is_attached(&second.answer()), "the first still reads");
    gate.open();
    for stream in [&mut first, &mut second] {
        stream.end().await;
        assert!(whole(&stream.answer()));
    }
    assert_eq!(upstream.requests().len(), 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_that_ask_the_same_gets_an_answer_of_its_own() {
    const TWINS: usize = 50;
    let gate = Gate::default();
    let (app, upstream) = gated(&gate).await;
    gate.open();
    for (round, sign) in [(1, ""), (2, RETRY)] {
        let asked = (0..TWINS).map(async |_| exchange(app.address, &chat("q", true, sign)).await);
        let answers = join_all(asked).await;
        assert!(answers.iter().all(|answer| whole(answer) && !is_attached(answer)), "{sign}");
        assert_eq!(generations(&answers).len(), TWINS);
        assert_eq!(upstream.requests().len(), round * TWINS);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_that_left_and_fifty_that_come_back_pair_one_to_one() {
    const TWINS: usize = 50;
    let gate = Gate::default();
    let (app, upstream) = gated(&gate).await;
    let first = join_all((0..TWINS).map(async |_| begun(&app, "q").await)).await;
    let paid: Vec<Bytes> = first.iter().map(RawStream::answer).collect();
    // They come back in the moment of leaving.
    drop(first);
    let again = join_all((0..TWINS).map(async |_| {
        let mut stream = RawStream::of(app.address, &chat("q", true, RETRY)).await;
        stream.until("Hel", 1).await;
        stream
    }));
    let mut again = again.await;
    gate.open();
    for stream in &mut again {
        stream.end().await;
    }
    let again: Vec<Bytes> = again.iter().map(RawStream::answer).collect();
    assert!(again.iter().all(|answer| is_attached(answer) && whole(answer)));
    assert_eq!(generations(&again), generations(&paid));
    assert_eq!(upstream.requests().len(), TWINS);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cancelled_or_erased_is_not_taken_over() {
    let gate = Gate::default();
    let (app, upstream) = gated(&gate).await;
    let mut ids = Vec::new();
    for cut in 1..=2 {
        let stream = begun(&app, "q").await;
        ids.push(stream.answer().header("lastword-generation").unwrap().to_owned());
        drop(stream);
        app.until_cut(cut).await;
    }
    app.client.cancel(&ids[0]).await;
    app.client.all(&ids[0], 0).await;
    gate.open();
    app.client.all(&ids[1], 0).await;
    let erased = app.client.http.delete(format!("{}/v1/generations/{}", app.client.base, ids[1]));
    assert_eq!(erased.send().await.unwrap().status(), 204);
    let answer = exchange(app.address, &chat("q", true, RETRY)).await;
    assert!(!is_attached(&answer) && whole(&answer), "{answer:?}");
    assert_eq!(upstream.requests().len(), 3);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_events_are_gone_is_taken_over_whole() {
    let gate = Gate::default();
    let (app, upstream) = gated(&gate).await;
    let stream = begun(&app, "q").await;
    let id = stream.answer().header("lastword-generation").unwrap().to_owned();
    drop(stream);
    app.until_cut(1).await;
    gate.open();
    app.client.all(&id, 0).await;
    app.database.forget_events().await;
    let answer = exchange(app.address, &chat("q", true, RETRY)).await;
    assert!(is_attached(&answer));
    let text = String::from_utf8_lossy(&answer.body);
    assert!(text.contains("Hello") && text.contains("[DONE]"), "{text}");
    assert_eq!(upstream.requests().len(), 1);
    app.stop().await;
}

/// The server ends the stream, and the client asks again in the same moment, without any sign.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_too_old_loses_nothing() {
    let gate = Gate::default();
    let script = Answer::sse().text("Hel").wait(&gate).text("lo").complete();
    let (app, upstream) = TestApp::scripted(script, |config| {
        config.limits.connection_age = Duration::from_millis(100);
    })
    .await;
    let first = exchange(app.address, &chat("q", true, "")).await;
    assert!(!whole(&first));
    for _ in 0..10 {
        let again = exchange(app.address, &chat("q", true, "")).await;
        assert!(is_attached(&again));
    }
    gate.open();
    let mut again = exchange(app.address, &chat("q", true, "")).await;
    while !whole(&again) {
        assert!(is_attached(&again));
        again = exchange(app.address, &chat("q", true, "")).await;
    }
    assert!(is_attached(&again));
    assert_eq!(upstream.requests().len(), 1);
    app.stop().await;
}
