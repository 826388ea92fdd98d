//! One kind's load: every generation is read on every instance.
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::backend::{Backend, Moment, role};
use super::round::Round;
use crate::args::Args;
use crate::figure::permille;
use crate::http::{Response, begin, events};
use crate::server::Server;
use crate::sse::{Seen, Window};
use crate::{Failure, now_us};

/// From the first start to the first token: all readers are there by then.
const LEAD: Duration = Duration::from_secs(8);
/// From the first token to the measured window, and from its end to the last token.
const MARGIN: Duration = Duration::from_secs(1);
/// A stream that takes so much longer than planned counts as hung.
const GRACE: Duration = Duration::from_secs(60);

/// The records of the readers on the owners, and of those elsewhere.
#[derive(Default)]
struct Readers {
    near: Vec<Seen>,
    far: Vec<Seen>,
    failures: Vec<Failure>,
}

/// Starts the generations, reads each everywhere, and takes PostgreSQL's account of the window.
pub(super) async fn measure(
    args: &Args,
    backend: &Backend,
    servers: &[Server],
    spread: bool,
) -> Result<Round, Failure> {
    let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
    let mut connection = backend.connect().await?;
    let begun = Instant::now();
    let lead = begun + LEAD;
    let first_us = now_us() + micros(LEAD);
    let length = Duration::from_secs(args.seconds);
    let (from, to) = (first_us + micros(MARGIN), first_us + micros(MARGIN + length));
    let window = Window { from, to };
    let tokens = args.tps * (args.seconds + 2 * MARGIN.as_secs());
    let deadline = lead + length + 2 * MARGIN + GRACE;
    let mut reading = JoinSet::new();
    for i in 0..usize::try_from(args.generations).unwrap_or(0) {
        let owner = if spread { i % addresses.len() } else { 0 };
        let phase = i as u64 * 7 % (1000 / args.tps).max(1);
        let ttft = lead.saturating_duration_since(Instant::now()).as_millis() + u128::from(phase);
        let prompt = format!("/demo tokens={tokens} tps={} ttft_ms={ttft} stamp", args.tps);
        let id = begin(addresses[owner], &prompt).await?;
        for (n, address) in addresses.iter().enumerate() {
            let (address, id, near) = (*address, id.clone(), n == owner);
            reading.spawn(async move {
                let seen = timeout_at(deadline, read(address, id, window)).await;
                (near, seen.unwrap_or_else(|_| Err("a stream did not end".into())))
            });
        }
    }
    if Instant::now() > lead {
        return Err("starting took longer than planned: fewer --generations".into());
    }
    sleep_until(lead + MARGIN).await;
    let before = backend.moment(&mut connection).await?;
    sleep_until(lead + MARGIN + length).await;
    let after = backend.moment(&mut connection).await?;
    let mut readers = Readers::default();
    while let Some(joined) = reading.join_next().await {
        match joined.map_err(|e| e.to_string())? {
            (true, Ok(seen)) => readers.near.push(seen),
            (false, Ok(seen)) => readers.far.push(seen),
            (_, Err(failure)) => readers.failures.push(failure),
        }
    }
    let mut round = sum(&readers, [&before, &after], tokens, (length, spread));
    let followers = addresses.len().saturating_sub(1) as f64;
    round.follower_per_s = round.following * round.per_s / followers;
    Ok(round)
}

async fn read(address: SocketAddr, id: String, window: Window) -> Result<Seen, Failure> {
    let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
    let mut response = Response::to(stream, &events(&id, 0)).await.map_err(|e| e.to_string())?;
    if response.status != 200 {
        return Err(format!("status {}", response.status));
    }
    let (mut seen, mut body) = (Seen::default(), Vec::new());
    while response.read(&mut body).await.map_err(|e| e.to_string())? {
        seen.take(&body, now_us(), window);
        body.clear();
    }
    Ok(seen)
}

fn sum(
    readers: &Readers,
    [before, after]: [&Moment; 2],
    tokens: u64,
    (length, spread): (Duration, bool),
) -> Round {
    if let Some(failure) = readers.failures.first() {
        eprintln!("bench: {} streams failed: {failure}", readers.failures.len());
    }
    let latencies = |seen: &[Seen]| {
        let mut all: Vec<u32> = seen.iter().flat_map(|s| &s.latencies).copied().collect();
        all.sort_unstable();
        all
    };
    let (near, far) = (latencies(&readers.near), latencies(&readers.far));
    let events = near.len().max(1) as f64;
    let at = |all: &[u32], part: usize| match all {
        [] => f64::NAN,
        _ => f64::from(permille(all, part)) / 1e3,
    };
    let made = |of: &dyn Fn(&str) -> bool| {
        let counts = after.statements.iter().filter(|(name, _)| of(name.as_str()));
        let counts = counts.map(|(name, n)| n - before.statements.get(name).copied().unwrap_or(0));
        counts.sum::<i64>() as f64 / events
    };
    let owner = role(0);
    let all = readers.near.iter().chain(&readers.far);
    let short = all.filter(|seen| !seen.is_whole(tokens)).count();
    Round {
        cpu_us: after.cpu_since(before) as f64 / 1e3 / events,
        statements: made(&|_| true),
        following: if spread || far.is_empty() { f64::NAN } else { made(&|name| name != owner) },
        follower_per_s: f64::NAN,
        connections: after.connections as f64,
        near_p50_ms: at(&near, 500),
        near_p99_ms: at(&near, 990),
        far_p50_ms: at(&far, 500),
        far_p99_ms: at(&far, 990),
        per_s: near.len() as f64 / length.as_secs_f64(),
        broken: short + readers.failures.len(),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
