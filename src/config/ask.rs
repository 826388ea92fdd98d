//! `lastword ask`, `tail` and `completions`.
use clap::{Args, CommandFactory, ValueHint};
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
        value_hint = ValueHint::Url,
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
    /// Print the model's thinking, on standard error.
    #[arg(long)]
    pub reasoning: bool,
}

/// Flags of `ask`.
#[derive(Args, Debug)]
pub struct AskFlags {
    /// The prompt; without one, or with `-`, it is read from standard input. Several words are
    /// joined by spaces.
    #[arg(value_name = "PROMPT", value_hint = ValueHint::Other)]
    pub prompt: Vec<String>,
    /// The model [default: the server's; `curl SERVER/v1/models` lists them].
    #[arg(long, short, value_name = "NAME", value_hint = ValueHint::Other)]
    pub model: Option<String>,
    /// Text for the model before the prompt.
    #[arg(long, short, value_name = "TEXT", value_hint = ValueHint::Other)]
    pub system: Option<String>,
    /// Ask in this conversation; `new` opens one.
    #[arg(long, value_name = "ID", value_hint = ValueHint::Other, conflicts_with = "continue_last")]
    pub conversation: Option<String>,
    /// Ask in the conversation that was last used.
    #[arg(long = "continue", short = 'c')]
    pub continue_last: bool,
    /// The server.
    #[command(flatten)]
    pub client: ClientFlags,
}

/// Flags of `tail`.
#[derive(Args, Debug)]
pub struct TailFlags {
    /// The generation: the last line of `ask` and the header Lastword-Generation name it.
    #[arg(value_name = "ID", value_hint = ValueHint::Other)]
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
    let script = String::from_utf8_lossy(&script);
    let named: String = match shell {
        Shell::Bash => in_bash(&script),
        Shell::Fish => script
            .lines()
            .map(|line| match line.contains("subcommand ask\"") && line.contains("-l model ") {
                true => format!("{line} -a \"(lastword {MODELS})\"\n"),
                false => format!("{line}\n"),
            })
            .collect(),
        Shell::Zsh => script
            .lines()
            .map(|line| match line.strip_suffix(":NAME:' \\") {
                Some(flag) if flag.contains("'-m+[") || flag.contains("'--model=[") => {
                    format!("{flag}:NAME:{{compadd -- ${{(f)\"$(lastword {MODELS})\"}}}}' \\\n")
                }
                Some(_) | None => format!("{line}\n"),
            })
            .collect(),
        // The others complete flags alone.
        Shell::Elvish | Shell::PowerShell | _ => script.into_owned(),
    };
    named.into_bytes()
}

/// Lists the models of the server that the environment names; nothing where there is none.
const MODELS: &str = "models 2>/dev/null";
/// The part of bash's script about `ask`.
const BASH_ASK: &str = "        lastword__subcmd__ask)\n";

/// The script with the models' names in the place of nothing, behind `--model` and `-m` of `ask`.
fn in_bash(script: &str) -> String {
    let Some((before, ask)) = script.split_once(BASH_ASK) else { return script.to_owned() };
    let names = format!("COMPREPLY=( $(compgen -W \"$(lastword {MODELS})\" -- \"${{cur}}\") )");
    let mut named = format!("{before}{BASH_ASK}");
    let mut rest = ask;
    for flag in ["                --model)\n", "                -m)\n"] {
        let Some((start, end)) = rest.split_once(flag) else { continue };
        named.push_str(start);
        named.push_str(flag);
        let Some((_, end)) = end.split_once('\n') else { continue };
        named.push_str(&format!("                    {names}\n"));
        rest = end;
    }
    named + rest
}
