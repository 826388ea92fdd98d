//! The command line.
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::reference::Fault;

/// Tests what a streaming LLM server keeps of its streams when things break off.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes:
  0  every check that is offered passed
  1  a check failed
  2  the command line was refused
  3  the test could not be done: no target, or no time left";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Test a server
    Run(Box<Run>),
    /// Judge a history again, without the server
    Check(Check),
    /// List the checks: id, sentence, source
    List,
    /// Serve the reference server, with a fault or without
    Reference(Reference),
    /// Serve the scripted upstream alone
    Upstream {
        /// Where to listen
        #[arg(long, default_value = "127.0.0.1:9100")]
        listen: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The server, such as http://127.0.0.1:7878; twice for two instances
    #[arg(long, required = true)]
    pub(crate) target: Vec<String>,
    /// chat, responses, responses-ws, messages, ui, durable or sse: the README says how each is asked
    #[arg(long)]
    pub(crate) protocol: String,
    /// The mapping file of the protocols sse and durable
    #[arg(long)]
    pub(crate) map: Option<PathBuf>,
    /// The model to ask for
    #[arg(long, default_value = "streamproof")]
    pub(crate) model: String,
    /// Serve the scripted upstream here: the target has to be configured to ask it
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) upstream_listen: Option<String>,
    /// The prompt for the model without a scripted upstream
    #[arg(long, default_value = "Count from 1 to 60 in words.")]
    pub(crate) prompt: String,
    /// A header of every request, NAME: VALUE
    #[arg(long, value_name = "HEADER")]
    pub(crate) header: Vec<String>,
    /// Kills the server
    #[arg(long, value_name = "COMMAND", requires = "start")]
    pub(crate) kill: Option<String>,
    /// Kills this process at first, and later what --start left running
    #[arg(long, requires = "start")]
    pub(crate) pid: Option<u32>,
    /// Starts the server; it may stay in the foreground
    #[arg(long, value_name = "COMMAND")]
    pub(crate) start: Option<String>,
    /// Decides where streams are cut; the same seed, the same places
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Only these scenarios, such as cut,kill; a name that is not known prints all of them
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Checks that fail where they are not offered
    #[arg(long, value_delimiter = ',', value_name = "CHECKS")]
    pub(crate) expect: Vec<String>,
    /// Allow a target that is not on this machine
    #[arg(long)]
    pub(crate) allow_remote: bool,
    #[command(flatten)]
    pub(crate) load: Load,
    #[command(flatten)]
    pub(crate) output: Output,
    /// Write what was seen into this file
    #[arg(long, value_name = "FILE")]
    pub(crate) history: Option<PathBuf>,
}

/// The amount of requests, and the times of waiting.
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// Streams that are cut at random points, and resumed
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) rounds: u32,
    /// How often the server is killed
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub(crate) kills: u32,
    /// Tokens of an answer of the scripted upstream
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(10..=10_000))]
    pub(crate) tokens: u32,
    /// The pause before each of them
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    pub(crate) gap_ms: u64,
    /// Seconds for the whole test
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) time_limit_s: u64,
    /// Seconds of silence after which a reader leaves
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) silence_s: u64,
    /// Seconds that the server may take to start, and to be gone after a kill
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) start_within_s: u64,
    /// Seconds that the upstream may stay open after a cancel
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(crate) cancel_within_s: u64,
    /// Seconds after the end of the first stream until it is read again
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub(crate) later_s: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Output {
    /// Print JSON in place of the table
    #[arg(long)]
    pub(crate) json: bool,
    /// Write a JUnit report into this file
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// A file that --history wrote
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Reference {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:9200")]
    pub(crate) listen: String,
    /// Where chat completions are asked for
    #[arg(long, default_value = "http://127.0.0.1:9100/v1")]
    pub(crate) upstream: String,
    /// The file that keeps the streams
    #[arg(long, default_value = "streamproof-reference.jsonl")]
    pub(crate) data: PathBuf,
    /// A fault to plant
    #[arg(long)]
    pub(crate) fault: Option<Fault>,
}
