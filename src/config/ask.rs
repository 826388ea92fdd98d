//! `lastword ask`, `tail` and `completions`.
use clap::{Args, CommandFactory};
pub use clap_complete::Shell;

use super::flags::Cli;

/// Where the server is, and how to show what it says.
#[derive(Args, Debug)]
pub struct ClientFlags {
    /// The server.
    #[arg(
        long,
        env = "LASTWORD_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:7878"
    )]
    pub server: String,
    /// The key, where the server wants one. The variable keeps it out of the list of processes.
    #[arg(long, env = "LASTWORD_API_KEY", value_name = "KEY", hide_env_values = true)]
    pub key: Option<String>,
    /// Print each event as the server sends it, one JSON object a line.
    #[arg(long)]
    pub json: bool,
    /// Print the answer and nothing else.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Flags of `ask`.
#[derive(Args, Debug)]
pub struct AskFlags {
    /// The prompt; `-` reads it from standard input. Several words are joined by spaces.
    #[arg(required = true, value_name = "PROMPT")]
    pub prompt: Vec<String>,
    /// The model [default: the server's; `curl SERVER/v1/models` lists them].
    #[arg(long, short, value_name = "NAME")]
    pub model: Option<String>,
    /// What to tell the model before the prompt.
    #[arg(long, short, value_name = "TEXT")]
    pub system: Option<String>,
    /// The server.
    #[command(flatten)]
    pub client: ClientFlags,
}

/// Flags of `tail`.
#[derive(Args, Debug)]
pub struct TailFlags {
    /// The generation: the last line of `ask` and the header Lastword-Generation name it.
    #[arg(value_name = "ID")]
    pub id: String,
    /// Begin behind this event.
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    pub after: u64,
    /// The server.
    #[command(flatten)]
    pub client: ClientFlags,
}

/// The script by which `shell` completes our command line.
#[must_use]
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "lastword", &mut script);
    script
}
