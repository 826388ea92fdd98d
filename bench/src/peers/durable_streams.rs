//! One reader per stream against @durable-streams/server: in memory, and on the disk as ours always
//! is.
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use super::process::{Process, Scratch};
use super::publish::Publish;
use super::{installed, npm_version, script};
use crate::Failure;
use crate::args::Args;
use crate::figure::Figure;
use crate::http::{Response, request};
use crate::load::{Load, Work, read_all};
use crate::ours::alone;
use crate::pairs::{Pairs, Round};
use crate::server::Server;

const READY: Duration = Duration::from_secs(10);
const LEAD: Duration = Duration::from_millis(1500);

/// Measures `args.generations` streams with both storages.
pub(crate) async fn run(args: &Args) -> Result<Vec<Figure>, Failure> {
    let server = Server::start(args, None).await?;
    let mut figures = Vec::new();
    for on_disk in [false, true] {
        let at = if on_disk { "on disk" } else { "in memory" };
        let load = format!("small, {} x {}/s, peer {at}", args.generations, args.tps);
        let measured = pairs(args, &server, &load, on_disk).await;
        figures.extend(measured.unwrap_or_else(|why| {
            vec![Figure::missing(format!("{load}: @durable-streams/server"), why)]
        }));
    }
    server.stop(false).await;
    Ok(figures)
}

async fn pairs(
    args: &Args,
    server: &Server,
    load: &str,
    on_disk: bool,
) -> Result<Vec<Figure>, Failure> {
    let peer = format!("@durable-streams/server {}", npm_version("@durable-streams/server")?);
    let scratch = Scratch::new(&args.dir, "durable-streams")?;
    let mut command = Command::new("node");
    command.arg(script("durable-streams.js")).env("PEERS", installed());
    if on_disk {
        command.env("DATA_DIR", scratch.0.join("data"));
    }
    let mut node = Process::start("durable-streams", &mut command, &scratch.0)?;
    let address = node.port(READY).await?;
    let mut pairs = Pairs { load: load.into(), peer, rounds: Vec::new() };
    for round in 0..args.rounds {
        let ours = alone(args, server).await;
        let theirs = one(args, address, node.pid(), round).await?;
        pairs.push(Round::of(&ours, args.tokens()), Round::of(&theirs, args.tokens()));
    }
    Ok(pairs.figures(None))
}

async fn one(args: &Args, address: SocketAddr, pid: u32, round: u64) -> Result<Load, Failure> {
    let paths: Vec<String> = (0..args.generations).map(|i| format!("/bench-{round}-{i}")).collect();
    for path in &paths {
        create(address, path).await?;
    }
    let read = |path: &String| {
        request("GET", &format!("{path}?offset=-1&live=sse"), "text/event-stream", "")
    };
    let requests = paths.iter().map(read).collect();
    let fields = "Content-Type: application/json\r\n";
    let (tokens, tps) = (args.tokens(), args.tps);
    let publishing = Publish { address, paths, fields, tokens, tps, lead: LEAD }.start()?;
    let (pids, seconds) = (vec![pid], args.seconds);
    let load = read_all(Work { address, pids, requests, seconds, enough: Some(tokens) }).await;
    publishing.join().map_err(|_| "the publisher failed".to_owned())??;
    Ok(load)
}

async fn create(address: SocketAddr, path: &str) -> Result<(), Failure> {
    let whole = async {
        let stream = tokio::net::TcpStream::connect(address).await?;
        Ok::<_, std::io::Error>(
            Response::to(stream, &request("PUT", path, "*/*", "")).await?.status,
        )
    };
    let status = whole.await.map_err(|e| format!("PUT {path}: {e}"))?;
    if (200..300).contains(&status) { Ok(()) } else { Err(format!("PUT {path}: {status}")) }
}
