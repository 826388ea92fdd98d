//! Several readers of one stream.
use std::time::Duration;

use crate::history::{Memory, Reader, Run, Scenario};
use crate::hooks;
use crate::lab::{Lab, cursor, finished, until};
use crate::narrow::Narrow;
use crate::upstream::Script;

/// Whether a stream that is running can be resumed by the protocol's means.
pub(super) async fn offers_resume(lab: &Lab, script: Script) -> bool {
    let Ok(stream) = lab.start(script, 0, &[]).await else { return false };
    // Some servers can be resumed only a moment after the first event.
    let (reading, seen) = lab.read(&stream, 0, lab.how(Some((lab.events / 2).max(3))));
    let had = finished(reading).await;
    let id = stream.id.clone().or_else(|| seen.borrow().id.clone());
    let behind = cursor(&had);
    if behind.is_none() && !lab.wire.replays() {
        return false;
    }
    let resumed = lab.resumed(id.as_deref(), (0, behind), lab.how(Some(1))).await;
    // A refusal by one of these says that the server has no such thing; all else is its failure.
    let none = [0, 204, 400, 401, 403, 404, 405, 410, 415, 422, 426, 501];
    resumed.is_some_and(|next| !none.contains(&next.status))
}

/// Two readers at a time; in `slow`, the second does not read for a while.
pub(super) async fn two(lab: &mut Lab, run: &mut Run, script: Script) -> Result<(), String> {
    let slow = run.scenario == Scenario::Slow;
    let narrow =
        if slow { Some(Narrow::start(&lab.targets[0], lab.settings.slow).await?) } else { None };
    let stream = lab.start(script, 0, &[]).await?;
    let (first, mut seen) = lab.read(&stream, 0, lab.how(None));
    // As in `offers_resume`: a replay may be had only a moment after the first event.
    let at = if lab.wire.replays() { lab.events / 2 } else { 1 };
    let known = until(&mut seen, at).await;
    let id = stream.id.clone().or(known.id);
    let second = match &narrow {
        Some(narrow) => lab.resume_by(&narrow.base, id.as_deref()),
        None => lab.resume(id.as_deref(), (0, None), lab.how(None)),
    };
    let first = finished(first).await;
    run.readers.push(Reader { name: "first".into(), connections: vec![first] });
    if let Some((second, _)) = second {
        let second = finished(second).await;
        run.readers.push(Reader { name: "second".into(), connections: vec![second] });
    }
    run.paused_us = narrow.and_then(|narrow| narrow.paused_us());
    Ok(())
}

/// Readers of one stream that wait.
const IDLE: u32 = 100;

/// All of them have to be there by then.
const COMES_WITHIN: Duration = Duration::from_secs(10);

/// The server's memory for readers that only wait.
pub(super) async fn idle(lab: &Lab, script: Script) -> Result<Option<Memory>, String> {
    let Some(pid) = lab.pid() else { return Ok(None) };
    let stream = lab.start(script, 0, &[]).await?;
    let (first, mut seen) = lab.read(&stream, 0, lab.how(None));
    let known = until(&mut seen, 1).await;
    let id = stream.id.clone().or(known.id);
    let before = hooks::memory(pid);
    let mut others: Vec<_> =
        (1..IDLE).filter_map(|_| lab.resume(id.as_deref(), (0, None), lab.how(None))).collect();
    // Each of them is there with its first event; then they wait.
    let all_there = async {
        let mut readers = 0;
        for (_, seen) in &mut others {
            readers += u32::from(until(seen, 1).await.events > 0);
        }
        readers
    };
    let readers = tokio::time::timeout(COMES_WITHIN, all_there).await.unwrap_or_default();
    let with = hooks::memory(pid);
    for (other, _) in others {
        other.abort();
    }
    first.abort();
    Ok(before.zip(with).map(|(before, with)| Memory { readers, before, with }))
}
