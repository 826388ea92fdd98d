//! The memory of an idle connection: resident memory of the server for each of many that say
//! nothing.
//!
//! Each kind has a server of its own, since memory that was once used stays with a process. The
//! needs of the very first connections are met before the measurement begins.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::Failure;
use crate::args::Args;
use crate::cpu::resident;
use crate::http::{Response, begin, cancel, events, get};
use crate::report::Report;
use crate::server::Server;
use crate::socket::{Socket, connect};

/// Connections that are made at a time.
const AT_ONCE: usize = 100;
/// Made and left before the measurement.
const WARM_UP: u64 = 200;
/// Connections that are open beside those: requests, and what is just being closed.
const BESIDE: u64 = 500;
/// The pause between the last connection and the reading of the memory.
const SETTLE: Duration = Duration::from_secs(2);
/// It is silent for an hour.
const SILENT: &str = "/demo tokens=1 ttft_ms=3600000";

/// The purpose of a connection.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A socket that was welcomed.
    Socket,
    /// A socket that follows a generation that says nothing.
    Following,
    /// An SSE reader of that generation.
    Sse,
}

/// Measures all kinds; whether every connection was still open in the end.
pub(crate) async fn run(args: &Args) -> Result<Report, Failure> {
    let mut rows: Vec<(&'static str, Value)> =
        vec![("scenario", json!("sockets")), ("connections", json!(args.connections))];
    let mut whole = true;
    for (kind, each, open) in [
        (Kind::Socket, "rss_kib_each_socket", "open_sockets"),
        (Kind::Following, "rss_kib_each_following_socket", "open_following_sockets"),
        (Kind::Sse, "rss_kib_each_sse_reader", "open_sse_readers"),
    ] {
        let config = config(args);
        let server = Server::start_with(args, None, &config).await?;
        let result = measure(args, &server, kind).await;
        server.stop(result.is_err()).await;
        let (bytes, left) = result?;
        rows.push((each, json!(bytes as f64 / 1024.0 / args.connections as f64)));
        rows.push((open, json!(left)));
        whole &= left == args.connections;
    }
    Ok(Report::of(args, rows, whole))
}

/// A server that leaves its files to readers: few generations run.
fn config(args: &Args) -> String {
    let connections = args.connections + BESIDE;
    format!("[limits]\nrunning = 64\nconnections = {connections}\n")
}

/// Bytes that the connections hold together, and how many were open all the time.
async fn measure(args: &Args, server: &Server, kind: Kind) -> Result<(u64, u64), Failure> {
    let id = begin(server.address, SILENT).await?;
    drop(open(server, kind, &id, WARM_UP).await?);
    while count(server.address, kind).await? > 0 {
        sleep(Duration::from_millis(50)).await;
    }
    sleep(SETTLE).await;
    let before = resident(server.pid());
    let mut connections = open(server, kind, &id, args.connections).await?;
    sleep(SETTLE).await;
    let after = resident(server.pid());
    let mut lost = 0;
    while connections.try_join_next().is_some() {
        lost += 1;
    }
    let counted = count(server.address, kind).await?;
    connections.shutdown().await;
    cancel(server.address, &id).await?;
    Ok((after.saturating_sub(before), counted.min(args.connections - lost)))
}

/// Opens so many; each lives until it is cut, or the set is dropped.
async fn open(server: &Server, kind: Kind, id: &str, count: u64) -> Result<JoinSet<()>, Failure> {
    let (places, address) = (Arc::new(Semaphore::new(AT_ONCE)), server.address);
    let mut opening = JoinSet::new();
    for n in 0..count {
        let (places, id) = (places.clone(), id.to_owned());
        opening.spawn(async move {
            let _place = places.acquire().await.map_err(|e| e.to_string())?;
            Open::new(address, kind, &id, n).await
        });
    }
    let mut all = JoinSet::new();
    while let Some(opened) = opening.join_next().await {
        all.spawn(opened.map_err(|e| e.to_string())??.hold());
    }
    Ok(all)
}

enum Open {
    Socket(Box<Socket>),
    Sse(Response),
}

impl Open {
    async fn new(address: SocketAddr, kind: Kind, id: &str, n: u64) -> Result<Self, Failure> {
        if let Kind::Sse = kind {
            let stream = connect(address, n).await.map_err(|e| e.to_string())?;
            let response = Response::to(stream, &events(id, 0)).await.map_err(|e| e.to_string())?;
            return match response.status {
                200 => Ok(Self::Sse(response)),
                status => Err(format!("a reader was answered with {status}")),
            };
        }
        let mut socket = Box::new(Socket::open(address, n).await?);
        if let Kind::Following = kind {
            socket.subscribe(id, 0).await?;
            socket.expect("event").await?;
        }
        Ok(Self::Socket(socket))
    }

    /// Reads until it is cut.
    async fn hold(self) {
        match self {
            Self::Socket(mut socket) => while socket.text().await.is_some() {},
            Self::Sse(mut response) => {
                let mut body = Vec::new();
                while response.read(&mut body).await.is_ok_and(|more| more) {
                    body = Vec::new();
                }
            }
        }
    }
}

/// How many of that kind the server counts.
async fn count(address: SocketAddr, kind: Kind) -> Result<u64, Failure> {
    let line = match kind {
        Kind::Socket | Kind::Following => "lastword_sockets ",
        Kind::Sse => "lastword_streams{transport=\"sse\",dialect=\"native\"} ",
    };
    let (_, text) = get(address, "/metrics").await?;
    let value = text.lines().find_map(|l| l.strip_prefix(line)?.trim().parse().ok());
    value.ok_or(format!("/metrics has no {line}"))
}
