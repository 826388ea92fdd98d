//! Two versions side by side: the additions of a newer one to the tables do not disturb this one.
//! This one may run before, during and after, and may start again.
use std::fs::{self, File};

use lastword::store::apply_migrations;
use serde_json::{Value, json};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, Row};
use tempfile::TempDir;

use crate::client::assert_whole;
use crate::conversation::Talk;
use crate::database::TestDatabase;
use crate::eventually::eventually;
use crate::harness::{TestApp, config};
use crate::keys::make_key;
use crate::process::{Server, command};
use crate::socket::Socket;

/// Our migrations, and those of a version to come: every table gets columns, as expanding allows.
async fn newer(database: &TestDatabase) -> Migrator {
    let tables = "select relname::text from pg_class where relnamespace = 'public'::regnamespace \
                  and relkind in ('r', 'p') and not relispartition \
                  and relname <> '_sqlx_migrations' order by 1";
    let rows = sqlx::query(tables).fetch_all(&mut database.connect().await).await.unwrap();
    assert!(rows.len() > 5, "{} tables", rows.len());
    let mut sql =
        "-- A version to come expands.\ncreate table of_the_future (id int);\n".to_owned();
    for row in rows {
        let table: String = row.get(0);
        sql += &format!(
            "alter table {table} add column future_word text not null default 'later', \
             add column future_number bigint;\n"
        );
    }
    let dir = TempDir::new().unwrap();
    let ours = crate::program::root().join("migrations");
    for entry in fs::read_dir(ours).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    fs::write(dir.path().join("9999_future.sql"), sql).unwrap();
    Migrator::new(dir.path()).await.unwrap()
}

/// One statement of every kind that reads or writes a table.
async fn everything(app: &TestApp) {
    let client = &app.client;
    let talk = Talk::open(client, &json!({"title": "a talk"})).await;
    talk.prompt("/demo tokens=2 tps=0").await;
    talk.get("/messages").await;
    let shared = client.post(&format!("/v1/conversations/{}/shares", talk.id), &json!({})).await;
    let shared: Value = shared.json().await.unwrap();
    assert_eq!(client.get(shared["url"].as_str().unwrap()).await.status(), 200);
    let id = client.start_prompt("/demo tokens=100000 tps=50").await;
    let mut socket = Socket::following(app.address, &id, 0).await;
    socket.event().await.unwrap();
    assert_eq!(client.cancel(&id).await["status"], "cancelled");
    for path in ["/v1/generations", "/v1/conversations?q=talk", "/readyz", "/v1/session"] {
        assert_eq!(client.get(path).await.status(), 200, "{path}");
    }
    assert_eq!(client.post("/v1/tickets", &json!({})).await.status(), 201);
    let key = make_key(&app.database, &["--name", &talk.id]).await;
    let signed = client.post("/v1/session", &json!({"key": key})).await;
    assert_eq!(signed.status(), 200);
    crate::keys::told(&app.database, &["revoke", &talk.id]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_before_goes_on_and_starts_beside_a_newer_schema() {
    let old = TestApp::start().await;
    everything(&old).await;
    let mut running = Vec::new();
    for seed in 0..8 {
        let prompt = format!("/demo tokens=300 tps=100 ttft_ms=0 seed={seed}");
        let id = old.client.start_prompt(&prompt).await;
        let mut reader = old.client.events(&id, 0).await;
        let seen = reader.take(5).await;
        running.push((id, reader, seen));
    }
    let newer = newer(&old.database).await;
    apply_migrations(&newer, &mut old.database.connect().await).await.unwrap();

    // The instance that runs, whose statements were prepared before; and one more that starts.
    everything(&old).await;
    let beside = TestApp::on(old.database.clone(), config(&old.database)).await;
    everything(&beside).await;
    for (id, mut reader, mut seen) in running {
        seen.extend(reader.rest().await);
        assert_whole(&seen);
        assert_eq!(beside.client.all(&id, 0).await, seen);
    }
    beside.stop().await;
    let (database, config, _dir) = old.stop().await;
    let again = TestApp::on(database, config).await;
    everything(&again).await;
    again.stop().await;
}

/// Locks two tables. In between it waits until the holder of the second waits for the first.
const CROSSING: &str = "-- It meets somebody who locks in the other order.\n\
    create table crossed (id int); lock table one; \
    do $$ begin \
      while exists (select from pg_locks where relation = 'two'::regclass and granted) \
        and not exists (select from pg_locks where relation = 'one'::regclass and not granted) \
      loop perform pg_sleep(0.01); end loop; end $$; \
    lock table two;";

/// An instance at work may lock the same tables in another order.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_loses_a_deadlock_is_done_again() {
    let database = TestDatabase::empty().await;
    let mut other = database.connect().await;
    // The other one never looks for a deadlock: the migration is the one that PostgreSQL aborts.
    let tables = "create table one (); create table two (); set deadlock_timeout = '1h'";
    sqlx::raw_sql(tables).execute(&mut other).await.unwrap();
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("1_crossing.sql"), CROSSING).unwrap();
    let crossing = Migrator::new(dir.path()).await.unwrap();
    let mut connection = database.connect().await;
    let mut held = other.begin().await.unwrap();
    sqlx::raw_sql("lock table two").execute(&mut *held).await.unwrap();
    let crosses = async {
        let has = "select count(*) from pg_locks where relation = 'one'::regclass and granted";
        eventually("it has the first", async || database.number(has).await > 0).await;
        // Granted when the migration is aborted.
        sqlx::raw_sql("lock table one").execute(&mut *held).await.unwrap();
        held.rollback().await.unwrap();
    };
    let (applied, ()) = tokio::join!(apply_migrations(&crossing, &mut connection), crosses);
    applied.unwrap();
    assert_eq!(database.number("select count(*) from crossed").await, 0);
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    eventually("a deadlock", async || database.number(deadlocks).await > 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_database_is_named_in_the_log() {
    let app = TestApp::start().await;
    let newer = newer(&app.database).await;
    let (database, ..) = app.stop().await;
    let dir = TempDir::new().unwrap();
    for (log, expected) in [("before", false), ("after", true)] {
        let mut command = command(&dir.path().join("data"));
        command.env("DATABASE_URL", &database.url).env("RUST_LOG", "info");
        command.stderr(File::create(dir.path().join(log)).unwrap());
        assert!(Server::start(command).await.terminate().await.success());
        let text = fs::read_to_string(dir.path().join(log)).unwrap();
        assert_eq!(text.contains("the database is newer than this program"), expected, "{text}");
        apply_migrations(&newer, &mut database.connect().await).await.unwrap();
    }
}

/// The migration that was applied under this name has to be the same. Another history is no version
/// of ours, and is not touched.
#[tokio::test(flavor = "multi_thread")]
async fn another_history_of_the_tables_is_refused() {
    let (database, config, _dir) = TestApp::start().await.stop().await;
    let change = "update _sqlx_migrations set checksum = '\\x00' where version = 1";
    sqlx::query(AssertSqlSafe(change)).execute(&mut database.connect().await).await.unwrap();
    let error = lastword::app::App::build(&config).await.err().expect("refused").to_string();
    assert!(error.contains("migration 1 was previously applied but has been modified"), "{error}");
}
