//! Our server under the loads that peers get, too.
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
    let (tokens, tps) = (args.tokens(), args.tps);
    let prompt = |i: u64| {
        let phase_ms = i * 7 % (1000 / tps).max(1);
        start(
            Some(http::BUILT_IN),
            &format!("/demo tokens={tokens} tps={tps} ttft_ms={phase_ms} stamp"),
        )
    };
    let requests = (0..args.generations).map(prompt).collect();
    let (address, seconds) = (server.address, args.seconds);
    read_all(Work { address, pids: vec![server.pid()], requests, seconds, enough: None }).await
}
