//! This build next to another one, in turn: small loads, the gateway, and the time to first token.
//!
//! Both servers run all the time, each with a PostgreSQL of its own, and get the same load in turn.
//! So a slow moment of the machine hits both, and the ratios hold on a busy one, too.
use std::net::SocketAddr;

use serde_json::json;

use crate::Failure;
use crate::args::Args;
use crate::figure::{self, Figure, median};
use crate::http::{self, BUILT_IN, request, start};
use crate::load::{Load, Work, read_all};
use crate::ours::{paced, stamped};
use crate::pairs::Round;
use crate::server::Server;
use crate::ttft::first_token;
use crate::turns::Turns;
use crate::upstream::{MODEL, Upstream};

/// Generations of the demo model: what most people run.
const SMALL: [u64; 4] = [1, 10, 50, 100];
/// Streams through the gateway.
const STREAMS: [u64; 2] = [100, 1000];
/// First tokens of each build in a round; the median counts.
const FIRST_TOKENS: usize = 41;

/// The two builds.
const KINDS: [&str; 2] = ["this build", "the other"];

/// Measures the loads up to `args.generations`.
pub(crate) async fn run(args: &Args) -> Result<Vec<Figure>, Failure> {
    let other = args.before.clone().ok_or("--before FILE is the server of the other build")?;
    let upstream = Upstream::start()?;
    let ours = Server::start(args, Some(upstream.address)).await?;
    let theirs = Args { binary: other, ..args.clone() };
    let theirs = Server::start(&theirs, Some(upstream.address)).await?;
    let measured = measure(args, [&ours, &theirs], upstream.address).await;
    ours.stop(measured.is_err()).await;
    theirs.stop(measured.is_err()).await;
    measured
}

async fn measure(
    args: &Args,
    servers: [&Server; 2],
    upstream: SocketAddr,
) -> Result<Vec<Figure>, Failure> {
    let model = http::model(servers[0].address, MODEL).await?;
    let demo = ("demo", Some(BUILT_IN), SMALL.as_slice());
    let gateway = ("gateway", model.as_deref(), STREAMS.as_slice());
    let mut figures = first_tokens(args, servers, None).await?;
    figures.extend(first_tokens(args, servers, Some((upstream, model.as_deref()))).await?);
    for ((what, model, sizes), aim) in [(demo, 0.5), (gateway, 0.6)] {
        for &generations in sizes.iter().filter(|n| **n <= args.generations) {
            let args = Args { generations, ..args.clone() };
            let turns = in_turn(&args, what, servers, model).await?;
            figures.push(turns.cpu([0, 1]).at_most(aim));
            figures.push(turns.ratio("CPU of PostgreSQL per event", |r| r.postgres_us, [0, 1]));
            figures.push(turns.ratio("p50", |r| r.p50_ms, [0, 1]).at_most(1.3));
            figures.extend(turns.figures());
        }
    }
    Ok(figures)
}

async fn in_turn(
    args: &Args,
    what: &str,
    servers: [&Server; 2],
    model: Option<&str>,
) -> Result<Turns<2>, Failure> {
    let load = format!("{what} {} x {}/s", args.generations, args.tps);
    let mut turns = Turns::new(load, KINDS);
    turns
        .take(args.rounds, async |kind| {
            Ok(Round::of_ours(&load_of(args, servers[kind], model).await, args.tokens()))
        })
        .await?;
    Ok(turns)
}

async fn load_of(args: &Args, server: &Server, model: Option<&str>) -> Load {
    let ask = |i| match model {
        Some(BUILT_IN) => start(model, &stamped(args, i)),
        // The upstream stamps all its tokens.
        _ => start(model, &paced(args, i)),
    };
    let requests = (0..args.generations).map(ask).collect();
    let (pids, address, seconds) = (vec![server.pid()], server.address, args.seconds);
    read_all(Work { address, pids, requests, seconds, enough: None }).await
}

/// The time to first token on idle servers; through the gateway, what it adds to the upstream's.
async fn first_tokens(
    args: &Args,
    servers: [&Server; 2],
    through: Option<(SocketAddr, Option<&str>)>,
) -> Result<Vec<Figure>, Failure> {
    let (name, asked) = match through {
        None => ("time to first token", start(Some(BUILT_IN), "/demo tokens=1 ttft_ms=0 stamp")),
        Some((_, model)) => {
            ("gateway, added time to first token", start(model, "say tokens=1 tps=1000"))
        }
    };
    let messages = json!([{ "role": "user", "content": "say tokens=1 tps=1000" }]);
    let body = json!({ "model": MODEL, "messages": messages, "stream": true }).to_string();
    let direct = request("POST", "/v1/chat/completions", "text/event-stream", &body);
    let mut rounds = [Vec::new(), Vec::new()];
    for _ in 0..args.rounds {
        let mut times = [const { Vec::new() }; 3];
        for _ in 0..FIRST_TOKENS {
            for (server, times) in servers.iter().zip(&mut times) {
                times.push(first_token(server.address, &asked).await? as f64 / 1e3);
            }
            if let Some((upstream, _)) = through {
                times[2].push(first_token(upstream, &direct).await? as f64 / 1e3);
            }
        }
        let [ours, theirs, direct] = times.map(figure::median);
        let direct = if direct.is_nan() { 0.0 } else { direct };
        rounds[0].push(ours - direct);
        rounds[1].push(theirs - direct);
    }
    let ratios = rounds[0].iter().zip(&rounds[1]).map(|(ours, theirs)| ours / theirs).collect();
    let aim = if through.is_some() { 0.5 } else { 1.0 };
    let ratio = Figure::median(format!("{name}: {} / {}", KINDS[0], KINDS[1]), ratios, "");
    eprintln!("{name}: {:.2} and {:.2} ms", median(rounds[0].clone()), median(rounds[1].clone()));
    let [ours, theirs] = rounds;
    Ok(vec![
        ratio.at_most(aim),
        Figure::median(format!("{name}, {}", KINDS[0]), ours, "ms"),
        Figure::median(format!("{name}, {}", KINDS[1]), theirs, "ms"),
    ])
}
