//! The scenarios, one after the other. Each does something to a stream and records what was seen;
//! none judges.
use std::time::{Duration, Instant};

pub(crate) use crate::checks::word;
use crate::history::{History, Reader, Run, Scenario};
use crate::lab::{Kept, Lab, Stream, finished};
use crate::upstream::Script;

mod breaks;
mod calls;
mod readers;
mod slow;

/// A stream that cannot be resumed yet is asked for again after this time.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// All scenarios, in their order: those that may hurt the server for a while come last.
pub(crate) const ALL: [Scenario; 15] = [
    Scenario::Whole,
    Scenario::Cut,
    Scenario::AfterEnd,
    Scenario::Impossible,
    Scenario::TwoReaders,
    Scenario::Slow,
    Scenario::Cancel,
    Scenario::Retry,
    Scenario::RoundRobin,
    Scenario::Idle,
    Scenario::UpstreamReset,
    Scenario::UpstreamTruncated,
    Scenario::Later,
    Scenario::Kill,
    Scenario::UpstreamBack,
];

/// Does the scenarios and adds what they saw. False: the time was over before all were done.
pub(crate) async fn all(
    lab: &mut Lab,
    history: &mut History,
    only: &[Scenario],
    limit: Duration,
    tell: &(dyn Fn(&str) + Sync),
) -> bool {
    let begun = Instant::now();
    let by = begun + limit;
    for scenario in ALL {
        let wanted = only.is_empty() || only.contains(&scenario) || scenario == Scenario::Whole;
        let rounds = if wanted { rounds(lab, scenario) } else { 0 };
        for n in 0..rounds {
            let left = by.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            tell(&format!(
                "{:>4} s  {} {}/{rounds}{}",
                begun.elapsed().as_secs(),
                word(scenario),
                n + 1,
                waits(lab, scenario)
            ));
            match tokio::time::timeout(left, one(lab, scenario, n)).await {
                Ok(run) => history.runs.push(run),
                Err(_) => return false,
            }
            if lab.events == 0 {
                // There was no stream: all later scenarios would wait for one in vain.
                return true;
            }
        }
    }
    true
}

/// The first event that a scenario waits for, in words.
fn waits(lab: &Lab, scenario: Scenario) -> String {
    let age = lab.kept.as_ref().map(|kept| kept.since.elapsed()).unwrap_or_default();
    let left = lab.settings.later.saturating_sub(age).as_secs();
    if scenario == Scenario::Later && left > 0 {
        format!(", in {left} s, when the first stream is old enough")
    } else {
        String::new()
    }
}

/// How often a scenario is done; 0 where something that it needs is missing.
fn rounds(lab: &Lab, scenario: Scenario) -> u32 {
    let settings = &lab.settings;
    let if_so = |condition: bool, rounds: u32| if condition { rounds } else { 0 };
    let upstream = lab.upstream.is_some();
    match scenario {
        Scenario::Whole => 2,
        Scenario::Cut => settings.rounds,
        Scenario::AfterEnd | Scenario::Later | Scenario::Impossible => {
            if_so(lab.resumable && !lab.wire.forgets_ended(), 1)
        }
        Scenario::TwoReaders | Scenario::Slow => if_so(lab.resumable, 1),
        Scenario::Cancel => if_so(lab.wire.cancel("id").is_some() || upstream, 2),
        Scenario::Retry => if_so(lab.wire.writes().is_none(), 1),
        Scenario::RoundRobin => if_so(lab.resumable && lab.targets.len() > 1, settings.rounds),
        Scenario::UpstreamReset | Scenario::UpstreamTruncated | Scenario::UpstreamBack => {
            if_so(upstream, 1)
        }
        Scenario::Kill => if_so(lab.hooks.is_some(), settings.kills),
        Scenario::Idle => if_so(lab.resumable && lab.pid().is_some(), 1),
        Scenario::Watched => 0,
    }
}

async fn one(lab: &mut Lab, scenario: Scenario, n: u32) -> Run {
    let mut script = lab.script();
    let half = script.tokens / 2;
    if scenario == Scenario::Slow {
        slow::script(&mut script);
    }
    if scenario == Scenario::Idle {
        script.tokens = 10;
        script.gap_ms = 1500;
    }
    if scenario == Scenario::Kill {
        // The reader is still there when the server dies, and the answer when the reader is back.
        script.hold_at = Some(script.tokens * 3);
        script.tokens *= 4;
    }
    script.reset_at = (scenario == Scenario::UpstreamReset).then_some(half);
    script.end_at = (scenario == Scenario::UpstreamTruncated).then_some(half);
    let mut run = lab.run(scenario, n, &script);
    let name = script.name.clone();
    let done = match scenario {
        Scenario::Whole => whole(lab, &mut run, script).await,
        Scenario::UpstreamReset | Scenario::UpstreamTruncated => {
            plain(lab, &mut run, script).await.map(drop)
        }
        Scenario::Cut | Scenario::RoundRobin => breaks::cut(lab, &mut run, script).await,
        Scenario::AfterEnd => breaks::after_end(lab, &mut run, script).await,
        Scenario::Later => breaks::later(lab, &mut run).await,
        Scenario::Impossible => breaks::impossible(lab, &mut run, script).await,
        Scenario::TwoReaders => readers::two(lab, &mut run, script).await,
        Scenario::Slow => slow::slow(lab, &mut run, script).await,
        Scenario::Cancel => calls::cancel(lab, &mut run, script).await,
        Scenario::Retry => calls::retry(lab, &mut run, script).await,
        Scenario::Kill => breaks::kill(lab, &mut run, script).await,
        Scenario::Idle => {
            let memory = readers::idle(lab, script).await;
            memory.map(|memory| lab.memory = memory)
        }
        Scenario::Watched => Ok(()),
        Scenario::UpstreamBack => calls::upstream_back(lab, &mut run, script).await,
    };
    run.problem = done.err();
    run.upstream = lab.saw(&name);
    run.resumable = lab.resumable;
    run
}

/// One reader from the beginning to the end.
async fn plain(lab: &Lab, run: &mut Run, script: Script) -> Result<Stream, String> {
    let mut stream = lab.start(script, 0, &[]).await?;
    let (reading, seen) = lab.read(&stream, 0, lab.how(None));
    let connection = finished(reading).await;
    stream.id = stream.id.take().or_else(|| seen.borrow().id.clone());
    run.readers.push(Reader { name: "reader".into(), connections: vec![connection] });
    Ok(stream)
}

/// The first scenario finds out what there is: how many events, and whether they can be resumed.
/// Its last stream is kept for the scenario `later`.
async fn whole(lab: &mut Lab, run: &mut Run, script: Script) -> Result<(), String> {
    let stream = plain(lab, run, script.clone()).await?;
    let whole = run.readers.first().and_then(Reader::last).cloned().unwrap_or_default();
    lab.events = whole.lasting().count();
    lab.kept = Some(Kept { script, id: stream.id, whole, since: Instant::now() });
    if run.n == 0 {
        let script = lab.script();
        lab.resumable = readers::offers_resume(lab, script).await;
    }
    Ok(())
}
