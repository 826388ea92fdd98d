//! Properties that hold whatever comes in: tried for a moment by `cargo test`, for minutes by
//! `make fuzz`. Each is a `fuzz.rs` beside the code that it is about.
use std::hash::{BuildHasher, Hasher, RandomState};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use tokio::time::{Duration, Instant};

/// Inputs of an ordinary test run: a second's worth.
const FEW: u32 = 3000;
/// Inputs between two looks at the clock.
const ROUND: u32 = 1000;

#[expect(clippy::disallowed_methods, reason = "a test is its own program")]
fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is a whole number, not `{value}`")))
}

/// Tries inputs of `strategy`: `LASTWORD_FUZZ_SECONDS` long, or a few thousand. `property` panics
/// at an input that breaks it. The smallest such input is shown with its seed, which finds it again
/// as `LASTWORD_FUZZ_SEED`.
pub(crate) fn hold<S: Strategy>(name: &str, strategy: &S, property: impl Fn(S::Value)) {
    let seconds = number("LASTWORD_FUZZ_SECONDS");
    let first =
        number("LASTWORD_FUZZ_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let begun = Instant::now();
    let goes_on = |done: u64| match seconds {
        Some(seconds) => begun.elapsed() < Duration::from_secs(seconds),
        None => done < u64::from(FEW),
    };
    let (mut seed, mut done) = (first, 0);
    while goes_on(done) {
        round(name, seed, strategy, &property);
        done += u64::from(ROUND);
        seed = seed.wrapping_add(1);
    }
    let took = begun.elapsed().as_secs_f64();
    let inputs = f64::from(u32::try_from(done).unwrap_or(u32::MAX));
    println!(
        "{name}: {done} inputs from seed {first} in {took:.1} s, {:.0} a second",
        inputs / took
    );
}

fn round<S: Strategy>(name: &str, seed: u64, strategy: &S, property: &impl Fn(S::Value)) {
    let config = Config { cases: ROUND, failure_persistence: None, ..Config::default() };
    let bytes: Vec<u8> = seed.to_le_bytes().into_iter().cycle().take(32).collect();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let run = TestRunner::new_with_rng(config, rng).run(strategy, |input| {
        property(input);
        Ok(())
    });
    match run {
        Ok(()) => {}
        Err(TestError::Fail(why, input)) => {
            panic!("{name}: {why}\nLASTWORD_FUZZ_SEED={seed}\n{input:#?}")
        }
        Err(TestError::Abort(why)) => panic!("{name}: no input: {why}"),
    }
}

/// Bytes out of words that mean something and some that do not.
pub(crate) fn soup(words: &'static [&'static [u8]], most: usize) -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        8 => prop::sample::select(words).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 1..6),
        1 => ".{1,4}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(word, 0..most).prop_map(|words| words.concat())
}

/// Where a stream is cut on its way.
pub(crate) fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..12)
}

/// The pieces of `bytes` between these cuts; some are empty.
pub(crate) fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect()
}

/// A line of an event stream: its field and its value.
pub(crate) type Line = (Vec<u8>, Vec<u8>);

/// The lines of an event stream as the specification cuts them, empty ones as `None`; and whether
/// the last one was ended. For whole streams, and slow: something to compare with.
/// <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>
pub(crate) fn lines(bytes: &[u8]) -> (Vec<Option<Line>>, bool) {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let (mut lines, mut line, mut n) = (Vec::new(), Vec::new(), 0);
    while n < bytes.len() {
        match bytes[n..] {
            [b'\r', b'\n', ..] => n += 1,
            [b'\r' | b'\n', ..] => {}
            _ => {
                line.push(bytes[n]);
                n += 1;
                continue;
            }
        }
        n += 1;
        lines.push(field(&std::mem::take(&mut line)));
    }
    let ended = line.is_empty();
    if !ended {
        lines.push(field(&line));
    }
    (lines, ended)
}

fn field(line: &[u8]) -> Option<Line> {
    if line.is_empty() {
        return None;
    }
    let mut halves = line.splitn(2, |byte| *byte == b':');
    let name = halves.next().unwrap_or_default();
    let value = halves.next().unwrap_or_default();
    Some((name.to_vec(), value.strip_prefix(b" ").unwrap_or(value).to_vec()))
}

/// A property that is broken is found and shown, or nothing above says anything.
#[test]
fn what_is_broken_is_found_and_made_small() {
    let strategy = prop::collection::vec(0u32..1000, 0..20);
    let broken = |numbers: Vec<u32>| assert!(numbers.iter().all(|n| *n < 900), "a large one");
    let found = std::panic::catch_unwind(|| round("broken", 1, &strategy, &broken));
    let words = found.unwrap_err().downcast::<String>().unwrap();
    assert!(words.contains("a large one") && words.contains("LASTWORD_FUZZ_SEED=1"), "{words}");
    assert!(words.contains("900") && words.lines().count() <= 6, "{words}");
}
