//! One socket that follows many running generations, next to as many SSE streams.
//!
//! The generations run all the time. Their readers come and go by turns, so that a slow moment of
//! the machine hits both. The server's needs without any reader are measured as well: they are not
//! the readers' price.
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::Failure;
use crate::args::Args;
use crate::cpu::Sample;
use crate::http::{Response, begin, cancel, events, get};
use crate::report::Report;
use crate::server::Server;
use crate::socket::{Frame, Socket};
use crate::sse::{Seen, Window};

/// Windows of each kind.
const ROUNDS: usize = 3;
/// Between the readers' coming and their window.
const WARM_UP: Duration = Duration::from_secs(1);
/// The most tokens of the demo model: more than the windows take.
const TOKENS: u64 = 1_000_000;
const NO_LATENCIES: Window = Window { from: 0, to: 0 };

/// The records of the readers of a window.
#[derive(Default)]
struct Counts {
    tokens: AtomicU64,
    gaps: AtomicU64,
}

/// Added up over the windows of one kind.
#[derive(Clone, Copy, Default)]
struct Total {
    /// CPU time of the server; nanoseconds.
    server: u64,
    tokens: u64,
    gaps: u64,
}

impl Total {
    fn us_per_token(&self, without: u64) -> f64 {
        self.server.saturating_sub(without) as f64 / 1000.0 / self.tokens.max(1) as f64
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Nobody,
    Sse,
    Socket,
}

/// Measures; the streams are complete if none of them had a gap.
pub(crate) async fn run(args: &Args) -> Result<Report, Failure> {
    let server = Server::start(args, None).await?;
    let result = measure(args, &server).await;
    server.stop(result.is_err()).await;
    let [nobody, sse, socket] = result?;
    let ratio = |a: f64, b: f64| json!(a / b.max(f64::MIN_POSITIVE));
    let (of_sse, of_socket) = (sse.us_per_token(0), socket.us_per_token(0));
    let (more_sse, more_socket) =
        (sse.us_per_token(nobody.server), socket.us_per_token(nobody.server));
    let seconds = (ROUNDS as u64 * args.seconds) as f64;
    let rows: Vec<(&'static str, Value)> = vec![
        ("scenario", json!("multiplex")),
        ("generations", json!(args.generations)),
        ("tokens_per_second_each", json!(args.tps)),
        ("seconds_of_each_kind", json!(seconds)),
        ("tokens_to_sse", json!(sse.tokens)),
        ("tokens_to_socket", json!(socket.tokens)),
        ("cores_server_nobody", json!(nobody.server as f64 / 1e9 / seconds)),
        ("cpu_us_per_token_sse", json!(of_sse)),
        ("cpu_us_per_token_socket", json!(of_socket)),
        ("socket_to_sse", ratio(of_socket, of_sse)),
        ("readers_us_per_token_sse", json!(more_sse)),
        ("readers_us_per_token_socket", json!(more_socket)),
        ("readers_socket_to_sse", ratio(more_socket, more_sse)),
        ("seq_gaps", json!(sse.gaps + socket.gaps)),
    ];
    let complete = sse.gaps + socket.gaps == 0 && sse.tokens > 0 && socket.tokens > 0;
    Ok(Report::of(args, rows, complete))
}

async fn measure(args: &Args, server: &Server) -> Result<[Total; 3], Failure> {
    let mut ids = Vec::new();
    for n in 0..args.generations {
        let phase_ms = n * 7 % (1000 / args.tps).max(1);
        let tps = args.tps;
        let prompt = format!("/demo tokens={TOKENS} tps={tps} ttft_ms={phase_ms} stamp");
        ids.push(begin(server.address, &prompt).await?);
    }
    let mut totals = [Total::default(); 3];
    for round in 0..ROUNDS {
        for turn in 0..totals.len() {
            let kind = (round + turn) % totals.len();
            let kinds = [Kind::Nobody, Kind::Sse, Kind::Socket];
            window(args, server, &ids, (kinds[kind], &mut totals[kind])).await?;
        }
    }
    for id in &ids {
        cancel(server.address, id).await?;
    }
    Ok(totals)
}

async fn window(
    args: &Args,
    server: &Server,
    ids: &[String],
    (kind, total): (Kind, &mut Total),
) -> Result<(), Failure> {
    let counts = Arc::new(Counts::default());
    let mut readers = JoinSet::new();
    let mut cursors = Vec::new();
    for id in ids {
        cursors.push((id.clone(), last_seq(server.address, id).await?));
    }
    match kind {
        Kind::Nobody => {}
        Kind::Sse => {
            for (id, after) in cursors {
                readers.spawn(read_sse(server.address, id, after, counts.clone()));
            }
        }
        Kind::Socket => {
            readers.spawn(read_socket(server.address, cursors, counts.clone()));
        }
    }
    sleep(WARM_UP).await;
    let (before, tokens) = (Sample::take(&[server.pid()]), counts.tokens.load(Ordering::Relaxed));
    sleep(Duration::from_secs(args.seconds)).await;
    total.server += Sample::take(&[server.pid()]).since(&before).server;
    total.tokens += counts.tokens.load(Ordering::Relaxed) - tokens;
    total.gaps += counts.gaps.load(Ordering::Relaxed);
    // They end when the generations do: none may have ended by now.
    if let Some(ended) = readers.try_join_next() {
        ended.map_err(|e| e.to_string())??;
        return Err("a stream ended too early".into());
    }
    readers.shutdown().await;
    Ok(())
}

async fn last_seq(address: SocketAddr, id: &str) -> Result<u64, Failure> {
    let (_, text) = get(address, &format!("/v1/generations/{id}")).await?;
    let view: Value = serde_json::from_str(&text).unwrap_or_default();
    view["last_seq"].as_u64().ok_or(format!("no last_seq in {text}"))
}

async fn read_sse(
    address: SocketAddr,
    id: String,
    after: u64,
    counts: Arc<Counts>,
) -> Result<(), Failure> {
    let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
    let response = Response::to(stream, &events(&id, after)).await;
    let mut response = response.map_err(|e| e.to_string())?;
    let (mut seen, mut body) = (Seen::after(after), Vec::new());
    while response.read(&mut body).await.map_err(|e| e.to_string())? {
        let (tokens, gaps) = (seen.tokens, seen.gaps);
        seen.take(&body, 0, NO_LATENCIES);
        counts.tokens.fetch_add(seen.tokens - tokens, Ordering::Relaxed);
        counts.gaps.fetch_add(seen.gaps - gaps, Ordering::Relaxed);
        body.clear();
    }
    Ok(())
}

async fn read_socket(
    address: SocketAddr,
    mut cursors: Vec<(String, u64)>,
    counts: Arc<Counts>,
) -> Result<(), Failure> {
    let mut socket = Socket::open(address, 0).await?;
    for (id, after) in &cursors {
        socket.subscribe(id, *after).await?;
    }
    let mut seen: HashMap<String, u64> = cursors.drain(..).collect();
    while let Some(text) = socket.text().await {
        // Other frames are answers to the subscriptions.
        let Ok(Frame { generation, event }) = serde_json::from_str(&text) else { continue };
        let last = seen.get_mut(generation).ok_or(format!("nobody asked for {generation}"))?;
        counts.gaps.fetch_add(u64::from(event.seq != *last + 1), Ordering::Relaxed);
        *last = event.seq;
        let tokens = event.text.bytes().filter(|byte| *byte == b'@').count();
        counts.tokens.fetch_add(tokens as u64, Ordering::Relaxed);
    }
    Err("the socket was closed".into())
}
