//! Sessions that begin with odd settings: the log is the same, or the start names the wrong
//! setting.
use lastword::app::App;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tempfile::TempDir;

use crate::client::{Client, assert_whole};
use crate::conversation::Talk;
use crate::database::TestDatabase;
use crate::harness::{TestApp, config};
use crate::process::{Server, command};
use crate::program;

/// Settings that do not disturb each other, each at a value that nobody needs.
const ODD: &[(&str, &str)] = &[
    ("default_transaction_isolation", "'repeatable read'"),
    ("default_transaction_deferrable", "on"),
    ("row_security", "on"),
    ("statement_timeout", "1"),
    ("lock_timeout", "1"),
    ("idle_in_transaction_session_timeout", "1"),
    ("exit_on_error", "on"),
    ("standard_conforming_strings", "off"),
    ("array_nulls", "off"),
    ("transform_null_equals", "on"),
    ("client_encoding", "LATIN1"),
    ("timezone", "'Pacific/Kiritimati'"),
    ("datestyle", "'German, DMY'"),
    ("intervalstyle", "iso_8601"),
    ("bytea_output", "escape"),
    ("extra_float_digits", "-15"),
    ("gin_fuzzy_search_limit", "1"),
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_indexscan", "off"),
    ("enable_indexonlyscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_seqscan", "off"),
    ("enable_nestloop", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_hashagg", "off"),
    ("enable_sort", "off"),
    ("enable_material", "off"),
    ("enable_partition_pruning", "off"),
];

/// Settings that stop foreign keys from cascading, in a schema of its own, at the other level of
/// isolation.
const ODD_TOO: &[(&str, &str)] = &[
    ("default_transaction_isolation", "serializable"),
    ("session_replication_role", "replica"),
    ("search_path", "elsewhere, public"),
    ("synchronous_commit", "local"),
    ("idle_session_timeout", "'3s'"),
    ("default_toast_compression", "pglz"),
];

async fn serve(database: &TestDatabase, dir: &TempDir) -> Server {
    let mut serve = command(dir.path());
    serve.args(["--database-url", &database.url, "--lease-s", "2"]);
    Server::start(serve).await
}

/// Starts, streams, kills, resumes and takes over; erases a conversation with everything in it;
/// searches by words.
///
/// `messages` counts the messages that are left.
async fn all_of_it(database: &TestDatabase, admin: &TestDatabase, messages: &'static str) {
    let dir = TempDir::new().unwrap();
    let doomed = serve(database, &dir).await;
    let heir = TestApp::on(database.clone(), config(database)).await;
    let prompt = "/demo tokens=200 tps=100 ttft_ms=0 seed=8 unicode";
    let id = doomed.client.start_prompt(prompt).await;
    let mut seen = doomed.client.events(&id, 0).await.take(30).await;
    let mut far = heir.client.events(&id, 0).await;
    far.take(20).await;
    doomed.kill().await;
    seen.extend(heir.client.all(&id, 30).await);
    assert_whole(&seen);
    assert_eq!(seen.iter().filter(|e| e.name == "resumed").count(), 1);
    assert_eq!(far.rest().await, seen[20..]);
    assert_eq!(seen.last().unwrap().json()["status"], "completed");
    search_and_erase(&heir.client).await;
    assert_eq!(admin.number(messages).await, 0, "they go with their conversation");
    assert_eq!(heir.engine.metrics().log_outages.get(), 0, "no append was refused");
    assert_eq!(heir.engine.metrics().fold_failures.get(), 0);
    heir.stop().await;
    let again = serve(database, &dir).await;
    assert_eq!(again.client.all(&id, 0).await, seen, "also when it is read anew");
    assert!(again.terminate().await.success());
}

async fn search_and_erase(client: &Client) {
    let talk = Talk::open(client, &json!({"title": "a talk"})).await;
    talk.prompt("backslashes /demo tokens=2 tps=0").await;
    let found: Value = client.get("/v1/conversations?q=backslashes").await.json().await.unwrap();
    assert_eq!(found["data"].as_array().map(Vec::len), Some(1), "{found}");
    let path = format!("{}/v1/conversations/{}", client.base, talk.id);
    assert!(client.http.delete(path).send().await.unwrap().status().is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_role_says_the_log_is_the_same() {
    let database = TestDatabase::empty().await;
    let role = database.for_role("", ODD).await;
    all_of_it(&role, &database, "select count(*) from messages").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_superuser_says_the_log_is_the_same() {
    let database = TestDatabase::empty().await;
    let role = database.for_role("superuser", ODD_TOO).await;
    sqlx::query("create schema elsewhere").execute(&mut database.connect().await).await.unwrap();
    all_of_it(&role, &database, "select count(*) from elsewhere.messages").await;
    let there = "select count(*) from pg_tables where schemaname = 'public'";
    assert_eq!(database.number(there).await, 0, "the schema is the role's");
}

async fn refused(database: &TestDatabase) -> String {
    let dir = TempDir::new().unwrap();
    let mut config = config(database);
    config.data_dir = dir.path().into();
    App::build(&config).await.err().expect("refused").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_set_is_said_before_anything_is_made() {
    for (setting, value, words) in [
        ("session_replication_role", "replica", "session_replication_role"),
        ("default_transaction_read_only", "on", "default_transaction_read_only is on"),
        ("search_path", "nowhere", "search_path names no schema that exists"),
    ] {
        let database = TestDatabase::empty().await;
        let said = refused(&database.for_role("", &[(setting, value)]).await).await;
        assert!(said.contains(words), "{setting}: {said}");
        assert_eq!(
            database.number("select count(*) from pg_tables where schemaname = 'public'").await,
            0
        );
    }
}

/// A running program's next connection does not use a schema that is named later.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_later_is_for_the_next_process() {
    let database = TestDatabase::empty().await;
    let role = database.for_role("", &[]).await;
    let app = TestApp::on(role.clone(), config(&role)).await;
    let later = format!(
        "alter role {0} set search_path = nowhere; alter role {0} set synchronous_commit = off; \
         alter role {0} set default_transaction_isolation = serializable",
        role.options.get_username()
    );
    let mut admin = database.connect().await;
    sqlx::raw_sql(AssertSqlSafe(later)).execute(&mut admin).await.unwrap();
    // All connections are lost, and made anew under the new settings.
    let name = role.options.get_username().to_owned();
    let thrown_out = "select pg_terminate_backend(pid) from pg_stat_activity where usename = $1";
    sqlx::query(thrown_out).bind(&name).execute(&mut admin).await.unwrap();
    admin.close().await.unwrap();
    let id = app.client.start_prompt("/demo tokens=60 tps=60 ttft_ms=0").await;
    assert_whole(&app.client.all(&id, 0).await);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_encoding_is_refused() {
    let database = TestDatabase::empty().await;
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name =
            format!("{}_{encoding}", database.options.get_database().unwrap()).to_lowercase();
        let create =
            format!("create database {name} encoding '{encoding}' locale 'C' template template0");
        sqlx::query(AssertSqlSafe(create)).execute(&mut database.connect().await).await.unwrap();
        let options = database.options.clone().database(&name);
        let url = options.to_url_lossy().to_string();
        let other = TestDatabase { options, url };
        let said = refused(&other).await;
        let words = format!("the encoding of this database is {encoding}; lastword needs UTF8");
        assert!(said.contains(&words), "{said}");
        let tables = "select count(*) from pg_tables where schemaname = 'public'";
        assert_eq!(other.number(tables).await, 0, "before any migration");
    }
}

/// A setting that is added has to be tried.
#[test]
fn the_table_is_as_the_program_has_it() {
    let source = std::fs::read_to_string(program::root().join("src/store/session_settings.rs"));
    let source = source.unwrap();
    let (_, table) = source.split_once("const SETTINGS").unwrap();
    let (table, _) = table.split_once("];").unwrap();
    let names: Vec<&str> = table
        .lines()
        .filter_map(|line| line.trim().strip_prefix("(\"")?.split_once('"').map(|(name, _)| name))
        .collect();
    assert!(names.len() > 20, "{names:?}");
    let odd = |name: &str| {
        let all = ODD.iter().chain(ODD_TOO);
        // One that a server of this version may not know, and one that only a superuser may set.
        let untried = ["transaction_timeout", "default_table_access_method"];
        all.into_iter().any(|(odd, _)| odd.eq_ignore_ascii_case(name)) || untried.contains(&name)
    };
    let untried: Vec<_> = names.into_iter().filter(|name| !odd(name)).collect();
    assert!(untried.is_empty(), "no test has an odd value for {untried:?}");
}
