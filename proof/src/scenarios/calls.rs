//! Cancels, repeats of a request, and an upstream that is away.
use std::time::{Duration, Instant};

use crate::client::millis;
use crate::history::{Cancelled, Reader, Run};
use crate::lab::{Lab, finished, until};
use crate::upstream::Script;

/// Cancelled in the middle: by a request, or by going away where the protocol has none.
pub(super) async fn cancel(lab: &mut Lab, run: &mut Run, mut script: Script) -> Result<(), String> {
    // The answer waits in its middle, or its own end would be seen as the cancel's.
    script.hold_at = Some(2 * script.tokens);
    script.tokens *= 4;
    run.expected = lab.scripted().then(|| script.text());
    let at = lab.dice.between(2, lab.events.max(4) / 2);
    let stream = lab.start(script, 0, &[]).await?;
    let asks = lab.wire.cancel("id").is_some();
    let (reading, mut seen) = lab.read(&stream, 0, lab.how((!asks).then_some(at)));
    let known = until(&mut seen, at).await;
    let id = stream.id.clone().or(known.id);
    let mut cancelled = Cancelled { asked: asks, ..Cancelled::default() };
    cancelled.was_running = lab.upstream.as_ref().map_or(!known.over, |upstream| {
        let saw = upstream.saw(&stream.name);
        saw.open > 0 || saw.closed.is_some()
    });
    let begun = Instant::now();
    if let Some(ask) = id.as_deref().and_then(|id| lab.wire.cancel(id)) {
        let answer = lab.client.ask(&lab.targets[0], &ask).await?;
        cancelled.status = answer.status;
        cancelled.says = lab.wire.receipt(&answer.body);
    }
    cancelled.upstream_closed_ms = closed(lab, &stream.name, begun).await;
    lab.holds.release(&stream.name);
    let connection = finished(reading).await;
    run.readers.push(Reader { name: "reader".into(), connections: vec![connection] });
    run.cancel = Some(cancelled);
    run.views.extend(lab.view(id.as_deref(), 0).await);
    if asks && lab.resumable && !lab.wire.forgets_ended() {
        run.replay = lab.resumed(id.as_deref(), (0, None), lab.how(None)).await;
    }
    Ok(())
}

/// How long it took until the upstream's client was gone; none if it stayed.
async fn closed(lab: &Lab, name: &str, begun: Instant) -> Option<u64> {
    let upstream = lab.upstream.as_ref()?;
    while begun.elapsed() < lab.settings.cancel_within {
        let saw = upstream.saw(name);
        if let (0, Some(closed)) = (saw.open, saw.closed) {
            return Some(millis(closed.saturating_duration_since(begun)));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    None
}

/// The same request twice, with one key; the first reader was cut in the middle.
pub(super) async fn retry(lab: &mut Lab, run: &mut Run, script: Script) -> Result<(), String> {
    let key = format!("streamproof-{}", script.name);
    for (name, leave) in [("first", Some(3)), ("repeated", None)] {
        let headers = [("idempotency-key", key.as_str())];
        let stream = lab.start(script.clone(), 0, &headers).await?;
        let (reading, _) = lab.read(&stream, 0, lab.how(leave));
        let mut connection = finished(reading).await;
        if let Some(started) = &stream.started {
            connection.id.clone_from(&started.id);
            connection.replayed = started.replayed;
        }
        run.readers.push(Reader { name: name.into(), connections: vec![connection] });
    }
    Ok(())
}

/// Asked while the upstream is away, and again when it is back.
pub(super) async fn upstream_back(
    lab: &mut Lab,
    run: &mut Run,
    script: Script,
) -> Result<(), String> {
    let set_down = |down| {
        if let Some(upstream) = &lab.upstream {
            upstream.set_down(down);
        }
    };
    set_down(true);
    let mut how = lab.how(None);
    how.silence = how.silence.min(Duration::from_secs(3));
    // A refusal is an honest answer: nothing is recorded of it.
    if let Ok(stream) = lab.start(script.clone(), 0, &[]).await {
        let (reading, _) = lab.read(&stream, 0, how);
        let connection = finished(reading).await;
        run.readers.push(Reader { name: "away".into(), connections: vec![connection] });
    }
    set_down(false);
    // Servers may keep away from an upstream that failed for a while.
    for n in 0..10 {
        let again = Script { name: format!("{}-again{n}", script.name), ..script.clone() };
        if let Ok(stream) = lab.start(again.clone(), 0, &[]).await {
            let (reading, _) = lab.read(&stream, 0, lab.how(None));
            let connection = finished(reading).await;
            let good = connection.ending().is_some();
            run.readers.retain(|reader| reader.name != "back");
            run.readers.push(Reader { name: "back".into(), connections: vec![connection] });
            run.expected = lab.scripted().then(|| again.text());
            if good {
                return Ok(());
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}
