//! The built-in model "demo (no AI)": deterministic text at a real pace. Anyone can watch a resume,
//! a cancel or a crash without a key and a network, and benches have a source of load.
mod directives;
mod partner;
mod schema;
mod script;
mod text;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, Sleep};

use super::upstream::{client_calls, overlap};
use crate::domain::left_out::left_out;
use crate::ports::{Attempt, Continuation, Delta, Deltas, Provider, ProviderError};
use directives::Directives;
use script::{DemoStep, Script};

/// The model without AI. A prompt that begins with `/demo` sets its length, pace and failures. All
/// directives: `/demo tokens=500 tps=100 ttft_ms=50 jitter=0.2 fail_at=300 stall_at=200 stall_s=10
/// seed=7 stamp reasoning refusal tool_call unicode markdown length`.
///
/// It can go on from its own text at any byte.
#[derive(Clone, Copy, Debug, Default)]
pub struct Demo;

#[async_trait]
impl Provider for Demo {
    fn name(&self) -> &'static str {
        "demo"
    }

    fn continuation(&self) -> Continuation {
        Continuation::Prefix
    }

    async fn start(&self, attempt: Attempt) -> Result<Deltas, ProviderError> {
        let (directives, complaints) = Directives::parse(attempt.prompt.last_user_text());
        let notice = |(code, message)| Delta::Notice { code, message };
        let notices: Vec<Delta> = complaints.into_iter().map(notice).rev().collect();
        let pace = Pace::new(&directives);
        let told = attempt.source.as_ref().map(|source| left_out(source, &[]));
        let first = attempt.so_far.is_empty();
        let script = Script::new(&attempt, directives)?;
        let now = Instant::now();
        let told = told.filter(|_| first);
        let deltas = Playing { notices, script, pace, next: None, now, alarm: None, burst: 0 };
        let deltas = client_calls::named(deltas.boxed(), &attempt.prompt.parameters);
        Ok(overlap::told(deltas, &told.unwrap_or_default()))
    }
}

/// When each token is due.
#[derive(Debug)]
struct Pace {
    start: Instant,
    ttft: Duration,
    /// Seconds between two tokens.
    interval: f64,
    jitter: f64,
    stalled: Duration,
    stall: Duration,
}

impl Pace {
    fn new(directives: &Directives) -> Self {
        let interval = if directives.tps > 0.0 { 1.0 / directives.tps } else { 0.0 };
        Self {
            start: Instant::now(),
            ttft: directives.ttft,
            // A day between two tokens is as good as never.
            interval: interval.min(86_400.0),
            jitter: directives.jitter,
            stalled: Duration::ZERO,
            stall: directives.stall,
        }
    }

    /// The time of the token with so many before it in the attempt. It does not depend on when the
    /// tokens before were taken, so that the rate is kept.
    fn due(&self, before: u32, chance: f64) -> Instant {
        let shift = self.jitter * (chance - 0.5);
        let place = (f64::from(before) + shift).max(0.0);
        self.start + self.ttft + self.stalled + Duration::from_secs_f64(self.interval * place)
    }

    /// The time when a token was due, but not its first bytes: `@`, 16 digits of microseconds since
    /// 1970, a space. A late token is thus seen to be late.
    fn stamp(&self, due: Instant, skip: usize) -> String {
        #[expect(clippy::disallowed_methods, reason = "a load client on this machine reads it")]
        let now = std::time::SystemTime::now();
        let late = if self.interval > 0.0 { due.elapsed() } else { Duration::ZERO };
        let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let mut stamp = format!("@{:016} ", since.saturating_sub(late).as_micros());
        stamp.drain(..skip.min(stamp.len()));
        stamp
    }
}

/// A script being played: what is due comes without waiting.
struct Playing {
    /// Backwards.
    notices: Vec<Delta>,
    script: Script,
    pace: Pace,
    /// The next line, with its time.
    next: Option<(DemoStep, Instant)>,
    /// The clock when it was last read: tokens that were due then need not ask again.
    now: Instant,
    alarm: Option<Pin<Box<Sleep>>>,
    burst: u32,
}

impl Playing {
    /// So many tokens in a row, then others may run: with `tps=0` they never end.
    const BURST: u32 = 128;

    fn next_step(&mut self) -> Option<(DemoStep, Instant)> {
        let line = self.script.next_step()?;
        if line == DemoStep::Stall {
            self.pace.stalled += self.pace.stall;
        }
        let before = self.script.spoken().saturating_sub(1);
        let due = self.pace.due(before, self.script.chance());
        Some((line, due))
    }

    fn wait(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        self.now = Instant::now();
        if due <= self.now {
            return Poll::Ready(());
        }
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if alarm.deadline() != due {
            alarm.as_mut().reset(due);
        }
        ready!(alarm.as_mut().poll(cx));
        self.now = Instant::now();
        Poll::Ready(())
    }
}

impl Stream for Playing {
    type Item = Result<Delta, ProviderError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(notice) = this.notices.pop() {
            return Poll::Ready(Some(Ok(notice)));
        }
        this.burst += 1;
        if this.burst > Self::BURST {
            this.burst = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            if this.next.is_none() {
                this.next = this.next_step();
            }
            let Some((_, due)) = &this.next else { return Poll::Ready(None) };
            let due = *due;
            if due > this.now && this.wait(due, cx).is_pending() {
                this.burst = 0;
                return Poll::Pending;
            }
            match this.next.take() {
                Some((DemoStep::Say(delta), _)) => return Poll::Ready(Some(Ok(delta))),
                Some((DemoStep::Stamp { skip }, due)) => {
                    return Poll::Ready(Some(Ok(Delta::Text(this.pace.stamp(due, skip)))));
                }
                Some((DemoStep::Lose(loss), _)) => return Poll::Ready(Some(Err(loss))),
                Some((DemoStep::Stall, _)) | None => {}
            }
        }
    }
}
