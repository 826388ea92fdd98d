//! The readers: starts spread over a second, a warm-up second, then the measured window.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::args::{Args, Scenario};
use crate::cpu::{Sample, Spent};
use crate::http::{Response, start};
use crate::ours::{paced, stamped};
use crate::server::Server;
use crate::sse::{Seen, Window};
use crate::{Failure, now_us};

const LEAD: Duration = Duration::from_millis(200);
const RAMP: Duration = Duration::from_secs(1);
const WARM_UP: Duration = Duration::from_secs(1);
/// A stream that takes so much longer than planned counts as hung.
const GRACE: Duration = Duration::from_secs(30);

/// The records of all readers together, and their cost.
pub(crate) struct Load {
    /// One for each stream that came to the end of its body.
    pub(crate) streams: Vec<Seen>,
    /// The reasons of the others.
    pub(crate) failures: Vec<Failure>,
    /// Length of the window.
    pub(crate) window: Duration,
    /// CPU time in the window.
    pub(crate) spent: Spent,
}

/// The streams to read from one server, one request per stream.
pub(crate) struct Work {
    pub(crate) address: SocketAddr,
    /// All processes that serve it, without those below them.
    pub(crate) pids: Vec<u32>,
    pub(crate) requests: Vec<Vec<u8>>,
    /// From the first start to the end of the window.
    pub(crate) seconds: u64,
    /// A stream is complete with so many tokens, whether or not its body ends. `None`: it is
    /// complete at its end.
    pub(crate) enough: Option<u64>,
}

/// The plan of a reader.
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Vec<Vec<u8>>,
    pub(crate) window: Window,
    begin: Instant,
    deadline: Instant,
    enough: Option<u64>,
}

/// Runs the whole load against `server`.
pub(crate) async fn run(
    args: &Args,
    server: &Server,
    model: Option<&str>,
) -> Result<Load, Failure> {
    let work = Work {
        address: server.address,
        pids: vec![server.pid()],
        requests: (0..args.generations).map(|i| start(model, &prompt(args, i))).collect(),
        seconds: args.seconds,
        enough: None,
    };
    Ok(read_all(work).await)
}

/// Reads all streams of `work`, and takes the CPU time of the window.
pub(crate) async fn read_all(work: Work) -> Load {
    read_by(work, over_http).await
}

/// The same by another reader of HTTP than ours, which gets the plan and its number.
pub(crate) async fn read_by<F>(work: Work, reader: fn(Arc<Plan>, usize) -> F) -> Load
where
    F: Future<Output = Result<Seen, Failure>> + Send + 'static,
{
    let begin = Instant::now() + LEAD;
    let begin_us = now_us() + micros(LEAD);
    let (from, to) = (RAMP + WARM_UP, Duration::from_secs(work.seconds));
    let window = Window { from: begin_us + micros(from), to: begin_us + micros(to) };
    let plan = Arc::new(Plan {
        address: work.address,
        requests: work.requests,
        begin,
        deadline: begin + RAMP + to + GRACE,
        window,
        enough: work.enough,
    });
    let mut readers = JoinSet::new();
    for i in 0..plan.requests.len() {
        readers.spawn(read(plan.clone(), i, reader));
    }
    sleep_until(begin + from).await;
    let before = Sample::take(&work.pids);
    sleep_until(begin + to).await;
    let spent = Sample::take(&work.pids).since(&before);

    let (mut streams, mut failures) = (Vec::new(), Vec::new());
    while let Some(joined) = readers.join_next().await {
        match joined {
            Ok(Ok(seen)) => streams.push(seen),
            Ok(Err(failure)) => failures.push(failure),
            Err(e) => failures.push(e.to_string()),
        }
    }
    Load { streams, failures, window: to - from, spent }
}

/// The prompt for the model.
fn prompt(args: &Args, i: u64) -> String {
    match args.scenario {
        // The upstream stamps all its tokens.
        Scenario::Gateway => paced(args, i),
        _ => stamped(args, i),
    }
}

/// One stream in its time.
async fn read<F>(
    plan: Arc<Plan>,
    i: usize,
    reader: fn(Arc<Plan>, usize) -> F,
) -> Result<Seen, Failure>
where
    F: Future<Output = Result<Seen, Failure>>,
{
    let share = u32::try_from(i).unwrap_or(0);
    let all = u32::try_from(plan.requests.len()).unwrap_or(1);
    sleep_until(plan.begin + RAMP * share / all).await;
    let deadline = plan.deadline;
    timeout_at(deadline, reader(plan, i)).await.map_err(|_| "a stream did not end".to_owned())?
}

async fn over_http(plan: Arc<Plan>, i: usize) -> Result<Seen, Failure> {
    let stream = TcpStream::connect(plan.address).await.map_err(|e| e.to_string())?;
    let mut response = Response::to(stream, &plan.requests[i]).await.map_err(|e| e.to_string())?;
    if response.status != 200 {
        let status = response.status;
        let text = response.text().await.unwrap_or_default();
        return Err(format!("status {status}: {text}"));
    }
    let (mut seen, mut body) = (Seen::default(), Vec::new());
    while response.read(&mut body).await.map_err(|e| e.to_string())? {
        seen.take(&body, now_us(), plan.window);
        body.clear();
        if plan.enough.is_some_and(|enough| seen.tokens >= enough) {
            break;
        }
    }
    Ok(seen)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
