//! Several readers of one stream.
use crate::history::{Reader, Run, Scenario};
use crate::lab::{Lab, cursor, finished, until};
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
    let stream = lab.start(script, 0, &[]).await?;
    let (first, mut seen) = lab.read(&stream, 0, lab.how(None));
    // As in `offers_resume`: a replay may be had only a moment after the first event.
    let at = if lab.wire.replays() { lab.events / 2 } else { 1 };
    let known = until(&mut seen, at).await;
    let id = stream.id.clone().or(known.id);
    let mut how = lab.how(None);
    if run.scenario == Scenario::Slow {
        how.pause = lab.settings.slow;
    }
    let second = lab.resume(id.as_deref(), (0, None), how);
    let first = finished(first).await;
    run.readers.push(Reader { name: "first".into(), connections: vec![first] });
    if let Some((second, _)) = second {
        let second = finished(second).await;
        run.readers.push(Reader { name: "second".into(), connections: vec![second] });
    }
    Ok(())
}
