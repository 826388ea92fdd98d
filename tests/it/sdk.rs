//! The clients of real users, in their published form: `openai`, `anthropic` (PyPI and npm),
//! openai-agents, LangChain, the AI SDK, Durable Streams. Each meets two instances behind a proxy
//! that knows nothing. `scripts/setup test` installs them from tests/sdk.
mod pair;
mod retries;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::client::PATIENCE;
use crate::thinking::claude;
use crate::upstream::{Answer, Script, Upstream};
use pair::Pair;

fn installed(below: &str) -> PathBuf {
    let path = crate::program::root().join(".sdk").join(below);
    let how = "run `scripts/setup test`, which installs it and says why it cannot";
    assert!(path.exists(), "{} is not there: {how}", path.display());
    path
}

pub(crate) fn script(name: &str) -> PathBuf {
    crate::program::root().join("tests/sdk").join(name)
}

/// Models that misbehave, as one file.
struct Misbehaving {
    upstreams: [Upstream; 3],
}

impl Misbehaving {
    async fn start() -> Self {
        let error = r#"{"error":{"message":"the GPU is gone","type":"server_error","code":500}}"#;
        let limited = Answer::status(429).header("content-type", "application/json").raw(
            r#"{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded"}}"#,
        );
        let broken = Answer::sse().text("Hel").data(error);
        let whole = Answer::sse().text("Hel").text("lo").complete();
        let lost = Answer::sse().text("Once").cut();
        // Every first attempt is lost, every second one is whole.
        let restarts =
            Script::with(
                move |_, number| {
                    if number.is_multiple_of(2) { lost.clone() } else { whole.clone() }
                },
            );
        let upstreams = [
            Upstream::start(limited).await,
            Upstream::start(broken).await,
            Upstream::start(restarts).await,
        ];
        Self { upstreams }
    }

    fn toml(&self) -> String {
        let model = |(name, upstream, more): (&str, &Upstream, &str)| {
            format!(
                "[[models]]\nname = '{name}'\nprovider = 'openai'\nbase_url = '{}'\n{more}\n",
                upstream.base_url()
            )
        };
        let [limited, broken, restarts] = &self.upstreams;
        [
            ("limited", limited, "max_attempts = 1"),
            ("broken", broken, "max_attempts = 1\nreconnect_for_s = 0\non_loss = 'interrupt'"),
            ("restarts", restarts, "max_attempts = 2\non_loss = 'restart'"),
        ]
        .map(model)
        .concat()
    }
}

/// The longest time between two lines of a client: some load hundreds of modules first.
const STEP: Duration = PATIENCE.saturating_mul(3);

/// Runs a client's script to its end; each command that it prints is done to the pair.
async fn run(pair: &mut Pair, mut command: Command) {
    command.env("BASE", pair.base()).env("KILLS", "1").env("MODELS", "1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    let (mut stdin, mut stderr) = (child.stdin.take().unwrap(), child.stderr.take().unwrap());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(line) = timeout(STEP, lines.next_line()).await.expect("it goes on").unwrap() {
        match line.split_once(' ') {
            Some(("kill", id)) => pair.kill_owner(id).await,
            _ if line == "heal" => pair.heal().await,
            _ => {
                println!("{line}");
                continue;
            }
        }
        stdin.write_all(b"done\n").await.unwrap();
    }
    let mut said = String::new();
    stderr.read_to_string(&mut said).await.unwrap();
    let status = child.wait().await.unwrap();
    assert!(status.success(), "{said}");
}

pub(crate) fn python(name: &str) -> Command {
    let mut command = Command::new(installed("python/bin/python"));
    command.arg(script(name)).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

pub(crate) fn node(name: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(script(name)).env("NODE_PATH", installed("node_modules"));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_and_langchain_from_pypi() {
    let models = Misbehaving::start().await;
    let mut pair = Pair::start(&models.toml()).await;
    run(&mut pair, python("openai_python.py")).await;
    run(&mut pair, python("langchain_python.py")).await;
}

/// A model that calls the tool whenever a prompt comes, and repeats the tool's result.
fn agent() -> Script {
    Script::with(|request, number| {
        let last = request.body["messages"].as_array().and_then(|messages| messages.last());
        if last.is_some_and(|message| message["role"] == "tool") {
            return Answer::sse().text("It: the answer is 42.").complete();
        }
        let function = json!({ "name": "look_up", "arguments": "{\"what\":\"it\"}" });
        let call = json!({ "index": 0, "id": format!("call_{number}"), "type": "function",
            "function": function });
        Answer::sse().delta(&json!({ "tool_calls": [call] })).finish("tool_calls").done()
    })
}

/// A tool loop with Claude by its clients' own means: it refuses a result whose thinking is missing.
#[tokio::test(flavor = "multi_thread")]
async fn openai_keeps_claudes_thinking() {
    let upstream = Upstream::start(claude()).await;
    let base = upstream.base_url();
    let toml = format!(
        "[[models]]\nname = 'claude'\nprovider = 'anthropic'\nbase_url = '{}'\nmax_attempts = 1\n\
         set = {{ thinking = {{ type = 'enabled', budget_tokens = 2000 }} }}\n",
        base.trim_end_matches("/v1")
    );
    let mut pair = Pair::start(&toml).await;
    run(&mut pair, python("thinking_python.py")).await;
    run(&mut pair, node("thinking_node.cjs")).await;
}

/// openai-agents and the AI SDK as they are without settings: Responses, over a server of chat
/// completions.
#[tokio::test(flavor = "multi_thread")]
async fn agents_with_their_default_model() {
    let upstream = Upstream::start(agent()).await;
    let toml = format!(
        "[[models]]\nname = 'gpt-5.6-luna'\nprovider = 'openai'\nbase_url = '{}'\n",
        upstream.base_url()
    );
    let mut pair = Pair::start(&toml).await;
    run(&mut pair, python("agents_python.py")).await;
    run(&mut pair, node("agents_node.cjs")).await;
    run(&mut pair, node("ai_sdk_openai.cjs")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_from_npm() {
    let models = Misbehaving::start().await;
    let mut pair = Pair::start(&models.toml()).await;
    run(&mut pair, node("openai_node.cjs")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anthropic_from_pypi() {
    let models = Misbehaving::start().await;
    let mut pair = Pair::start(&models.toml()).await;
    run(&mut pair, python("anthropic_python.py")).await;
    run(&mut pair, python("langchain_anthropic_python.py")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anthropic_from_npm() {
    let models = Misbehaving::start().await;
    let mut pair = Pair::start(&models.toml()).await;
    run(&mut pair, node("anthropic_node.cjs")).await;
    run(&mut pair, node("ai_sdk_anthropic_node.mjs")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ai_sdk_in_a_browser() {
    let mut pair = Pair::start("").await;
    run(&mut pair, node("ai_sdk_browser.cjs")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn durable_streams_from_npm() {
    let mut pair = Pair::start("").await;
    run(&mut pair, node("durable_node.cjs")).await;
}

/// The README's example under that mark, pointed at `base`.
fn example(mark: &str, base: &str) -> String {
    let readme = crate::program::root().join("README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let (_, rest) = readme.split_once(&format!("<!-- test: {mark} -->")).unwrap();
    let code = rest.split("```").nth(1).unwrap().split_once('\n').unwrap().1;
    assert!(code.contains("http://localhost:7878"), "{code}");
    let host = base.trim_end_matches("/v1");
    code.replace("http://localhost:7878/v1", base).replace("http://localhost:7878", host)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_the_readme_run() {
    let pair = Pair::start("").await;
    for (mark, program) in [
        ("openai_python", installed("python/bin/python")),
        ("langchain_python", installed("python/bin/python")),
        ("openai_node", "node".into()),
        ("anthropic_python", installed("python/bin/python")),
    ] {
        let mut command = Command::new(program);
        command.arg(if mark.ends_with("node") { "-e" } else { "-c" });
        command.arg(example(mark, &pair.base())).env("NODE_PATH", installed("node_modules"));
        let output = command.output().await.unwrap();
        let (said, errors) = (String::from_utf8(output.stdout), String::from_utf8(output.stderr));
        assert!(output.status.success(), "{mark}: {}", errors.unwrap());
        assert!(said.unwrap().contains("lastword's built-in demo"), "{mark}");
    }
}
