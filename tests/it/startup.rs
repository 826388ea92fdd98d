//! Starts that work, starts that are refused in clear words, and the stop.
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use futures_util::future::join_all;
use lastword::app::{App, AppError};
use lastword::store::ConnectError;
use sqlx::AssertSqlSafe;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::client::{PATIENCE, assert_whole};
use crate::database::TestDatabase;
use crate::harness::config;
use crate::process::{Server, command};

/// Runs a command that is to be refused; its exit code and its output.
async fn refused(mut command: Command) -> (Option<i32>, String) {
    command.stderr(std::process::Stdio::piped());
    let Output { status, stderr, .. } =
        timeout(PATIENCE, command.output()).await.expect("it ends").unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_starts_at_once_on_an_empty_database() {
    let database = TestDatabase::empty().await;
    let dirs: Vec<TempDir> = (0..4).map(|_| TempDir::new().unwrap()).collect();
    let starts = dirs.iter().map(|dir| {
        let mut config = config(&database);
        config.data_dir = dir.path().into();
        async move { App::build(&config).await.map(drop) }
    });
    for started in join_all(starts).await {
        started.unwrap();
    }
    assert!(database.number("select count(*) from pg_inherits").await >= 4, "days ahead");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_may_lose_commits_is_refused() {
    let database = TestDatabase::create().await;
    let name = database.options.get_database().unwrap();
    let off = format!("alter database {name} set synchronous_commit = off");
    sqlx::query(AssertSqlSafe(off)).execute(&mut database.connect().await).await.unwrap();
    let dir = TempDir::new().unwrap();
    let mut config = config(&database);
    config.data_dir = dir.path().into();
    let error = App::build(&config).await.err();
    assert!(
        matches!(error, Some(AppError::Connect(ConnectError::Unsafe("synchronous_commit")))),
        "{error:?}"
    );
    config.allow_unsafe_durability = true;
    assert!(App::build(&config).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_too_old_is_refused() {
    let database = TestDatabase::create().await;
    let name = database.options.get_database().unwrap();
    // An old server's answer about itself, from this one: first in its search path.
    let old = "create schema old; create function old.current_setting(text) returns text \
               language sql as $$ select case $1 when 'server_version_num' then '130022' \
               when 'server_version' then '13.22' else pg_catalog.current_setting($1) end $$";
    let path = format!("alter database {name} set search_path = old, pg_catalog, public");
    let mut connection = database.connect().await;
    sqlx::raw_sql(old).execute(&mut connection).await.unwrap();
    sqlx::query(AssertSqlSafe(path)).execute(&mut connection).await.unwrap();
    let dir = TempDir::new().unwrap();
    let mut serve = command(dir.path());
    serve.args(["--database-url", &database.url]);
    let (code, said) = refused(serve).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("this is PostgreSQL 13.22; lastword needs 14 or later"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_says_why() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(command(dir.path())).await;
    let (code, words) = refused(command(dir.path())).await;
    assert_eq!(code, Some(2));
    assert!(words.contains(&server.pid().to_string()), "names who has the directory: {words}");

    let other = TempDir::new().unwrap();
    let mut unknown = command(other.path());
    unknown.env("LASTWORD_LISTN", "x");
    let (code, words) = refused(unknown).await;
    assert!(code == Some(2) && words.contains("Did you mean `LASTWORD_LISTEN`?"), "{words}");

    let mut unknown = command(other.path());
    unknown.arg("--lease");
    let (code, words) = refused(unknown).await;
    assert!(code == Some(2) && words.contains("--lease-s"), "{words}");

    let file = other.path().join("notes.txt");
    std::fs::write(&file, "words").unwrap();
    for path in [file.clone(), file.join("below")] {
        let (code, words) = refused(command(&path)).await;
        assert!(code == Some(2) && words.contains("notes.txt is a file. Choose"), "{words}");
    }
    let mut elsewhere = command(other.path());
    elsewhere.arg("--postgres-bin").arg(other.path());
    let (code, words) = refused(elsewhere).await;
    assert!(code == Some(2) && words.contains("package `postgresql`"), "{words}");

    let mut unreachable = command(other.path());
    unreachable.arg("--database-url=postgres://nobody:geheim@127.0.0.1:9/x");
    let (code, words) = refused(unreachable).await;
    assert!(code == Some(2) && words.contains("cannot reach the database"), "{words}");
    assert!(!words.contains("geheim"), "no password: {words}");
    assert_eq!(words.matches("os error").count(), 1, "a cause is said once: {words}");
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_address_is_named() {
    let database = TestDatabase::create().await;
    let dir = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config(&database);
    config.data_dir = dir.path().into();
    config.listen = taken.local_addr().unwrap();
    let error = App::build(&config).await.err().unwrap().to_string();
    assert!(error.contains(&config.listen.to_string()), "{error}");
}

fn quick(dir: &Path, grace: &str) -> Command {
    let mut command = command(dir);
    command.arg("--shutdown-grace-s").arg(grace);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_readers_and_lets_generations_end() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(quick(dir.path(), "20")).await;
    let id = server.client.start_prompt("/demo tokens=100 tps=100 ttft_ms=0 seed=4").await;
    let mut reader = server.client.events(&id, 0).await;
    let mut seen = reader.take(10).await;
    assert!(server.terminate().await.success());
    seen.extend(reader.rest().await);
    assert_ne!(seen.last().unwrap().name, "done", "the body ended before the generation");

    let again = Server::start(command(dir.path())).await;
    assert!(!again.said.iter().any(|l| l.contains("took up")), "nothing was left");
    seen.extend(again.client.all(&id, seen.len() as u64).await);
    assert_whole(&seen);
    assert!(!seen.iter().any(|e| e.name == "resumed"), "it ended in its own process");
    assert!(again.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stop_leaves_is_taken_up_by_the_next_start() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(quick(dir.path(), "0.2")).await;
    let id = server.client.start_prompt("/demo tokens=300 tps=100 ttft_ms=0 seed=4").await;
    let mut reader = server.client.events(&id, 0).await;
    let mut seen = reader.take(10).await;
    assert!(server.terminate().await.success());
    seen.extend(reader.rest().await);

    let again = Server::start(command(dir.path())).await;
    assert!(again.said.iter().any(|l| l.contains("took up")), "{:?}", again.said);
    seen.extend(again.client.all(&id, seen.len() as u64).await);
    assert_whole(&seen);
    assert_eq!(seen.iter().filter(|e| e.name == "resumed").count(), 1);
    assert!(again.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_hurries() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(quick(dir.path(), "3600")).await;
    let id = server.client.start_prompt("/demo tokens=100000 tps=10 ttft_ms=0").await;
    let mut reader = server.client.events(&id, 0).await;
    reader.take(3).await;
    let pid = nix::unistd::Pid::from_raw(server.pid().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    reader.rest().await;
    let begun = tokio::time::Instant::now();
    assert!(server.terminate().await.success());
    assert!(begun.elapsed() < Duration::from_secs(3600));
}
