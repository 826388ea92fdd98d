//! Memory at rest: readers that wait, and generations that run and are silent.
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::args::Args;
use crate::cpu::rss;
use crate::figure::Figure;
use crate::http::{Response, get};
use crate::ours::{begin, events};
use crate::server::Server;
use crate::{Failure, cpu};

/// Connections that are there before anything is measured: threads and buffers of the process are, too.
const FIRST: usize = 200;
/// Opened at a time; fewer than a listener's backlog.
const AT_ONCE: usize = 100;
/// Files of ours and of the server that are no reader's.
const OTHER_FILES: u64 = 300;
/// The server keeps a quarter of its files for models and the database.
const SHARE_OF_FILES: (u64, u64) = (3, 4);
const PATIENCE: Duration = Duration::from_secs(30);

/// Readers at rest: at `args.readers`, and at as many as the limit of open files allows.
pub(crate) async fn readers(args: &Args) -> Result<Vec<Figure>, Failure> {
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
        .map_err(|e| e.to_string())?;
    let most = (hard * SHARE_OF_FILES.0 / SHARE_OF_FILES.1).min(15_000) - OTHER_FILES;
    let mut figures = Vec::new();
    let mut counts = vec![args.readers.min(most), most];
    counts.dedup();
    for count in counts {
        let server = Server::start(args, None).await?;
        let measured = waiting(args, &server, usize::try_from(count).unwrap_or(usize::MAX)).await;
        server.stop(measured.is_err()).await;
        let name = format!("an idle SSE reader, memory of the server, at {count}");
        figures.push(Figure::new(name, measured?, "KiB").at_most(8.0));
    }
    Ok(figures)
}

/// KiB of each of `count` readers of generations that have begun and say nothing.
async fn waiting(args: &Args, server: &Server, count: usize) -> Result<f64, Failure> {
    let mut ids = Vec::new();
    for _ in 0..args.generations {
        ids.push(begin(server.address, "/demo tokens=2 tps=1000 stall_at=1 stall_s=600").await?);
    }
    let mut open = Vec::new();
    let mut before = 0;
    while open.len() < count + FIRST {
        if open.len() == FIRST {
            before = rss(server.pid());
        }
        let mut opening = JoinSet::new();
        for i in 0..AT_ONCE.min(count + FIRST - open.len()) {
            let request = events(&ids[(open.len() + i) % ids.len()], 0);
            let address = server.address;
            opening.spawn(async move {
                let stream = TcpStream::connect(address).await?;
                let mut response = Response::to(stream, &request).await?;
                // Its first event: then it waits.
                let mut body = Vec::new();
                while !body.windows(7).any(|w| w == b"started") && response.read(&mut body).await? {
                }
                Ok::<_, std::io::Error>(response)
            });
        }
        while let Some(opened) =
            timeout(PATIENCE, opening.join_next()).await.map_err(|e| e.to_string())?
        {
            let opened = opened.map_err(|e| e.to_string())?;
            let n = open.len();
            open.push(opened.map_err(|e| format!("reader {n}: {e}"))?);
        }
    }
    let after = rss(server.pid());
    if let Some(refused) = open.iter().find(|r| r.status != 200) {
        return Err(format!("a reader was answered with {}", refused.status));
    }
    Ok(kib(after, before) / count as f64)
}

/// `args.generations` generations that have said 256 events and go on, without a reader.
pub(crate) async fn generations(args: &Args) -> Result<Vec<Figure>, Failure> {
    let server = Server::start(args, None).await?;
    let measured = running(args, &server).await;
    server.stop(measured.is_err()).await;
    let name = format!(
        "a running generation with 256 events, memory of the server, at {}",
        args.generations
    );
    Ok(vec![Figure::new(name, measured?, "KiB").at_most(50.0)])
}

async fn running(args: &Args, server: &Server) -> Result<f64, Failure> {
    const PROMPT: &str = "/demo tokens=300 tps=500 ttft_ms=0 stall_at=255 stall_s=600";
    // The first ones pay for what the process has once.
    for _ in 0..20 {
        said(server, &begin(server.address, PROMPT).await?, 256).await?;
    }
    let before = cpu::rss(server.pid());
    let mut ids = Vec::new();
    for _ in 0..args.generations {
        ids.push(begin(server.address, PROMPT).await?);
    }
    for id in &ids {
        said(server, id, 256).await?;
    }
    Ok(kib(cpu::rss(server.pid()), before) / args.generations as f64)
}

/// Waits until the log of `id` has so many events.
pub(crate) async fn said(server: &Server, id: &str, count: u64) -> Result<u64, Failure> {
    let begun = Instant::now();
    loop {
        let (_, text) = get(server.address, &format!("/v1/generations/{id}")).await?;
        let view: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let last = view["last_seq"].as_u64().unwrap_or(0);
        if last >= count {
            return Ok(last);
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("a generation said {last} of {count} events in {PATIENCE:?}"));
        }
        sleep(Duration::from_millis(10)).await;
    }
}

fn kib(after: u64, before: u64) -> f64 {
    after.saturating_sub(before) as f64 / 1024.0
}
