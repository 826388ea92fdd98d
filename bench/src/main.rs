//! Measures lastword from outside, over real loopback sockets, with one reader per generation.
//!
//! `make bench` lets the built-in demo model produce the tokens;
//! `-- gateway` serves them as a scripted OpenAI upstream; `-- upstream` measures what the provider
//! alone makes of that, next to the bare bytes; `-- wakeup` how long a reader on another instance
//! waits. Every token carries the time at which
//! it was made, so latency is what a reader adds up: model, log, commit, socket. Starts are spread
//! over a second and a warm-up second follows; both are outside the measured window.
mod args;
mod cpu;
mod figure;
mod http;
mod idle;
mod load;
mod ours;
mod pairs;
mod path;
mod peers;
mod report;
mod resume;
mod server;
mod sse;
mod startup;
#[cfg(test)]
mod tests;
mod ttft;
mod upstream;
mod wakeup;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use args::{Args, Scenario};
use server::Server;
use upstream::Upstream;

/// What went wrong, for people.
pub(crate) type Failure = String;

/// Microseconds since 1970: the clock of the stamps.
pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

// One thread, so that the client takes as little as it can from what it measures.
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
        Scenario::Durable | Scenario::Gateway => {
            let report = load_report(args).await?;
            let path = report.write()?;
            // Whoever stops reading, as `head` does, has the file.
            let _ = writeln!(io::stdout(), "{}{}", report.table(), path.display());
            return Ok(report.complete());
        }
        Scenario::Upstream => return path::run(args).await,
        Scenario::Wakeup => return wakeup::run(args).await,
        _ => {}
    }
    let figures = figures(args).await?;
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
        Scenario::Idle => idle::readers(args).await,
        Scenario::Active => idle::generations(args).await,
        Scenario::Resume => resume::run(args).await,
        Scenario::Start => startup::run(args).await,
        _ => Err("not a scenario with figures".into()),
    }
}

/// One reader per generation.
async fn load_report(args: &Args) -> Result<report::Report, Failure> {
    let upstream = (args.scenario == Scenario::Gateway).then(Upstream::start).transpose()?;
    let server = Server::start(args, upstream.as_ref().map(|u| u.address)).await?;
    let result = measure(args, &server, upstream.as_ref()).await;
    server.stop(result.is_err()).await;
    result
}

async fn measure(
    args: &Args,
    server: &Server,
    upstream: Option<&Upstream>,
) -> Result<report::Report, Failure> {
    let preferred = if upstream.is_some() { upstream::MODEL } else { http::BUILT_IN };
    let model = http::model(server.address, preferred).await?;
    let ttft = match upstream {
        Some(u) => Some(ttft::compare(u.address, server.address, model.as_deref()).await?),
        None => None,
    };
    let load = load::run(args, server, model.as_deref()).await?;
    Ok(report::Report::new(args, server, load, ttft))
}
