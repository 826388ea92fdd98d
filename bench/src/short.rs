//! Short answers that begin all the time: the cost of a start and an ending, and their added time.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::args::Args;
use crate::cpu::Sample;
use crate::figure::{Figure, permille};
use crate::http::{BUILT_IN, Response, start};
use crate::server::Server;
use crate::sse::{Seen, Window};
use crate::{Failure, now_us};

/// Tokens of an answer.
const TOKENS: u64 = 20;
/// The first are not counted: connections to the database are made, statements are prepared.
const WARM_UP: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts `args.generations` answers a second, whether or not earlier ones are done.
pub(crate) async fn run(args: &Args) -> Result<Vec<Figure>, Failure> {
    Server::during(args, async |server| measure(args, server).await).await
}

async fn measure(args: &Args, server: &Server) -> Result<Vec<Figure>, Failure> {
    let prompt = format!("/demo tokens={TOKENS} tps={} ttft_ms=0 stamp", args.tps);
    let request = Arc::new(start(Some(BUILT_IN), &prompt));
    let apart = Duration::from_secs(1) / u32::try_from(args.generations).unwrap_or(u32::MAX);
    let begin = Instant::now();
    let (mut answers, mut before) = (JoinSet::new(), None);
    let mut due = begin;
    while due < begin + Duration::from_secs(args.seconds) {
        sleep_until(due).await;
        if due >= begin + WARM_UP {
            before.get_or_insert_with(|| Sample::take(&[server.pid()]));
            answers.spawn(answer(server.address, request.clone(), due));
        } else {
            drop(tokio::spawn(answer(server.address, request.clone(), due)));
        }
        due += apart;
    }
    let started = answers.len();
    let (mut took, mut failures) = (Vec::new(), Vec::new());
    for answer in answers.join_all().await {
        match answer {
            Ok(us) => took.push(us),
            Err(why) => failures.push(why),
        }
    }
    // One failure for all: they mostly fail for the same reason.
    failures.first().inspect(|why| eprintln!("bench: {why}"));
    let spent = before.map(|before| Sample::take(&[server.pid()]).since(&before));
    let each = spent.map_or(f64::NAN, |s| s.serving() as f64 / started as f64 / 1e3);
    took.sort_unstable();
    // The time of the model itself: its first token comes at once.
    let own = (TOKENS - 1) * 1_000_000 / args.tps;
    let added = |p| (f64::from(permille(&took, p)) - own as f64) / 1e3;
    let load = format!("{} answers of {TOKENS} tokens begin each second", args.generations);
    Ok(vec![
        Figure::new(format!("{load}: not complete"), failures.len() as f64, "").at_most(0.0),
        Figure::new(format!("{load}: added to each, p50"), added(500), "ms"),
        Figure::new(format!("{load}: added to each, p99"), added(990), "ms"),
        Figure::new(format!("{load}: CPU of each, PostgreSQL included"), each, "us"),
    ])
}

/// Microseconds from when it was due until its end was read.
async fn answer(address: SocketAddr, request: Arc<Vec<u8>>, due: Instant) -> Result<u32, Failure> {
    let whole = async {
        let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
        let mut response = Response::to(stream, &request).await.map_err(|e| e.to_string())?;
        let (mut seen, mut body) = (Seen::default(), Vec::new());
        while !seen.done && response.read(&mut body).await.map_err(|e| e.to_string())? {
            seen.take(&body, now_us(), Window { from: 0, to: 0 });
            body.clear();
        }
        let took = u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX);
        let status = response.status;
        seen.is_whole(TOKENS).then_some(took).ok_or(format!("an answer broke off, status {status}"))
    };
    timeout(PATIENCE, whole).await.map_err(|_| "an answer did not end".to_owned())?
}
