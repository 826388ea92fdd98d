//! Readers that come back: one at a time, many at once, and one with everything to catch up on.
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::Failure;
use crate::args::Args;
use crate::cpu::{forget_peak, peak, resident};
use crate::figure::{Figure, permille};
use crate::http::{Response, begin, events};
use crate::running::said;
use crate::server::Server;

/// The number of events that they have missed; as many as a generation keeps in memory.
pub(crate) const BEHIND: u64 = 256;
/// Resumes that are measured one at a time.
const ROUNDS: usize = 300;
/// Of these, not counted.
const WARM_UP: usize = 20;
/// Readers of the long answer at a time.
const REPLAYS: usize = 10;
/// Events of the long answer.
const LONG: u64 = 10_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// All four; `args.generations` times `args.readers` come back at once.
pub(crate) async fn run(args: &Args) -> Result<Vec<Figure>, Failure> {
    Server::during(args, async |server| measure(args, server).await).await
}

async fn measure(args: &Args, server: &Server) -> Result<Vec<Figure>, Failure> {
    // One is silent, with more text than it keeps in memory. One has ended, so that only the log
    // has it.
    let live = "/demo tokens=700 tps=2000 ttft_ms=0 stall_at=600 stall_s=600";
    let mut running = Vec::new();
    for _ in 0..args.generations {
        running.push(begin(server.address, live).await?);
    }
    let mut last = 0;
    for id in &running {
        last = said(server, id, 600).await?;
    }
    let ended = begin(server.address, "/demo tokens=600 tps=0 ttft_ms=0").await?;
    let end = said(server, &ended, 602).await?;
    let mut figures = Vec::new();
    figures.extend(one_at_a_time(server, &running[0], last, ("memory", 0.3)).await?);
    figures.extend(one_at_a_time(server, &ended, end, ("Postgres", 3.0)).await?);
    figures.push(at_once(args, server, &running, last).await?);
    figures.extend(replay(server).await?);
    Ok(figures)
}

/// From the request to the first byte of its events, in a connection that is there.
async fn one_at_a_time(
    server: &Server,
    id: &str,
    last: u64,
    (from, aim_ms): (&str, f64),
) -> Result<[Figure; 2], Failure> {
    let times = first_events(server, id, last, ROUNDS).await?;
    let of = |p| f64::from(permille(&times, p)) / 1e3;
    let name = |p| format!("resume {BEHIND} events behind, first event from {from}, {p}");
    Ok([
        Figure::new(name("p50"), of(500), "ms").at_most(aim_ms),
        Figure::new(name("p99"), of(990), "ms"),
    ])
}

/// Microseconds to the first event of so many resumes, sorted.
pub(crate) async fn first_events(
    server: &Server,
    id: &str,
    last: u64,
    rounds: usize,
) -> Result<Vec<u32>, Failure> {
    let request = events(id, last - BEHIND);
    let mut times = Vec::new();
    for round in 0..WARM_UP + rounds {
        let stream = TcpStream::connect(server.address).await.map_err(|e| e.to_string())?;
        let begun = Instant::now();
        let mut response = Response::to(stream, &request).await.map_err(|e| e.to_string())?;
        let mut body = Vec::new();
        // The first event, not the preamble of the stream.
        while !body.windows(4).any(|w| w == b"id: ") {
            if !response.read(&mut body).await.map_err(|e| e.to_string())? {
                return Err(format!("a resume was answered with {} and no event", response.status));
            }
        }
        if round >= WARM_UP {
            times.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
    }
    times.sort_unstable();
    Ok(times)
}

/// All connect, send their request, and read the missed events.
async fn at_once(
    args: &Args,
    server: &Server,
    ids: &[String],
    last: u64,
) -> Result<Figure, Failure> {
    let mut coming = JoinSet::new();
    let begun = Instant::now();
    for i in 0..args.generations * args.readers {
        let id = &ids[usize::try_from(i).unwrap_or(0) % ids.len()];
        let (address, request) = (server.address, events(id, last - BEHIND));
        coming.spawn(async move {
            let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
            read_events(stream, &request, BEHIND).await
        });
    }
    let count = coming.len();
    while let Some(came) = timeout(PATIENCE, coming.join_next()).await.map_err(|e| e.to_string())? {
        came.map_err(|e| e.to_string())??;
    }
    let name = format!("{count} resumes at once, each {BEHIND} events, all caught up");
    Ok(Figure::new(name, begun.elapsed().as_secs_f64(), "s").at_most(0.5))
}

/// Reads until so many events are there.
pub(crate) async fn read_events(
    stream: TcpStream,
    request: &[u8],
    count: u64,
) -> Result<(), Failure> {
    let seen = count_events(stream, request, count).await?;
    if seen >= count { Ok(()) } else { Err(format!("{seen} of {count} events came")) }
}

/// Reads until so many events are there, or the body ends; their number.
pub(crate) async fn count_events(
    stream: TcpStream,
    request: &[u8],
    count: u64,
) -> Result<u64, Failure> {
    let mut response = Response::to(stream, request).await.map_err(|e| e.to_string())?;
    let (mut body, mut seen) = (Vec::new(), 0);
    while seen < count && response.read(&mut body).await.map_err(|e| e.to_string())? {
        // Whole lines only: a prefix may be cut in two.
        let whole = body.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let lines = body[..whole].split(|b| *b == b'\n');
        seen += lines.filter(|line| line.starts_with(b"id: ")).count() as u64;
        body.drain(..whole);
    }
    Ok(seen)
}

/// All of a long answer, several at a time: the time, and the server's memory.
async fn replay(server: &Server) -> Result<[Figure; 2], Failure> {
    let id = begin(server.address, &format!("/demo tokens={} tps=0 ttft_ms=0", LONG - 2)).await?;
    let last = said(server, &id, LONG).await?;
    let (before, begun) = (resident(server.pid()), Instant::now());
    forget_peak(server.pid());
    let mut coming = JoinSet::new();
    for _ in 0..REPLAYS {
        let (address, request) = (server.address, events(&id, 0));
        coming.spawn(async move {
            let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
            read_events(stream, &request, last).await
        });
    }
    while let Some(came) = timeout(PATIENCE, coming.join_next()).await.map_err(|e| e.to_string())? {
        came.map_err(|e| e.to_string())??;
    }
    let took = begun.elapsed().as_secs_f64();
    let grown = peak(server.pid()).saturating_sub(before) as f64 / 1024.0;
    let name = |what| format!("{REPLAYS} replays of {LONG} events at once, {what}");
    let memory = Figure::new(name("memory of the server for each"), grown / REPLAYS as f64, "KiB");
    Ok([Figure::new(name("all read"), took, "s"), memory.at_most(1024.0)])
}
