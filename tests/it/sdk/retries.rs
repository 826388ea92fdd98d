//! SDKs that try again by themselves, and applications that repeat a stream that was begun, while
//! the server that answers is killed. One kill meets all questions in mid-answer.
use std::collections::BTreeMap;
use std::process::Stdio;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::pair::Pair;
use super::{node, python};
use crate::client::PATIENCE;
use crate::upstream::{Answer, Request, Script, Upstream};

/// The pieces of the whole answer. The first answer to a question breaks off before the last one.
const WHOLE: [&str; 3] = ["One ", "two ", "three."];

/// The name of the question that a request asks; it stands between these marks.
fn question(request: &Request) -> Option<&str> {
    let (_, rest) = request.text().split_once("q=")?;
    Some(rest.split_once(';')?.0)
}

/// The status that a client wants the model's server to have.
fn status(request: &Request) -> Option<u16> {
    let (_, rest) = request.text().split_once("status=")?;
    rest.split_once(';')?.0.parse().ok()
}

/// A model whose first answer to a question never ends, and whose second one is whole.
fn dies_once() -> Script {
    let asked = std::sync::Mutex::new(BTreeMap::<String, usize>::new());
    Script::with(move |request, _| {
        if let Some(status) = status(request) {
            return Answer::status(status).raw(r#"{"error":{"message":"no"}}"#);
        }
        let question = question(request).expect("a question");
        let mut asked = asked.lock().unwrap();
        let times = asked.entry(question.to_owned()).or_default();
        *times += 1;
        let first = *times == 1;
        if first && question.ends_with("no head") {
            return Answer::none().stall();
        }
        let begun = &WHOLE[..2];
        match request.line.contains("/messages") {
            true if first => begun_message(begun).stall(),
            true => Answer::whole_message(&WHOLE),
            false if first => {
                begun.iter().fold(Answer::sse(), |said, text| said.text(text)).stall()
            }
            false => {
                let whole = WHOLE.concat();
                let rest = whole.strip_prefix(request.so_far()).expect("its own words");
                Answer::sse().text(rest).complete()
            }
        }
    })
}

/// A message of Anthropic's without its end.
fn begun_message(pieces: &[&str]) -> Answer {
    let block = json!({ "type": "text", "text": "" });
    pieces.iter().fold(Answer::sse().message_start().block(0, block), |answer, text| {
        answer.piece(0, json!({ "type": "text_delta", "text": text }))
    })
}

/// The same server as four models.
fn models(upstream: &Upstream) -> String {
    let base = upstream.base_url();
    let root = base.trim_end_matches("/v1");
    [
        ("dies", "openai", base.as_str(), "on_loss = 'restart'"),
        ("goes-on", "openai", &base, "continuation = 'prefix'"),
        ("claude", "anthropic", root, "on_loss = 'restart'"),
        ("refuses", "openai", &base, "max_attempts = 1"),
    ]
    .map(|(name, provider, url, more)| {
        format!(
            "[[models]]\nname = '{name}'\nprovider = '{provider}'\nbase_url = '{url}'\n{more}\n"
        )
    })
    .concat()
}

/// A client's script that asks its questions all at once.
struct Client {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// How many questions it asks.
    questions: usize,
}

impl Client {
    /// Starts it, and waits until it has asked all, and has read the begin of its streams.
    async fn begun(pair: &Pair, mut command: Command) -> Self {
        command.env("BASE", pair.base()).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut client = Self { child, stdin, lines, questions: 0 };
        let line = client.line().await;
        let questions = line.as_deref().and_then(|line| line.strip_prefix("begun "));
        let Some(questions) = questions else { panic!("{line:?}: {}", client.errors().await) };
        client.questions = questions.parse().unwrap();
        client
    }

    async fn line(&mut self) -> Option<String> {
        timeout(PATIENCE, self.lines.next_line()).await.expect("it goes on").unwrap()
    }

    async fn errors(&mut self) -> String {
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
        said
    }

    /// Tells it of the kill, and waits for its end.
    async fn end(mut self) {
        self.stdin.write_all(b"killed\n").await.unwrap();
        while let Some(line) = self.line().await {
            println!("{line}");
        }
        let said = self.errors().await;
        assert!(self.child.wait().await.unwrap().success(), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sdks_that_try_again_over_a_kill_have_one_answer_paid() {
    let upstream = Upstream::start(dies_once()).await;
    let mut pair = Pair::start(&models(&upstream)).await;
    pair.lead_to_first();
    let clients = [
        Client::begun(&pair, python("retries_python.py")).await,
        Client::begun(&pair, node("retries_node.cjs")).await,
    ];
    let questions = clients.iter().map(|client| client.questions).sum();
    upstream.arrived(questions).await;
    pair.kill_first().await;
    for client in clients {
        client.end().await;
    }
    let mut asked = BTreeMap::<String, usize>::new();
    for request in upstream.requests() {
        if let Some(question) = question(&request) {
            *asked.entry(question.to_owned()).or_default() += 1;
        }
    }
    assert_eq!(asked.len(), questions);
    assert!(asked.values().all(|times| *times == 2), "one answer was read to its end: {asked:?}");
}
