//! `streamproof`: what a streaming LLM server keeps of its streams when clients, upstreams and
//! processes break off. The README is its manual.
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

mod args;
mod checks;
mod client;
mod command;
mod history;
mod hooks;
mod http;
mod lab;
#[cfg(test)]
mod planted;
mod reference;
mod report;
mod scenarios;
mod sse;
mod upstream;
mod wire;

/// Why a command did not do its work.
pub(crate) enum Failure {
    /// The command line makes no sense.
    Refused(String),
    /// The test could not be done.
    Impossible(String),
}

#[tokio::main]
async fn main() -> ExitCode {
    // The only provider there is; it fails only if it was installed before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let done = match Cli::parse().command {
        Command::Run(run) => command::run(*run).await,
        Command::Check(check) => command::check(&check),
        Command::List => {
            command::list();
            Ok(true)
        }
        Command::Reference(options) => command::reference(options).await,
        Command::Upstream { listen } => command::upstream(&listen).await,
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(Failure::Refused(why)) => {
            eprintln!("streamproof: {why}");
            ExitCode::from(2)
        }
        Err(Failure::Impossible(why)) => {
            eprintln!("streamproof: {why}");
            ExitCode::from(3)
        }
    }
}
