//! Readers of streams, and questions about them.
use std::io;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::log::Log;
use super::{Fault, Shared, refuse};
use crate::http;

/// The state of a stream: its text, the number of its last event, and how it ended.
pub(super) async fn state(socket: &mut TcpStream, shared: &Shared, id: &str) -> io::Result<()> {
    let Some(stream) = shared.streams().get(id).cloned() else {
        return refuse(socket, "404 Not Found").await;
    };
    let mut events = stream.log.events(0);
    let (status, usage) = match events.last() {
        Some((kind, done)) if kind == "done" => (done["status"].clone(), done["usage"].clone()),
        _ => (json!("running"), Value::Null),
    };
    let place = shown(shared, events.len());
    if shared.has(Fault::StaleView) {
        let last = events.iter().rposition(|(kind, _)| kind == "delta");
        events.truncate(last.unwrap_or_default());
    }
    let mut text = String::new();
    for (kind, data) in &events {
        if kind == "void" {
            text.clear();
        }
        text += data["text"].as_str().unwrap_or_default();
    }
    let body = json!({ "text": text, "events": place, "status": status, "usage": usage });
    http::json(socket, "200 OK", &body).await
}

/// The number of the event at this place, from 1.
fn shown(shared: &Shared, at: usize) -> usize {
    if shared.has(Fault::Hole) && at > 3 { at + 1 } else { at }
}

fn hidden(shared: &Shared, number: usize) -> usize {
    if shared.has(Fault::Hole) && number > 3 { number - 1 } else { number }
}

/// Sends the events behind the cursor, and what comes, until the ending.
pub(super) async fn read(
    mut socket: TcpStream,
    shared: &Shared,
    log: &Log,
    cursor: Option<&str>,
) -> io::Result<()> {
    let mut changes = log.changes();
    let Ok(mut at) = cursor.unwrap_or("0").parse::<usize>() else {
        return refuse(&mut socket, "400 Bad Request").await;
    };
    at = hidden(shared, at);
    let over = log.status().is_some();
    if at > 0 && shared.has(Fault::RefusesResume) {
        return refuse(&mut socket, "500 Internal Server Error").await;
    }
    if over && shared.has(Fault::ForgetsEnded) {
        return refuse(&mut socket, "404 Not Found").await;
    }
    if at > log.events(0).len() {
        if !shared.has(Fault::SilentCursor) {
            return refuse(&mut socket, "400 Bad Request").await;
        }
        at = log.events(0).len().saturating_sub(1);
    }
    if at > 0 && shared.has(Fault::Gap) {
        at += 1;
    }
    if at > 0 && shared.has(Fault::Repeat) {
        at -= 1;
    }
    http::stream(&mut socket, "").await?;
    let reader = shared.readers.fetch_add(1, Ordering::Relaxed);
    let late = log.was_read.load(Ordering::SeqCst);
    loop {
        for (kind, data) in log.events(at) {
            at += 1;
            let data = altered(shared, (late, reader), data);
            let id = shown(shared, at);
            let frame = format!("id: {id}\nevent: {kind}\ndata: {data}\n\n");
            let was_slow = write(&mut socket, shared, log, &frame).await?;
            if kind == "done" {
                log.was_read.store(true, Ordering::SeqCst);
                return finish(socket, shared, &frame).await;
            }
            if was_slow {
                at = log.events(0).len().saturating_sub(1).max(at);
                break;
            }
        }
        let over = log.status().is_some();
        if log.events(0).len() > at {
            continue;
        }
        if over {
            // Resumed behind the ending: there is nothing left to say.
            return http::end(&mut socket).await;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return Ok(()) },
            () = http::gone(&mut socket) => return Ok(()),
        }
    }
}

/// Writes a frame. True, in the fault that drops slow readers: the stream ended meanwhile.
async fn write(
    socket: &mut TcpStream,
    shared: &Shared,
    log: &Log,
    frame: &str,
) -> io::Result<bool> {
    let holds_up = shared.has(Fault::HoldsUp);
    let _turn = if holds_up { Some(shared.turn.lock().await) } else { None };
    let write = http::chunk(socket, frame);
    if !shared.has(Fault::DropsSlow) {
        return write.await.map(|()| false);
    }
    let mut write = std::pin::pin!(write);
    tokio::select! {
        biased;
        written = &mut write => written.map(|()| false),
        () = log.over() => write.await.map(|()| true),
    }
}

fn altered(shared: &Shared, (late, reader): (bool, u64), mut data: Value) -> Value {
    if late && shared.has(Fault::ReadersDiffer) {
        data["late"] = true.into();
    }
    if shared.has(Fault::StampsReaders) {
        data["reader"] = reader.into();
    }
    data
}

async fn finish(mut socket: TcpStream, shared: &Shared, ending: &str) -> io::Result<()> {
    if shared.has(Fault::TwoEndings) {
        http::chunk(&mut socket, ending).await?;
    }
    if shared.has(Fault::AfterEnding) {
        http::chunk(&mut socket, "event: delta\ndata: {\"text\":\"more\"}\n\n").await?;
    }
    if shared.has(Fault::OpenAfterEnd) {
        http::gone(&mut socket).await;
    }
    http::end(&mut socket).await
}
