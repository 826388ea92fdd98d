//! Memory of generations that run and are silent.
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::Failure;
use crate::args::Args;
use crate::cpu::resident;
use crate::figure::Figure;
use crate::http::{begin, get};
use crate::server::Server;

const PATIENCE: Duration = Duration::from_secs(30);

/// `args.generations` generations that have said 256 events and go on, without a reader.
pub(crate) async fn run(args: &Args) -> Result<Vec<Figure>, Failure> {
    let measured = Server::during(args, async |server| running(args, server).await).await;
    let name = format!(
        "a running generation with 256 events, memory of the server, at {}",
        args.generations
    );
    Ok(vec![Figure::new(name, measured?, "KiB").at_most(50.0)])
}

async fn running(args: &Args, server: &Server) -> Result<f64, Failure> {
    const PROMPT: &str = "/demo tokens=300 tps=500 ttft_ms=0 stall_at=255 stall_s=600";
    // The first ones pay for the memory that the process needs once.
    for _ in 0..20 {
        said(server, &begin(server.address, PROMPT).await?, 256).await?;
    }
    let before = resident(server.pid());
    let mut ids = Vec::new();
    for _ in 0..args.generations {
        ids.push(begin(server.address, PROMPT).await?);
    }
    for id in &ids {
        said(server, id, 256).await?;
    }
    Ok(resident(server.pid()).saturating_sub(before) as f64 / 1024.0 / args.generations as f64)
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
