//! Measures lastword from outside, over real loopback sockets; the usage lists the scenarios.
//!
//! Every token carries the time at which it was made. So latency is the sum of model, log, commit
//! and socket. Starts are spread over a second and a warm-up second follows; both are outside the
//! measured window. Where there is a peer, it gets the same load from the same client, in turn with
//! ours. CPU is that of all processes that serve.
mod agent;
mod all;
mod args;
mod builds;
mod cpu;
mod curves;
mod figure;
mod fill;
mod fleet;
mod growth;
mod http;
mod load;
mod multiplex;
mod ours;
mod pairs;
mod path;
mod peers;
mod price;
mod report;
mod resume;
mod rounds;
mod running;
mod server;
mod short;
mod smoke;
mod socket;
mod sockets;
mod sse;
mod startup;
mod storm;
mod svg;
#[cfg(test)]
mod tests;
mod ttft;
mod turns;
mod upstream;
mod wakeup;
mod websocket;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use args::{Args, Scenario};

/// The fault, for people.
pub(crate) type Failure = String;

/// Microseconds since 1970: the clock of the stamps.
pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

// One thread, so that the client takes as little CPU as possible from the servers.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    match run(&args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("bench: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the scenario; whether every stream was complete and every aim of it was reached.
async fn run(args: &Args) -> Result<bool, Failure> {
    args.raise_file_limit()?;
    match args.scenario {
        Scenario::Durable | Scenario::Gateway | Scenario::Sockets | Scenario::Multiplex
            if !args.medians =>
        {
            let mut complete = true;
            for report in rounds::reports(args, 1).await? {
                let path = report.write()?;
                // A person who stops reading, as `head` does, has the file.
                let _ = writeln!(io::stdout(), "{}{}", report.table(), path.display());
                complete &= report.complete();
            }
            return Ok(complete);
        }
        Scenario::Upstream => return path::run(args).await,
        Scenario::Wakeup => return wakeup::run(args).await,
        _ => {}
    }
    let figures = match args.scenario {
        Scenario::All => all::run(args).await,
        Scenario::Smoke => smoke::run(args).await,
        _ => figures(args).await?,
    };
    let path = figure::path();
    figure::write(&path, &figures)?;
    let _ = writeln!(io::stdout(), "{}{}", figure::table(&figures), path.display());
    Ok(figures.iter().all(|f| f.reached() != Some(false)))
}

/// The figures of a scenario.
async fn figures(args: &Args) -> Result<Vec<figure::Figure>, Failure> {
    match args.scenario {
        Scenario::Fanout => peers::fanout(args).await,
        Scenario::Resumable => peers::resumable(args).await,
        Scenario::Gateways => peers::gateways(args).await,
        Scenario::DurableStreams => peers::durable_streams(args).await,
        Scenario::Active => running::run(args).await,
        Scenario::Resume => resume::run(args).await,
        Scenario::Agent => agent::run(args).await,
        Scenario::Short => short::run(args).await,
        Scenario::Start => startup::run(args).await,
        Scenario::Curves => curves::run(args).await,
        Scenario::Websocket => websocket::run(args).await,
        Scenario::Fleet => fleet::run(args).await,
        Scenario::Growth => growth::run(args).await,
        Scenario::Price => price::run(args).await,
        Scenario::Storm => storm::run(args).await,
        Scenario::Builds => builds::run(args).await,
        Scenario::Durable | Scenario::Gateway | Scenario::Sockets | Scenario::Multiplex => {
            rounds::figures(args).await
        }
        _ => Err("not a scenario with figures".into()),
    }
}
