//! The command line.
use std::path::PathBuf;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::Failure;

const USAGE: &str = "usage: bench SCENARIO [options]
  all                 everything below, in at most 25 minutes: one table, target/bench.json, curves
  durable, gateway    one reader per generation: tokens of the demo model, or of an upstream
  fanout              few generations, many readers of each, against nchan
  resumable           one reader each, against resumable-stream with Redis
  gateways            in front of an upstream, against Portkey and LiteLLM
  durable-streams     a small load, against @durable-streams/server
  price               what durability costs: beside the same server whose log keeps no token, and beside
                      a process that only sends
  sockets, active     memory of a connection at rest, and of a generation that runs
  multiplex           one socket next to as many SSE streams
  websocket           one socket for each reader, next to one SSE stream for each
  resume, start       time to come back, and to come up
  agent               turns of an agent that sends its whole history: bytes stored, and its starts; beside
                      the build of --before, where it is given
  short               short answers, so many of which begin each second
  builds              this build next to another one (--before FILE), in turn: 1 to 100 generations, 100 and
                      1,000 streams through the gateway, the time to first token; is not in all
  storm               all readers of running answers come back within a second, each 1,000 events behind;
                      beside the build of --before, where it is given; is not in all
  smoke               each way of an event once, for a minute: whether everything comes, and no times
  growth              a small load on a log of many events, next to an empty one
  curves              latency and CPU over generations and over readers
  fleet               1, 2, 4 and 8 instances on one PostgreSQL, each with a reader of every generation,
                      by NOTIFY and by NATS; needs nats-server and pg_stat_statements, and is not in all
  upstream, wakeup    the provider alone; a reader on another instance
options
  --generations N     generations at the same time (short: begun each second)
  --readers N         readers of each (fanout, resume)
  --events N          in the large log (growth: 10000000)
  --connections N     idle connections of each kind (sockets: 10000)
  --tps N             tokens per second of each
  --seconds N         how long each lasts, at least 4
  --rounds N          rounds of each kind in turn, whose median counts (5; of durable and gateway 1; of
                      fleet 3)
  --binary FILE       the server (lastword, beside this program)
  --before FILE       another build of the server, to be put beside it (agent, builds, storm)
  --dir DIR           where its data goes; a real disk, not a tmpfs (the temporary directory)
  --database-url URL  use this PostgreSQL instead of a private one";

/// The scenario to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// All of them, one after the other.
    All,
    /// Tokens from the built-in demo model.
    Durable,
    /// Tokens from an OpenAI upstream over a socket.
    Gateway,
    /// Many readers, beside nchan.
    Fanout,
    /// Beside resumable-stream with Redis.
    Resumable,
    /// Beside Portkey and `LiteLLM`.
    Gateways,
    /// Beside @durable-streams/server.
    DurableStreams,
    /// Memory of generations that run.
    Active,
    /// Readers that come back.
    Resume,
    /// Starts that repeat all that was said before.
    Agent,
    /// Starts and endings, one after the other.
    Short,
    /// From exec to the first answer.
    Start,
    /// Growth, drawn.
    Curves,
    /// A socket for each reader, beside an SSE stream for each.
    Websocket,
    /// A large log beside an empty one.
    Growth,
    /// Beside another build of the server; only by name.
    Builds,
    /// Readers of many answers that come back within a second; only by name.
    Storm,
    /// Whether everything comes, for CI; only by name.
    Smoke,
    /// Beside a log that keeps nothing, and a process that only sends.
    Price,
    /// Instances on one database, with readers on each; only by name.
    Fleet,
    /// From the demo model, to readers on two instances.
    Wakeup,
    /// From that upstream, through the provider only: no server, no log.
    Upstream,
    /// Without tokens: the memory of an idle connection.
    Sockets,
    /// From the demo model, to one socket or as many SSE streams.
    Multiplex,
}

impl Scenario {
    /// The form on the command line.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, known, _)| *known == self).map_or("", |(name, ..)| name)
    }

    /// Its name, and the parts that matter: generations, readers, tokens per second, seconds.
    const ALL: [(&'static str, Self, [u64; 4]); 24] = [
        ("all", Self::All, [1000, 1, 50, 10]),
        ("durable", Self::Durable, [1000, 1, 50, 10]),
        ("gateway", Self::Gateway, [1000, 1, 50, 10]),
        ("fanout", Self::Fanout, [20, 75, 50, 6]),
        ("resumable", Self::Resumable, [400, 1, 50, 6]),
        ("gateways", Self::Gateways, [100, 1, 50, 6]),
        ("durable-streams", Self::DurableStreams, [10, 1, 50, 6]),
        ("sockets", Self::Sockets, [1, 1, 50, 10]),
        ("multiplex", Self::Multiplex, [200, 1, 50, 10]),
        ("active", Self::Active, [1000, 1, 50, 10]),
        ("resume", Self::Resume, [20, 100, 50, 10]),
        ("start", Self::Start, [1, 1, 50, 10]),
        ("agent", Self::Agent, [1, 1, 50, 4]),
        ("short", Self::Short, [500, 1, 100, 8]),
        ("curves", Self::Curves, [2000, 1000, 50, 5]),
        ("websocket", Self::Websocket, [1000, 1, 50, 6]),
        ("growth", Self::Growth, [200, 1, 50, 6]),
        ("price", Self::Price, [1000, 1, 50, 6]),
        ("builds", Self::Builds, [1000, 1, 50, 6]),
        ("storm", Self::Storm, [500, 10, 40, 6]),
        ("smoke", Self::Smoke, [20, 10, 50, 4]),
        ("fleet", Self::Fleet, [50, 1, 20, 6]),
        ("wakeup", Self::Wakeup, [1000, 1, 50, 10]),
        ("upstream", Self::Upstream, [1000, 1, 50, 10]),
    ];
}

/// The measurement to make.
#[derive(Clone, Debug)]
pub(crate) struct Args {
    pub(crate) scenario: Scenario,
    pub(crate) generations: u64,
    pub(crate) readers: u64,
    pub(crate) connections: u64,
    /// In the large log.
    pub(crate) events: u64,
    pub(crate) tps: u64,
    pub(crate) seconds: u64,
    pub(crate) rounds: u64,
    /// Whether rounds were requested, also for scenarios that run once without.
    pub(crate) medians: bool,
    pub(crate) binary: PathBuf,
    /// Another build of the server.
    pub(crate) before: Option<PathBuf>,
    pub(crate) dir: PathBuf,
    pub(crate) database_url: Option<String>,
}

impl Args {
    /// Understands the words after the program's name.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let word = words.next().unwrap_or_default();
        let (_, scenario, _) =
            Scenario::ALL.iter().find(|(name, ..)| *name == word).ok_or(USAGE)?;
        let beside = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut args = Self {
            scenario: *scenario,
            generations: 0,
            readers: 0,
            connections: 10_000,
            events: 10_000_000,
            tps: 0,
            seconds: 0,
            rounds: 5,
            medians: false,
            binary: beside.with_file_name("lastword"),
            before: None,
            dir: std::env::temp_dir(),
            database_url: None,
        }
        .of(*scenario);
        while let Some(option) = words.next() {
            let value = words.next().ok_or(USAGE)?;
            match option.as_str() {
                "--generations" => args.generations = positive(&value)?,
                "--readers" => args.readers = positive(&value)?,
                "--events" => args.events = positive(&value)?,
                "--connections" => args.connections = positive(&value)?,
                "--tps" => args.tps = positive(&value)?,
                "--seconds" => args.seconds = positive(&value)?,
                "--rounds" => (args.rounds, args.medians) = (positive(&value)?, true),
                "--binary" => args.binary = value.into(),
                "--before" => args.before = Some(value.into()),
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

    /// The same for another scenario, with its own load.
    pub(crate) fn of(&self, scenario: Scenario) -> Self {
        let known = Scenario::ALL.iter().find(|(_, known, _)| *known == scenario);
        let [generations, readers, tps, seconds] =
            known.map_or([1000, 1, 50, 10], |(.., load)| *load);
        Self { scenario, generations, readers, tps, seconds, ..self.clone() }
    }

    /// Tokens of one generation.
    pub(crate) fn tokens(&self) -> u64 {
        self.tps * self.seconds
    }

    /// Raises the limit so that this process, and the server that inherits it, have enough sockets.
    pub(crate) fn raise_file_limit(&self) -> Result<(), Failure> {
        let connections = match self.scenario {
            // A reader and both ends of its upstream connection.
            Scenario::Gateway | Scenario::Gateways | Scenario::Upstream | Scenario::Builds => {
                self.generations * 3
            }
            Scenario::Fanout | Scenario::Resume => self.generations * self.readers,
            Scenario::Sockets => self.connections + 800,
            Scenario::Fleet => self.generations * 8,
            _ => self.generations.max(self.readers),
        };
        let needed = connections + 200;
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
