//! Clients that come back: they start with a key, read until `done`, and write down what they
//! saw. They know one address and the protocol, nothing else.
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use lastword::domain::prompt::{Message, Parameters, Prompt, Role};
use lastword::ports::{Attempt, Delta, Provider};
use lastword::providers::demo::Demo;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::{interval, timeout};

use crate::client::{Client, Reader, Received, Transport};
use crate::history::{Connection, History, Started};

/// A connection that says nothing for so long is given up; longer than a take-over takes.
const SILENCE: Duration = Duration::from_secs(5);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks until there is an answer that is no error; a server's death is none.
async fn ask(request: &RequestBuilder) -> Response {
    let mut tries = interval(PAUSE);
    loop {
        tries.tick().await;
        let request = request.try_clone().expect("its body is in memory");
        match timeout(SILENCE, request.send()).await {
            Ok(Ok(answer)) if answer.status().is_success() => return answer,
            // Our requests are right, so any answer below 500 is wrong.
            Ok(Ok(answer)) => assert!(answer.status().is_server_error(), "{answer:?}"),
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

/// The same, with its body.
async fn ask_json(request: &RequestBuilder) -> (StatusCode, Value) {
    loop {
        let answer = ask(request).await;
        let status = answer.status();
        if let Ok(body) = answer.json().await {
            return (status, body);
        }
    }
}

/// Starts a generation, with a key, and again until an answer arrives.
pub(crate) async fn begin(client: &Client, key: &str, body: &Value) -> Started {
    let url = format!("{}/v1/generations", client.base);
    let request = client.http.post(url).header("idempotency-key", key).json(body);
    let (status, answer) = ask_json(&request).await;
    let id = answer["id"].as_str().unwrap().to_owned();
    Started { id, replayed: status == StatusCode::OK }
}

/// The answer to `GET`.
pub(crate) async fn view(client: &Client, id: &str) -> Value {
    let url = format!("{}/v1/generations/{id}", client.base);
    ask_json(&client.http.get(url)).await.1
}

/// The answer to a cancel.
pub(crate) async fn cancel(client: &Client, id: &str) -> Value {
    let url = format!("{}/v1/generations/{id}/cancel", client.base);
    ask_json(&client.http.post(url).json(&json!({}))).await.1
}

/// One reader, up to `done`, that comes back as often as it is cut. It uses SSE and a WebSocket by
/// turns, so that each goes on where the other one was.
pub(crate) struct Follower {
    client: Client,
    pub(crate) id: String,
    cursor: u64,
    open: Option<Reader>,
    /// Which transport its next connection is over.
    turn: usize,
    pub(crate) connections: Vec<Connection>,
}

impl Follower {
    pub(crate) fn new(client: &Client, id: &str) -> Self {
        // Half of them begin over each.
        static READERS: AtomicUsize = AtomicUsize::new(0);
        let (client, id) = (client.clone(), id.to_owned());
        let turn = READERS.fetch_add(1, Ordering::Relaxed);
        Self { client, id, cursor: 0, open: None, turn, connections: Vec::new() }
    }

    /// The next event; `None` behind `done`.
    pub(crate) async fn next(&mut self) -> Option<Received> {
        let mut tries = interval(PAUSE);
        while !self.is_over() {
            let Some(reader) = &mut self.open else {
                tries.tick().await;
                self.connect().await;
                continue;
            };
            match timeout(SILENCE, reader.next()).await {
                Ok(Some(event)) => {
                    self.cursor = event.id;
                    let connection = self.connections.last_mut()?;
                    connection.events.push(event.clone());
                    return Some(event);
                }
                Ok(None) | Err(_) => self.open = None,
            }
        }
        None
    }

    /// Drops its connection; the next event comes by another.
    pub(crate) fn cut(&mut self) {
        self.open = None;
    }

    async fn connect(&mut self) {
        let over = [Transport::Sse, Transport::WebSocket][self.turn % 2];
        self.turn += 1;
        let client = self.client.over(over);
        let opened = timeout(SILENCE, client.ask_events(&self.id, self.cursor)).await;
        let Ok(Some((status, reader))) = opened else { return };
        self.connections.push(Connection { after: self.cursor, status, events: Vec::new() });
        self.open = reader;
    }

    /// Whether it saw the ending, or was told something that it must not be told.
    fn is_over(&self) -> bool {
        self.connections.last().is_some_and(|c| {
            c.status != StatusCode::OK || c.events.last().is_some_and(|e| e.name == "done")
        })
    }

    /// Reads on until an event of that type; what it was.
    pub(crate) async fn until(&mut self, name: &str) -> Received {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if event.name == name {
                return event;
            }
        }
    }

    pub(crate) async fn take(&mut self, count: usize) {
        for _ in 0..count {
            self.next().await.expect("the stream goes on");
        }
    }

    /// To the end; all its connections.
    pub(crate) async fn finish(mut self) -> Vec<Connection> {
        while self.next().await.is_some() {}
        self.connections
    }
}

/// Starts and reads with several readers; the caller adds what else was seen and concludes.
pub(crate) async fn watch(client: &Client, key: &str, body: &Value, readers: usize) -> History {
    let start = begin(client, key, body).await;
    let readers = (0..readers).map(|_| Follower::new(client, &start.id).finish());
    let readers = join_all(readers).await;
    History { id: start.id.clone(), starts: vec![start], readers, ..History::default() }
}

/// The final state in the log and in `GET`.
pub(crate) async fn conclude(client: &Client, history: &mut History) {
    let connections = Follower::new(client, &history.id).finish().await;
    history.log = connections.into_iter().flat_map(|c| c.events).collect();
    history.view = view(client, &history.id).await;
}

/// Concludes all of them; no rule may be broken.
pub(crate) async fn assert_kept(client: &Client, mut histories: Vec<History>) -> Vec<History> {
    for history in &mut histories {
        assert!(history.readers.iter().any(|r| !r.is_empty()), "nobody has read {}", history.id);
        conclude(client, history).await;
    }
    let found: Vec<String> = histories.iter().flat_map(History::check).collect();
    assert!(found.is_empty(), "{found:#?}");
    histories
}

/// How often readers came back.
pub(crate) fn reconnects(histories: &[History]) -> usize {
    histories.iter().flat_map(|h| &h.readers).map(|r| r.len().saturating_sub(1)).sum()
}

/// The demo's text without a disturbance.
pub(crate) async fn undisturbed(prompt: &str) -> String {
    let fast = format!("{prompt} tps=0 ttft_ms=0");
    let message = Message::text(Role::User, fast);
    let prompt = Prompt::parse(vec![message], Parameters::default(), 10_000).unwrap();
    let mut deltas = Demo.start(Attempt::fresh(prompt)).await.unwrap_or_else(|e| panic!("{e}"));
    let mut text = String::new();
    while let Some(delta) = deltas.next().await {
        if let Ok(Delta::Text(more)) = delta {
            text.push_str(&more);
        }
    }
    text
}

/// A prompt of the demo: so many tokens, so many of them a second.
pub(crate) fn demo(tokens: u32, tps: u32, seed: usize) -> String {
    format!("/demo tokens={tokens} tps={tps} ttft_ms=0 unicode seed={seed}")
}

pub(crate) fn body(prompt: &str) -> Value {
    json!({ "prompt": prompt })
}
