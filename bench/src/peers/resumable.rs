//! One reader per stream against resumable-stream with Redis, which loses a stream with its
//! process.
use std::process::Command;
use std::time::Duration;

use super::process::{Process, Scratch, free_address};
use super::{installed, npm_version, script};
use crate::Failure;
use crate::args::Args;
use crate::figure::Figure;
use crate::http::request;
use crate::load::{Work, read_all};
use crate::ours::alone;
use crate::pairs::{Pairs, Round};
use crate::server::Server;

const READY: Duration = Duration::from_secs(10);

/// Measures `args.generations` streams.
pub(crate) async fn run(args: &Args) -> Result<Vec<Figure>, Failure> {
    let load = format!("one reader each, {} x {}/s", args.generations, args.tps);
    let scratch = Scratch::new(&args.dir, "resumable")?;
    let started = start(&scratch).await;
    let (redis, node, address, peer) = match started {
        Ok(started) => started,
        Err(why) => return Ok(vec![Figure::missing(format!("{load}: resumable-stream"), why)]),
    };
    let server = Server::start(args, None).await?;
    let mut pairs = Pairs { load, peer, rounds: Vec::new() };
    for round in 0..args.rounds {
        let ours = alone(args, &server).await;
        let path = |i: u64| {
            let phase_ms = i * 7 % (1000 / args.tps).max(1);
            let (tokens, tps) = (args.tokens(), args.tps);
            format!("/?id={round}-{i}&tokens={tokens}&tps={tps}&ttft_ms={phase_ms}")
        };
        let ask = |i| request("GET", &path(i), "text/event-stream", "");
        let theirs = read_all(Work {
            address,
            pids: vec![redis.pid(), node.pid()],
            requests: (0..args.generations).map(ask).collect(),
            seconds: args.seconds,
            enough: None,
        });
        let theirs = theirs.await;
        pairs.push(Round::of(&ours, args.tokens()), Round::of(&theirs, args.tokens()));
    }
    server.stop(false).await;
    Ok(pairs.figures(Some(0.5)))
}

type Started = (Process, Process, std::net::SocketAddr, String);

async fn start(scratch: &Scratch) -> Result<Started, Failure> {
    let peer = format!("resumable-stream {}", npm_version("resumable-stream")?);
    let at = free_address()?;
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &at.port().to_string(), "--save", ""]);
    command.args(["--appendonly", "no", "--dir", &scratch.0.display().to_string()]);
    let mut redis = Process::start("redis-server", &mut command, &scratch.0)?;
    redis.listening(at, READY).await?;
    let mut command = Command::new("node");
    command.arg(script("resumable.js")).env("PEERS", installed());
    command.env("REDIS_URL", format!("redis://{at}"));
    let mut node = Process::start("resumable-stream", &mut command, &scratch.0)?;
    let address = node.port(READY).await?;
    Ok((redis, node, address, format!("{peer} + Redis")))
}
