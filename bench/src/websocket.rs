//! One WebSocket for each reader, next to one SSE stream for each: the same starts, the same
//! events.
//!
//! The server writes a frame for each event, as SSE has a block for each. Events that are ready
//! together go out in one write on both. Events are counted, by their stamps, and not frames or
//! reads.
use std::sync::Arc;

use serde_json::json;

use crate::args::Args;
use crate::figure::Figure;
use crate::http::BUILT_IN;
use crate::load::{Load, Plan, Work, read_by};
use crate::ours::{alone, stamped};
use crate::pairs::Round;
use crate::server::Server;
use crate::socket::{Frame, Socket};
use crate::sse::Seen;
use crate::turns::Turns;
use crate::{Failure, now_us};

/// Measures `args.generations` readers of each kind.
pub(crate) async fn run(args: &Args) -> Result<Vec<Figure>, Failure> {
    Server::during(args, async |server| measure(args, server).await).await
}

async fn measure(args: &Args, server: &Server) -> Result<Vec<Figure>, Failure> {
    let load = format!("a connection each, {} x {}/s", args.generations, args.tps);
    let mut turns = Turns::new(load, ["WebSocket", "SSE"]);
    turns
        .take(args.rounds, async |kind| {
            let load = match kind {
                0 => over_sockets(args, server).await,
                _ => alone(args, server).await,
            };
            Ok(Round::of_ours(&load, args.tokens()))
        })
        .await?;
    let mut figures = vec![turns.cpu([0, 1]).at_most(1.0)];
    figures.extend(turns.figures());
    Ok(figures)
}

/// As `alone`, but each generation is started and read on a socket of its own.
async fn over_sockets(args: &Args, server: &Server) -> Load {
    let ask = |i| {
        let prompt = stamped(args, i);
        json!({ "type": "generate", "ref": 1, "model": BUILT_IN, "prompt": prompt }).to_string()
    };
    let requests = (0..args.generations).map(|i| ask(i).into_bytes()).collect();
    let pids = vec![server.pid()];
    let (address, seconds) = (server.address, args.seconds);
    read_by(Work { address, pids, requests, seconds, enough: None }, over_socket).await
}

async fn over_socket(plan: Arc<Plan>, i: usize) -> Result<Seen, Failure> {
    let mut socket = Socket::open(plan.address, i as u64).await?;
    socket.send(String::from_utf8_lossy(&plan.requests[i]).into_owned()).await?;
    let mut seen = Seen::default();
    while !seen.done {
        let text = socket.text().await.ok_or("a socket was closed before its end")?;
        match serde_json::from_str::<Frame>(&text) {
            Ok(frame) => seen.event(&frame.event, now_us(), plan.window),
            Err(_) if text.contains(r#""type":"ack""#) => {}
            Err(_) => return Err(text.to_string()),
        }
    }
    Ok(seen)
}
