//! A scripted model server: real TCP, raw bytes, HTTP/1.1 chat completions by script.
//!
//! ```ignore
//! let gate = Gate::default();
//! let answer = Answer::sse().text("Hel").wait(&gate).text("lo").complete();
//! let upstream = Upstream::start(answer).await;
//! // … a provider with `upstream.base_url()` asks it …
//! gate.open();
//! upstream.closed().await;
//! ```
//!
//! Each request gets its own answer. It is always the same one (`Answer`), or one after the other
//! with the last repeated (`Vec<Answer>`). Or a function or a [`Model`] makes it from the request.
//! The server stops with all its connections when it is dropped.
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

mod messages;
mod responses;
mod script;

pub(crate) use responses::{Break, Events, Keeper};
pub(crate) use script::{Answer, Gate, Model, Script};
use script::{Respond, Step};

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Such as `POST /v1/chat/completions HTTP/1.1`.
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    /// Null if it is not JSON.
    pub(crate) body: Value,
    /// The body as it came.
    pub(crate) bytes: Vec<u8>,
}

impl Request {
    /// The header's value; the name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as it came.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }

    /// The text to be continued, if the request asks for that.
    pub(crate) fn so_far(&self) -> &str {
        let last = self.body["messages"].as_array().and_then(|m| m.last());
        let last = last.filter(|m| m["role"] == "assistant" && m["prefix"] == true);
        last.and_then(|m| m["content"].as_str()).unwrap_or_default()
    }
}

struct Shared {
    respond: Box<Respond>,
    requests: Mutex<Vec<Request>>,
    arrived: watch::Sender<usize>,
    connections: AtomicUsize,
    closed: watch::Sender<usize>,
    written: AtomicU64,
}

/// The server. Dropping it closes everything.
pub(crate) struct Upstream {
    port: u16,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

impl Upstream {
    /// Listens on a free port of the loopback.
    pub(crate) async fn start(script: impl Into<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            respond: script.into().0,
            requests: Mutex::default(),
            arrived: watch::Sender::new(0),
            connections: AtomicUsize::new(0),
            closed: watch::Sender::new(0),
            written: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, shared.clone()));
        Self { port, shared, _tasks: tasks }
    }

    /// The address for a model's settings.
    pub(crate) fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// Its port on the loopback.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The requests up to now.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many requests have come.
    pub(crate) async fn arrived(&self, requests: usize) {
        let mut arrived = self.shared.arrived.subscribe();
        let _sender_is_ours = arrived.wait_for(|count| *count >= requests).await;
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many bytes of answers were taken by the socket.
    pub(crate) fn written(&self) -> u64 {
        self.shared.written.load(Ordering::SeqCst)
    }

    /// Waits until the peer's close of some connection was seen.
    pub(crate) async fn closed(&self) {
        let mut closed = self.shared.closed.subscribe();
        let _sender_is_ours = closed.wait_for(|count| *count > 0).await;
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                shared.connections.fetch_add(1, Ordering::SeqCst);
                connections.spawn(serve(socket, shared.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(mut socket: TcpStream, shared: Arc<Shared>) {
    socket.set_nodelay(true).unwrap();
    let (mut reader, mut writer) = socket.split();
    let mut buffer = Vec::new();
    let mut reset = false;
    while let Some(request) = read_request(&mut reader, &mut buffer).await {
        let number = {
            let mut requests = shared.requests.lock().unwrap_or_else(PoisonError::into_inner);
            requests.push(request.clone());
            requests.len() - 1
        };
        shared.arrived.send_replace(number + 1);
        let answer = (shared.respond)(&request, number);
        let mut out = Out { writer: &mut writer, shared: &shared, chunked: answer.chunked };
        let kept = tokio::select! {
            kept = out.play(answer) => kept,
            () = peer_closed(&mut reader, &mut buffer) => Err(Lost::ByPeer),
        };
        match kept {
            Ok(()) => {}
            Err(Lost::ByPeer) => break,
            Err(Lost::Cut) => return,
            Err(Lost::Reset) => {
                reset = true;
                break;
            }
        }
    }
    if reset {
        let _best_effort = socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO));
        return;
    }
    shared.closed.send_modify(|count| *count += 1);
}

/// Why a connection is not used again.
enum Lost {
    ByPeer,
    Cut,
    Reset,
}

impl From<std::io::Error> for Lost {
    fn from(_: std::io::Error) -> Self {
        Self::ByPeer
    }
}

struct Out<'a, 'b> {
    writer: &'a mut WriteHalf<'b>,
    shared: &'a Shared,
    chunked: bool,
}

impl Out<'_, '_> {
    async fn play(&mut self, answer: Answer) -> Result<(), Lost> {
        if !answer.head.is_empty() {
            let encoding = if self.chunked { "transfer-encoding: chunked\r\n" } else { "" };
            self.write(format!("{}{encoding}\r\n", answer.head).as_bytes()).await?;
        }
        for step in answer.steps {
            self.step(step).await?;
        }
        if !self.chunked {
            return Err(Lost::Cut);
        }
        self.write(b"0\r\n\r\n").await?;
        Ok(())
    }

    async fn step(&mut self, step: Step) -> Result<(), Lost> {
        match step {
            Step::Send(bytes) => self.send(&bytes).await?,
            Step::Write(bytes) => self.write(&bytes).await?,
            Step::Wait(gate) => gate.opened().await,
            Step::Stall => std::future::pending().await,
            Step::Cut => return Err(Lost::Cut),
            Step::Reset => return Err(Lost::Reset),
            Step::Flood { events, event } => {
                const BATCH: usize = 100;
                let batch = event.repeat(BATCH);
                for _ in 0..events / BATCH {
                    self.send(&batch).await?;
                }
                self.send(&event.repeat(events % BATCH)).await?;
            }
            Step::Paced { events, every } => {
                if every.is_zero() {
                    for events in events.chunks(50) {
                        self.send(&events.concat()).await?;
                    }
                    return Ok(());
                }
                let mut ticks = tokio::time::interval_at(Instant::now() + every, every);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
                for event in events {
                    ticks.tick().await;
                    self.send(&event).await?;
                }
            }
        }
        Ok(())
    }

    async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if !self.chunked {
            return self.write(bytes).await;
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.write(&chunk).await
    }

    async fn write(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let taken = self.writer.write(bytes).await?;
            self.shared.written.fetch_add(taken as u64, Ordering::SeqCst);
            bytes = &bytes[taken..];
        }
        Ok(())
    }
}

/// Returns when the peer has closed; what it sends meanwhile is kept.
async fn peer_closed(reader: &mut ReadHalf<'_>, buffer: &mut Vec<u8>) {
    while matches!(reader.read_buf(buffer).await, Ok(n) if n > 0) {}
}

/// The next request of a connection; `None` if the peer closes.
async fn read_request(reader: &mut ReadHalf<'_>, buffer: &mut Vec<u8>) -> Option<Request> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break at;
        }
        reader.read_buf(buffer).await.ok().filter(|n| *n > 0)?;
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let line = lines.next()?.to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let body = end + 4..end + 4 + length;
    while buffer.len() < body.end {
        reader.read_buf(buffer).await.ok().filter(|n| *n > 0)?;
    }
    let bytes = buffer[body.clone()].to_vec();
    let json = serde_json::from_slice(&bytes).unwrap_or_default();
    buffer.drain(..body.end);
    Some(Request { line, headers, body: json, bytes })
}
