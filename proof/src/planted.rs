//! The reference server under test: correct, no check fails; with a fault, the check that is there
//! for it fails.
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;

use crate::checks::{self, Finding, Verdict};
use crate::client::Client;
use crate::history::{FORMAT, History, Scenario};
use crate::hooks::{Doing, Hooks};
use crate::lab::{Dice, Lab, Settings};
use crate::reference::{Fault, Options, Reference};
use crate::upstream::{Holds, Upstream};
use crate::{scenarios, wire};

/// Kills and starts the reference server of this process.
struct InProcess {
    listen: String,
    options: Options,
    server: Mutex<Option<Reference>>,
}

impl Hooks for InProcess {
    fn kill(&self) -> Doing<'_> {
        drop(self.server.lock().expect("the lock").take());
        Box::pin(async { Ok(()) })
    }

    fn start(&self) -> Doing<'_> {
        Box::pin(async {
            // The tasks of the one before may hold the port for a moment.
            loop {
                match Reference::start(&self.listen, self.options.clone()).await {
                    Ok(server) => {
                        *self.server.lock().expect("the lock") = Some(server);
                        return Ok(());
                    }
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        })
    }
}

fn settings(fault: Option<Fault>) -> Settings {
    // A correct server is given time, on a machine that is busy, too. What a fault never does is
    // not waited for as long.
    let silence = if fault == Some(Fault::HoldsUp) { 24 } else { 60 };
    let cancel_within = if fault == Some(Fault::LateClose) { 500 } else { 10_000 };
    Settings {
        model: "streamproof".into(),
        prompt: String::new(),
        tokens: 20,
        gap_ms: 10,
        rounds: 4,
        kills: 2,
        silence: Duration::from_secs(silence),
        cancel_within: Duration::from_millis(cancel_within),
        later: Duration::from_millis(20),
        prefix: "planted".into(),
    }
}

async fn judged(seed: u64, fault: Option<Fault>) -> Vec<Finding> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (settings, holds) = (settings(fault), Holds::default());
    let upstream = Upstream::start("127.0.0.1:0", holds.clone()).await.expect("an upstream");
    let data: PathBuf = std::env::temp_dir()
        .join(format!("streamproof-{}-{seed}-{fault:?}.jsonl", std::process::id()));
    let options = Options {
        upstream: format!("http://{}/v1", upstream.address()),
        data: data.clone(),
        fault,
    };
    let server = Reference::start("127.0.0.1:0", options.clone()).await.expect("a server");
    let listen = server.address.to_string();
    let map = serde_json::from_str(include_str!("../maps/reference.json")).expect("a mapping");
    let hooks = InProcess { listen: listen.clone(), options, server: Mutex::new(Some(server)) };
    let target = format!("http://{listen}");
    let mut lab = Lab {
        wire: Arc::from(wire::of("sse", Some(map)).expect("a protocol")),
        client: Client::new(Vec::new(), settings.silence).expect("a client"),
        // The same server twice is two instances that share all.
        targets: vec![target.clone(), target],
        settings,
        upstream: Some(upstream),
        holds,
        hooks: Some(Arc::new(hooks)),
        dice: Dice(seed),
        names: 0,
        resumable: false,
        events: 0,
        memory: None,
        kept: None,
    };
    let mut history = History {
        format: FORMAT,
        protocol: "sse".into(),
        seed,
        cancel_within_ms: 10_000,
        ..History::default()
    };
    let limit = Duration::from_secs(900);
    let planted = FAULTS.iter().filter(|(planted, ..)| Some(*planted) == fault);
    let only: Vec<Scenario> = planted.map(|(.., scenario)| *scenario).collect();
    let in_time = scenarios::all(&mut lab, &mut history, &only, limit, &|_| ()).await;
    let _ = std::fs::remove_file(data);
    assert!(in_time, "seed {seed}: not done in time");
    for run in history.runs.iter().filter(|_| fault.is_none()) {
        assert_eq!(run.problem, None, "seed {seed}: {:?}", run.scenario);
    }
    // A history from a file is judged as the one that was seen.
    let text = serde_json::to_string(&history).expect("a history");
    let again: History = serde_json::from_str(&text).expect("the same history");
    checks::judge(&again)
}

/// Faults and seeds, each with its own server and upstream, some at a time.
async fn all(what: Vec<(u64, Option<Fault>)>) -> Vec<(u64, Option<Fault>, Vec<Finding>)> {
    let each = what
        .into_iter()
        .map(|(seed, fault)| async move { (seed, fault, judged(seed, fault).await) });
    futures_util::stream::iter(each).buffer_unordered(12).collect().await
}

/// No check fails for any seed, and every check has a say in some.
async fn correct(seeds: u64) {
    let mut passed = Vec::new();
    for (seed, _, findings) in all((0..seeds).map(|seed| (seed, None)).collect()).await {
        let wrong: Vec<&Finding> = findings.iter().filter(|f| f.verdict == Verdict::Fail).collect();
        assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
        passed.extend(findings.iter().filter(|f| f.verdict == Verdict::Pass).map(|f| f.id));
    }
    for check in &checks::ALL {
        assert!(passed.contains(&check.id), "{} had no say", check.id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correct_server_passes_every_check() {
    correct(4).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the long form: make proof"]
async fn no_false_alarm_over_fifty_seeds() {
    correct(50).await;
}

/// Each fault, the check that has to see it, and the scenario that shows it.
const FAULTS: [(Fault, &str, Scenario); 26] = [
    (Fault::TwoEndings, "ending.one", Scenario::Whole),
    (Fault::AfterEnding, "ending.last", Scenario::Whole),
    (Fault::OpenAfterEnd, "ending.closes", Scenario::Whole),
    (Fault::LosesToken, "ending.true", Scenario::Whole),
    (Fault::SometimesUsage, "usage.told", Scenario::Whole),
    (Fault::WrongUsage, "usage.true", Scenario::Whole),
    (Fault::Hole, "events.numbered", Scenario::Cut),
    (Fault::Gap, "resume.gap", Scenario::Cut),
    (Fault::Repeat, "resume.repeat", Scenario::Cut),
    (Fault::RefusesResume, "resume.prefix", Scenario::Cut),
    (Fault::ForgetsEnded, "resume.after_end", Scenario::AfterEnd),
    (Fault::ReadersDiffer, "resume.later", Scenario::Later),
    (Fault::SilentCursor, "resume.impossible", Scenario::Impossible),
    (Fault::StampsReaders, "readers.agree", Scenario::TwoReaders),
    (Fault::DropsSlow, "readers.slow", Scenario::Slow),
    (Fault::HoldsUp, "readers.held_up", Scenario::Slow),
    (Fault::RefusesResume, "instances.resume", Scenario::RoundRobin),
    (Fault::StaleView, "views.true", Scenario::Cut),
    (Fault::WrongReceipt, "cancel.receipt", Scenario::Cancel),
    (Fault::CancelCompletes, "cancel.ending", Scenario::Cancel),
    (Fault::LateClose, "cancel.upstream", Scenario::Cancel),
    (Fault::FalseReplay, "retry.generation", Scenario::Retry),
    (Fault::SecondGeneration, "retry.upstream", Scenario::Retry),
    (Fault::LostAfterKill, "kill.shown", Scenario::Kill),
    (Fault::KilledAsSuccess, "kill.ending", Scenario::Kill),
    (Fault::TruncationAsSuccess, "upstream.cut", Scenario::UpstreamReset),
];

async fn found(seeds: u64) {
    let each =
        |(fault, ..): (Fault, &str, Scenario)| (0..seeds).map(move |seed| (seed, Some(fault)));
    let mut missed = Vec::new();
    for (seed, fault, findings) in all(FAULTS.into_iter().flat_map(each).collect()).await {
        for (_, id, _) in FAULTS.iter().filter(|(f, ..)| Some(*f) == fault) {
            let finding = findings.iter().find(|finding| finding.id == *id).expect("the check");
            if finding.verdict != Verdict::Fail {
                missed.push((seed, fault, finding.clone()));
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn there_is_a_fault_for_every_check() {
    for check in &checks::ALL {
        assert!(FAULTS.iter().any(|(_, id, _)| *id == check.id), "{}", check.id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_planted_fault_is_found() {
    found(1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the long form: make proof"]
async fn every_planted_fault_is_found_over_ten_seeds() {
    found(10).await;
}
