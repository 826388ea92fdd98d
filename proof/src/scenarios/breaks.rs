//! Clients that go away and come back, and a server that is killed.
use std::time::Duration;

use crate::client::millis;
use crate::history::{Closed, Connection, Reader, Run, Scenario};
use crate::lab::{Lab, cursor, finished, until};
use crate::upstream::Script;

/// Cut at random points, resumed each time, and at last read again from the beginning.
pub(super) async fn cut(lab: &mut Lab, run: &mut Run, script: Script) -> Result<(), String> {
    let instances = if run.scenario == Scenario::RoundRobin { lab.targets.len() } else { 1 };
    let cuts = lab.dice.between(1, 3);
    let most = (lab.events / (cuts + 1)).max(2);
    let stream = lab.start(script, 0, &[]).await?;
    let after = lab.dice.between(1, most);
    let (reading, seen) = lab.read(&stream, 0, lab.how(Some(after)));
    let mut connections = vec![finished(reading).await];
    let id = stream.id.clone().or_else(|| seen.borrow().id.clone());
    if lab.resumable {
        for n in 1..=cuts {
            run.views.extend(lab.view(id.as_deref(), n % instances).await);
            let leave = (n < cuts).then(|| lab.dice.between(1, most));
            let place = (n % instances, connections.last().and_then(cursor));
            let Some(next) = lab.resumed(id.as_deref(), place, lab.how(leave)).await else { break };
            let over = next.closed != Closed::Reader || next.ending().is_some();
            connections.push(next);
            if over {
                break;
            }
        }
    }
    run.readers.push(Reader { name: "reader".into(), connections });
    run.replay = replay(lab, id.as_deref(), cuts % instances).await;
    for n in 0..2 {
        run.views.extend(lab.view(id.as_deref(), n % instances).await);
    }
    Ok(())
}

/// The whole stream from its beginning, where that can still be asked for.
async fn replay(lab: &Lab, id: Option<&str>, target: usize) -> Option<Connection> {
    if !lab.resumable || lab.wire.forgets_ended() {
        return None;
    }
    lab.resumed(id, (target, None), lab.how(None)).await
}

/// Resumed when all is over: from the middle and from the last event, and read again.
pub(super) async fn after_end(lab: &mut Lab, run: &mut Run, script: Script) -> Result<(), String> {
    let stream = super::plain(lab, run, script).await?;
    let whole = run.readers[0].connections[0].clone();
    read_again(lab, run, (stream.id.as_deref(), &whole)).await;
    Ok(())
}

/// The same with the first scenario's stream, which ended some time ago.
pub(super) async fn later(lab: &Lab, run: &mut Run) -> Result<(), String> {
    let kept = lab.kept.clone().ok_or("no stream was read to its end")?;
    tokio::time::sleep(lab.settings.later.saturating_sub(kept.since.elapsed())).await;
    run.expected = lab.scripted().then(|| kept.script.text());
    run.age_ms = Some(millis(kept.since.elapsed()));
    run.readers.push(Reader { name: "reader".into(), connections: vec![kept.whole.clone()] });
    read_again(lab, run, (kept.id.as_deref(), &kept.whole)).await;
    Ok(())
}

async fn read_again(lab: &Lab, run: &mut Run, (id, whole): (Option<&str>, &Connection)) {
    let middle = whole.events.len() / 2;
    let places = [("from the middle", middle), ("from the last event", whole.events.len())];
    for (name, upto) in places {
        let mut had = whole.clone();
        had.events.truncate(upto);
        had.closed = Closed::Reader;
        let place = (0, cursor(&had));
        if let Some(next) = lab.resumed(id, place, lab.how(None)).await {
            run.readers.push(Reader { name: name.into(), connections: vec![had, next] });
        }
    }
    run.replay = replay(lab, id, 0).await;
    run.views.extend(lab.view(id, 0).await);
}

/// A cursor that never was, of a stream that is over.
pub(super) async fn impossible(lab: &mut Lab, run: &mut Run, script: Script) -> Result<(), String> {
    let stream = super::plain(lab, run, script).await?;
    let Some(cursor) = lab.wire.impossible().filter(|_| !lab.wire.replays()) else {
        return Ok(());
    };
    let how = lab.how(None);
    let place = (0, Some(cursor));
    if let Some(next) = lab.resumed(stream.id.as_deref(), place, how).await {
        run.readers.push(Reader { name: "impossible".into(), connections: vec![next] });
    }
    Ok(())
}

/// Killed while a reader is at a random event. With one target, the reader resumes when the server
/// is back; with several, at once at the next one. The answer waits near its end for that.
pub(super) async fn kill(lab: &mut Lab, run: &mut Run, script: Script) -> Result<(), String> {
    let Some(hooks) = lab.hooks.clone() else { return Ok(()) };
    let at = lab.dice.between(1, lab.events.saturating_sub(4).max(1));
    let several = lab.targets.len() > 1;
    let stream = lab.start(script, 0, &[]).await?;
    let (reading, mut seen) = lab.read(&stream, 0, lab.how(None));
    until(&mut seen, at).await;
    run.kills += 1;
    let killed = hooks.kill().await;
    if !several {
        hooks.start().await?;
    }
    let connections = vec![finished(reading).await];
    let id = stream.id.clone().or_else(|| seen.borrow().id.clone());
    let back = resume_killed(lab, run, connections, (id.as_deref(), &stream.name));
    if several {
        let (started, ()) = tokio::join!(hooks.start(), back);
        started?;
    } else {
        back.await;
    }
    lab.holds.release(&stream.name);
    run.replay = replay(lab, id.as_deref(), 0).await;
    run.views.extend(lab.view(id.as_deref(), 0).await);
    killed
}

/// A reader of a server that was killed comes back for so long.
const COMES_BACK_FOR: Duration = Duration::from_secs(15);

/// Comes back until the stream is over, as a client does; a server that has just been started may
/// answer 503 for a while.
async fn resume_killed(
    lab: &Lab,
    run: &mut Run,
    mut connections: Vec<Connection>,
    (id, name): (Option<&str>, &str),
) {
    let patience = lab.settings.silence / 4;
    let by = tokio::time::Instant::now() + COMES_BACK_FOR;
    let over = |all: &[Connection]| all.iter().any(|connection| connection.ending().is_some());
    let mut target = 0;
    while lab.resumable && !over(&connections) {
        target += 1;
        let place = (target % lab.targets.len(), connections.last().and_then(cursor));
        let Some((reading, mut seen)) = lab.resume(id, place, lab.how(None)) else { break };
        let shown = tokio::time::timeout(patience, until(&mut seen, 1)).await;
        // One that was refused comes again, and the answer waits for it.
        if !shown.is_ok_and(|seen| seen.events == 0) {
            lab.holds.release(name);
        }
        let next = finished(reading).await;
        let busy = matches!(next.status, 0 | 502 | 503 | 504);
        let again = tokio::time::Instant::now() < by;
        if busy && again {
            tokio::time::sleep(Duration::from_millis(250)).await;
            continue;
        }
        let refused = !next.let_in();
        connections.push(next);
        if refused || !again {
            break;
        }
    }
    run.readers.push(Reader { name: "reader".into(), connections });
}
