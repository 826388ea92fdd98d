//! The command line.
use std::path::PathBuf;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::Failure;

const USAGE: &str = "usage: bench durable|gateway|upstream|wakeup|sockets|multiplex [options]
  --generations N     generations at the same time, one reader each (1000; multiplex: 200)
  --connections N     idle connections of each kind, for sockets (10000)
  --tps N             tokens per second of each (50)
  --seconds N         how long each lasts, at least 4 (10)
  --binary FILE       the server (lastword, beside this program)
  --dir DIR           where its data goes; a real disk, not a tmpfs (the temporary directory)
  --database-url URL  use this PostgreSQL instead of a private one";

/// Where the tokens come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// From the built-in demo model.
    Durable,
    /// From an OpenAI upstream over a socket.
    Gateway,
    /// From the demo model, to readers on two instances.
    Wakeup,
    /// From that upstream, through the provider only: no server, no log.
    Upstream,
    /// From nobody: what an idle connection holds.
    Sockets,
    /// From the demo model, to one socket or as many SSE streams.
    Multiplex,
}

/// What to measure.
#[derive(Clone, Debug)]
pub(crate) struct Args {
    pub(crate) scenario: Scenario,
    pub(crate) generations: u64,
    pub(crate) connections: u64,
    pub(crate) tps: u64,
    pub(crate) seconds: u64,
    pub(crate) binary: PathBuf,
    pub(crate) dir: PathBuf,
    pub(crate) database_url: Option<String>,
}

impl Args {
    /// Understands the words after the program's name.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let scenario = match words.next().as_deref() {
            Some("durable") => Scenario::Durable,
            Some("gateway") => Scenario::Gateway,
            Some("upstream") => Scenario::Upstream,
            Some("wakeup") => Scenario::Wakeup,
            Some("sockets") => Scenario::Sockets,
            Some("multiplex") => Scenario::Multiplex,
            Some(_) | None => return Err(USAGE.into()),
        };
        let beside = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut args = Self {
            scenario,
            generations: if scenario == Scenario::Multiplex { 200 } else { 1000 },
            connections: 10_000,
            tps: 50,
            seconds: 10,
            binary: beside.with_file_name("lastword"),
            dir: std::env::temp_dir(),
            database_url: None,
        };
        while let Some(option) = words.next() {
            let value = words.next().ok_or(USAGE)?;
            match option.as_str() {
                "--generations" => args.generations = positive(&value)?,
                "--connections" => args.connections = positive(&value)?,
                "--tps" => args.tps = positive(&value)?,
                "--seconds" => args.seconds = positive(&value)?,
                "--binary" => args.binary = value.into(),
                "--dir" => args.dir = value.into(),
                "--database-url" => args.database_url = Some(value),
                _ => return Err(format!("unknown option {option}\n{USAGE}")),
            }
        }
        if args.seconds < 4 || args.tps > 1000 {
            return Err(format!("--seconds is at least 4, --tps at most 1000\n{USAGE}"));
        }
        if args.scenario == Scenario::Multiplex && args.generations > 256 {
            return Err(format!("one socket follows at most 256 generations\n{USAGE}"));
        }
        Ok(args)
    }

    /// Tokens of one generation.
    pub(crate) fn tokens(&self) -> u64 {
        self.tps * self.seconds
    }

    /// Lets this process and the server, which inherits it, have enough sockets.
    pub(crate) fn raise_file_limit(&self) -> Result<(), Failure> {
        // A reader and, for the gateway, both ends of its upstream connection.
        let needed = match self.scenario {
            Scenario::Sockets => self.connections + 1000,
            _ => self.generations * 3 + 200,
        };
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|e| e.to_string())?;
        // Only root may raise the hard one.
        let most = hard.max(needed);
        setrlimit(Resource::RLIMIT_NOFILE, soft.max(most), most)
            .map_err(|_| format!("{needed} open files are needed, {hard} allowed (ulimit -Hn)"))
    }
}

fn positive(value: &str) -> Result<u64, Failure> {
    value.parse().ok().filter(|n| *n > 0).ok_or(format!("{value} is not a positive number"))
}
