//! Several readers of one stream.
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::AGAIN_AFTER;
use crate::client::{How, Seen};
use crate::history::{Memory, Reader, Run};
use crate::hooks;
use crate::lab::{Lab, Reading, cursor, finished, until};
use crate::upstream::Script;

/// Whether a stream that is running can be resumed by the protocol's means.
pub(super) async fn offers_resume(lab: &Lab, mut script: Script) -> bool {
    // Or a machine that is busy would have said all before its reader is back.
    let scripted = lab.scripted();
    script.hold_at = scripted.then_some(script.tokens / 2);
    let Ok(stream) = lab.start(script, 0, &[]).await else { return false };
    // Some servers can be resumed only a moment after the first event.
    let leave = if scripted { 3 } else { (lab.events / 2).max(3) };
    let (reading, seen) = lab.read(&stream, 0, lab.how(Some(leave)));
    let had = finished(reading).await;
    let id = stream.id.clone().or_else(|| seen.borrow().id.clone());
    let behind = cursor(&had);
    let has_means = behind.is_some() || lab.wire.replays();
    let waits = scripted && lab.wire.forgets_ended();
    let coming = if has_means {
        joins(lab, (id.as_deref(), waits), behind, lab.how(Some(1))).await
    } else {
        None
    };
    lab.holds.release(&stream.name);
    let resumed = match coming {
        Some((reading, _)) => Some(finished(reading).await),
        None => None,
    };
    // A refusal by one of these says that the server has no such thing; all else is its failure.
    let none = [0, 204, 400, 401, 403, 404, 405, 410, 415, 422, 426, 501];
    resumed.is_some_and(|next| !none.contains(&next.status))
}

/// Where a stream that is over cannot be had again, the answer waits in its middle for those who
/// come later. False: it cannot, since it is not the script's.
fn waits_for_a_reader(lab: &Lab, script: &mut Script) -> bool {
    let waits = lab.wire.forgets_ended() && lab.scripted();
    script.hold_at = waits.then_some(script.tokens / 2);
    waits
}

/// Resumes: done with its first event, or its end. Where the answer waits for it, it comes again
/// until it is let in.
async fn joins(
    lab: &Lab,
    (id, waits): (Option<&str>, bool),
    cursor: Option<String>,
    how: How,
) -> Option<(Reading, watch::Receiver<Seen>)> {
    let by = Instant::now() + lab.settings.silence / 2;
    loop {
        let (reading, mut seen) = lab.resume(id, (0, cursor.clone()), how)?;
        let _ = timeout_at(by, until(&mut seen, 1)).await;
        let refused = seen.borrow().over && seen.borrow().events == 0;
        if !waits || !refused || Instant::now() >= by {
            return Some((reading, seen));
        }
        sleep(AGAIN_AFTER).await;
    }
}

/// Two readers at a time.
pub(super) async fn two(lab: &mut Lab, run: &mut Run, mut script: Script) -> Result<(), String> {
    let waits = waits_for_a_reader(lab, &mut script);
    let stream = lab.start(script, 0, &[]).await?;
    let (first, mut seen) = lab.read(&stream, 0, lab.how(None));
    // As in `offers_resume`: a replay may be had only a moment after the first event.
    let at = if lab.wire.replays() && !waits { lab.events / 2 } else { 1 };
    let known = until(&mut seen, at).await;
    let id = stream.id.clone().or(known.id);
    let second = joins(lab, (id.as_deref(), waits), None, lab.how(None)).await;
    lab.holds.release(&stream.name);
    let first = finished(first).await;
    run.readers.push(Reader { name: "first".into(), connections: vec![first] });
    if let Some((second, _)) = second {
        let second = finished(second).await;
        run.readers.push(Reader { name: "second".into(), connections: vec![second] });
    }
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
