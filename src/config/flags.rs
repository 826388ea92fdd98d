//! The command line; each field's doc is its help.
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Durable LLM token streaming: every event is in Postgres before anyone sees it.
#[derive(Debug, Parser)]
#[command(name = "lastword", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server.
    #[command(after_help = "Try it:\n  \
        curl -N localhost:7878/v1/generations -H 'Accept: text/event-stream' \\\n       \
        -H 'Content-Type: application/json' -d '{\"prompt\":\"Tell me about rivers\"}'")]
    Serve(Box<ServeFlags>),
    /// Check the configuration, the database and every model, which is asked for one token.
    Check(Box<ServeFlags>),
}

/// Flags of `serve` and `check`. Each beats its environment variable, which beats the file.
#[derive(Args, Debug)]
pub struct ServeFlags {
    /// Where to listen [default: 127.0.0.1:7878].
    #[arg(long, env = "LASTWORD_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Where the private PostgreSQL and this instance's identity live [default: /var/lib/lastword
    /// as root, else ~/.local/share/lastword].
    #[arg(long, env = "LASTWORD_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Use this PostgreSQL (14 or later) in place of the private one.
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// A file in TOML; see the README.
    #[arg(long, env = "LASTWORD_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The model for prompts that name none.
    #[arg(long, env = "LASTWORD_DEFAULT_MODEL", value_name = "NAME")]
    pub default_model: Option<String>,
    /// Seconds without a sign of life after which others take this instance's generations over
    /// [default: 10].
    #[arg(long, env = "LASTWORD_LEASE_S", value_name = "SECONDS")]
    pub lease_s: Option<f64>,
    /// Seconds of silence after which a reader gets a sign of life [default: 15].
    #[arg(long, env = "LASTWORD_HEARTBEAT_S", value_name = "SECONDS")]
    pub heartbeat_s: Option<f64>,
    /// Seconds that running generations may go on after SIGTERM; what is left then is taken up by
    /// the next start [default: 20].
    #[arg(long, env = "LASTWORD_SHUTDOWN_GRACE_S", value_name = "SECONDS")]
    pub shutdown_grace_s: Option<f64>,
    /// Days that events are kept; the final text stays [default: 7].
    #[arg(long, env = "LASTWORD_RETENTION_DAYS", value_name = "DAYS")]
    pub retention_days: Option<u32>,
    /// Where the PostgreSQL server programs are, if not in the usual places.
    #[arg(long, env = "LASTWORD_POSTGRES_BIN", value_name = "DIR")]
    pub postgres_bin: Option<PathBuf>,
    /// Do not look for model servers on this machine (Ollama, LM Studio, llama.cpp, vLLM).
    #[arg(long, env = "LASTWORD_NO_DETECT")]
    pub no_detect: bool,
    /// How to log [default: text on a terminal, else json].
    #[arg(long, env = "LASTWORD_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Accept a database that may lose acknowledged events in a crash.
    #[arg(long, env = "LASTWORD_ALLOW_UNSAFE_DURABILITY")]
    pub allow_unsafe_durability: bool,
    /// Serve everybody who can reach an address that is not loopback.
    #[arg(long, env = "LASTWORD_INSECURE_NO_AUTH")]
    pub insecure_no_auth: bool,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}
