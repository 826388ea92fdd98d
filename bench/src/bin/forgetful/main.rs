//! `lastword serve` with a log that keeps no token. The difference is the price of durability
//! (`bench price`).
mod log;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use lastword::app::App;
use lastword::config::{Command, Config, ServeFlags, command_line};
use lastword::ports::Log;
use lastword::telemetry;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use log::Forgetful;

#[tokio::main]
async fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Command::Serve(flags) = command_line().command else {
        eprintln!("usage: forgetful serve [options]");
        return ExitCode::from(2);
    };
    match serve(*flags).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("forgetful: {error}");
            ExitCode::from(2)
        }
    }
}

/// As the real one, but a second signal does not hurry it.
async fn serve(flags: ServeFlags) -> Result<(), Box<dyn Error>> {
    telemetry::start(flags.place.log_format);
    let mut term = signal(SignalKind::terminate())?;
    let config = Config::load(flags)?;
    let app = App::build_around(&config, |log| Log {
        events: Arc::new(Forgetful(log.events.clone())),
        ..log
    })
    .await?;
    let stop = CancellationToken::new();
    let running = app.run(stop.clone(), CancellationToken::new());
    tokio::pin!(running);
    tokio::select! {
        ended = &mut running => return Ok(ended?),
        _ = term.recv() => stop.cancel(),
    }
    Ok(running.await?)
}
