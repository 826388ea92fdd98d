//! A reader that stops reading in the middle of an answer, beside one that reads on. Reads decide
//! the order of events, and no clock does. The answer waits until the slow reader has stopped, and
//! the slow reader until the other one is done.
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::AGAIN_AFTER;
use crate::client::Seen;
use crate::history::{Connection, Reader, Run};
use crate::lab::{Lab, Reading, cursor, finished, until};
use crate::narrow::Narrow;
use crate::upstream::Script;

/// Tokens of the answer, and where it waits: each is 10 KiB, and the kernel holds about 200 KiB.
const TOKENS: usize = 140;
const HOLD_AT: usize = 40;
const TOKEN_BYTES: usize = 10 << 10;

/// A slow reader that is cut off comes back so often.
const MOST_RESUMES: usize = 3;

/// The answer that is read slowly.
pub(super) fn script(script: &mut Script) {
    script.tokens = TOKENS;
    script.hold_at = Some(HOLD_AT);
    script.size = TOKEN_BYTES;
    script.gap_ms = 0;
}

pub(super) async fn slow(lab: &mut Lab, run: &mut Run, script: Script) -> Result<(), String> {
    let narrow = Narrow::start(&lab.targets[0]).await?;
    let stream = lab.start(script, 0, &[]).await?;
    let (first, mut seen) = lab.read(&stream, 0, lab.how(None));
    // A server that shows nothing of half an answer is not waited for until its reader gives up.
    let patience = lab.settings.silence / 2;
    // As in `offers_resume`: a replay may be had only a moment after the first event.
    let at = if lab.wire.replays() && !lab.scripted() { lab.events / 2 } else { 1 };
    let _ = timeout_at(Instant::now() + patience, until(&mut seen, at)).await;
    let id = stream.id.clone().or_else(|| seen.borrow().id.clone());
    let by = Instant::now() + patience;
    let second = stops(lab, &narrow, (id.as_deref(), &seen), by).await;
    lab.holds.release(&stream.name);
    let first = finished(first).await;
    narrow.go_on();
    run.readers.push(Reader { name: "first".into(), connections: vec![first] });
    if let Some(second) = second {
        let connections = to_the_end(lab, id.as_deref(), finished(second).await).await;
        run.readers.push(Reader { name: "second".into(), connections });
    }
    run.paused_us = narrow.paused_us();
    Ok(())
}

/// A reader by the narrow way, as soon as it has stopped; or as far as it came.
async fn stops(
    lab: &Lab,
    narrow: &Narrow,
    (id, first): (Option<&str>, &watch::Receiver<Seen>),
    by: Instant,
) -> Option<Reading> {
    loop {
        let (reading, mut seen) = lab.resume_by(&narrow.base, id)?;
        let over = async { seen.wait_for(|seen| seen.over).await.is_ok() };
        let stopped = async {
            narrow.stopped().await;
            false
        };
        let came_to_its_end = async {
            tokio::select! {
                over = over => over,
                stopped = stopped => stopped,
            }
        };
        let is_over = timeout_at(by, came_to_its_end).await.unwrap_or(false);
        let early = is_over && seen.borrow().events == 0 && !first.borrow().over;
        if !early || Instant::now() >= by {
            return Some(reading);
        }
        // The answer waits for it: what it was refused now may be had a moment later.
        sleep(AGAIN_AFTER).await;
    }
}

/// A slow reader that was cut off goes on behind what it has, as any other would.
async fn to_the_end(lab: &Lab, id: Option<&str>, begun: Connection) -> Vec<Connection> {
    let mut connections = vec![begun];
    for _ in 0..MOST_RESUMES {
        let Some(last) = connections.last() else { break };
        let over = last.ending().is_some() || !last.let_in() || last.status == 204;
        if over {
            break;
        }
        let Some(next) = lab.resumed(id, (0, cursor(last)), lab.how(None)).await else { break };
        connections.push(next);
    }
    connections
}
