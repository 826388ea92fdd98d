//! The long run: three instances, a hundred generations at a time, a fault every second. The
//! clients' records are checked generation by generation. `make chaos`.
//!
//! Some faults are missing here, because they break the log on purpose or need root. These are a
//! database that is restored to an older state, a full disk, and a wrong clock. Each has its test
//! in `tests/it/faults`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers")]
#![expect(unused, reason = "the helpers are the suite's, which uses all of them")]

#[path = "chaos/args.rs"]
mod args;
mod balancer;
mod client;
#[path = "chaos/clients.rs"]
mod clients;
mod database;
mod eventually;
#[path = "chaos/faults.rs"]
mod faults;
mod fleet;
mod history;
#[path = "nats/relay.rs"]
mod nats_relay;
#[path = "nats/server.rs"]
mod nats_server;
mod process;
mod program;
mod proxy;
#[path = "chaos/report.rs"]
mod report;
mod socket;
mod twin;
mod upstream;
mod watch;

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};
use tokio_util::sync::CancellationToken;

use args::Args;
use database::{TestDatabase, own_server};
use fleet::Fleet;
use nats_relay::Relay;
use nats_server::NatsServer;
use report::{Report, kept};
use upstream::{Model, Upstream};

const INSTANCES: usize = 3;
/// The time for the begun generations to end.
const AFTERWARDS: Duration = Duration::from_secs(240);

fn main() -> ExitCode {
    // Cargo asks every test binary for its tests.
    let words = std::env::args().skip(1).filter(|word| word != "--nocapture");
    match Args::parse(words) {
        Err(wrong) => {
            eprintln!("chaos: {wrong}");
            ExitCode::from(2)
        }
        Ok(args) => {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let kept = runtime.block_on(run(args));
            ExitCode::from(u8::from(!kept))
        }
    }
}

/// The models: the demo, and one that can go on from a text.
fn models(dir: &Path, upstream: &Upstream) -> PathBuf {
    let file = dir.join("lastword.toml");
    let text = format!(
        "default_model = 'demo'\n[[models]]\nname = 'demo'\nprovider = 'demo'\n\
         [[models]]\nname = 'scripted'\nprovider = 'openai'\nbase_url = '{}'\n\
         continuation = 'prefix'\n",
        upstream.base_url()
    );
    std::fs::write(&file, text).unwrap();
    file
}

fn log_file(seed: u64, n: usize) -> File {
    let path = kept(seed, &format!("instance-{n}"));
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

async fn run(args: Args) -> bool {
    let Args { time, seed, at_once, isolation, isolated, nats, before } = args;
    println!(
        "chaos: seed {seed}, {time:?}, {INSTANCES} instances, {at_once} generations at a time"
    );
    let (server, _place) = own_server().await;
    let dir = TempDir::new().unwrap();
    let model =
        Model { tokens: clients::SCRIPTED, per_second: 40.0, continues: true, cut_first_at: None };
    let upstream = Upstream::start(model).await;
    let file = models(dir.path(), &upstream);
    let database = TestDatabase::create_on(&server).await;
    let nats = if nats { Some(NatsServer::start().await) } else { None };
    let relays = relays(nats.as_ref()).await;
    let ways: Vec<String> = relays.iter().map(Relay::url).collect();
    println!("hints by {}", if nats.is_some() { "nats" } else { "notify" });
    let builds = before.into_iter().chain([program::path().into()]).collect();
    let mut fleet =
        Fleet::of_builds(database, INSTANCES, Some(&file), builds, move |n, command| {
            let signals = ways.get(n).map_or("notify", String::as_str);
            command.env("LASTWORD_SIGNALS", signals).stderr(log_file(seed, n));
        })
        .await;
    if let Some(level) = isolation {
        isolate(&mut fleet, &level, isolated).await;
    }
    let Fleet { database, balancer, members } = fleet;
    let members: Vec<_> = members.into_iter().map(|m| Arc::new(Mutex::new(m))).collect();
    let server = Arc::new(Mutex::new(server));
    let report = Arc::new(Report::new(seed));
    let over = CancellationToken::new();
    let numbers = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..at_once {
        let any = balancer.client.clone();
        let (numbers, report, over) = (numbers.clone(), report.clone(), over.clone());
        clients.spawn(clients::client(any, seed, numbers, report, over));
    }
    let victims = faults::Victims {
        members: members.clone(),
        balancer: balancer.clone(),
        server: server.clone(),
        database: database.clone(),
        nats: nats.map(|nats| Arc::new(Mutex::new(nats))),
        relays: relays.into_iter().map(|relay| Arc::new(Mutex::new(relay))).collect(),
    };
    let storm = faults::storm(victims, seed, report.clone(), over.clone());
    let mut storms = JoinSet::new();
    storms.spawn(storm);
    wait(time, &report).await;
    over.cancel();
    let calm = storms.join_next().await.is_some_and(|ended| ended.is_ok());
    let ended = timeout(AFTERWARDS, all(clients)).await;
    let epochs = database
        .number("select count(distinct (generation_id, epoch)) from events where epoch > 1")
        .await;
    let open = "select count(*) from generations where done is null";
    let left = database.number(open).await;
    let (text, right) = report.conclude(epochs);
    println!("{text}{:<12} {left}", "not ended");
    for member in members {
        let mut member = member.lock().await;
        member.terminate().await;
    }
    if let Some(server) = Arc::into_inner(server) {
        server.into_inner().stop().await;
    }
    right && calm && left == 0 && ended == Ok(true)
}

/// Each instance's way to NATS, which can be partitioned.
async fn relays(nats: Option<&NatsServer>) -> Vec<Relay> {
    let mut relays = Vec::new();
    if let Some(nats) = nats {
        for _ in 0..INSTANCES {
            relays.push(Relay::to(nats.address()).await);
        }
    }
    relays
}

/// Has so many instances use a role whose transactions begin at this level.
async fn isolate(fleet: &mut Fleet, level: &str, count: usize) {
    let level = format!("'{level}'");
    let settings = [("default_transaction_isolation", level.as_str())];
    let role = fleet.database.for_role("superuser", &settings).await;
    for member in fleet.members.iter_mut().take(count) {
        member.terminate().await;
        member.url = member.proxy.url(&role);
        member.boot().await;
    }
    println!("connections of {count} instances begin at {level}");
}

/// Whether all of them came to an orderly end.
async fn all(mut clients: JoinSet<()>) -> bool {
    let mut orderly = true;
    while let Some(ended) = clients.join_next().await {
        orderly &= ended.is_ok();
    }
    orderly
}

/// Until the time is over, or a signal ends it.
async fn wait(time: Duration, report: &Report) {
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    let begun = Instant::now();
    let mut ticks = interval(Duration::from_secs(15));
    let watching = async {
        loop {
            tokio::select! {
                _ = ticks.tick() => println!("{:>4} s: {}", begun.elapsed().as_secs(), report.so_far()),
                _ = tokio::signal::ctrl_c() => return,
                _ = terminate.recv() => return,
            }
        }
    };
    // The end of the time is as good an end as a signal.
    let _ = tokio::time::timeout(time, watching).await;
}
