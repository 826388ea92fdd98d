//! Retries that reach another instance, or come too late.
use std::collections::HashSet;

use futures_util::future::join_all;
use tempfile::TempDir;

use super::slow_log::{locked, unlocked, until_blocked};
use super::{RETRY, chat, gated, is_attached, whole};
use crate::eventually::eventually;
use crate::harness::{TestApp, config, model};
use crate::process::{Server, command};
use crate::raw::{Answer as Bytes, RawStream, exchange};
use crate::upstream::{Answer, Gate, Script, Upstream};

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

/// The instance has no lease to lose for ten minutes, and has written no event.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_instance_that_never_wrote_is_known_by_its_sessions() {
    let whole_answer = Answer::sse().text("Hel").text("lo").complete();
    let answers = Script::with(move |_, number| match number {
        0 => Answer::none().stall(),
        _ => whole_answer.clone(),
    });
    let upstream = Upstream::start(answers).await;
    let database = crate::database::TestDatabase::create().await;
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("lastword.toml");
    let model_of = "[[models]]\nname = 'scripted'\nprovider = 'openai'\nbase_url = ";
    std::fs::write(&file, format!("{model_of}'{}'\n", upstream.base_url())).unwrap();
    let mut serve = command(dir.path());
    serve.args(["--lease-s", "600", "--database-url", &database.url]).arg("--config").arg(&file);
    let one = Server::start(serve).await;
    let sessions = "select count(*) from lanes l join pg_stat_activity a \
         on a.pid = l.backend and a.backend_start = l.backend_start";
    eventually("it may write", async || database.number(sessions).await == 1).await;
    let waiting = RawStream::of(one.address, &chat("q", false, "")).await;
    upstream.arrived(1).await;
    one.kill().await;
    drop(waiting);
    eventually("its session ends", async || database.number(sessions).await == 0).await;
    let mut other = config(&database);
    other.models.push(model(&upstream));
    let two = TestApp::on(database, other).await;
    // Without a sign, too: the cut was the server's.
    let mut again = RawStream::of(two.address, &chat("q", false, "")).await;
    let attached = || two.engine.metrics().attached.get();
    eventually("it is answered", async || attached() + upstream.requests().len() as u64 > 1).await;
    assert_eq!((attached(), upstream.requests().len()), (1, 1));
    let expire = "update instances set lease_until = clock_timestamp() where lease_until > \
         clock_timestamp() + interval '1 minute'";
    sqlx::query(expire).execute(&mut two.database.connect().await).await.unwrap();
    again.end().await;
    let answer = again.answer();
    assert!(is_attached(&answer));
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "Hello");
    assert_eq!(upstream.requests().len(), 2, "the one that nobody answers, and one more");
    two.stop().await;
}

/// The log is slow, and the client is not: it asks another instance as soon as its stream ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_the_server_ends_is_noted_before_its_client_sees_that() {
    const NOTING: &str = "select count(*) from pg_stat_activity where datname = current_database() \
         and wait_event_type = 'Lock' and query like 'update request_reads r set cut_at%'";
    let gate = Gate::default();
    let (one, upstream) = gated(&gate).await;
    let two = TestApp::on(one.database.clone(), one.config.clone()).await;
    let mut first = begun(&one, "").await;
    let mut lock = one.database.connect().await;
    locked(&mut lock, "select from request_reads for update").await;
    let client = async {
        first.end().await;
        let mut again = RawStream::of(two.address, &chat("q", true, "")).await;
        again.until("Hel", 1).await;
        gate.open();
        again.end().await;
        again
    };
    let log = async {
        until_blocked(&two, NOTING).await;
        unlocked(lock).await;
    };
    let (again, (), _) = tokio::join!(client, log, one.stop());
    assert!(is_attached(&again.answer()) && whole(&again.answer()), "{:?}", again.answer());
    assert_eq!(upstream.requests().len(), 1);
    two.stop().await;
}
