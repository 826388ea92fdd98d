//! An answer outlives its model's server: a server that cannot be reached is waited for by time,
//! once it was there. One that never was is a mistake in the configuration, which is told soon.
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::delta_batch::notice;
use super::ending::{failed, log_outage, stopped};
use super::generate::Generation;
use super::meter::Meter;
use super::policy;
use super::stop_conditions::StopConditions;
use crate::domain::event::{Done, Event};
use crate::ports::ProviderError;

/// The longest pause between two looks at a server that is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A server that is away.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    since: Option<Instant>,
    looks: u32,
}

/// The meaning of an attempt in which nothing was said.
#[derive(Debug)]
pub(super) enum Unheard {
    /// It counts as an attempt.
    Lost,
    /// Its server is away, and may be back by now.
    Again,
    /// Its server was away for too long.
    Spent,
    /// Its server does not go on from a text, as a reader is told.
    Refused(Event),
    /// There is an ending, or somebody else goes on.
    Over(Option<Done>),
}

impl Generation {
    /// Looks at an attempt in which nothing was said, and waits a moment for a server that is away.
    /// An error that leads to another attempt becomes retryable.
    pub(super) async fn unheard(
        &mut self,
        error: &mut ProviderError,
        waiting: &mut Waiting,
        stops: &StopConditions,
        meter: &mut Meter,
    ) -> Unheard {
        if self.transcript.answer.is_empty() {
            return self.away_at_start(error, waiting, stops, meter).await;
        }
        if self.resume().is_none() && policy::refuses_to_continue(&self.model, error) {
            self.model.note_refusal();
            error.retryable = true;
            return Unheard::Refused(notice("cannot_continue", &error.message));
        }
        if !policy::is_away(error) {
            return Unheard::Lost;
        }
        self.wait(error, waiting, stops, meter).await
    }

    /// The same before the first text. A model that is asked only once is not waited for.
    async fn away_at_start(
        &mut self,
        error: &ProviderError,
        waiting: &mut Waiting,
        stops: &StopConditions,
        meter: &mut Meter,
    ) -> Unheard {
        let was_there = waiting.since.is_some() || self.taken_over || self.model.was_seen();
        if !policy::is_away(error) || !was_there || self.model.max_attempts == 1 {
            return Unheard::Lost;
        }
        self.wait(error, waiting, stops, meter).await
    }

    async fn wait(
        &mut self,
        error: &ProviderError,
        waiting: &mut Waiting,
        stops: &StopConditions,
        meter: &mut Meter,
    ) -> Unheard {
        let recovery = &self.model.recovery;
        let budget = match &self.model.fallback {
            Some(_) => recovery.fallback_after.min(recovery.reconnect),
            None => recovery.reconnect,
        };
        meter.unmade();
        let first = waiting.since.is_none();
        let since = *waiting.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= budget {
            return Unheard::Spent;
        }
        if first {
            let message = format!("waiting for the model's server: {}", error.message);
            if !self.push(vec![notice("waiting", &message)]).await {
                return Unheard::Over(Some(failed(log_outage())));
            }
        }
        waiting.looks += 1;
        let pause = policy::pause(error, waiting.looks, fastrand::f64());
        let left = budget.saturating_sub(since.elapsed());
        tokio::select! {
            stop = stops.wait() => Unheard::Over(stopped(stop)),
            () = sleep(pause.min(LONGEST_PAUSE).min(left)) => Unheard::Again,
        }
    }
}
