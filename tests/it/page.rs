//! The chat page in a real Chromium against real servers: `tests/page`, run by Node's test runner.
//! `scripts/setup test` installs the browser, what drives it, and the checker of types.
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::time::timeout;

use crate::database::TestDatabase;

/// All tests of the page together take a minute; a browser that hangs shall not hang the suite.
const MOST: Duration = Duration::from_secs(600);

fn tests() -> PathBuf {
    let path = crate::program::root().join("tests/page");
    let how = "run `scripts/setup test`, which installs it and says why it cannot";
    assert!(path.join("node_modules").exists(), "what drives the browser is missing: {how}");
    path
}

/// Runs to its end, with all that it started; its output is shown when it fails.
async fn run(mut command: Command) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = command.spawn().unwrap_or_else(|e| panic!("Node.js does not start: {e}"));
    let group = Pid::from_raw(child.id().unwrap().try_into().unwrap());
    let ended = timeout(MOST, child.wait_with_output()).await;
    // Servers and browsers of a run that failed go with it.
    let _mostly_gone = killpg(group, Signal::SIGKILL);
    let output = ended.expect("the page's tests end in time").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_keeps_its_promises() {
    let database = TestDatabase::create().await;
    let mut node = Command::new("node");
    // Node 20 has its WebSocket behind this flag; later versions accept it.
    node.args(["--no-warnings", "--experimental-websocket", "--test", "--test-reporter=spec"]);
    node.arg("run.js").current_dir(tests());
    node.env("SERVER_BINARY", crate::program::path()).env("DATABASE_URL", &database.url);
    for name in ["OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "ANTHROPIC_API_KEY"] {
        node.env_remove(name);
    }
    run(node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_types_of_the_page_fit() {
    let mut checker = Command::new(tests().join("node_modules/.bin/tsc"));
    checker.args(["-p", "tsconfig.json"]).current_dir(tests());
    run(checker).await;
}
