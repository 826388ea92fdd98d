//! The chat page in a real Chromium against real servers: `tests/page`, run by Node's test runner.
//! `scripts/setup test` installs the browser, what drives it, and the checker of types.
use std::io::{Write, stderr};
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::time::timeout;

use crate::database::TestDatabase;

/// All tests of the page together take six minutes on two cores; a browser that hangs shall not hang
/// the suite.
const MOST: Duration = Duration::from_secs(900);

fn tests() -> PathBuf {
    let path = crate::program::root().join("tests/page");
    let how = "run `scripts/setup test`, which installs it and says why it cannot";
    assert!(path.join("node_modules").exists(), "what drives the browser is missing: {how}");
    path
}

/// Runs to its end, with all that it started, and shows its output.
async fn run(mut command: Command) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = command.spawn().unwrap_or_else(|e| panic!("Node.js does not start: {e}"));
    let group = Pid::from_raw(child.id().unwrap().try_into().unwrap());
    let ended = timeout(MOST, child.wait_with_output()).await;
    // Servers and browsers of a run that failed go with it.
    let _mostly_gone = killpg(group, Signal::SIGKILL);
    let output = ended.expect("the page's tests end in time").unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    output
}

/// The names of the tests that failed, as Node's reporter `spec` lists them.
fn failed(output: &Output) -> Vec<String> {
    let said = String::from_utf8_lossy(&output.stdout);
    let mut names: Vec<String> = said
        .lines()
        .filter_map(|line| line.strip_prefix("  ✖ "))
        .filter_map(|line| Some(line.rsplit_once(" (")?.0.to_owned()))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// A pattern of JavaScript for just this text.
fn literal(name: &str) -> String {
    let special = |c: char| if c.is_alphanumeric() || " ,-".contains(c) { "" } else { "\\" };
    name.chars().flat_map(|c| special(c).chars().chain([c])).collect()
}

/// All tests of the page, or only those named, one after another.
async fn page(only: &[String]) -> Output {
    let database = TestDatabase::create().await;
    let mut node = Command::new("node");
    // Node 20 has its WebSocket behind this flag; later versions accept it.
    node.args(["--no-warnings", "--experimental-websocket", "--test", "--test-reporter=spec"]);
    if !only.is_empty() {
        node.env("PAGE_AT_ONCE", "1");
    }
    for name in only {
        node.arg(format!("--test-name-pattern={}$", literal(name)));
    }
    node.arg("run.js").current_dir(tests());
    node.env("SERVER_BINARY", crate::program::path()).env("DATABASE_URL", &database.url);
    for name in ["OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "ANTHROPIC_API_KEY"] {
        node.env_remove(name);
    }
    run(node).await
}

/// A test that fails beside others on a busy machine is tried once more, alone, and named.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_keeps_its_promises() {
    let output = page(&[]).await;
    if output.status.success() {
        return;
    }
    let names = failed(&output);
    let broken = names.is_empty() || names.len() > 8;
    assert!(!broken, "{names:?}\n{}", String::from_utf8_lossy(&output.stderr));
    // Said past the capture of output, so that a run that passes tells it, too.
    writeln!(stderr(), "page: passed only when run again, or not at all: {names:?}").unwrap();
    let again = page(&names).await;
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_types_of_the_page_fit() {
    let mut checker = Command::new(tests().join("node_modules/.bin/tsc"));
    checker.args(["-p", "tsconfig.json"]).current_dir(tests());
    assert!(run(checker).await.status.success());
}
