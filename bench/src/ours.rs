//! Our server under the loads that peers get, too.
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Failure;
use crate::args::Args;
use crate::http::{self, Response, request, start};
use crate::load::{Load, Work, read_all};
use crate::server::Server;

const PATIENCE: Duration = Duration::from_secs(20);

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

/// Starts a generation of the built-in model; its id.
pub(crate) async fn begin(address: SocketAddr, prompt: &str) -> Result<String, Failure> {
    let body = serde_json::json!({ "prompt": prompt, "model": http::BUILT_IN }).to_string();
    let asked = request("POST", "/v1/generations", "application/json", &body);
    let whole = async {
        let stream = TcpStream::connect(address).await?;
        let response = Response::to(stream, &asked).await?;
        Ok::<_, std::io::Error>((response.status, response.text().await?))
    };
    let (status, text) = timeout(PATIENCE, whole)
        .await
        .map_err(|_| "a start was not answered".to_owned())?
        .map_err(|e| format!("a start failed: {e}"))?;
    let answer: Value = serde_json::from_str(&text).unwrap_or_default();
    let id = answer["id"].as_str().filter(|_| status == 201);
    id.map(str::to_owned).ok_or(format!("a start was answered with {status}: {text}"))
}

/// The request for the events of `id` behind `after`.
pub(crate) fn events(id: &str, after: u64) -> Vec<u8> {
    let path = format!("/v1/generations/{id}/events?after={after}");
    request("GET", &path, "text/event-stream", "")
}
