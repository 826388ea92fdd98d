//! A Postgres for all tests of this binary, and a database of its own for each.
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use lastword::store::{Durability, connect};
use lastword_postgres::{Embedded, Search};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::eventually::eventually;

/// Never dropped: it dies with this process, as the server's does.
static SHARED: OnceCell<Embedded> = OnceCell::const_new();
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Kept between runs, so that only the first one initialises a cluster. It is not below the
/// checkout, which the database's user may not be able to reach.
fn shared_dir() -> PathBuf {
    let mut hasher = DefaultHasher::new();
    env!("CARGO_MANIFEST_DIR").hash(&mut hasher);
    std::env::temp_dir().join(format!("lastword-tests-{:x}", hasher.finish()))
}

/// A search for PostgreSQL, as the server does it.
#[expect(clippy::disallowed_methods, reason = "a test is its own program")]
pub(crate) fn search() -> Search {
    Search { bin_dir: None, path: std::env::var_os("PATH") }
}

/// Connections to it: tests run beside each other, and some have several instances.
const MOST: i32 = 400;

async fn start_shared() -> Embedded {
    let mut embedded = Embedded::start(&shared_dir(), &search()).await.unwrap();
    let mut connection = embedded.options().connect().await.unwrap();
    let most = "select current_setting('max_connections')::int";
    if sqlx::query_scalar::<_, i32>(most).fetch_one(&mut connection).await.unwrap() < MOST {
        let more = format!("alter system set max_connections = {MOST}");
        sqlx::query(AssertSqlSafe(more)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        embedded.stop().await;
        embedded = Embedded::start(&shared_dir(), &search()).await.unwrap();
        connection = embedded.options().connect().await.unwrap();
    }
    let old = sqlx::query("select datname::text from pg_database where datname like 'test_%'")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    for row in old {
        let drop = format!("drop database {}", row.get::<String, _>(0));
        sqlx::query(AssertSqlSafe(drop)).execute(&mut connection).await.unwrap();
    }
    make_template(&embedded).await;
    embedded
}

/// The database with all tables of which those of the tests are copies. A copy costs less than each
/// migration anew.
const TEMPLATE: &str = "test_template";

async fn make_template(shared: &Embedded) {
    let database = TestDatabase::named(shared, TEMPLATE, "template1").await;
    connect(database.options, Durability::Required).await.unwrap().close().await;
}

fn next_name() -> String {
    format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A database of one test.
#[derive(Clone)]
pub(crate) struct TestDatabase {
    pub(crate) options: PgConnectOptions,
    pub(crate) url: String,
}

impl TestDatabase {
    /// One with all tables and no rows, on the shared server.
    pub(crate) async fn create() -> Self {
        let shared = SHARED.get_or_init(start_shared).await;
        Self::named(shared, &next_name(), TEMPLATE).await
    }

    /// An empty one on the shared server, for what makes the tables or has a role of its own.
    pub(crate) async fn empty() -> Self {
        Self::create_on(SHARED.get_or_init(start_shared).await).await
    }

    /// An empty one on a server that the test can stop.
    pub(crate) async fn create_on(server: &Embedded) -> Self {
        Self::named(server, &next_name(), "template1").await
    }

    async fn named(server: &Embedded, name: &str, template: &str) -> Self {
        let mut connection = server.options().connect().await.unwrap();
        let create = format!("create database {name} template {template}");
        sqlx::query(AssertSqlSafe(create)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let options = server.options().database(name);
        let url = options.to_url_lossy().to_string();
        Self { options, url }
    }

    /// The same for a role of its own, whose sessions begin with these settings.
    pub(crate) async fn for_role(&self, kind: &str, settings: &[(&str, &str)]) -> Self {
        let name = format!("{}_role", self.options.get_database().unwrap());
        let mut make = format!(
            "drop role if exists {name}; create role {name} login {kind}; \
             grant all on schema public to {name}; \
             grant create on database {} to {name};",
            self.options.get_database().unwrap()
        );
        for (setting, value) in settings {
            make += &format!("alter role {name} set {setting} = {value};");
        }
        sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut self.connect().await).await.unwrap();
        let options = self.options.clone().username(&name);
        let url = options.to_url_lossy().to_string();
        Self { options, url }
    }

    /// The same database by another way, such as a pool.
    pub(crate) fn over(options: PgConnectOptions) -> Self {
        let url = options.to_url_lossy().to_string();
        Self { options, url }
    }

    pub(crate) async fn connect(&self) -> PgConnection {
        self.options.connect().await.unwrap()
    }

    /// Waits until all events are in their day's tables.
    pub(crate) async fn folded(&self) {
        let waiting = "select count(*) from waiting";
        eventually("all is folded", async || self.number(waiting).await == 0).await;
    }

    /// Drops all events, as a retention of no days would.
    pub(crate) async fn forget_events(&self) {
        // Rows that are being folded just now would come back.
        self.folded().await;
        let all = "with gone as (delete from journal) delete from segments";
        sqlx::query(all).execute(&mut self.connect().await).await.unwrap();
    }

    /// The first column of the first row.
    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&mut self.connect().await).await.unwrap()
    }
}

/// A server of the test's own, and where it lives.
pub(crate) async fn own_server() -> (Embedded, TempDir) {
    let dir = TempDir::new().unwrap();
    let server = Embedded::start(dir.path(), &search()).await.unwrap();
    (server, dir)
}
