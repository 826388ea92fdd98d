//! What keeps PostgreSQL from cleaning up is named: sessions, prepared transactions, slots.
use std::time::Duration;

use lastword::ports::HolderKind;
use lastword::store::{Durability, PgLog, connect};
use lastword_postgres::Embedded;
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::time::timeout;

use crate::client::PATIENCE;
use crate::database::{TestDatabase, own_server, search};
use crate::failover::standby_of;

async fn run(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap();
}

async fn log_on(database: &TestDatabase) -> PgLog {
    connect(database.url.parse().unwrap(), Durability::Required).await.unwrap()
}

#[tokio::test]
async fn a_session_is_named() {
    let database = TestDatabase::create().await;
    let log = log_on(&database).await;
    let mut session = database.connect().await;
    run(&mut session, "set application_name = 'a report'").await;
    let pid: i32 =
        sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut session).await.unwrap();
    run(&mut session, "begin isolation level repeatable read; select 1").await;
    let holder = log.holder(Duration::ZERO).await.unwrap().expect("it is open");
    assert_eq!((holder.pid, holder.name.as_str()), (pid, "a report"));
    assert_eq!(holder.kind, HolderKind::Session);
    assert!(!holder.user.is_empty() && holder.open_for.is_some());
    assert_eq!(log.holder(Duration::from_secs(600)).await.unwrap(), None);
    log.close().await;
}

#[tokio::test]
async fn a_prepared_transaction_is_named() {
    let (server, dir) = own_server().await;
    let database = TestDatabase::create_on(&server).await;
    let allow = "alter system set max_prepared_transactions = 2";
    run(&mut database.connect().await, allow).await;
    server.stop().await;
    let server = Embedded::start(dir.path(), &search()).await.unwrap();
    let log = log_on(&database).await;
    let mut session = database.connect().await;
    run(&mut session, "begin; create table forgotten (); prepare transaction 'an order'").await;
    let holder = log.holder(Duration::ZERO).await.unwrap().expect("it is open");
    assert_eq!((holder.kind, holder.name.as_str()), (HolderKind::Prepared, "an order"));
    assert!(!holder.user.is_empty() && holder.open_for.is_some());
    run(&mut session, "rollback prepared 'an order'").await;
    assert_eq!(log.holder(Duration::ZERO).await.unwrap(), None);
    log.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_of_a_standby_that_is_gone_is_named() {
    let (primary, _primary_dir) = own_server().await;
    let database = TestDatabase::create_on(&primary).await;
    let log = log_on(&database).await;
    let mut admin = database.connect().await;
    run(&mut admin, "select pg_create_physical_replication_slot('far_away')").await;
    let (standby, _dir) = standby_of(&primary, &database).await;
    let options = standby.options().database(database.options.get_database().unwrap());
    let mut report = TestDatabase::over(options).connect().await;
    for setting in ["primary_slot_name = 'far_away'", "hot_standby_feedback = on"] {
        run(&mut report, &format!("alter system set {setting}")).await;
    }
    run(&mut report, "select pg_reload_conf()").await;
    let held = "select count(*) from pg_replication_slots where xmin is not null";
    let told = async { while database.number(held).await == 0 {} };
    timeout(PATIENCE, told).await.expect("it reports what it needs");
    standby.stop().await;
    // Transactions go on without it.
    run(&mut admin, "create table here (); drop table here").await;
    run(&mut admin, "create table here ()").await;
    let holder = log.holder_behind(Duration::ZERO, 1).await.unwrap().expect("it stays");
    assert_eq!((holder.kind, holder.name.as_str()), (HolderKind::Slot, "far_away"));
    assert_eq!((holder.pid, holder.open_for), (0, None));
    assert_eq!(log.holder(Duration::ZERO).await.unwrap(), None, "it is not far behind");
    run(&mut admin, "select pg_drop_replication_slot('far_away')").await;
    log.close().await;
    primary.stop().await;
}
