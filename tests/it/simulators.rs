//! Model servers of other projects: `aimock` (npm) and `llm-katan` (PyPI). They check more than our
//! own beliefs about upstreams. `scripts/setup test` installs them.
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use lastword::config::ProviderEnvironment;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{PATIENCE, Received, assert_whole, text};
use crate::harness::{TestApp, model_config};

const WIRES: [&str; 2] = ["openai", "anthropic"];

/// The answers of `flaky` and `dropped` of tests/simulators/fixtures.json.
const SIX: &str = "one two three four five six";

fn installed(below: &str) -> PathBuf {
    let path = crate::program::root().join(".simulators").join(below);
    let how = "run `scripts/setup test`, which installs it and says why it cannot";
    assert!(path.exists(), "{} is not there: {how}", path.display());
    path
}

/// A process that serves; it ends with this.
struct Simulator {
    child: Child,
    base: String,
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _may_have_ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Simulator {
    /// Starts it on a free port; `ready` begins the line that names its address.
    fn start(mut command: Command, ready: &str) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut simulator = Self { child: command.spawn().unwrap(), base: String::new() };
        let child = &mut simulator.child;
        let (sender, lines) = mpsc::channel();
        let outputs: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for output in outputs {
            let sender = sender.clone();
            // Reads on to the end, so that the process never waits for a full pipe.
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let _nobody_waits_any_more = sender.send(line);
                }
            });
        }
        drop(sender);
        let mut said = Vec::new();
        loop {
            let line = lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|e| panic!("it does not start: {e}: {said:#?}"));
            if let Some((_, rest)) = line.split_once(ready) {
                simulator.base = rest.split_whitespace().next().unwrap().to_owned();
                return simulator;
            }
            said.push(line);
        }
    }

    fn aimock() -> Self {
        let mut command = Command::new(installed("node_modules/.bin/llmock"));
        let fixtures = crate::program::root().join("tests/simulators/fixtures.json");
        command.args(["--port", "0", "--metrics", "--validate-on-load", "--fixtures"]);
        Self::start(
            {
                command.arg(fixtures);
                command
            },
            "server listening on ",
        )
    }

    fn katan(args: &[&str], dir: &TempDir) -> Self {
        let mut command = Command::new(installed("python/bin/llm-katan"));
        command.args(["--model", "echo", "--backend", "echo", "--name", "katan"]);
        command.args(["--host", "127.0.0.1", "--port", "0", "--providers", "openai,anthropic"]);
        command.arg("--disable-dashboard").arg("--stats-file").arg(dir.path().join("stats.json"));
        Self::start(
            {
                command.args(args);
                command
            },
            "Uvicorn running on ",
        )
    }

    /// A server with one model on each wire, each named after its wire.
    async fn app(&self, settings: &str) -> TestApp {
        let model = |wire: &&str| {
            let path = if *wire == "openai" { "/v1" } else { "" };
            model_config(&format!(
                "name = '{wire}'\nprovider = '{wire}'\nbase_url = '{}{path}'\n{settings}",
                self.base
            ))
        };
        TestApp::with(|c| c.models = WIRES.iter().map(model).collect()).await
    }

    /// The same with keys, which can only come from the environment.
    async fn app_with_keys(&self) -> TestApp {
        let of = |path: &str, model: &str| ProviderEnvironment {
            api_key: Some("a-key-for-tests".into()),
            base_url: Some(format!("{}{path}", self.base)),
            model: Some(model.into()),
        };
        TestApp::with(|c| {
            c.openai = of("/v1", "openai");
            c.anthropic = of("", "anthropic");
        })
        .await
    }

    /// How many requests ended so, by its own metrics.
    async fn ended(&self, app: &TestApp, status: &str) -> u64 {
        let url = format!("{}/metrics", self.base);
        let metrics = app.client.http.get(url).send().await.unwrap().text().await.unwrap();
        let label = format!("status=\"{status}\"");
        let counts = metrics
            .lines()
            .filter(|line| line.starts_with("aimock_requests_total") && line.contains(&label));
        counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    async fn chaos(&self, app: &TestApp, rates: Value) {
        let url = format!("{}/__aimock/chaos", self.base);
        let set = app.client.http.post(url).json(&rates).send().await.unwrap();
        assert!(set.status().is_success(), "{}", set.text().await.unwrap());
    }
}

async fn ask(app: &TestApp, model: &str, prompt: &str) -> Vec<Received> {
    let id = app.client.start(&json!({ "model": model, "prompt": prompt })).await;
    let events = app.client.all(&id, 0).await;
    assert_whole(&events);
    assert_eq!(app.client.view(&id).await["text"], json!(text(&events)));
    events
}

fn done(events: &[Received]) -> Value {
    events.last().unwrap().json()
}

fn ending(events: &[Received]) -> (Value, Value) {
    let done = done(events);
    (done["status"].clone(), done["error"]["code"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn aimock_streams_on_both_wires() {
    let aimock = Simulator::aimock();
    let app = aimock.app("").await;
    let long: String = (1..=40).map(|n| format!("s{n} ")).collect::<String>() + "🦀";
    for wire in WIRES {
        let events = ask(&app, wire, "long").await;
        assert_eq!(text(&events), long, "{wire}");
        assert_eq!(done(&events)["status"], "completed", "{wire}");
        assert!(events.len() > 40, "{wire}: paced, and each chunk an event: {}", events.len());
        let usage = &done(&events)["usage"];
        assert!(usage["output_tokens"].as_u64() > Some(10), "{wire}: {usage}");
        // On Anthropic's wire it counts nothing, which cannot be.
        assert_eq!(usage["exact"], wire == "openai", "{wire}: {usage}");

        let events = ask(&app, wire, "think").await;
        assert_eq!(text(&events), "an answer", "{wire}");
        let thought: String = events
            .iter()
            .filter(|e| e.name == "reasoning")
            .map(|e| e.json()["text"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(thought, "a thought", "{wire}");

        let events = ask(&app, wire, "tool").await;
        assert_eq!(done(&events)["finish_reason"], "tool_calls", "{wire}");
        let calls: Vec<Value> =
            events.iter().filter(|e| e.name == "tool_call").map(Received::json).collect();
        let arguments: String =
            calls.iter().map(|c| c["arguments"].as_str().unwrap_or_default()).collect();
        assert_eq!(
            (&calls[0]["name"], arguments.as_str()),
            (&json!("weather"), r#"{"city":"Köln"}"#)
        );
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aimock_says_no() {
    let aimock = Simulator::aimock();
    let app = aimock.app("max_attempts = 2").await;
    for wire in WIRES {
        for (prompt, status, code, asked) in [
            ("limited", "429", "upstream_rate_limited", 2),
            ("broken", "500", "upstream_unavailable", 1),
            ("overloaded", "529", "upstream_rate_limited", 2),
        ] {
            let before = aimock.ended(&app, status).await;
            let events = ask(&app, wire, prompt).await;
            assert_eq!(ending(&events), (json!("failed"), json!(code)), "{wire} {prompt}");
            let requests = aimock.ended(&app, status).await - before;
            assert_eq!(requests, asked, "{wire} {prompt}: what may be billed is asked once");
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aimock_breaks_off() {
    let aimock = Simulator::aimock();
    let restarts = aimock.app("on_loss = 'restart'").await;
    let interrupts = aimock.app("on_loss = 'interrupt'").await;
    let events = ask(&restarts, "openai", "flaky").await;
    assert_eq!(text(&events), SIX);
    assert_eq!(events.iter().filter(|e| e.name == "superseded").count(), 1, "{events:#?}");
    for wire in WIRES {
        let events = ask(&interrupts, wire, "dropped").await;
        assert_eq!(ending(&events), (json!("interrupted"), json!("upstream_truncated")), "{wire}");
        let said = text(&events);
        assert!(!said.is_empty() && said.len() < SIX.len() && SIX.starts_with(&said), "{said}");
        assert_eq!(done(&events)["usage"]["exact"], false);
    }
    aimock.chaos(&restarts, json!({ "disconnectRate": 1.0 })).await;
    for wire in WIRES {
        let events = ask(&restarts, wire, "think").await;
        assert_eq!(ending(&events), (json!("failed"), json!("upstream_unavailable")), "{wire}");
    }
    aimock.chaos(&restarts, json!({ "malformedRate": 1.0, "disconnectRate": 0.0 })).await;
    for wire in WIRES {
        let events = ask(&restarts, wire, "think").await;
        assert_eq!(done(&events)["status"], "failed", "{wire}: {events:#?}");
    }
    aimock.chaos(&restarts, json!({ "malformedRate": 0.0, "disconnectRate": 0.0 })).await;
    for wire in WIRES {
        assert_eq!(text(&ask(&restarts, wire, "think").await), "an answer", "{wire}");
    }
    restarts.stop().await;
    interrupts.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_reaches_aimock_by_its_own_count() {
    let aimock = Simulator::aimock();
    let app = aimock.app("").await;
    for wire in WIRES {
        let before = aimock.ended(&app, "destroyed").await;
        let id = app.client.start(&json!({ "model": wire, "prompt": "endless" })).await;
        let mut reader = app.client.events(&id, 0).await;
        while reader.next().await.expect("it goes on").name != "delta" {}
        assert_eq!(aimock.ended(&app, "destroyed").await, before, "{wire}: it runs");
        let receipt = app.client.cancel(&id).await;
        assert_eq!(receipt["status"], "cancelled");
        let reached = async { while aimock.ended(&app, "destroyed").await == before {} };
        // It would go on for a quarter of a minute.
        let soon = tokio::time::timeout(std::time::Duration::from_secs(5), reached).await;
        assert!(soon.is_ok(), "{wire}: the cancel did not reach the upstream");
        assert_eq!(aimock.ended(&app, "destroyed").await, before + 1, "{wire}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn llm_katan_answers_on_both_wires() {
    let dir = TempDir::new().unwrap();
    let katan = Simulator::katan(&["--itl-ms", "5", "--ttft-ms", "50"], &dir);
    let app = katan.app_with_keys().await;
    for wire in WIRES {
        let events = ask(&app, wire, "hello simulator 🦀").await;
        assert_eq!(done(&events)["status"], "completed", "{wire}: {events:#?}");
        assert!(text(&events).contains("hello simulator 🦀"), "{wire}: {}", text(&events));
        assert!(events.len() > 10, "{wire}");
        assert_eq!(done(&events)["usage"]["exact"], true, "{wire}: {}", done(&events));
    }
    app.stop().await;
    let keyless = katan.app("").await;
    for wire in WIRES {
        let events = ask(&keyless, wire, "hello").await;
        assert_eq!(ending(&events), (json!("failed"), json!("upstream_rejected")), "{wire}");
    }
    keyless.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn llm_katan_says_no() {
    for (flags, code) in [
        (["--error-rate", "1.0"], "upstream_unavailable"),
        (["--rate-limit-after", "1"], "upstream_rate_limited"),
    ] {
        let dir = TempDir::new().unwrap();
        let katan = Simulator::katan(&flags, &dir);
        let app = katan.app_with_keys().await;
        let _uses_the_first_up = ask(&app, "openai", "hello").await;
        for wire in WIRES {
            let events = ask(&app, wire, "hello").await;
            assert_eq!(ending(&events), (json!("failed"), json!(code)), "{wire} {flags:?}");
        }
        app.stop().await;
    }
}
