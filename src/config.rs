//! One typed configuration, validated once: flag, environment, file, default, in this order.
//! The only reader of the environment.
mod access;
mod ask;
mod file;
mod flags;
mod keys;
mod limits;
mod local;
mod signals;
mod terminal;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::domain::nearest;
use crate::engine::{Anonymous, Limits};
pub use access::TlsFiles;
pub use ask::{AskFlags, ClientFlags, Shell, TailFlags, completions};
use file::File;
pub use file::{ContinuationWord, ModelConfig, OnLossWord, ProviderKind, WireWord};
pub use file::{Given, OpenedWord, ThinkTagsWord};
pub use flags::{Cli, Command, LogFormat, PlaceFlags, ServeFlags, Switch};
pub use keys::{KeysCommand, NewKeyFlags};
pub use local::{LocalKind, LocalServer};
pub use signals::NatsConfig;
pub use terminal::{TerminalWishes, terminal};

/// Everything that `serve` needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The callers that need no key.
    pub anonymous: Anonymous,
    /// The certificate and its key; `None` for plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Whether plain HTTP/2 is spoken to whom knows that it is.
    pub h2c: bool,
    /// Pages of other origins that may talk to us.
    pub cors_origins: Vec<String>,
    /// The address that clients know, where it is not the one that is listened on.
    pub public_url: Option<String>,
    /// Addresses and networks of proxies whose word on the host counts.
    pub trusted_proxies: Vec<String>,
    /// Pages that may show ours in a frame.
    pub frame_ancestors: Vec<String>,
    /// Where the private Postgres and this instance's identity live.
    pub data_dir: PathBuf,
    /// Somebody else's Postgres; `None` for the private one.
    pub database_url: Option<String>,
    /// How long a start waits for a database that is not there yet.
    pub database_wait: Duration,
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
    /// The environment's OpenAI-compatible upstream.
    pub openai: ProviderEnvironment,
    /// The environment's Anthropic upstream.
    pub anthropic: ProviderEnvironment,
    /// The servers on this machine to look for while no model is configured; none to not look.
    pub detect: Vec<LocalServer>,
    /// How often to look again.
    pub detect_every: Duration,
    /// Every limit.
    pub limits: Limits,
    /// Whether instances give each other hints by `NOTIFY`; without, all is found by polling.
    pub notify: bool,
    /// The NATS servers that they use in place of it.
    pub nats: Option<NatsConfig>,
    /// How long running generations may go on after SIGTERM.
    pub shutdown_grace: Duration,
}

/// The variables that a provider's own clients know.
#[derive(Clone, Default)]
pub struct ProviderEnvironment {
    /// `OPENAI_API_KEY`, `ANTHROPIC_API_KEY`.
    pub api_key: Option<String>,
    /// `OPENAI_BASE_URL`, `ANTHROPIC_BASE_URL`.
    pub base_url: Option<String>,
    /// `OPENAI_MODEL`, `ANTHROPIC_MODEL`.
    pub model: Option<String>,
}

impl ProviderEnvironment {
    fn read(prefix: &str) -> Self {
        let of = |name: &str| variable(&format!("{prefix}_{name}"));
        Self { api_key: of("API_KEY"), base_url: of("BASE_URL"), model: of("MODEL") }
    }
}

impl std::fmt::Debug for ProviderEnvironment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = self.api_key.as_ref().map(|_| "…");
        f.debug_struct("ProviderEnvironment")
            .field("api_key", &key)
            .field("base_url", &self.base_url)
            .field("model", &self.model)
            .finish()
    }
}

/// A fault of the configuration, and how to mend it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// The variables that we read; others that begin like ours are misspelt.
const VARIABLES: [&str; 24] = [
    "LASTWORD_PUBLIC_URL",
    "LASTWORD_DATABASE_WAIT_S",
    "LASTWORD_API_KEY",
    "LASTWORD_SERVER",
    "LASTWORD_LISTEN",
    "LASTWORD_DATA_DIR",
    "LASTWORD_CONFIG",
    "LASTWORD_DEFAULT_MODEL",
    "LASTWORD_LEASE_S",
    "LASTWORD_HEARTBEAT_S",
    "LASTWORD_SHUTDOWN_GRACE_S",
    "LASTWORD_LOG_FORMAT",
    "LASTWORD_NOTIFY",
    "LASTWORD_SIGNALS",
    "LASTWORD_POSTGRES_BIN",
    "LASTWORD_ALLOW_UNSAFE_DURABILITY",
    "LASTWORD_INSECURE_NO_AUTH",
    "LASTWORD_REQUIRE_KEY",
    "LASTWORD_TLS_CERT",
    "LASTWORD_TLS_KEY",
    "LASTWORD_H2C",
    "LASTWORD_RETENTION_DAYS",
    "LASTWORD_PROMPT_RETENTION_DAYS",
    "LASTWORD_NO_DETECT",
];

/// Parses the command line; prints help or an error and exits where clap does.
#[must_use]
pub fn command_line() -> Cli {
    Cli::parse()
}

impl Cli {
    /// As [`command_line`], of other words.
    ///
    /// # Errors
    /// What clap would print.
    pub fn of_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        Self::try_parse_from(words).map_err(|error| error.to_string())
    }
}

impl Config {
    /// The configuration of `serve`, of all its sources.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown name, or a value that makes no sense.
    pub fn load(flags: ServeFlags) -> Result<Self, ConfigError> {
        check_variables(environment_names())?;
        let file = match &flags.place.config {
            Some(path) => File::read(path)?,
            None => File::default(),
        };
        Self::merge(flags, file)
    }

    /// The configuration of a command that needs the database and nothing else.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn of_place(place: PlaceFlags) -> Result<Self, ConfigError> {
        Self::load(ServeFlags { place, ..ServeFlags::default() })
    }

    fn merge(flags: ServeFlags, file: File) -> Result<Self, ConfigError> {
        let listen = flags.listen.or(file.listen).unwrap_or(DEFAULT_LISTEN);
        let require_key = flags.require_key || file.require_key.unwrap_or(false);
        let anonymous = access::anonymous(listen, flags.insecure_no_auth, require_key)?;
        let place = flags.place;
        let wait = flags.database_wait_s.or(file.database_wait_s).unwrap_or(30.0);
        let data_dir = place.data_dir.or(file.data_dir).map_or_else(default_data_dir, Ok)?;
        let mut limits = file.limits.over(Limits::default())?;
        let seconds = |s: f64| Duration::from_secs_f64(s);
        if let Some(lease) = flags.lease_s.or(file.lease_s) {
            limits.lease = seconds(at_least("lease_s", lease, 1.0)?);
        }
        if let Some(heartbeat) = flags.heartbeat_s.or(file.heartbeat_s) {
            limits.heartbeat = seconds(at_least("heartbeat_s", heartbeat, 0.1)?);
        }
        if let Some(days) = flags.retention_days.or(file.retention_days) {
            limits.retention_days = retention("retention_days", days)?;
        }
        if let Some(days) = flags.prompt_retention_days.or(file.prompt_retention_days) {
            let days = retention("prompt_retention_days", days)?;
            limits.prompt_retention_days = Some(days);
        }
        let notify = flags.notify.map_or(file.notify.unwrap_or(true), Switch::is_on);
        let (notify, nats) = signals::merge(flags.signals.or(file.signals), notify, file.nats)?;
        let looks = !flags.no_detect && file.detect.unwrap_or(true);
        let grace = flags.shutdown_grace_s.or(file.shutdown_grace_s).unwrap_or(20.0);
        Ok(Self {
            listen,
            anonymous,
            tls: access::tls_files(
                flags.tls_cert.or(file.tls_cert),
                flags.tls_key.or(file.tls_key),
            )?,
            h2c: flags.h2c || file.h2c.unwrap_or(false),
            cors_origins: file.cors_origins,
            public_url: flags.public_url.or(file.public_url).filter(|url| !url.is_empty()),
            trusted_proxies: file.trusted_proxies,
            frame_ancestors: file.frame_ancestors,
            data_dir,
            database_url: place.database_url.or(file.database_url).filter(|url| !url.is_empty()),
            database_wait: seconds(at_least("database_wait_s", wait, 0.0)?),
            allow_unsafe_durability: place.allow_unsafe_durability,
            postgres_bin: place.postgres_bin.or(file.postgres_bin),
            path: variable_os("PATH"),
            models: file.models,
            default_model: flags.default_model.or(file.default_model),
            openai: ProviderEnvironment::read("OPENAI"),
            anthropic: ProviderEnvironment::read("ANTHROPIC"),
            detect: if looks { LocalServer::USUAL.to_vec() } else { Vec::new() },
            detect_every: DETECT_EVERY,
            limits,
            notify,
            nats,
            shutdown_grace: seconds(at_least("shutdown_grace_s", grace, 0.0)?),
        })
    }
}

/// A server that is started after us is found within this time.
const DETECT_EVERY: Duration = Duration::from_secs(30);

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

fn retention(name: &str, days: u32) -> Result<u32, ConfigError> {
    match days {
        1..=36_500 => Ok(days),
        _ => Err(ConfigError(format!("{name} is {days}, and may be 1 to 36500"))),
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
            Command::Serve(flags) | Command::Check(flags) => *flags,
            Command::Keys { .. }
            | Command::Ask(_)
            | Command::Tail(_)
            | Command::Models(_)
            | Command::Completions { .. } => panic!("not asked for"),
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
    fn a_socket_has_the_limits_of_the_file() {
        let file = "[limits]\nstuck_s = 9\n[limits.socket]\nframe_bytes = 1\nframes_per_s = 2\n\
                    mistakes_per_minute = 3\nsubscriptions = 4\njoins = 5\nhello_s = 6\nping_s = 7";
        let limits = merged(&[], file).unwrap().limits;
        let socket = limits.socket;
        let counts = (socket.frame_bytes, socket.frames_per_s, socket.mistakes_per_minute);
        assert_eq!((counts, socket.subscriptions, socket.joins), ((1, 2, 3), 4, 5));
        let times = [socket.hello, socket.ping, limits.stuck].map(|time| time.as_secs());
        assert_eq!(times, [6, 7, 9]);
        let nothing = merged(&[], "[limits.socket]\njoins = 0").unwrap_err().to_string();
        assert!(nothing.contains("joins = 0") && nothing.contains("nonzero"), "{nothing}");
        let near = merged(&[], "[limits.socket]\nframe_byte = 1").unwrap_err().to_string();
        assert!(near.contains("Did you mean `frame_bytes`?"), "{near}");
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
    fn only_this_machine_comes_in_without_a_key() {
        let anonymous = |args: &[&str], file| merged(args, file).map(|config| config.anonymous);
        for here in ["127.0.0.1:1", "127.1.2.3:1", "[::1]:1"] {
            assert_eq!(anonymous(&["--listen", here], "").unwrap(), Anonymous::Here);
        }
        for open in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1"] {
            assert_eq!(anonymous(&["--listen", open], "").unwrap(), Anonymous::Refused);
            let insecure = anonymous(&["--listen", open, "--insecure-no-auth"], "");
            assert_eq!(insecure.unwrap(), Anonymous::Everywhere);
        }
        assert_eq!(anonymous(&["--require-key"], "").unwrap(), Anonymous::Refused);
        assert_eq!(anonymous(&[], "require_key = true").unwrap(), Anonymous::Refused);
        assert!(anonymous(&["--require-key", "--insecure-no-auth"], "").is_err());
    }

    #[test]
    fn hints_are_on_unless_somebody_says_otherwise() {
        assert!(merged(&[], "").unwrap().notify);
        assert!(!merged(&[], "notify = false").unwrap().notify);
        assert!(merged(&["--notify", "on"], "notify = false").unwrap().notify);
        assert!(!merged(&["--notify=false"], "").unwrap().notify);
    }

    #[test]
    fn senseless_times_are_refused() {
        for args in [["--lease-s", "0"], ["--lease-s", "nan"], ["--heartbeat-s", "-1"]] {
            assert!(merged(&[&args.join("=")], "").is_err(), "{args:?}");
        }
    }
}
