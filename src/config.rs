//! One typed configuration, validated once: flag, environment, file, default, in this order.
//! The only reader of the environment.
mod file;
mod flags;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::domain::nearest;
use crate::engine::Limits;
use file::File;
pub use file::{Continuation, ModelConfig, ProviderKind};
pub use flags::{Cli, Command, LogFormat, ServeFlags};

/// Everything that `serve` needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where the private Postgres and this instance's identity live.
    pub data_dir: PathBuf,
    /// Somebody else's Postgres; `None` for the private one.
    pub database_url: Option<String>,
    /// Accept a database that may lose acknowledged events.
    pub allow_unsafe_durability: bool,
    /// Where the PostgreSQL programs are, if not in the usual places.
    pub postgres_bin: Option<PathBuf>,
    /// The `PATH` to look for them.
    pub path: Option<OsString>,
    /// The models of the file.
    pub models: Vec<ModelConfig>,
    /// The model for prompts that name none.
    pub default_model: Option<String>,
    /// What the environment offers as an OpenAI-compatible upstream.
    pub openai: OpenAiEnvironment,
    /// Every limit.
    pub limits: Limits,
    /// How long running generations may go on after SIGTERM.
    pub shutdown_grace: Duration,
}

/// The variables that OpenAI's own clients know.
#[derive(Clone, Default)]
pub struct OpenAiEnvironment {
    /// `OPENAI_API_KEY`.
    pub api_key: Option<String>,
    /// `OPENAI_BASE_URL`.
    pub base_url: Option<String>,
    /// `OPENAI_MODEL`.
    pub model: Option<String>,
}

impl std::fmt::Debug for OpenAiEnvironment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = self.api_key.as_ref().map(|_| "…");
        f.debug_struct("OpenAiEnvironment")
            .field("api_key", &key)
            .field("base_url", &self.base_url)
            .field("model", &self.model)
            .finish()
    }
}

/// What is wrong with the configuration, and how to mend it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// The variables that we read; others that begin like ours are misspelt.
const VARIABLES: [&str; 12] = [
    "LASTWORD_LISTEN",
    "LASTWORD_DATA_DIR",
    "LASTWORD_CONFIG",
    "LASTWORD_DEFAULT_MODEL",
    "LASTWORD_LEASE_S",
    "LASTWORD_HEARTBEAT_S",
    "LASTWORD_SHUTDOWN_GRACE_S",
    "LASTWORD_LOG_FORMAT",
    "LASTWORD_POSTGRES_BIN",
    "LASTWORD_ALLOW_UNSAFE_DURABILITY",
    "LASTWORD_INSECURE_NO_AUTH",
    "LASTWORD_RETENTION_DAYS",
];

/// Parses the command line; prints help or an error and exits where clap does.
#[must_use]
pub fn command_line() -> Cli {
    Cli::parse()
}

impl Config {
    /// The configuration of `serve`, of all its sources.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown name, or a value that makes no sense.
    pub fn load(flags: ServeFlags) -> Result<Self, ConfigError> {
        check_variables(environment_names())?;
        let file = match &flags.config {
            Some(path) => File::read(path)?,
            None => File::default(),
        };
        Self::merge(flags, file)
    }

    fn merge(flags: ServeFlags, file: File) -> Result<Self, ConfigError> {
        let listen = flags.listen.or(file.listen).unwrap_or(DEFAULT_LISTEN);
        if !listen.ip().is_loopback() && !flags.insecure_no_auth {
            return Err(ConfigError(format!(
                "{listen} can be reached from other machines, and there are no keys yet: listen \
                 on 127.0.0.1 behind a proxy that authenticates, or say --insecure-no-auth"
            )));
        }
        let data_dir = flags.data_dir.or(file.data_dir).map_or_else(default_data_dir, Ok)?;
        let mut limits = file.limits.over(Limits::default());
        let seconds = |s: f64| Duration::from_secs_f64(s);
        if let Some(lease) = flags.lease_s.or(file.lease_s) {
            limits.lease = seconds(at_least("lease_s", lease, 1.0)?);
        }
        if let Some(heartbeat) = flags.heartbeat_s.or(file.heartbeat_s) {
            limits.heartbeat = seconds(at_least("heartbeat_s", heartbeat, 0.1)?);
        }
        if let Some(days) = flags.retention_days.or(file.retention_days) {
            limits.retention_days = days.max(1);
        }
        let grace = flags.shutdown_grace_s.or(file.shutdown_grace_s).unwrap_or(20.0);
        Ok(Self {
            listen,
            data_dir,
            database_url: flags.database_url.or(file.database_url).filter(|url| !url.is_empty()),
            allow_unsafe_durability: flags.allow_unsafe_durability,
            postgres_bin: flags.postgres_bin.or(file.postgres_bin),
            path: variable_os("PATH"),
            models: file.models,
            default_model: flags.default_model.or(file.default_model),
            openai: OpenAiEnvironment {
                api_key: variable("OPENAI_API_KEY"),
                base_url: variable("OPENAI_BASE_URL"),
                model: variable("OPENAI_MODEL"),
            },
            limits,
            shutdown_grace: seconds(at_least("shutdown_grace_s", grace, 0.0)?),
        })
    }
}

/// 7878, because 8080, 8000, 1234 and 11434 belong to local model servers.
const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7878);

fn at_least(name: &str, value: f64, least: f64) -> Result<f64, ConfigError> {
    // A day: more is a mistake, and would not fit a Duration everywhere.
    const MOST: f64 = 86_400.0;
    if (least..=MOST).contains(&value) {
        Ok(value)
    } else {
        Err(ConfigError(format!("{name} must be between {least} and {MOST} seconds")))
    }
}

fn check_variables(names: impl Iterator<Item = String>) -> Result<(), ConfigError> {
    for name in names.filter(|name| name.starts_with("LASTWORD_")) {
        if !VARIABLES.contains(&name.as_str()) {
            let hint = nearest::hint(&name, &VARIABLES);
            return Err(ConfigError(format!("unknown environment variable {name}.{hint}")));
        }
    }
    Ok(())
}

fn default_data_dir() -> Result<PathBuf, ConfigError> {
    if nix::unistd::geteuid().is_root() {
        // Not in root's home: the database's unprivileged user could not reach it there.
        return Ok("/var/lib/lastword".into());
    }
    let home = || variable("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    variable("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(home)
        .map(|dir| dir.join("lastword"))
        .ok_or_else(|| ConfigError("no HOME to keep data in: say --data-dir".into()))
}

/// A set and not empty variable.
#[expect(clippy::disallowed_methods, reason = "the one reader of the environment")]
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|v| v.trim().to_owned()).filter(|v| !v.is_empty())
}

#[expect(clippy::disallowed_methods, reason = "the one reader of the environment")]
fn variable_os(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn environment_names() -> impl Iterator<Item = String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(args: &[&str]) -> ServeFlags {
        let args = ["lastword", "serve"].iter().chain(args);
        match Cli::try_parse_from(args).unwrap().command {
            Command::Serve(flags) => *flags,
        }
    }

    fn merged(args: &[&str], file: &str) -> Result<Config, ConfigError> {
        Config::merge(flags(args), File::parse(file)?)
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_beats_the_default() {
        let file = "listen = '127.0.0.1:1'\nlease_s = 2\n[limits]\nprompt_bytes = 7";
        let config = merged(&["--listen", "127.0.0.1:2"], file).unwrap();
        assert_eq!(config.listen.port(), 2);
        assert_eq!(config.limits.lease, Duration::from_secs(2));
        assert_eq!(config.limits.prompt_bytes, 7);
        assert_eq!(config.limits.output_bytes, Limits::default().output_bytes);
        assert_eq!(merged(&[], "").unwrap().listen, DEFAULT_LISTEN);
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest_known_one() {
        let error = merged(&[], "lisen = '127.0.0.1:1'").unwrap_err().to_string();
        assert!(error.contains("`lisen`") && error.contains("Did you mean `listen`?"), "{error}");
        let error = merged(&[], "[limits]\nprompt_byte = 1").unwrap_err().to_string();
        assert!(error.contains("Did you mean `prompt_bytes`?"), "{error}");
        let error = merged(&[], "[[models]]\nname='a'\nprovider='opena'").unwrap_err().to_string();
        assert!(error.contains("Did you mean `openai`?"), "{error}");
        let names = ["LASTWORD_LISTN".to_owned()].into_iter();
        let error = check_variables(names).unwrap_err().to_string();
        assert!(error.contains("Did you mean `LASTWORD_LISTEN`?"), "{error}");
        let args = ["lastword", "serve", "--lisen", "x"];
        let error = Cli::try_parse_from(args).unwrap_err().to_string();
        assert!(error.contains("--listen"), "{error}");
    }

    #[test]
    fn an_open_address_needs_a_word_for_it() {
        assert!(merged(&["--listen", "0.0.0.0:1"], "").is_err());
        assert!(merged(&["--listen", "0.0.0.0:1", "--insecure-no-auth"], "").is_ok());
        assert!(merged(&["--listen", "[::1]:1"], "").is_ok());
    }

    #[test]
    fn senseless_times_are_refused() {
        for args in [["--lease-s", "0"], ["--lease-s", "nan"], ["--heartbeat-s", "-1"]] {
            let flags = [args[0], &format!("={}", args[1])].concat();
            assert!(merged(&[&flags], "").is_err(), "{args:?}");
        }
    }
}
