//! One of the paths of every event, repeated, and nothing else: `tests/counts.rs` counts its
//! instructions.
use std::hint::black_box;
use std::process::ExitCode;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use lastword::domain::entry::Entry;
use lastword::domain::event::Event;
use lastword::domain::id::{GenerationId, Seq, Tenant};
use lastword::engine::CommitPath;
use lastword::engine::live::{Behind, Tail};
use lastword::http::frame::sse;
use lastword::ports::{Append, Delta, LogError, LogWriter, Tail as LogTail};
use lastword::providers::chat::heard;
use lastword::store::journal_row;

/// Readers of the generation that is fanned out.
const READERS: u64 = 16;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (path, count) = (words.next(), words.next().and_then(|n| n.parse().ok()));
    match (path.as_deref(), count) {
        (Some("append"), Some(count)) => append(count),
        (Some("frame"), Some(count)) => frame(count),
        (Some("fanout"), Some(count)) => fanout(count),
        (Some("commit"), Some(count)) => on_a_runtime(commit(count)),
        (Some("gateway"), Some(count)) => on_a_runtime(gateway(count)),
        _ => {
            eprintln!("usage: paths append|frame|fanout|commit|gateway COUNT");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// As long as a model's tokens are.
fn token() -> Event {
    Event::Delta { text: " token".into() }
}

/// A delta becomes a line of the log.
fn append(count: u64) {
    let event = token();
    for n in 1..=count {
        black_box(Entry::encode(Seq(n), &event).data());
    }
}

/// An entry becomes a frame for a reader.
fn frame(count: u64) {
    let entry = Entry::encode(Seq(1000), &token());
    for _ in 0..count {
        black_box(sse(black_box(std::slice::from_ref(&entry))));
    }
}

/// An entry is made and published, and each reader takes it.
fn fanout(count: u64) {
    let id = GenerationId::random();
    let tail = Tail::new(Tenant::anonymous(), id, Seq(0));
    let event = token();
    for n in 0..count / READERS {
        tail.publish(vec![Entry::encode(Seq(n + 1), &event)]);
        for _ in 0..READERS {
            assert!(matches!(black_box(tail.after(Seq(n))), Behind::Entries(_)));
        }
    }
}

/// Takes no time: only the row of the journal is made.
struct NoDatabase;

#[async_trait]
impl LogWriter for NoDatabase {
    async fn append(&mut self, batch: &[&Append]) -> Result<(), LogError> {
        black_box(journal_row(batch));
        Ok(())
    }

    async fn tails(&mut self, _: &[GenerationId]) -> Result<Vec<LogTail>, LogError> {
        Ok(Vec::new())
    }
}

/// Events of several generations are committed together, and published.
async fn commit(count: u64) {
    let mut path = CommitPath::new(|| Box::new(NoDatabase), READERS as usize);
    let event = token();
    for _ in 0..count / READERS {
        assert!(path.say(&event).await);
    }
}

/// A token comes in a piece of its own, as upstreams send it, and becomes a delta.
async fn gateway(count: u64) {
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    const CHUNK: &str = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\
        \"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"},\
        \"finish_reason\":null}]}\n\n";
    let pieces = stream::iter(0..count).map(|_| Bytes::from_static(CHUNK.as_bytes()));
    let Ok(mut deltas) = heard(pieces) else { return };
    let mut texts = 0;
    while let Some(delta) = deltas.next().await {
        texts += u64::from(matches!(black_box(delta), Ok(Delta::Text(_))));
    }
    assert_eq!(texts, count);
}

/// One thread, so that the count is nearly the same twice.
fn on_a_runtime(path: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(path);
}
