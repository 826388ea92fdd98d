//! Several instances on one PostgreSQL, each with a reader of every generation: what they cost the
//! database, with hints by `NOTIFY` and by NATS, and how long a reader elsewhere waits.
//!
//! All kinds take turns in one run. Each instance has a role of its own, by which its statements
//! are told apart.
mod backend;
mod readers;
mod round;

use crate::Failure;
use crate::args::Args;
use crate::figure::Figure;
use crate::peers::process::{Process, Scratch, free_address};
use crate::server::Server;
use backend::{Backend, LARGEST};
use round::Round;

/// Rounds, unless a number is asked for.
const ROUNDS: u64 = 3;
/// How long `nats-server` may take to listen.
const LISTENS: std::time::Duration = std::time::Duration::from_secs(10);

/// One way to run the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    instances: usize,
    nats: bool,
    /// Whether generations run on all instances; else all run on the first.
    spread: bool,
}

const KINDS: [Kind; 10] = {
    const fn of(instances: usize, nats: bool, spread: bool) -> Kind {
        Kind { instances, nats, spread }
    }
    [
        of(1, false, false),
        of(1, true, false),
        of(2, false, false),
        of(2, true, false),
        of(4, false, false),
        of(4, true, false),
        of(LARGEST, false, false),
        of(LARGEST, true, false),
        of(LARGEST, false, true),
        of(LARGEST, true, true),
    ]
};

impl Kind {
    fn name(self) -> String {
        let Self { instances, nats, spread } = self;
        let way = if nats { "NATS" } else { "NOTIFY" };
        let owners = if spread { ", owners spread" } else { "" };
        let s = if instances == 1 { "" } else { "s" };
        format!("{instances} instance{s}, {way}{owners}")
    }
}

/// Measures all kinds in turn.
pub(crate) async fn run(args: &Args) -> Result<Vec<Figure>, Failure> {
    if args.database_url.is_some() {
        return Err("fleet has a PostgreSQL of its own: it goes without --database-url".into());
    }
    let scratch = Scratch::new(&args.dir, "fleet")?;
    let (address, nats) = nats(&scratch).await?;
    let backend = Backend::start(&scratch.0).await?;
    let measured = rounds(args, &backend, &format!("nats://{address}")).await;
    backend.stop().await;
    drop(nats);
    Ok(figures(args, &measured?))
}

async fn nats(scratch: &Scratch) -> Result<(std::net::SocketAddr, Process), Failure> {
    let address = free_address()?;
    let mut command = std::process::Command::new("nats-server");
    command.args(["-a", "127.0.0.1", "-p", &address.port().to_string()]);
    let mut nats = Process::start("nats-server", &mut command, &scratch.0)?;
    nats.listening(address, LISTENS).await?;
    Ok((address, nats))
}

async fn rounds(
    args: &Args,
    backend: &Backend,
    nats: &str,
) -> Result<Vec<[Round; KINDS.len()]>, Failure> {
    let count = if args.medians { args.rounds } else { ROUNDS };
    let mut rounds = Vec::new();
    for n in 0..usize::try_from(count).unwrap_or(1) {
        let mut taken = [Round::default(); KINDS.len()];
        for turn in 0..KINDS.len() {
            // Another one begins each time, so that none always comes behind the same one.
            let at = (n + turn) % KINDS.len();
            taken[at] = one(args, backend, nats, KINDS[at]).await?;
            eprintln!("fleet, round {}: {}: {}", n + 1, KINDS[at].name(), taken[at].said());
        }
        rounds.push(taken);
    }
    Ok(rounds)
}

async fn one(args: &Args, backend: &Backend, nats: &str, kind: Kind) -> Result<Round, Failure> {
    let signals = if kind.nats { nats } else { "notify" };
    let mut servers = Vec::new();
    let mut failed = None;
    for n in 0..kind.instances {
        let on = Args { database_url: Some(backend.url(n)), ..args.clone() };
        match Server::start_with(&on, None, &format!("signals = \"{signals}\"\n")).await {
            Ok(server) => servers.push(server),
            Err(failure) => failed = Some(failure),
        }
    }
    let measured = match failed {
        None => readers::measure(args, backend, &servers, kind.spread).await,
        Some(failure) => Err(failure),
    };
    for server in servers {
        server.stop(measured.is_err()).await;
    }
    measured
}

/// Medians of each kind, and the ratios that have an aim.
fn figures(args: &Args, rounds: &[[Round; KINDS.len()]]) -> Vec<Figure> {
    let load = format!("fleet, {} x {}/s", args.generations, args.tps);
    let at = |kind: Kind| KINDS.iter().position(|known| *known == kind).unwrap_or(0);
    let of = |instances, nats, spread| at(Kind { instances, nats, spread });
    let (one, many) = (of(1, true, false), of(LARGEST, true, false));
    let ratios = |measure: fn(&Round) -> f64, [a, b]: [usize; 2]| -> Vec<f64> {
        rounds.iter().map(|round| measure(&round[a]) / measure(&round[b])).collect()
    };
    let flat = format!("{load}: PostgreSQL's CPU per event, {LARGEST} / 1 instances, NATS");
    let notify = format!("{load}: PostgreSQL's CPU per event, {LARGEST} / 1 instances, NOTIFY");
    let waits = format!("{load}: wait elsewhere / on the owner, p50, {}", KINDS[many].name());
    let far: Vec<f64> = rounds.iter().map(|r| r[many].far_p50_ms / r[many].near_p50_ms).collect();
    let follower = format!("{load}: statements of each follower, {}", KINDS[many].name());
    let follower_of = rounds.iter().map(|r| r[many].follower_per_s).collect();
    let base = of(1, false, false);
    let mut figures = vec![
        Figure::median(flat, ratios(|r| r.cpu_us, [many, one]), "").at_most(1.1),
        Figure::median(notify, ratios(|r| r.cpu_us, [of(LARGEST, false, false), base]), ""),
        // The same at any pace of events: polls, leases, folding, and who reads what.
        Figure::median(follower, follower_of, "/s").at_most(5.0),
        Figure::median(waits, far, "").at_most(1.2),
    ];
    for (n, kind) in KINDS.iter().enumerate() {
        for (what, unit, measure) in round::MEASURES {
            let values: Vec<f64> = rounds.iter().map(|round| measure(&round[n])).collect();
            // One instance has nobody elsewhere.
            if values.iter().all(|value| value.is_finite()) {
                let name = format!("{load}, {}: {what}", kind.name());
                figures.push(Figure::median(name, values, unit));
            }
        }
    }
    let broken: usize = rounds.iter().flatten().map(|round| round.broken).sum();
    figures
        .push(Figure::new(format!("{load}: streams not complete"), broken as f64, "").at_most(0.0));
    figures
}
