//! Appends fill the journal, and folds empty it. A fold changes nothing for readers, no matter
//! which process folds. No process writes by a lane that was closed.
use std::sync::Arc;
use std::time::Duration;

use lastword::domain::entry::Entry;
use lastword::domain::event::Event;
use lastword::domain::id::{InstanceId, Seq, Tenant};
use lastword::ports::{Address, Claimed, Deleted, Log, LogError, LogWriter};
use lastword::store::{Durability, connect};
use sqlx::Connection;
use sqlx::migrate::Migrator;

use crate::database::TestDatabase;
use crate::eventually::eventually;
use crate::log_contract::{Bench, append, bench, claim, deltas, ending};
use crate::program::root;
use crate::wrong::{Mistake, wrong_log};

const WAITING: &str = "select count(*) from journal";
const LANES: &str = "select count(*) from lanes";

async fn pages(bench: &Bench, at: &Address, limit: u32) -> Vec<Vec<u64>> {
    let mut pages = Vec::new();
    for after in 0..42 {
        let page = bench.log.events.read(at, Seq(after), limit).await.unwrap();
        pages.push(page.iter().map(|entry| entry.seq.0).collect());
    }
    pages
}

#[tokio::test]
async fn folding_changes_nothing_that_is_read() {
    let bench = bench().await;
    let (at, beside) = (bench.generation().await, bench.generation().await);
    let mut writer = bench.log.events.writer(bench.owner);
    let read = async |writer: &mut Box<dyn LogWriter>| {
        let all = bench.log.events.read(&at, Seq::ZERO, 100).await.unwrap();
        let many = bench.log.events.read_many(&[(at.clone(), Seq(3))], 7).await.unwrap();
        let row = bench.log.generations.generation(&at).await.unwrap().unwrap();
        let tail = writer.tails(&[at.id, beside.id]).await.unwrap();
        (all, many, pages(&bench, &at, 5).await, row.last_seq, row.time_to_first_token_ms, tail)
    };
    for part in [2..=3, 4..=20, 21..=21, 22..=40] {
        let (mine, other) = (deltas(&at, 1, part.clone()), deltas(&beside, 1, part));
        writer.append(&[&mine, &other]).await.unwrap();
        let before = read(&mut writer).await;
        let folded = bench.log.upkeep.compact(bench.owner).await.unwrap();
        assert_eq!(folded, 2 * mine.entries.len() as u64);
        assert_eq!(bench.database.number(WAITING).await, 0);
        assert_eq!(read(&mut writer).await, before);
        assert_eq!(
            bench.log.upkeep.compact(bench.owner).await.unwrap(),
            0,
            "there is nothing left"
        );
    }
    let expected: Vec<Vec<u64>> =
        (0..42).map(|after| (after + 1..=40.min(after + 5)).collect()).collect();
    assert_eq!(pages(&bench, &at, 5).await, expected, "some of it in segments");
    append(writer.as_mut(), &deltas(&at, 1, 41..=41)).await.unwrap();
    assert_eq!(
        bench.log.events.read(&at, Seq(38), 9).await.unwrap().len(),
        3,
        "and some in the journal"
    );
}

/// The time at which the generation spoke, by its row and by its log.
async fn first_words(bench: &Bench, at: &Address) -> (Option<f64>, Option<f64>) {
    let by_log = "select (extract(epoch from first_content(id) - created_at) * 1000)::float8 \
         from generations where id = $1";
    let mut connection = bench.database.connect().await;
    let log = sqlx::query_scalar(by_log).bind(at.id.0).fetch_one(&mut connection).await.unwrap();
    (bench.log.generations.generation(at).await.unwrap().unwrap().time_to_first_token_ms, log)
}

/// Most short answers end before they are folded. A search of the journal for each of them would
/// take longer the more there are.
#[tokio::test]
async fn an_ending_knows_when_its_generation_spoke_without_a_search() {
    let bench = bench().await;
    let mut writer = bench.log.events.writer(bench.owner);
    let (early, late, never) =
        (bench.generation().await, bench.generation().await, bench.generation().await);
    let notice = Event::Notice { code: "x".into(), message: "y".into() };
    let mut noticed = deltas(&late, 1, 2..=3);
    noticed.entries[0] = Entry::encode(Seq(2), &notice);
    append(writer.as_mut(), &deltas(&early, 1, 2..=3)).await.unwrap();
    let search = "alter function first_content(uuid) rename to kept; \
        create function first_content(uuid) returns timestamptz language plpgsql as \
          $$ begin raise exception 'the log is searched'; end $$";
    let mut connection = bench.database.connect().await;
    sqlx::raw_sql(search).execute(&mut connection).await.unwrap();
    append(writer.as_mut(), &deltas(&early, 1, 4..=4)).await.unwrap();
    writer.append(&[&noticed, &ending(&early, 1, 5), &ending(&never, 1, 2)]).await.unwrap();
    append(writer.as_mut(), &ending(&late, 1, 4)).await.unwrap();
    let back =
        "drop function first_content(uuid); alter function kept(uuid) rename to first_content";
    sqlx::raw_sql(back).execute(&mut connection).await.unwrap();
    for at in [&early, &late] {
        let (row, log) = first_words(&bench, at).await;
        assert!(row.is_some() && row == log, "{row:?}, {log:?}");
    }
    assert_eq!(first_words(&bench, &never).await, (None, None));
    // Another lane has not seen its events, and searches.
    let at = bench.generation().await;
    append(writer.as_mut(), &deltas(&at, 1, 2..=3)).await.unwrap();
    let mut other = bench.log.events.writer(bench.owner);
    append(other.as_mut(), &ending(&at, 1, 4)).await.unwrap();
    let (row, log) = first_words(&bench, &at).await;
    assert!(row.is_some() && row == log, "{row:?}, {log:?}");
}

#[tokio::test]
async fn what_is_erased_is_not_folded_back() {
    let bench = bench().await;
    let (at, beside) = (bench.generation().await, bench.generation().await);
    let mut writer = bench.log.events.writer(bench.owner);
    let mine = ending(&at, 1, 2);
    writer.append(&[&mine, &deltas(&beside, 1, 2..=9)]).await.unwrap();
    assert_eq!(bench.log.generations.delete(&at).await.unwrap(), Deleted::Gone);
    append(writer.as_mut(), &deltas(&beside, 1, 10..=12)).await.expect("the lane goes on");
    bench.log.upkeep.compact(bench.owner).await.unwrap();
    assert_eq!(bench.log.events.read(&beside, Seq::ZERO, 100).await.unwrap().len(), 12);
    let left = "select count(*) from events where tenant is null";
    assert_eq!(bench.database.number(left).await, 0);
    assert_eq!(bench.database.number("select count(*) from events").await, 12);
}

#[tokio::test]
async fn what_a_dead_instance_left_is_folded_by_another() {
    let bench = bench().await;
    let at = bench.generation().await;
    append(bench.log.events.writer(bench.owner).as_mut(), &deltas(&at, 1, 2..=9)).await.unwrap();
    let other = InstanceId::random();
    assert_eq!(bench.log.upkeep.compact(other).await.unwrap(), 0, "its owner lives");
    bench.log.leases.heartbeat(bench.owner, Duration::ZERO).await.unwrap();
    assert_eq!(bench.log.upkeep.compact(other).await.unwrap(), 8);
    assert_eq!((bench.database.number(WAITING).await, bench.database.number(LANES).await), (0, 0));
    assert_eq!(bench.log.events.read(&at, Seq(1), 100).await.unwrap().len(), 8);
}

#[tokio::test]
async fn an_instance_that_ends_leaves_no_lane() {
    let bench = bench().await;
    let at = bench.generation().await;
    let mut writer = bench.log.events.writer(bench.owner);
    append(writer.as_mut(), &deltas(&at, 1, 2..=9)).await.unwrap();
    bench.log.leases.release(bench.owner).await.unwrap();
    assert_eq!((bench.database.number(WAITING).await, bench.database.number(LANES).await), (0, 0));
}

#[tokio::test]
async fn a_closed_lane_is_refused_and_the_next_one_goes_on_with_what_was_not_taken() {
    let bench = bench().await;
    let (taken, left) = (bench.generation().await, bench.generation().await);
    let mut writer = bench.log.events.writer(bench.owner);
    writer.append(&[&deltas(&taken, 1, 2..=3), &deltas(&left, 1, 2..=3)]).await.unwrap();
    bench.log.leases.heartbeat(bench.owner, Duration::ZERO).await.unwrap();
    let claimed = bench.log.ownership.take_over(&claim(&taken, bench.owner, 2, 4)).await.unwrap();
    assert_eq!(claimed, Claimed::Ours { cancel_requested: false });
    let refused = append(writer.as_mut(), &deltas(&left, 1, 4..=4)).await;
    assert!(matches!(refused, Err(LogError::Conflict)), "{refused:?}");
    append(writer.as_mut(), &deltas(&left, 1, 4..=4)).await.expect("its owner is still this one");
    let refused = append(writer.as_mut(), &deltas(&taken, 1, 5..=5)).await;
    assert!(matches!(refused, Err(LogError::Conflict)), "{refused:?}");
    assert_eq!(bench.log.events.read(&taken, Seq::ZERO, 100).await.unwrap().len(), 4);
}

/// The moments of a take-over, one at a time. An append that begins while the lanes are being
/// closed waits, and is refused.
#[tokio::test]
async fn an_append_waits_for_a_take_over_that_is_under_way() {
    let bench = bench().await;
    let at = bench.generation().await;
    let mut writer = bench.log.events.writer(bench.owner);
    append(writer.as_mut(), &deltas(&at, 1, 2..=3)).await.unwrap();
    let mut taker = bench.database.connect().await;
    let mut transaction = taker.begin().await.unwrap();
    for statement in
        ["select id from lanes where open for update", "update lanes set open = false where open"]
    {
        sqlx::query(statement).execute(&mut *transaction).await.unwrap();
    }
    #[expect(clippy::disallowed_methods, reason = "a test waits for it by itself")]
    let appending = tokio::spawn(async move {
        let result = append(writer.as_mut(), &deltas(&at, 1, 4..=4)).await;
        (result, at)
    });
    let blocked = "select count(*) from pg_stat_activity where datname = current_database() \
                   and wait_event_type = 'Lock'";
    eventually("it waits", async || bench.database.number(blocked).await > 0).await;
    transaction.commit().await.unwrap();
    let (result, at) = appending.await.unwrap();
    assert!(matches!(result, Err(LogError::Conflict)), "{result:?}");
    assert_eq!(bench.log.events.read(&at, Seq::ZERO, 100).await.unwrap().len(), 3);
}

/// An erasure, and an instance that clears a lane away, lock the lane first, and then its rows.
#[tokio::test]
async fn an_erasure_waits_for_a_lane_that_is_cleared_away_and_not_the_other_way_round() {
    let bench = bench().await;
    let at = bench.generation().await;
    append(bench.log.events.writer(bench.owner).as_mut(), &ending(&at, 1, 2)).await.unwrap();
    let mut clearing = bench.database.connect().await;
    let mut transaction = clearing.begin().await.unwrap();
    sqlx::query("select from lanes for update").execute(&mut *transaction).await.unwrap();
    let log = bench.log.clone();
    #[expect(clippy::disallowed_methods, reason = "a test waits for it by itself")]
    let erasing = tokio::spawn(async move { log.generations.delete(&at).await });
    let blocked = "select count(*) from pg_stat_activity where datname = current_database() \
                   and wait_event_type = 'Lock'";
    eventually("it waits", async || bench.database.number(blocked).await > 0).await;
    sqlx::query("delete from journal").execute(&mut *transaction).await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(erasing.await.unwrap().unwrap(), Deleted::Gone);
    assert_eq!(bench.database.number("select count(*) from events").await, 0);
}

/// Folds, appends, reads and an erasure at the same time: no reader misses an event, or has one
/// twice.
#[tokio::test(flavor = "multi_thread")]
async fn readers_see_every_event_once_while_it_is_folded() {
    let bench = Arc::new(bench().await);
    let at = bench.generation().await;
    let other: Log = wrong_log(&bench.database.url, Mistake::None).await;
    #[expect(clippy::disallowed_methods, reason = "a test ends it by itself")]
    let folding = {
        let (bench, other) = (Arc::clone(&bench), other.clone());
        tokio::spawn(async move {
            loop {
                let both = tokio::join!(
                    bench.log.upkeep.compact(bench.owner),
                    other.upkeep.compact(bench.owner)
                );
                both.0.unwrap();
                both.1.unwrap();
            }
        })
    };
    let mut writer = bench.log.events.writer(bench.owner);
    for seq in 2..=120 {
        append(writer.as_mut(), &deltas(&at, 1, seq..=seq)).await.unwrap();
        let read = bench.log.events.read(&at, Seq(seq.saturating_sub(30)), 100).await.unwrap();
        let seqs: Vec<u64> = read.iter().map(|entry| entry.seq.0).collect();
        let expected: Vec<u64> = (seq.saturating_sub(30) + 1..=seq).collect();
        assert_eq!(seqs, expected);
    }
    folding.abort();
}

/// The process that appended has copies of the rows to fold. Another one, or a later one, has none,
/// or old ones.
#[tokio::test]
async fn what_was_appended_is_folded_whether_its_copy_is_at_hand_or_not() {
    let bench = bench().await;
    let (at, beside) = (bench.generation().await, bench.generation().await);
    let other: Log = wrong_log(&bench.database.url, Mistake::None).await;
    let mut writer = bench.log.events.writer(bench.owner);
    let folds: [&Log; 4] = [&bench.log, &other, &bench.log, &other];
    for (n, by) in (0..).zip(folds) {
        let (mine, more) =
            (deltas(&at, 1, 2 + 4 * n..=3 + 4 * n), deltas(&at, 1, 4 + 4 * n..=5 + 4 * n));
        writer.append(&[&mine]).await.unwrap();
        writer.append(&[&more, &deltas(&beside, 1, n + 2..=n + 2)]).await.unwrap();
        assert_eq!(
            by.upkeep.compact(bench.owner).await.unwrap(),
            5,
            "whoever folds knows, or reads"
        );
    }
    let read = bench.log.events.read(&at, Seq::ZERO, 100).await.unwrap();
    let expected = deltas(&at, 1, 2..=17).entries;
    assert_eq!(
        read[1..].iter().map(Entry::json).collect::<Vec<_>>(),
        expected.iter().map(Entry::json).collect::<Vec<_>>()
    );
}

pub(crate) async fn before_version(version: i64, rows: &'static str) -> TestDatabase {
    let database = TestDatabase::empty().await;
    let mut connection = database.connect().await;
    let mut before = Migrator::new(root().join("migrations")).await.unwrap();
    let after = before.migrations.iter().position(|m| m.version == version).unwrap();
    before.migrations.to_mut().truncate(after);
    before.run(&mut connection).await.unwrap();
    sqlx::raw_sql(rows).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    database
}

/// Earlier versions had a row for each event.
#[tokio::test]
async fn rows_of_an_earlier_version_become_segments() {
    let rows = "insert into generations (id, tenant, status, model, provider, request, owner) \
                  values ('0199c0de-0000-7000-8000-000000000001', 'default', 'running', 'demo', 'demo', '{}', \
                    gen_random_uuid()); \
                insert into events (generation_id, seq, epoch, tenant, type, data) \
                  select '0199c0de-0000-7000-8000-000000000001', n, 1 + n / 400, 'default', 'delta', \
                    ('{\"text\":\"' || n || '\"}')::json from generate_series(1, 600) n";
    let database = before_version(7, rows).await;
    let log = wrong_log(&database.url, Mistake::None).await;
    let at = Address {
        tenant: Tenant::anonymous(),
        id: "0199c0de-0000-7000-8000-000000000001".parse().unwrap(),
    };
    let read = log.events.read(&at, Seq(0), 1000).await.unwrap();
    assert_eq!(read.len(), 600);
    for (n, entry) in (1..).zip(&read) {
        assert_eq!(entry.json(), format!("{{\"seq\":{n},\"type\":\"delta\",\"text\":\"{n}\"}}"));
        assert_eq!(entry.epoch.unwrap().0, 1 + n / 400);
    }
}

/// Later ones had arrays of them, in the journal and in segments.
#[tokio::test]
async fn arrays_of_an_earlier_version_become_lines() {
    let rows = "insert into lanes (id, owner) values ('00000000-0000-4000-8000-000000000001', gen_random_uuid()); \
                insert into segments (generation_id, seq, last, epoch, types, data, at) values \
                  ('0199c0de-0000-7000-8000-000000000001', 1, 3, 1, array['started', 'delta', 'delta'], \
                    array['}', '\"text\":\"a b\"}', '\"text\":\"\\n\"}'], array['2026-11-20 12:00:00.123456+00', \
                    '2026-11-20 12:00:00.1235+00', '2026-11-20 12:01:00+00']::timestamptz[]), \
                  ('0199c0de-0000-7000-8000-000000000001', 4, 4, 2, array['resumed'], array['\"attempt\":2}'], \
                    array['2026-11-20 12:02:00+00']::timestamptz[]); \
                insert into journal (lane, n, at, ids, seqs, epochs, types, data) values \
                  ('00000000-0000-4000-8000-000000000001', 1, '2026-11-20 12:02:00.25+00', \
                    array['0199c0de-0000-7000-8000-000000000001', '0199c0de-0000-7000-8000-000000000002', \
                      '0199c0de-0000-7000-8000-000000000001']::uuid[], array[5, 1, 6], array[2, 1, 2], \
                    array['delta', 'started', 'delta'], array['\"text\":\"  c\"}', '}', '\"text\":\"\"}']), \
                  ('00000000-0000-4000-8000-000000000001', 2, '2026-11-20 12:02:00.5+00', \
                    array['0199c0de-0000-7000-8000-000000000001']::uuid[], array[7], array[2], array['delta'], \
                    array['\"text\":\"d\"}']); \
                create table expected as select generation_id, seq, epoch, type, data::text, at from events";
    let database = before_version(10, rows).await;
    connect(database.url.parse().unwrap(), Durability::Required).await.unwrap().close().await;
    let same = "select count(*) from (select generation_id, seq, epoch, type, data::text, at from events \
                intersect select * from expected) same";
    assert_eq!(database.number(same).await, 8);
    assert_eq!(database.number("select count(*) from events").await, 8);
    assert_eq!(database.number("select count(*) from segments").await, 4);
    assert_eq!(database.number(WAITING).await, 0);
}

#[tokio::test]
async fn what_an_instance_of_an_earlier_version_still_writes_is_not_rewritten() {
    let lease = "insert into instances (id, lease_until) \
                 values ('00000000-0000-4000-8000-000000000001', clock_timestamp() + interval '1 hour')";
    let database = before_version(10, lease).await;
    let start = async || connect(database.url.parse().unwrap(), Durability::Required).await;
    let refused = start().await.unwrap_err().to_string();
    assert!(refused.contains("stop them all"), "{refused}");
    let mut connection = database.connect().await;
    sqlx::query("update instances set lease_until = 'epoch'")
        .execute(&mut connection)
        .await
        .unwrap();
    start().await.unwrap().close().await;
}
