//! A small durable server, to try the checks on: plain SSE in front, chat completions behind. It
//! is correct, and each of its faults can be switched on.
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clap::ValueEnum;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::http::{self, Request};

mod generate;
mod log;
mod serve;

use log::Log;

/// A fault to plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// A resume leaves an event out.
    Gap,
    /// A resume says an event again.
    Repeat,
    /// Nothing is kept on the disk.
    LostAfterKill,
    /// The ending comes twice.
    TwoEndings,
    /// An upstream that broke off is a success.
    TruncationAsSuccess,
    /// A cancel leaves the upstream's connection open.
    LateClose,
    /// A cancel's receipt says that the answer was completed.
    WrongReceipt,
    /// A repeated start asks the upstream again.
    SecondGeneration,
    /// The body stays open after its ending.
    OpenAfterEnd,
    /// A stream that is over is forgotten.
    ForgetsEnded,
    /// Readers that come later get other bytes.
    ReadersDiffer,
    /// A cursor that never was is answered with silence and an ending.
    SilentCursor,
    /// An event follows the ending.
    AfterEnding,
    /// One of the model's tokens is lost.
    LosesToken,
    /// Two streams of three end without their usage.
    SometimesUsage,
    /// The usage is not the model's.
    WrongUsage,
    /// A number is left out.
    Hole,
    /// A stream's state lacks its last event.
    StaleView,
    /// A resume is answered with 500.
    RefusesResume,
    /// Each connection's events are its own.
    StampsReaders,
    /// A reader that was slow goes on at the newest event.
    DropsSlow,
    /// All readers wait for the slowest.
    HoldsUp,
    /// A cancelled answer is a success.
    CancelCompletes,
    /// A repeated start says that it is one generation, and begins another.
    FalseReplay,
    /// The answer that the kill cut is a success after the restart.
    KilledAsSuccess,
}

/// The server's settings at its start.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Where chat completions are asked for, such as `http://127.0.0.1:9100/v1`.
    pub(crate) upstream: String,
    /// The file that keeps the streams.
    pub(crate) data: PathBuf,
    pub(crate) fault: Option<Fault>,
}

/// A running server; dropped, it is killed.
pub(crate) struct Reference {
    pub(crate) address: SocketAddr,
    _tasks: JoinSet<()>,
}

struct Shared {
    options: Options,
    http: reqwest::Client,
    streams: Mutex<HashMap<String, Stream>>,
    keys: Mutex<HashMap<String, String>>,
    /// The writer's turn, in the fault that lets all wait.
    turn: tokio::sync::Mutex<()>,
    readers: AtomicU64,
    /// The generations.
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Clone)]
struct Stream {
    log: Arc<Log>,
    running: Option<AbortHandle>,
}

impl Shared {
    fn streams(&self) -> MutexGuard<'_, HashMap<String, Stream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, fault: Fault) -> bool {
        self.options.fault == Some(fault)
    }
}

impl Reference {
    /// Listens, and takes up the streams of an earlier process.
    ///
    /// # Errors
    /// The address or the file cannot be had.
    pub(crate) async fn start(listen: &str, options: Options) -> io::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build().map_err(io::Error::other)?;
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let left = if options.fault == Some(Fault::LostAfterKill) {
            Vec::new()
        } else {
            log::read(&options.data)?
        };
        let shared = Arc::new(Shared {
            options,
            http,
            streams: Mutex::default(),
            keys: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            readers: AtomicU64::default(),
            tasks: Mutex::default(),
        });
        for log in left {
            generate::take_up(&shared, log);
        }
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // Dropped with the task: a kill ends the connections, too.
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let shared = shared.clone();
                connections.spawn(async move {
                    let _ = serve(socket, &shared).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, _tasks: tasks })
    }
}

async fn serve(mut socket: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    let _ = socket.set_nodelay(true);
    let Some(request) = Request::read(&mut socket).await else { return Ok(()) };
    let path: Vec<&str> = request.path.trim_matches('/').split('/').collect();
    match (request.method.as_str(), path.as_slice()) {
        ("POST", ["streams"]) => start(&mut socket, shared, &request).await,
        ("GET", ["streams", id]) => {
            let stream = shared.streams().get(*id).cloned();
            match stream {
                Some(stream) => {
                    let cursor = request.header("last-event-id");
                    serve::read(socket, shared, &stream.log, cursor).await
                }
                None => refuse(&mut socket, "404 Not Found").await,
            }
        }
        ("GET", ["streams", id, "state"]) => serve::state(&mut socket, shared, id).await,
        ("POST", ["streams", id, "cancel"]) => cancel(&mut socket, shared, id).await,
        _ => refuse(&mut socket, "404 Not Found").await,
    }
}

async fn refuse(socket: &mut TcpStream, status: &str) -> io::Result<()> {
    http::json(socket, status, &json!({ "error": status })).await
}

async fn start(socket: &mut TcpStream, shared: &Arc<Shared>, request: &Request) -> io::Result<()> {
    let prompt = request.body["prompt"].as_str().unwrap_or_default();
    let key = request.header("idempotency-key").map(str::to_owned);
    let known = {
        let keys = shared.keys.lock().unwrap_or_else(PoisonError::into_inner);
        key.as_ref().and_then(|key| keys.get(key).cloned())
    };
    if let Some(id) = known.as_ref().filter(|_| shared.has(Fault::FalseReplay)) {
        let log = generate::start(shared, prompt)?;
        let body = json!({ "id": log.id, "instead_of": id });
        return http::json_with(socket, "200 OK", "idempotency-replayed: true\r\n", &body).await;
    }
    if let Some(id) = known {
        if shared.has(Fault::SecondGeneration) {
            generate::ask_again(shared, prompt).await;
        }
        return http::json(socket, "200 OK", &json!({ "id": id })).await;
    }
    let log = generate::start(shared, prompt)?;
    if let Some(key) = key {
        let mut keys = shared.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(key, log.id.clone());
    }
    http::json(socket, "201 Created", &json!({ "id": log.id })).await
}

async fn cancel(socket: &mut TcpStream, shared: &Shared, id: &str) -> io::Result<()> {
    let Some(stream) = shared.streams().get(id).cloned() else {
        return refuse(socket, "404 Not Found").await;
    };
    // Only the cancel that ends the log is a cancel; the ending comes first, then the receipt.
    let word = if shared.has(Fault::CancelCompletes) { "completed" } else { "cancelled" };
    stream.log.end(word, None);
    if let Some(running) = stream.running.filter(|_| !shared.has(Fault::LateClose)) {
        running.abort();
    }
    let status = match stream.log.status() {
        _ if shared.has(Fault::WrongReceipt) => Some("completed".into()),
        status => status,
    };
    http::json(socket, "200 OK", &json!({ "status": status })).await
}

/// The changes that the readers of a log wait for.
type Changes = watch::Receiver<usize>;
