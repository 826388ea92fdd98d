//! PostgreSQL as operators have it. Standbys go, servers become read-only, readers take long,
//! sessions hold everything up, and a database comes later than we do.
use std::time::Duration;

use futures_util::future::join_all;
use lastword::ports::Upkeep;
use lastword::store::{Durability, PgLog, connect};
use lastword_postgres::Embedded;
use reqwest::StatusCode;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::client::{PATIENCE, assert_whole};
use crate::database::{TestDatabase, own_server, search};
use crate::eventually::eventually;
use crate::fleet::Fleet;
use crate::harness::{TestApp, config};
use crate::process::{Server, command};

async fn run(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap();
}

async fn log_on(database: &TestDatabase) -> PgLog {
    connect(database.url.parse().unwrap(), Durability::Required).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_is_gone_holds_commits_up_and_nothing_else() {
    let (server, _dir) = own_server().await;
    let database = TestDatabase::create_on(&server).await;
    let config = config(&database);
    let app = TestApp::on(database, config).await;
    let earlier = app.client.start_prompt("/demo tokens=5 tps=0").await;
    assert_whole(&app.client.all(&earlier, 0).await);
    let mut admin = app.database.connect().await;
    run(&mut admin, "alter system set synchronous_standby_names = 'nobody'").await;
    run(&mut admin, "select pg_reload_conf()").await;
    // PostgreSQL's processes hear of it one by one.
    let waits = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'";
    let mut other = app.database.connect().await;
    let commits = async {
        loop {
            run(&mut other, "select pg_logical_emit_message(true, 'a', 'b')").await;
        }
    };
    tokio::select! {
        () = commits => {}
        () = eventually("commits wait", async || app.database.number(waits).await > 0) => {}
    }
    let url = format!("{}/v1/generations", app.client.base);
    let body = serde_json::json!({ "prompt": "/demo tokens=5 tps=0" });
    let posts = (0..40).map(|_| app.client.http.post(&url).json(&body).send());
    let mut named = Vec::new();
    for answer in join_all(posts).await {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let problem: serde_json::Value = answer.json().await.unwrap();
        named.push(problem["generation"].as_str().expect("its id").to_owned());
    }
    let used = "select count(*) from pg_stat_activity where datname = current_database() \
                and application_name like 'lastword%'";
    let used: i64 = sqlx::query_scalar(used).fetch_one(&mut admin).await.unwrap();
    assert!(used <= 26, "{used} connections");
    let ready = app.client.get("/readyz").await;
    assert_eq!(ready.status(), StatusCode::OK);
    let ready: serde_json::Value = ready.json().await.unwrap();
    assert!(ready["commits_wait_s"].as_u64().is_some_and(|s| s >= 2), "{ready}");
    let metrics = app.client.get("/metrics").await.text().await.unwrap();
    let waits =
        metrics.lines().find_map(|l| l.strip_prefix("lastword_commits_unacknowledged_seconds "));
    assert!(waits.unwrap().parse::<f64>().unwrap() >= 2.0, "{waits:?}");
    assert_eq!(app.client.view(&earlier).await["status"], "completed", "reads work");

    run(&mut admin, "alter system reset synchronous_standby_names").await;
    run(&mut admin, "select pg_reload_conf()").await;
    let stored = "select id::text from generations where id::text = any($1)";
    // The commits that waited for the standby show once its server process has noticed.
    let shown = async {
        loop {
            let stored: Vec<String> =
                sqlx::query_scalar(stored).bind(&named).fetch_all(&mut admin).await.unwrap();
            if !stored.is_empty() {
                return stored;
            }
        }
    };
    let stored = timeout(PATIENCE, shown).await.expect("some were stored without an answer");
    for id in &stored {
        assert_whole(&app.client.all(id, 0).await);
    }
    let again = app.client.start_prompt("/demo tokens=5 tps=0").await;
    assert_whole(&app.client.all(&again, 0).await);
    admin.close().await.unwrap();
    app.stop().await;
    server.stop().await;
}

/// The answer of a session on a server that became a standby, for the sessions of that time.
const DEMOTED: &str = "create table demoted as select pid from pg_stat_activity \
       where datname = current_database() and application_name like 'lastword%'; \
     create function refuse() returns trigger language plpgsql as $$ begin \
       if exists (select from demoted where pid = pg_backend_pid()) then \
         raise exception using errcode = '25006', message = 'cannot write in a read-only transaction'; \
       end if; return new; end $$; \
     create trigger refuse before insert on generations for each row execute function refuse(); \
     create trigger refuse before insert on journal for each row execute function refuse(); \
     create trigger refuse before insert or update on instances for each row execute function refuse()";

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_a_server_that_takes_no_writes_are_thrown_away() {
    let app = TestApp::start().await;
    let running = app.client.start_prompt("/demo tokens=200 tps=100 ttft_ms=0").await;
    let mut reader = app.client.events(&running, 0).await;
    reader.take(10).await;
    let mut admin = app.database.connect().await;
    run(&mut admin, DEMOTED).await;
    let starts = (0..5).map(|_| app.client.start_prompt("/demo tokens=5 tps=0"));
    for id in join_all(starts).await {
        assert_whole(&app.client.all(&id, 0).await);
    }
    let rest = reader.rest().await;
    assert_eq!(rest.last().unwrap().json()["status"], "completed");
    let left = "select count(*) from demoted d join pg_stat_activity a on a.pid = d.pid \
                where a.application_name = 'lastword' and a.query ~ 'insert into (generations|journal)'";
    assert_eq!(app.database.number(left).await, 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_takes_no_writes_at_all_is_not_ready_and_nothing_has_to_be_restarted() {
    let app = TestApp::start().await;
    let mut admin = app.database.connect().await;
    let name = app.database.options.get_database().unwrap();
    let throw_out = "select pg_terminate_backend(pid) from pg_stat_activity \
                     where datname = current_database() and pid <> pg_backend_pid() \
                     and application_name like 'lastword%'";
    run(
        &mut admin,
        &format!(
            "alter role current_user in database {name} set default_transaction_read_only = on"
        ),
    )
    .await;
    run(&mut admin, throw_out).await;
    let until = async |status: StatusCode| {
        let seen = async { while app.client.get("/readyz").await.status() != status {} };
        timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("not {status}"));
    };
    until(StatusCode::SERVICE_UNAVAILABLE).await;
    let problem: serde_json::Value = app.client.get("/readyz").await.json().await.unwrap();
    assert_eq!(problem["code"], "storage_read_only", "{problem}");
    run(&mut admin, &format!("alter role current_user in database {name} reset all")).await;
    until(StatusCode::OK).await;
    let id = app.client.start_prompt("/demo tokens=5 tps=0").await;
    assert_whole(&app.client.all(&id, 0).await);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_reader_keeps_old_tables_and_holds_nothing_up() {
    let app = TestApp::start().await;
    let mut admin = app.database.connect().await;
    let old = "create table if not exists segments_20200101 partition of segments for values \
               from ('00000000-0000-7000-8000-000000000000') to ('00000000-0001-7000-8000-000000000000')";
    let lock = "lock table segments, segments_20200101, segments_other in access share mode";
    let mut dump = app.database.connect().await;
    // The first housekeeping of the server may drop the table between the two statements: once.
    let reading = loop {
        run(&mut admin, old).await;
        run(&mut dump, "begin").await;
        if sqlx::raw_sql(lock).execute(&mut dump).await.is_ok() {
            break &mut dump;
        }
        run(&mut dump, "rollback").await;
    };
    let log = log_on(&app.database).await;
    let (kept, served) = tokio::join!(log.retain(7), async {
        for _ in 0..5 {
            let id = app.client.start_prompt("/demo tokens=20 tps=0").await;
            assert_whole(&app.client.all(&id, 0).await);
        }
        tokio::time::Instant::now()
    });
    let ended = tokio::time::Instant::now();
    assert!(kept.is_err(), "it is in use, which is said: {kept:?}");
    println!("starts beside it were done {:?} before it gave up", ended.duration_since(served));
    run(reading, "rollback").await;
    assert_eq!(log.retain(7).await.unwrap(), 1);
    log.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fell_into_the_default_table_is_moved_to_its_day_and_expires() {
    let app = TestApp::start().await;
    let mut admin = app.database.connect().await;
    // No instance changes the days' tables meanwhile; today has none, as after two such days.
    let changes = i64::from_be_bytes(*b"lastword");
    run(&mut admin, &format!("select pg_advisory_lock({changes})")).await;
    app.database.folded().await;
    run(&mut admin, "do $$ begin execute 'drop table segments_' || to_char((now() at time zone 'utc')::date, 'YYYYMMDD'); end $$").await;
    let other = "select count(*) from segments_other";
    let id = app.client.start_prompt("/demo tokens=30 tps=0").await;
    let events = app.client.all(&id, 0).await;
    app.database.folded().await;
    assert!(app.database.number(other).await > 0);
    let ancient = "insert into segments select '00000000-0000-7000-8000-000000000001', 1, 1, 1, now(), '0 x {}' ";
    run(&mut admin, ancient).await;
    let log = log_on(&app.database).await;
    let unsorted = async || {
        let metrics = app.client.get("/metrics").await.text().await.unwrap();
        let line = metrics.lines().find_map(|l| l.strip_prefix("lastword_unsorted_bytes "));
        line.unwrap().parse::<u64>().unwrap()
    };
    // A metric that takes too long to measure keeps its old figure.
    let size = "select pg_total_relation_size('segments_other')";
    eventually("its size is told", async || {
        unsorted().await == u64::try_from(app.database.number(size).await).unwrap()
    })
    .await;
    let kept = log.retain(7).await.unwrap_err();
    assert!(kept.to_string().contains("1 of coming days could not be made"), "{kept}");
    assert!(app.database.number(other).await > 0, "they stay, and can be read");
    assert_eq!(app.client.all(&id, 0).await, events);
    run(&mut admin, &format!("select pg_advisory_unlock({changes})")).await;
    // The server's own upkeep may be faster, and a change gives way to what is read.
    eventually("their table is made", async || log.retain(7).await.is_ok()).await;
    assert_eq!(app.database.number(other).await, 0, "moved, and expired");
    assert_eq!(app.client.all(&id, 0).await, events);
    log.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_listener_of_a_process_that_stands_still_is_cut_off() {
    let fleet = Fleet::start(2).await;
    let log = log_on(&fleet.database).await;
    let listeners = "select count(*) from pg_stat_activity where datname = current_database() \
                     and application_name = 'lastword listener'";
    if fleet.database.number(listeners).await == 2 {
        fleet.members[0].pause();
        // A living one asks each 5 s.
        let cut = async || log.cut_listeners(Duration::from_secs(7)).await.unwrap() > 0;
        eventually("it is cut off", cut).await;
        assert_eq!(fleet.database.number(listeners).await, 1, "the living one stays");
        fleet.members[0].wake();
        let back = async || fleet.database.number(listeners).await == 2;
        eventually("it listens again", back).await;
    }
    log.close().await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_for_a_database_that_is_not_there_yet() {
    let (server, place) = own_server().await;
    let database = TestDatabase::create_on(&server).await;
    server.stop().await;
    let dir = TempDir::new().unwrap();
    let mut serve = command(dir.path());
    serve.args(["--database-url", &database.url, "--database-wait-s", "60"]);
    serve.stderr(std::process::Stdio::piped());
    let (served, server) = tokio::join!(Server::start(serve), async {
        Embedded::start(place.path(), &search()).await.unwrap()
    });
    let id = served.client.start_prompt("/demo tokens=5 tps=0").await;
    assert_whole(&served.client.all(&id, 0).await);
    assert!(served.terminate().await.success());
    server.stop().await;
}
