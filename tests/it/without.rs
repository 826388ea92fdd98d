//! Clients with and without the program: each is put directly at a recording server, and then at
//! the program in front of one, with the same situations. The requests that the server got and what
//! the client's objects hold are the same, but for the rows of docs/fidelity.md.
mod chat;
mod compare;
mod known;
mod recording;
mod responses;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::client::PATIENCE;
use crate::harness::{TestApp, model_config};
use crate::upstream::Upstream;
use compare::{Difference, clean, differences};
use known::ROWS;

/// The program in front of a recording server, beside another one.
struct Both {
    direct: Upstream,
    behind: Upstream,
    app: TestApp,
}

impl Both {
    async fn start() -> Self {
        let (direct, behind) = (recording::start().await, recording::start().await);
        let model = |name: &str, more: &str| {
            // What the configuration would change by default is off: each is a row of docs/fidelity.md.
            model_config(&format!(
                "name = '{name}'\nprovider = 'openai'\nbase_url = '{}'\nmax_attempts = 1\n\
                 reconnect_for_s = 0\nsystem_role = 'keep'\njoin_system = false\nthink_tags = false\n{more}",
                behind.base_url()
            ))
        };
        let models =
            [model("gpt-4o", ""), model("gpt-5", "wire = 'responses'\ncontinuation = 'none'")];
        let app = TestApp::with(|config| config.models = models.into()).await;
        Self { direct, behind, app }
    }

    /// Runs a client's script, and gives what it held at both addresses, by situation.
    async fn run(&self, mut client: Command) -> BTreeMap<String, [Value; 2]> {
        client.env("DIRECT", self.direct.base_url());
        client.env("THROUGH", format!("http://{}/v1", self.app.address));
        client.stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(PATIENCE * 5, client.output()).await.expect("it ends").unwrap();
        let (said, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{errors}");
        let mut held: BTreeMap<String, [Value; 2]> = BTreeMap::new();
        for line in said.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            let of = held.entry(line["situation"].as_str().unwrap().to_owned()).or_default();
            of[usize::from(line["way"] == "THROUGH")] = line["held"].clone();
        }
        held
    }

    /// All differences of a client: of the requests, and of what it held.
    async fn compare(&self, client: Command) -> Vec<(String, Difference)> {
        let held = self.run(client).await;
        assert!(held.len() > 10, "{} situations", held.len());
        let mut all = Vec::new();
        let (direct, behind) = (by_situation(&self.direct), by_situation(&self.behind));
        for (name, one) in &direct {
            let two = behind.get(name).cloned().unwrap_or_default();
            let found = differences("", &Value::Array(one.clone()), &Value::Array(two), true);
            all.extend(found.into_iter().map(|difference| (format!("request {name}"), difference)));
        }
        for (situation, [direct, through]) in held {
            let found = differences("", &clean(&direct), &clean(&through), false);
            all.extend(found.into_iter().map(|difference| (situation.clone(), difference)));
        }
        all
    }
}

/// The bodies that a server was asked with, by path and situation, without what a gateway that
/// streams says otherwise. One that is asked again stands there once.
fn by_situation(upstream: &Upstream) -> BTreeMap<String, Vec<Value>> {
    let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for request in upstream.requests() {
        let mut body = request.body.clone();
        for name in ["stream", "stream_options"] {
            _ = body.as_object_mut().unwrap().shift_remove(name);
        }
        let path = request.line.split(' ').nth(1).unwrap();
        let name = format!("{path} {}", recording::situation(request.text()));
        let asked = all.entry(name).or_default();
        if !asked.contains(&body) {
            asked.push(body);
        }
    }
    all
}

/// Tries the client; all differences that it sees are rows of docs/fidelity.md.
async fn agrees(client: Command) {
    let both = Both::start().await;
    let mut said = BTreeSet::new();
    for (situation, found) in both.compare(client).await {
        if ROWS.iter().any(|row| (row.is)(&situation, &found)) {
            continue;
        }
        let short = |value: &Value| value.to_string().chars().take(200).collect::<String>();
        let Difference { path, direct, through } = &found;
        said.insert(format!("{situation}: {path}: {} -> {}", short(direct), short(through)));
    }
    let said: Vec<_> = said.into_iter().collect();
    assert!(said.is_empty(), "{} differences:\n{}", said.len(), said.join("\n"));
    both.app.stop().await;
}

#[test]
fn each_difference_is_a_row_of_the_documents() {
    let page = crate::program::root().join("docs/fidelity.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, table) = page.split_once("# With and without lastword").unwrap();
    let table = table.split("\n#").next().unwrap();
    let written: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    let rows: Vec<String> = ROWS.iter().map(|row| format!("| {} |", row.what)).collect();
    assert_eq!(written.len(), rows.len(), "{written:#?}");
    for (line, row) in written.iter().zip(&rows) {
        assert!(line.starts_with(row), "{line} is not about {row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_from_pypi() {
    for client in ["openai_python.py", "langchain_python.py", "agents_python.py"] {
        agrees(crate::sdk::python(&format!("without/{client}"))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_from_npm() {
    for client in ["openai_node.cjs", "ai_sdk_node.cjs"] {
        agrees(crate::sdk::node(&format!("without/{client}"))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "`make fidelity` installs these clients, 800 MB, and runs them"]
async fn heavier_clients_from_pypi() {
    for client in ["pydantic_ai", "instructor", "litellm"] {
        let python = crate::program::root().join(".sdk-heavier/python/bin/python");
        let mut command = Command::new(python);
        command.arg(crate::sdk::script("without/heavier_python.py")).arg(client);
        agrees(command).await;
    }
}
