//! `streamproof`: what a streaming LLM server keeps of its streams when clients, upstreams and
//! processes break off. The README is its manual.
//!
//! As a library it judges: a program that watches streams by itself fills a [`history::History`],
//! and [`checks::judge`] says which rules are broken.
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

mod args;
pub mod checks;
mod client;
mod command;
pub mod history;
mod hooks;
mod http;
mod lab;
mod narrow;
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

/// The program: what the command line asks for.
pub async fn main() -> ExitCode {
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
