//! Clients that go away while the log is slow: in the middle of a start, and of a take-over.
use sqlx::{Connection, PgConnection};

use super::{RETRY, begun, chat, gated, is_attached, whole};
use crate::eventually::eventually;
use crate::harness::TestApp;
use crate::raw::{RawStream, exchange, request};
use crate::upstream::Gate;

/// Counts starts and take-overs that wait for the test's lock.
const STARTING: &str = "select count(*) from pg_stat_activity where datname = current_database() \
     and wait_event_type = 'Lock' and query like 'with g as (insert into generations%'";
const ATTACHING: &str = "select count(*) from pg_stat_activity where datname = current_database() \
     and wait_event_type = 'Lock' and query like 'with free as (%'";

pub(super) async fn until_blocked(app: &TestApp, blocked: &'static str) {
    eventually("a statement waits", async || app.database.number(blocked).await > 0).await;
}

/// A request that was sent after another one's end is answered after that end was seen, mostly.
async fn a_moment(app: &TestApp) {
    exchange(app.address, &request("GET /healthz", "", b"")).await;
}

pub(super) async fn locked(connection: &mut PgConnection, sql: &'static str) {
    sqlx::query("begin").execute(&mut *connection).await.unwrap();
    sqlx::query(sql).execute(connection).await.unwrap();
}

pub(super) async fn unlocked(mut connection: PgConnection) {
    sqlx::query("commit").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_left_during_its_start_finds_its_answer() {
    let gate = Gate::default();
    let (app, upstream) = gated(&gate).await;
    let mut lock = app.database.connect().await;
    locked(&mut lock, "lock table generations in share row exclusive mode").await;
    let first = RawStream::of(app.address, &chat("q", false, "")).await;
    until_blocked(&app, STARTING).await;
    drop(first);
    a_moment(&app).await;
    unlocked(lock).await;
    upstream.arrived(1).await;
    let mut again = RawStream::of(app.address, &chat("q", true, RETRY)).await;
    again.until("Hel", 1).await;
    gate.open();
    again.end().await;
    assert!(is_attached(&again.answer()) && whole(&again.answer()));
    assert_eq!(upstream.requests().len(), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_left_while_it_took_its_answer_over_finds_it_again() {
    let gate = Gate::default();
    let (app, upstream) = gated(&gate).await;
    drop(begun(&app, "q").await);
    app.until_cut(1).await;
    let mut lock = app.database.connect().await;
    locked(&mut lock, "lock table request_reads in share mode").await;
    let second = RawStream::of(app.address, &chat("q", true, RETRY)).await;
    until_blocked(&app, ATTACHING).await;
    drop(second);
    a_moment(&app).await;
    unlocked(lock).await;
    // Taken by nobody, it is left again.
    app.until_cut(2).await;
    let mut third = RawStream::of(app.address, &chat("q", true, RETRY)).await;
    third.until("Hel", 1).await;
    gate.open();
    third.end().await;
    assert!(is_attached(&third.answer()) && whole(&third.answer()));
    assert_eq!(upstream.requests().len(), 1);
    app.stop().await;
}

/// A note of the close between a retry's looks, which come one right behind the other.
const CUT_AT_THE_FIRST_LOOK: &str = "\
create sequence looks; \
create function cut() returns trigger language plpgsql as $$ begin \
  if pg_trigger_depth() = 1 and nextval('looks') = 1 then \
    update request_reads set cut_at = clock_timestamp(), client_left = true; \
  end if; \
  return null; end $$; \
create trigger cut after update on request_reads for each statement execute function cut()";

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_looks_while_the_close_is_noted_finds_its_answer() {
    let gate = Gate::default();
    let (app, upstream) = gated(&gate).await;
    let first = begun(&app, "q").await;
    sqlx::raw_sql(CUT_AT_THE_FIRST_LOOK).execute(&mut app.database.connect().await).await.unwrap();
    let mut again = RawStream::of(app.address, &chat("q", true, RETRY)).await;
    again.until("Hel", 1).await;
    gate.open();
    again.end().await;
    assert!(is_attached(&again.answer()) && whole(&again.answer()));
    assert_eq!(upstream.requests().len(), 1);
    drop(first);
    app.stop().await;
}
