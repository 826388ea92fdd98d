//! A storm: the readers of many running answers come back within a second, each far behind. How long
//! it takes until all have caught up, and what readers that never left notice of it. Another build
//! beside it gets the same storm, in turn.
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::args::Args;
use crate::cpu::Sample;
use crate::figure::{Figure, permille};
use crate::http::{Response, begin, cancel, events};
use crate::resume::count_events;
use crate::server::Server;
use crate::sse::{Seen, Window};
use crate::{Failure, now_us};

/// Events that each reader has missed: four times what a generation keeps in memory.
const MISSED: u64 = 1000;
/// Answers with a reader that stays.
const WATCHED: usize = 50;
/// In which these have caught up themselves.
const ARRIVAL: Duration = Duration::from_secs(1);
/// How long these are read before the storm.
const QUIET: Duration = Duration::from_secs(2);
/// In which all come back.
const SPREAD: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(120);

/// The storm of one build, in one round.
#[derive(Clone, Copy, Default)]
struct Storm {
    all_s: f64,
    /// Readers that were cut off and came once more.
    again: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_s: f64,
    quiet_p99_ms: f64,
    stormy_p99_ms: f64,
}

/// The figure to take of a storm.
type Measure = fn(&Storm) -> f64;

/// Measures this build, and `args.before` beside it: `args.readers` of each of `args.generations`.
pub(crate) async fn run(args: &Args) -> Result<Vec<Figure>, Failure> {
    Server::beside_before(args, async |servers| measure(args, servers).await).await
}

async fn measure(args: &Args, servers: &[Server]) -> Result<Vec<Figure>, Failure> {
    let mut rounds = vec![Vec::new(); servers.len()];
    for round in 0..usize::try_from(args.rounds).unwrap_or(1) {
        for turn in 0..servers.len() {
            let kind = (round + turn) % servers.len();
            let storm = storm(args, &servers[kind]).await?;
            eprintln!(
                "storm, round {}, {}: all in {:.2} s, p99 of those that stay {:.1} and {:.1} ms",
                round + 1,
                ["this build", "the other"][kind],
                storm.all_s,
                storm.quiet_p99_ms,
                storm.stormy_p99_ms
            );
            rounds[kind].push(storm);
        }
    }
    Ok(figures(&rounds, args.generations * args.readers))
}

fn figures(rounds: &[Vec<Storm>], readers: u64) -> Vec<Figure> {
    let of = |kind: usize, what: Measure| -> Vec<f64> { rounds[kind].iter().map(what).collect() };
    let measures: [(&str, &str, Measure); 7] = [
        ("all caught up", "s", |storm| storm.all_s),
        ("one caught up, p50", "ms", |storm| storm.p50_ms),
        ("one caught up, p99", "ms", |storm| storm.p99_ms),
        ("CPU", "s", |storm| storm.cpu_s),
        ("cut off, and came once more", "", |storm| storm.again),
        ("p99 of those that stay, before", "ms", |storm| storm.quiet_p99_ms),
        ("p99 of those that stay, meanwhile", "ms", |storm| storm.stormy_p99_ms),
    ];
    let named =
        |what: &str, kind: &str| format!("{readers} readers, {MISSED} behind: {what}, {kind}");
    let mut figures = Vec::new();
    for (what, unit, measure) in measures {
        for (kind, name) in ["this build", "the other"].iter().enumerate().take(rounds.len()) {
            figures.push(Figure::median(named(what, name), of(kind, measure), unit));
        }
    }
    let stays = rounds[0].iter().map(|s| s.stormy_p99_ms / s.quiet_p99_ms).collect();
    figures.push(
        Figure::median(named("p99 of those that stay", "meanwhile / before"), stays, "")
            .at_most(2.0),
    );
    if rounds.len() > 1 {
        for (what, _, measure) in [measures[0], measures[3]] {
            let ratios = of(0, measure).iter().zip(of(1, measure)).map(|(a, b)| a / b).collect();
            figures.push(
                Figure::median(named(what, "this build / the other"), ratios, "").at_most(0.6),
            );
        }
    }
    figures
}

async fn storm(args: &Args, server: &Server) -> Result<Storm, Failure> {
    let mut ids = Vec::new();
    for i in 0..args.generations {
        let phase_ms = i * 7 % (1000 / args.tps).max(1);
        let prompt = format!("/demo tokens=10000 tps={} ttft_ms={phase_ms} stamp", args.tps);
        ids.push(begin(server.address, &prompt).await?);
    }
    let stormed = weather(args, server, &ids).await;
    for id in &ids {
        cancel(server.address, id).await?;
    }
    stormed
}

/// Waits until enough was said, then watches, and lets them come.
async fn weather(args: &Args, server: &Server, ids: &[String]) -> Result<Storm, Failure> {
    let said = Duration::from_millis(1000 * (MISSED + args.tps) / args.tps);
    tokio::time::sleep(said).await;
    let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(0);
    let quiet_us = now_us() + us(ARRIVAL);
    let storm_us = quiet_us + us(QUIET);
    let comes = Instant::now() + ARRIVAL + QUIET;
    let watched: Vec<_> = ids.iter().take(WATCHED).map(|id| events(id, MISSED)).collect();
    let address = server.address;
    // By a thread of its own: what all others read takes this one all its time.
    let watchers = std::thread::spawn(move || watch_all(address, watched, [quiet_us, storm_us]));
    sleep_until(comes).await;
    let before = Sample::take(&[server.pid()]);
    let mut coming = JoinSet::new();
    let readers = args.generations * args.readers;
    for i in 0..readers {
        let at =
            comes + SPREAD * u32::try_from(i).unwrap_or(0) / u32::try_from(readers).unwrap_or(1);
        let id = &ids[usize::try_from(i).unwrap_or(0) % ids.len()];
        let (address, id) = (server.address, id.clone());
        coming.spawn(async move {
            sleep_until(at).await;
            let comes = catch_up(address, &id).await?;
            Ok::<_, Failure>((comes, u32::try_from(at.elapsed().as_micros()).unwrap_or(u32::MAX)))
        });
    }
    let (mut came_so_often, mut times) = (0, Vec::new());
    while let Some(came) = timeout(PATIENCE, coming.join_next()).await.map_err(|e| e.to_string())? {
        let (often, took) = came.map_err(|e| e.to_string())??;
        came_so_often += often;
        times.push(took);
    }
    let (all, spent) = (comes.elapsed(), Sample::take(&[server.pid()]).since(&before));
    for id in ids.iter().take(WATCHED) {
        cancel(server.address, id).await?;
    }
    let watched = watchers.join().map_err(|_| "a watcher fell over".to_owned())?;
    let [mut quiet, mut stormy] = watched?;
    for times in [&mut times, &mut quiet, &mut stormy] {
        times.sort_unstable();
    }
    let ms = |times: &[u32], p| f64::from(permille(times, p)) / 1e3;
    Ok(Storm {
        all_s: all.as_secs_f64(),
        again: (came_so_often - readers) as f64,
        p50_ms: ms(&times, 500),
        p99_ms: ms(&times, 990),
        cpu_s: spent.serving() as f64 / 1e9,
        quiet_p99_ms: ms(&quiet, 990),
        stormy_p99_ms: ms(&stormy, 990),
    })
}

/// Reads what was missed, as an `EventSource` does: cut off, it comes again with its cursor. Returns
/// how often it came.
async fn catch_up(address: SocketAddr, id: &str) -> Result<u64, Failure> {
    let (mut seen, mut comes) = (0, 0);
    while seen < MISSED {
        comes += 1;
        let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
        seen += count_events(stream, &events(id, seen), MISSED - seen).await?;
    }
    Ok(comes)
}

/// Reads all of `requests` to their ends; the latencies of before and behind the second moment.
#[tokio::main(flavor = "current_thread")]
async fn watch_all(
    address: SocketAddr,
    requests: Vec<Vec<u8>>,
    moments: [u64; 2],
) -> Result<[Vec<u32>; 2], Failure> {
    let mut watchers = JoinSet::new();
    for request in requests {
        watchers.spawn(watch(address, request, moments));
    }
    let mut all = [Vec::new(), Vec::new()];
    while let Some(watched) = watchers.join_next().await {
        let watched = watched.map_err(|e| e.to_string())??;
        all.iter_mut().zip(watched).for_each(|(all, one)| all.extend(one));
    }
    Ok(all)
}

/// Reads to the end of an answer; the latencies of before and behind the second moment.
async fn watch(
    address: SocketAddr,
    request: Vec<u8>,
    [quiet_us, storm_us]: [u64; 2],
) -> Result<[Vec<u32>; 2], Failure> {
    let windows =
        [Window { from: quiet_us, to: storm_us }, Window { from: storm_us, to: u64::MAX }];
    let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
    let mut response = Response::to(stream, &request).await.map_err(|e| e.to_string())?;
    let (mut seen, mut body) = ([Seen::after(MISSED), Seen::after(MISSED)], Vec::new());
    while response.read(&mut body).await.map_err(|e| e.to_string())? {
        let now = now_us();
        seen.iter_mut().zip(windows).for_each(|(seen, window)| seen.take(&body, now, window));
        body.clear();
    }
    if seen[1].gaps > 0 {
        return Err(format!("{} gaps for a reader that stayed", seen[1].gaps));
    }
    Ok(seen.map(|seen| seen.latencies))
}
