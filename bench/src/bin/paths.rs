//! One of the paths of every event, repeated, and nothing else: `tests/instructions.rs` counts its
//! instructions.
use std::hint::black_box;
use std::process::ExitCode;

use lastword::domain::entry::Entry;
use lastword::domain::event::Event;
use lastword::domain::id::{GenerationId, Seq, Tenant};
use lastword::engine::live::{Behind, Tail};
use lastword::http::frame::sse;

/// Readers of the generation that is fanned out.
const READERS: u64 = 16;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (path, count) = (words.next(), words.next().and_then(|n| n.parse().ok()));
    match (path.as_deref(), count) {
        (Some("append"), Some(count)) => append(count),
        (Some("frame"), Some(count)) => frame(count),
        (Some("fanout"), Some(count)) => fanout(count),
        _ => {
            eprintln!("usage: paths append|frame|fanout COUNT");
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
