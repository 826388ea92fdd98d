//! The command line; each field's doc is its help.
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::ask::{AskFlags, ClientFlags, Shell, TailFlags};
use super::keys::KeysCommand;

/// With the commit that it was built from.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BUILD_COMMIT"), ")");

const AFTER_HELP: &str = "\
Begin:
  lastword serve                            in one terminal: no key, database or model is needed
  lastword ask \"Tell me about rivers\"       in another; kill and restart the server meanwhile
  lastword check                            when a model or the database does not do as it should

Exit codes:
  0    completed; for serve: stopped as it was told to
  1    the answer failed or was interrupted; for check: something is wrong
  2    the command line, the configuration or the request was refused
  3    the server cannot be reached
  4    the answer is incomplete: it met a limit
  5    somebody else cancelled it
  130  ended by Ctrl-C; ask has cancelled the generation
  141  standard output was closed; ask has cancelled the generation";

const ASK_HELP: &str = "\
Examples:
  lastword ask \"Tell me about rivers\"
  lastword ask --system \"Answer in French\" --model llama What is a delta?
  git diff | lastword ask --system \"Review this change\" -
  lastword ask --json \"Tell me about rivers\" | jq -rj 'select(.type==\"delta\").text'
  lastword ask \"/demo tokens=500 tps=20\"     the built-in demo: time to restart the server

The answer goes to standard output, everything else to standard error. A server that restarts or is
gone for less than two minutes is waited for, and the answer goes on where it was, each part once.
Ctrl-C cancels the generation and waits for the receipt; a second Ctrl-C waits no longer.";

const TAIL_HELP: &str = "\
Ctrl-C ends the reading and not the generation.";

const COMPLETIONS_HELP: &str = "\
Examples:
  bash:  lastword completions bash > ~/.local/share/bash-completion/completions/lastword
  zsh:   lastword completions zsh > \"${fpath[1]}/_lastword\"
  fish:  lastword completions fish > ~/.config/fish/completions/lastword.fish";

/// Durable LLM token streaming: every event is in Postgres before anyone sees it.
#[derive(Debug, Parser)]
#[command(name = "lastword", version = VERSION, arg_required_else_help = true, after_help = AFTER_HELP)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands of the program.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server.
    #[command(after_help = "Try it:\n  \
        curl -N localhost:7878/v1/generations -H 'Accept: text/event-stream' \\\n       \
        -H 'Content-Type: application/json' -d '{\"prompt\":\"Tell me about rivers\"}'")]
    Serve(Box<ServeFlags>),
    /// Ask a model and show its answer as it comes, whatever happens to the server meanwhile.
    #[command(after_help = ASK_HELP)]
    Ask(AskFlags),
    /// Show a generation from its beginning, and follow it to its last word.
    #[command(after_help = TAIL_HELP)]
    Tail(TailFlags),
    /// List the models of a server, a name each line, the default first.
    Models(ClientFlags),
    /// Check the configuration, the database and every model, which is asked for one token.
    Check(Box<ServeFlags>),
    /// Make, list and end the keys that clients need.
    #[command(arg_required_else_help = true)]
    Keys {
        /// Where the database is.
        #[command(flatten)]
        place: Box<PlaceFlags>,
        /// The command.
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Print a script that lets a shell complete this command line.
    #[command(after_help = COMPLETIONS_HELP)]
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

/// Flags of every command that needs the database. Each beats its environment variable, which beats
/// the file.
#[derive(Args, Debug, Default)]
pub struct PlaceFlags {
    /// Where the private PostgreSQL and this instance's identity live [default: /var/lib/lastword
    /// as root, else ~/.local/share/lastword].
    #[arg(long, global = true, env = "LASTWORD_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Use this PostgreSQL (14 or later) in place of the private one.
    #[arg(long, global = true, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// A file in TOML; see the README.
    #[arg(long, global = true, env = "LASTWORD_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the PostgreSQL server programs are, if not in the usual places.
    #[arg(long, global = true, env = "LASTWORD_POSTGRES_BIN", value_name = "DIR")]
    pub postgres_bin: Option<PathBuf>,
    /// Accept a database that may lose acknowledged events in a crash.
    #[arg(long, global = true, env = "LASTWORD_ALLOW_UNSAFE_DURABILITY")]
    pub allow_unsafe_durability: bool,
    /// How to log [default: text on a terminal, else json].
    #[arg(long, global = true, env = "LASTWORD_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// Flags of `serve` and `check`.
#[derive(Args, Debug, Default)]
pub struct ServeFlags {
    /// Where the database is, and how to log.
    #[command(flatten)]
    pub place: PlaceFlags,
    /// Where to listen [default: 127.0.0.1:7878].
    #[arg(long, env = "LASTWORD_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// The address that clients know, with the path that a proxy puts in front, if any.
    #[arg(long, env = "LASTWORD_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
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
    /// Seconds that a start waits for a database that is not there yet [default: 30].
    #[arg(long, env = "LASTWORD_DATABASE_WAIT_S", value_name = "SECONDS")]
    pub database_wait_s: Option<f64>,
    /// Seconds that running generations may go on after SIGTERM; what is left then is taken up by
    /// the next start [default: 20].
    #[arg(long, env = "LASTWORD_SHUTDOWN_GRACE_S", value_name = "SECONDS")]
    pub shutdown_grace_s: Option<f64>,
    /// Days that events are kept; the final text stays [default: 7].
    #[arg(long, env = "LASTWORD_RETENTION_DAYS", value_name = "DAYS")]
    pub retention_days: Option<u32>,
    /// Days that prompts and answers are kept, also those of conversations that nobody goes on with
    /// [default: until a client erases them].
    #[arg(long, env = "LASTWORD_PROMPT_RETENTION_DAYS", value_name = "DAYS")]
    pub prompt_retention_days: Option<u32>,
    /// Whether instances wake each other by NOTIFY; without, they poll: slower, and as correct
    /// [default: on].
    #[arg(long, env = "LASTWORD_NOTIFY", value_name = "WORD")]
    pub notify: Option<Switch>,
    /// How instances wake each other: `notify`, `off`, or the addresses of NATS servers, as
    /// nats://host:4222 or tls://user:password@host [default: notify].
    #[arg(long, env = "LASTWORD_SIGNALS", value_name = "WORD", hide_env_values = true)]
    pub signals: Option<String>,
    /// Do not look for model servers on this machine (Ollama, LM Studio, llama.cpp, vLLM).
    #[arg(long, env = "LASTWORD_NO_DETECT")]
    pub no_detect: bool,
    /// Serve HTTPS with this certificate and its chain, in PEM; read again at SIGHUP.
    #[arg(long, env = "LASTWORD_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// The key of the certificate, in PEM.
    #[arg(long, env = "LASTWORD_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Speak plain HTTP/2 with whom begins with it (prior knowledge), such as a proxy in front.
    #[arg(long, env = "LASTWORD_H2C")]
    pub h2c: bool,
    /// Serve nobody without a key, not even on a loopback address: for a proxy on this machine.
    #[arg(long, env = "LASTWORD_REQUIRE_KEY")]
    pub require_key: bool,
    /// Serve everybody who can reach an address that is not loopback.
    #[arg(long, env = "LASTWORD_INSECURE_NO_AUTH")]
    pub insecure_no_auth: bool,
}

/// A thing that is there or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// It is used.
    #[value(alias = "true")]
    On,
    /// It is not used.
    #[value(alias = "false")]
    Off,
}

impl Switch {
    /// Whether it is there.
    #[must_use]
    pub fn is_on(self) -> bool {
        self == Self::On
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}
