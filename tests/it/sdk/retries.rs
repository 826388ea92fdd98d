//! SDKs that try again by themselves, and applications that repeat a stream, while the server that
//! answers is killed. Each question is asked of the model's server twice: once, and once more
//! after the kill.
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::pair::Pair;
use super::{node, python};
use crate::client::PATIENCE;
use crate::upstream::{Answer, Request, Script, Upstream};

/// The status that a question asks for.
fn refused(request: &Request) -> Option<u16> {
    request.body["messages"][0]["content"].as_str()?.strip_prefix("status ")?.parse().ok()
}

/// The first answer to a question never ends, the second one is whole.
fn dies_once() -> Script {
    Script::with(|request, number| {
        if let Some(status) = refused(request) {
            return Answer::status(status).raw(r#"{"error":{"message":"no"}}"#);
        }
        let headless = request.body.to_string().contains("no head");
        match number.is_multiple_of(2) {
            true if headless => Answer::none().stall(),
            true => Answer::sse().text("One ").text("two ").stall(),
            false => Answer::sse().text("One ").text("two ").text("three.").complete(),
        }
    })
}

/// Runs a script to its end, and does what it says: `asked N` waits until the model's server was
/// asked so often, `kill` is for the instance that runs the newest generation.
async fn run(mut command: Command) {
    let upstream = Upstream::start(dies_once()).await;
    let model = format!(
        "[[models]]\nname = 'dies'\nprovider = 'openai'\nbase_url = '{}'\n",
        upstream.base_url()
    );
    let mut pair = Pair::start(&model).await;
    pair.warm().await;
    command.env("BASE", pair.base()).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut stdin, mut stderr) = (child.stdin.take().unwrap(), child.stderr.take().unwrap());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut questions = 0;
    while let Some(line) = timeout(PATIENCE, lines.next_line()).await.expect("it goes on").unwrap()
    {
        match line.split_once(' ') {
            Some(("asked", count)) => upstream.arrived(count.parse().unwrap()).await,
            _ if line == "kill" => pair.kill_newest().await,
            _ if line == "heal" => {
                pair.heal().await;
                pair.warm().await;
            }
            _ => {
                println!("{line}");
                questions += 1;
                continue;
            }
        }
        stdin.write_all(b"done\n").await.unwrap();
    }
    let mut said = String::new();
    stderr.read_to_string(&mut said).await.unwrap();
    assert!(child.wait().await.unwrap().success(), "{said}");
    assert!(questions > 0, "{said}");
    let answered = upstream.requests().iter().filter(|r| refused(r).is_none()).count();
    assert_eq!(answered, 2 * questions, "no answer was paid twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_from_pypi_try_again_while_a_server_is_killed() {
    run(python("retries_python.py")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_from_npm_try_again_while_a_server_is_killed() {
    run(node("retries_node.cjs")).await;
}
