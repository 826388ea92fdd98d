//! The price of durability: the same load on lastword, on one whose log keeps no token, and on a
//! process that only sends.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::Failure;
use crate::args::Args;
use crate::figure::Figure;
use crate::ours::alone_at;
use crate::pairs::Round;
use crate::peers::process::{Process, Scratch};
use crate::server::Server;
use crate::turns::Turns;

const READY: Duration = Duration::from_secs(10);

/// Measures `args.generations` streams of each kind.
pub(crate) async fn run(args: &Args) -> Result<Vec<Figure>, Failure> {
    let scratch = Scratch::new(&args.dir, "price")?;
    let mut command = Command::new(beside("rawsend")?);
    let mut raw = Process::start("rawsend", &mut command, &scratch.0)?;
    let raw = (raw.port(READY).await?, raw);
    let durable = Server::start(args, None).await?;
    let forgetful = Args { binary: beside("forgetful")?, ..args.clone() };
    let forgetful = Server::start(&forgetful, None).await?;
    let serving = [
        (durable.address, durable.pid()),
        (forgetful.address, forgetful.pid()),
        (raw.0, raw.1.pid()),
    ];
    let measured = measure(args, serving).await;
    forgetful.stop(measured.is_err()).await;
    durable.stop(measured.is_err()).await;
    measured
}

async fn measure(args: &Args, serving: [(SocketAddr, u32); 3]) -> Result<Vec<Figure>, Failure> {
    let load = format!("price of durability, {} x {}/s", args.generations, args.tps);
    let mut turns = Turns::new(load, ["durable", "not durable", "raw send"]);
    turns
        .take(args.rounds, async |kind| {
            let (address, pid) = serving[kind];
            let load = alone_at(args, address, pid).await;
            Ok(Round::of_ours(&load, args.tokens()))
        })
        .await?;
    let mut figures = vec![turns.cpu([0, 1]).at_most(1.3), turns.cpu([0, 2]).at_most(1.6)];
    figures.extend(turns.figures());
    Ok(figures)
}

/// A program of ours that is built along with this one.
fn beside(name: &str) -> Result<PathBuf, Failure> {
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    Ok(own.with_file_name(name))
}
