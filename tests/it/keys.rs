//! `lastword keys`: keys are made, listed and ended, wherever the database is. A start depends on
//! them.
use std::path::Path;
use std::process::Output;

use lastword::app::{App, keys};
use lastword::config::{Cli, Command as Commands, Config};
use lastword::engine::Anonymous;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::client::PATIENCE;
use crate::database::TestDatabase;
use crate::harness::{TestApp, config};
use crate::process::{Server, command};

/// `lastword keys …` on a test's database; its lines.
pub(crate) async fn told(database: &TestDatabase, args: &[&str]) -> Vec<String> {
    told_by(&config(database), args).await
}

/// The same, as configured.
pub(crate) async fn told_by(config: &Config, args: &[&str]) -> Vec<String> {
    let words = ["lastword", "keys"].iter().chain(args).copied();
    let Commands::Keys { command, .. } = Cli::of_words(words).unwrap().command else {
        panic!("not `keys`")
    };
    keys::run(config, command).await.unwrap().lines
}

/// A new key.
pub(crate) async fn make_key(database: &TestDatabase, args: &[&str]) -> String {
    let name: &[&str] = if args.contains(&"--name") { &[] } else { &["--name", "test"] };
    let args = [&["create"], name, args].concat();
    told(database, &args).await.remove(0)
}

/// A server that requires a key, and a key.
pub(crate) async fn locked(args: &[&str]) -> (TestApp, String) {
    let database = TestDatabase::create().await;
    let key = make_key(&database, args).await;
    let mut config = config(&database);
    config.anonymous = Anonymous::Refused;
    (TestApp::on(database, config).await, key)
}

/// The program; its exit code, its standard output and its standard error.
async fn program(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut keys = Command::new(crate::program::path());
    keys.arg("keys").args(args).arg("--data-dir").arg(dir);
    keys.env_remove("DATABASE_URL").env("RUST_LOG", "off");
    let Output { status, stdout, stderr } =
        timeout(PATIENCE, keys.output()).await.expect("it ends").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_listed_and_ended_beside_a_server_or_without_one() {
    let dir = TempDir::new().unwrap();
    let mut open = Command::new(crate::program::path());
    open.args(["serve", "--no-detect", "--listen", "0.0.0.0:0", "--data-dir"]).arg(dir.path());
    let open = open.env_remove("DATABASE_URL").output();
    let refused = timeout(PATIENCE, open).await.expect("it ends").unwrap();
    let words = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{words}");
    let advice = format!("lastword keys create --name me --data-dir {}", dir.path().display());
    assert!(words.contains(&advice) && words.contains("--insecure-no-auth"), "{words}");

    let (code, key, note) = program(dir.path(), &["create", "--name", "first"]).await;
    assert_eq!(code, Some(0), "{note}");
    let key = key.trim_end();
    assert!(key.starts_with("lw_") && key.len() == 46, "nothing but the key: {key:?}");
    assert!(note.contains("first") && !note.contains(key), "{note}");

    let mut locked = command(dir.path());
    locked.arg("--require-key");
    let server = Server::start(locked).await;
    assert!(server.said.iter().any(|line| line.contains("by key")), "{:?}", server.said);
    let models = || server.client.http.get(format!("{}/v1/models", server.client.base));
    assert_eq!(models().send().await.unwrap().status(), 401);
    assert_eq!(models().bearer_auth(key).send().await.unwrap().status(), 200);

    let args = ["create", "--name", "second", "--tenant", "acme", "--expires", "90d", "--rpm", "7"];
    let (code, second, _) = program(dir.path(), &args).await;
    assert_eq!(code, Some(0));
    assert_eq!(models().bearer_auth(second.trim_end()).send().await.unwrap().status(), 200);
    let (_, table, _) = program(dir.path(), &["list"]).await;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("ID ") && lines[2].contains("acme"), "{table}");
    assert!(!table.contains(key) && !table.contains(second.trim_end()), "{table}");
    let (_, list, _) = program(dir.path(), &["list", "--json"]).await;
    let second: Value = serde_json::from_str(list.lines().nth(1).unwrap()).unwrap();
    assert_eq!(second["limits"]["requests_per_minute"], 7);
    assert!(second["expires_at"].is_string() && second["revoked_at"].is_null(), "{second}");

    let (code, _, words) = program(dir.path(), &["revoke", "nobody"]).await;
    assert!(code == Some(2) && words.contains("no key `nobody`"), "{words}");
    let (code, line, _) = program(dir.path(), &["revoke", "first"]).await;
    assert!(code == Some(0) && line.contains("is revoked"), "{line}");
    let (code, _, words) = program(dir.path(), &["revoke", "first"]).await;
    assert_eq!(code, Some(2), "{words}");
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_address_needs_a_key_first() {
    let database = TestDatabase::create().await;
    let dir = TempDir::new().unwrap();
    let mut config = config(&database);
    config.data_dir = dir.path().into();
    config.anonymous = Anonymous::Refused;
    let refused = |error: Option<lastword::app::AppError>| {
        let words = error.expect("no usable key, no start").to_string();
        assert!(words.contains("lastword keys create"), "{words}");
        assert!(!words.contains(&database.url), "{words}");
    };
    refused(App::build(&config).await.err());
    make_key(&database, &[]).await;
    assert!(App::build(&config).await.is_ok());
    told(&database, &["revoke", "test"]).await;
    refused(App::build(&config).await.err());
    make_key(&database, &["--expires", "1h"]).await;
    assert!(App::build(&config).await.is_ok());
    let expire = "update keys set expires_at = now() - interval '1 s'";
    sqlx::query(expire).execute(&mut database.connect().await).await.unwrap();
    refused(App::build(&config).await.err());
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (args, word) in [
        (vec!["create"], "--name"),
        (vec!["create", "--name", ""], "a name is"),
        (vec!["create", "--name", "a", "--scope", "wrte"], "Did you mean `write`?"),
        (vec!["create", "--name", "a", "--expires", "90"], "90d"),
        (vec!["create", "--name", "a", "--tenant", "a b"], "a tenant is"),
        (vec!["create", "--name", "a", "--rpm", "0"], "0 is not in 1.."),
        (vec!["revoke"], "<KEY>"),
    ] {
        let words = ["lastword", "keys"].into_iter().chain(args.clone());
        let error = Cli::of_words(words).unwrap_err();
        assert!(error.contains(word), "{args:?}: {error}");
    }
}
