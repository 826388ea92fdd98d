//! Migrations that take long run in portions that a kill does not undo. Lines say how far they are
//! and what others wait for. A schema changes under load.
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lastword::domain::id::Seq;
use lastword::ports::Address;
use lastword::store::{Durability, connect};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr};
use tokio::time::timeout;

use crate::client::PATIENCE;
use crate::database::TestDatabase;
use crate::eventually::eventually;
use crate::harness::{TestApp, config};
use crate::journal::before_version;
use crate::log_contract::bench;
use crate::process::{Server, command};
use crate::program::root;
use crate::wrong::{Mistake, wrong_log};

/// A program that starts, and its log.
struct Starting {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
    _dir: TempDir,
}

impl Starting {
    fn on(database: &TestDatabase) -> Self {
        let dir = TempDir::new().unwrap();
        let mut serve = command(dir.path());
        serve
            .args(["--database-url", &database.url])
            .env("RUST_LOG", "info")
            .stderr(Stdio::piped());
        let mut child = serve.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, log, _dir: dir }
    }

    /// The next line of its log that says this.
    async fn says(&mut self, words: &str) -> String {
        loop {
            let line = timeout(PATIENCE, self.log.next_line()).await.expect("it says it in time");
            let line = line.unwrap().unwrap_or_else(|| panic!("it ended before it said {words}"));
            if line.contains(words) {
                return line;
            }
        }
    }

    async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// 3,000 answers of 4 events each, in the tables of the version before the journal.
const ROWS: &str = "insert into generations (id, tenant, status, model, provider, request, owner) \
      select ('01c0c0de-0000-7000-8000-' || lpad(to_hex(g), 12, '0'))::uuid, 'default', 'running', 'demo', \
        'demo', '{}', gen_random_uuid() from generate_series(1, 3000) g; \
    insert into events (generation_id, seq, epoch, tenant, type, data) \
      select ('01c0c0de-0000-7000-8000-' || lpad(to_hex(g), 12, '0'))::uuid, n, 1, 'default', 'delta', \
        ('{\"text\":\"' || g || ' ' || n || '\"}')::json from generate_series(1, 3000) g, generate_series(1, 4) n; \
    create table expected as select generation_id, seq, epoch, type, data::text, at from events";

/// The same in arrays, as versions 7 to 9 had them.
async fn before_lines() -> TestDatabase {
    let database = before_version(7, ROWS).await;
    let mut ours = Migrator::new(root().join("migrations")).await.unwrap();
    let until = ours.migrations.iter().position(|m| m.version == 10).unwrap();
    ours.migrations.to_mut().truncate(until);
    ours.run(&mut database.connect().await).await.unwrap();
    database
}

async fn assert_moved(database: &TestDatabase) {
    let same = "select count(*) from (select generation_id, seq, epoch, type, data::text, at from events \
                intersect select * from expected) same";
    assert_eq!(database.number(same).await, 12_000);
    // Nobody owns these answers: whoever starts goes on with them, behind their events.
    assert_eq!(database.number("select count(*) from events where seq <= 4").await, 12_000);
    let left = "select count(*) from pg_namespace where nspname in ('lastword_moving', 'earlier')";
    assert_eq!(database.number(left).await, 0);
}

/// The names of all objects of the tables of events.
async fn names(database: &TestDatabase) -> Vec<String> {
    let sql = "select conname::text || ' of ' || conrelid::regclass::text from pg_constraint \
               where conrelid in ('segments'::regclass, 'segments_other'::regclass) \
               union all select indexrelid::regclass::text from pg_index \
               where indrelid in ('segments'::regclass, 'segments_other'::regclass) order by 1";
    sqlx::query_scalar(sql).fetch_all(&mut database.connect().await).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_is_killed_goes_on_and_others_wait_and_say_for_what() {
    let database = before_lines().await;
    // A reader locks the table: the last step, which puts the new ones in its place, has to wait.
    let mut holder = database.connect().await;
    let mut looking = holder.begin().await.unwrap();
    sqlx::query("lock table segments in access share mode").execute(&mut *looking).await.unwrap();
    let mut killed = Starting::on(&database);
    let line = killed.says("\"migrates\"").await;
    assert!(line.contains("\"version\":10") && line.contains("\"of\":12000"), "{line}");
    killed.kill().await;
    let done = "select coalesce(sum(last - seq + 1), 0)::bigint from lastword_moving.segments";
    assert!(database.number(done).await >= 2_000, "what was done is kept");
    let mut first = Starting::on(&database);
    first.says("a migration that was broken off goes on").await;
    first.says("waits for a table that is in use").await;
    let mut second = Starting::on(&database);
    let line = second.says("waits for another instance to migrate the database").await;
    assert!(line.contains("lastword migration 10"), "it says for what: {line}");
    looking.rollback().await.unwrap();
    for starting in [&mut first, &mut second] {
        let mut out = BufReader::new(starting.child.stdout.take().unwrap()).lines();
        while let Some(line) = timeout(PATIENCE, out.next_line()).await.unwrap().unwrap() {
            if line.contains("model ") {
                break;
            }
        }
    }
    assert_moved(&database).await;
    first.kill().await;
    second.kill().await;
    let fresh = TestDatabase::empty().await;
    connect(fresh.url.parse().unwrap(), Durability::Required).await.unwrap().close().await;
    assert_eq!(names(&database).await, names(&fresh).await, "as on a fresh database");
}

#[tokio::test]
async fn both_rewriting_migrations_are_done_in_portions() {
    let database = before_version(7, ROWS).await;
    connect(database.url.parse().unwrap(), Durability::Required).await.unwrap().close().await;
    assert_moved(&database).await;
    // And rows that were migrated before are not touched again.
    connect(database.url.parse().unwrap(), Durability::Required).await.unwrap().close().await;
    assert_moved(&database).await;
}

/// An earlier version ran again between a kill and the next try, wrote, and erased.
#[tokio::test]
async fn what_an_earlier_version_changed_meanwhile_is_not_lost() {
    let database = before_lines().await;
    let mut connection = database.connect().await;
    // The remains of a killed try: all but the last answers, and an older state of two.
    let left = "create schema lastword_moving; \
        create table lastword_moving.segments (generation_id uuid not null, seq bigint not null check (seq > 0), \
          last bigint not null, epoch integer not null, at timestamptz not null, lines text not null, \
          primary key (generation_id, seq), \
          check (octet_length(lines) - octet_length(replace(lines, E'\\n', '')) = last - seq)) \
          partition by range (generation_id); \
        create table lastword_moving.segments_other partition of lastword_moving.segments default; \
        insert into lastword_moving.segments select generation_id, 1, 4, 1, at[1], \
          (select string_agg(concat_ws(' ', (extract(epoch from u.at - s.at[1]) * 1000000)::bigint, u.type, u.data), \
            E'\\n' order by u.i) from unnest(s.types, s.data, s.at) with ordinality as u (type, data, at, i)) \
          from segments s where generation_id < '01c0c0de-0000-7000-8000-000000000a00'; \
        delete from segments where generation_id = '01c0c0de-0000-7000-8000-000000000001'; \
        insert into segments select generation_id, 5, 5, 1, array['delta'], array['\"text\":\"more\"}'], \
          array[now()] from segments where generation_id = '01c0c0de-0000-7000-8000-000000000002'; \
        drop table expected; \
        create table expected as select generation_id, seq, epoch, type, data::text, at from events";
    sqlx::raw_sql(left).execute(&mut connection).await.unwrap();
    assert_eq!(database.number("select count(*) from expected").await, 11_997);
    connect(database.url.parse().unwrap(), Durability::Required).await.unwrap().close().await;
    let same = "select count(*) from (select generation_id, seq, epoch, type, data::text, at from events \
                intersect select * from expected) same";
    assert_eq!(database.number(same).await, 11_997);
    assert_eq!(database.number("select count(*) from events").await, 11_997);
}

/// The steady work of an instance of version 10 of the schema, in its own statements.
async fn of_version_10(connection: &mut PgConnection, at: &Address, n: u64) {
    let lane = "00000000-0000-4000-8000-000000000010";
    let seq = n + 1;
    for statement in [
        format!(
            "with lane as (select from lanes where id = '{lane}' and open for key share) \
             insert into journal (lane, n, ids, lines) select '{lane}', {n}, array['{}'::uuid], \
             '{seq} 1 delta \"text\":\"x\"}}' from lane returning at",
            at.id
        ),
        format!(
            "with own as (select folded from lanes where id = '{lane}' for no key update), \
             gone as (delete from journal where lane = '{lane}' and n <= next_to_fold('{lane}', 2000) \
               and n > (select folded from own) returning n, at, ids, lines), \
             noted as (update lanes set folded = greatest(folded, (select max(n) from gone)) \
               where id = '{lane}' and exists (select from gone)) \
             insert into segments (generation_id, seq, last, epoch, at, lines) \
               select u.generation_id, u.seq, u.seq, u.epoch, gone.at, concat_ws(' ', 0, u.type, u.data) \
               from gone, unpacked(gone.ids, gone.lines) u"
        ),
        format!("select last_seq('{}')", at.id),
        "update generations set status = status where id = (select id from generations limit 1)"
            .into(),
        "select count(*) from events".into(),
    ] {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *connection).await.unwrap();
    }
}

/// The step from version 10 of the schema to this one, while an instance of version 10 is at work.
/// No statement of it fails, and both see the same log afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn the_schema_is_stepped_up_under_an_instance_of_the_version_before() {
    let database = before_version(11, "").await;
    // Its generation and its lane.
    let rows = "insert into instances (id, lease_until) values \
          ('00000000-0000-4000-8000-000000000001', clock_timestamp() + interval '1 hour'); \
        insert into lanes (id, owner) values \
          ('00000000-0000-4000-8000-000000000010', '00000000-0000-4000-8000-000000000001'); \
        insert into generations (id, tenant, status, model, provider, request, owner) values \
          ('01c0c0de-0000-7000-8000-000000000001', 'default', 'running', 'demo', 'demo', \
            '{\"model\":\"demo\",\"prompt\":\"x\"}', '00000000-0000-4000-8000-000000000001'); \
        insert into segments (generation_id, seq, last, epoch, at, lines) values \
          ('01c0c0de-0000-7000-8000-000000000001', 1, 1, 1, now(), '0 started \"model\":\"demo\"}')";
    sqlx::raw_sql(rows).execute(&mut database.connect().await).await.unwrap();
    let at = Address {
        tenant: lastword::domain::id::Tenant::anonymous(),
        id: "01c0c0de-0000-7000-8000-000000000001".parse().unwrap(),
    };
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    #[expect(clippy::disallowed_methods, reason = "a test waits for it by itself")]
    let old = {
        let (database, at) = (database.clone(), at.clone());
        let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
        tokio::spawn(async move {
            let mut connection = database.connect().await;
            while !stop.load(Ordering::Relaxed) {
                let n = written.load(Ordering::Relaxed) + 1;
                of_version_10(&mut connection, &at, n).await;
                written.store(n, Ordering::Relaxed);
            }
        })
    };
    let at_work = async |more: u64| {
        let until = written.load(Ordering::Relaxed) + more;
        eventually("the version before writes", async || {
            assert!(!old.is_finished(), "a statement of the version before failed");
            written.load(Ordering::Relaxed) >= until
        })
        .await;
    };
    at_work(20).await;
    let app = TestApp::on(database.clone(), config(&database)).await;
    at_work(20).await;
    let id = app.client.start_prompt("/demo tokens=60 tps=200 ttft_ms=0").await;
    crate::client::assert_whole(&app.client.all(&id, 0).await);
    at_work(20).await;
    stop.store(true, Ordering::Relaxed);
    old.await.unwrap();
    let log = wrong_log(&database.url, Mistake::None).await;
    let read = log.events.read(&at, Seq::ZERO, 512).await.unwrap();
    let seqs: Vec<u64> = read.iter().map(|entry| entry.seq.0).collect();
    let last = written.load(Ordering::Relaxed) + 1;
    assert_eq!(seqs, (1..=last.min(512)).collect::<Vec<_>>());
    app.stop().await;
}

/// A database that was migrated by this version starts again, and one more beside it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_migrated_starts_at_once() {
    let bench = bench().await;
    let dir = TempDir::new().unwrap();
    let mut serve = command(dir.path());
    serve.args(["--database-url", &bench.database.url]);
    assert!(Server::start(serve).await.terminate().await.success());
}
