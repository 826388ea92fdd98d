//! Retries that reach another instance, or come too late.
use std::collections::HashSet;

use futures_util::future::join_all;

use super::{RETRY, chat, gated, is_attached, whole};
use crate::harness::TestApp;
use crate::raw::{Answer as Bytes, RawStream, exchange};
use crate::upstream::Gate;

/// Its answer goes on without a reader, for however long the test takes.
const GOES_ON: &str = "Lastword-On-Disconnect: continue\r\n";

async fn begun(app: &TestApp, head: &str) -> RawStream {
    let mut stream = RawStream::of(app.address, &chat("q", true, head)).await;
    stream.until("Hel", 1).await;
    stream
}

fn generation(answer: &Bytes) -> String {
    answer.header("lastword-generation").unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_left_find_their_answers_on_another_instance() {
    const CLIENTS: usize = 12;
    let gate = Gate::default();
    let (one, upstream) = gated(&gate).await;
    let two = TestApp::on(one.database.clone(), one.config.clone()).await;
    let first = join_all((0..CLIENTS).map(async |_| begun(&one, GOES_ON).await)).await;
    let left: HashSet<String> = first.iter().map(|stream| generation(&stream.answer())).collect();
    // One of them stays.
    let mut first = first.into_iter();
    let mut reading = first.next().unwrap();
    drop(first);
    one.until_cut(CLIENTS as u64 - 1).await;
    let again = join_all((1..CLIENTS).map(async |_| begun(&two, RETRY).await));
    let mut again = again.await;
    assert_eq!(upstream.requests().len(), CLIENTS, "all are taken over");
    gate.open();
    for stream in again.iter_mut().chain([&mut reading]) {
        stream.end().await;
        assert!(whole(&stream.answer()));
    }
    assert!(again.iter().all(|stream| is_attached(&stream.answer())));
    let mut found: HashSet<String> =
        again.iter().map(|stream| generation(&stream.answer())).collect();
    assert_eq!(found.len(), CLIENTS - 1, "one to one");
    assert!(found.insert(generation(&reading.answer())), "never the one that is read");
    assert_eq!(found, left);
    two.stop().await;
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_two_minutes_a_repeat_is_a_new_question() {
    let gate = Gate::default();
    let (app, upstream) = gated(&gate).await;
    drop(begun(&app, GOES_ON).await);
    app.until_cut(1).await;
    let later = "update request_reads set cut_at = cut_at - interval '121 seconds'";
    sqlx::query(later).execute(&mut app.database.connect().await).await.unwrap();
    gate.open();
    let answer = exchange(app.address, &chat("q", true, RETRY)).await;
    assert!(!is_attached(&answer) && whole(&answer));
    assert_eq!(upstream.requests().len(), 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_its_own_decides_alone() {
    let gate = Gate::default();
    let (app, upstream) = gated(&gate).await;
    drop(begun(&app, GOES_ON).await);
    app.until_cut(1).await;
    gate.open();
    let keyed = chat("q", true, &format!("{RETRY}Idempotency-Key: k\r\n"));
    let first = exchange(app.address, &keyed).await;
    assert!(!is_attached(&first) && whole(&first), "another start");
    let replayed = exchange(app.address, &keyed).await;
    assert_eq!(generation(&replayed), generation(&first));
    let answer = exchange(app.address, &chat("q", true, RETRY)).await;
    assert!(is_attached(&answer), "the keyless one is still there");
    assert_eq!(upstream.requests().len(), 2);
    app.stop().await;
}
