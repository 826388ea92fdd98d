//! Our server under the loads that peers get, too.
use std::net::SocketAddr;
use std::time::Duration;

use crate::Failure;
use crate::args::Args;
use crate::http::{self, begin, events, start};
use crate::load::{Load, Work, read_all};
use crate::server::Server;

/// Generations that are each read by several.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched {
    pub(crate) generations: u64,
    pub(crate) readers: u64,
    /// Before the first token.
    pub(crate) lead: Duration,
}

/// Starts them, then reads them.
pub(crate) async fn watched(args: &Args, server: &Server, work: Watched) -> Result<Load, Failure> {
    let mut ids = Vec::new();
    for i in 0..work.generations {
        let lead_ms = work.lead.as_millis() + u128::from(i * 7 % (1000 / args.tps).max(1));
        let prompt =
            format!("/demo tokens={} tps={} ttft_ms={lead_ms} stamp", args.tokens(), args.tps);
        ids.push(begin(server.address, &prompt).await?);
    }
    let reading = |id: &String| events(id, 0);
    let requests = ids.iter().flat_map(|id| (0..work.readers).map(move |_| reading(id))).collect();
    let pids = vec![server.pid()];
    let (address, seconds) = (server.address, args.seconds);
    Ok(read_all(Work { address, pids, requests, seconds, enough: None }).await)
}

/// One reader for each of `args.generations`: its start is its reading.
pub(crate) async fn alone(args: &Args, server: &Server) -> Load {
    alone_at(args, server.address, server.pid()).await
}

/// The same for another server that answers such starts.
pub(crate) async fn alone_at(args: &Args, address: SocketAddr, pid: u32) -> Load {
    let ask = |i| start(Some(http::BUILT_IN), &stamped(args, i));
    let requests = (0..args.generations).map(ask).collect();
    read_all(Work { address, pids: vec![pid], requests, seconds: args.seconds, enough: None }).await
}

/// The demo model's prompt of the `i`th: each token carries the time at which it was due.
pub(crate) fn stamped(args: &Args, i: u64) -> String {
    format!("/demo {} stamp", paced(args, i))
}

/// The `i`th's directives: tokens of different generations are born evenly spread, not all at the
/// same time.
pub(crate) fn paced(args: &Args, i: u64) -> String {
    let phase_ms = i * 7 % (1000 / args.tps).max(1);
    format!("tokens={} tps={} ttft_ms={phase_ms}", args.tokens(), args.tps)
}
