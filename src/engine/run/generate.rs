//! One generation: asks the model, hands what it says to the recorder, and always ends in one
//! `done`, which is written here and nowhere else.
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, future::ready};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout};

use super::background_response::BackgroundState;
use super::delta_batch::{notice, read_batch, size};
use super::ending::{failed, finished, log_outage, lost, stopped, truncated};
use super::full_window;
use super::live::Tail;
use super::meter::Meter;
use super::pace::Pace;
use super::policy::{self, Facts, Next};
use super::recorder::Writer;
use super::spans::{self, Span};
use super::stop_conditions::{Stop, StopConditions, coming_back};
use super::waiting::{Unheard, Waiting};
use crate::domain::event::{Done, Event, FinishReason, LossReason};
use crate::domain::generation::{Outcome, Request};
use crate::domain::thinking;
use crate::domain::transcript::Transcript;
use crate::engine::Engine;
use crate::engine::models::Model;
use crate::engine::presence::Answering;
use crate::ports::{Address, Attempt, Deltas, ProviderError};

/// How long the usage may come after the model said that it is at its end.
const AFTER_FINISH: Duration = Duration::from_secs(5);

/// A generation that this process runs.
pub(in crate::engine) struct Generation {
    pub(in crate::engine) engine: Engine,
    pub(in crate::engine) at: Address,
    pub(in crate::engine) model: Model,
    pub(in crate::engine) request: Request,
    pub(in crate::engine) tail: Arc<Tail>,
    pub(in crate::engine) writer: Writer,
    pub(in crate::engine) transcript: Transcript,
    /// Whether its row still says that it waits.
    pub(super) queued: bool,
    pub(super) background: BackgroundState,
    pub(in crate::engine) pace: Pace,
    /// Whether an earlier owner ran it, whose readers were cut with it.
    pub(super) taken_over: bool,
    /// Whether a grammar rules its answer.
    pub(in crate::engine) structured: bool,
    /// Shows in its conversation that the model types.
    pub(super) _answering: Option<Answering>,
}

/// Waits before the next attempt; another model has no reason to. A reason to stop ends it.
async fn rest(error: &ProviderError, made: u32, stops: &StopConditions) -> Option<Stop> {
    if made == 0 {
        return stops.wait().now_or_never();
    }
    tokio::select! {
        stop = stops.wait() => Some(stop),
        () = sleep(policy::pause(error, made, fastrand::f64())) => None,
    }
}

/// How an attempt went.
enum Attempted {
    Finished(FinishReason, Option<String>),
    Stopped(Stop),
    Lost(ProviderError),
    /// The answer that the upstream kept is gone: nothing new was tried.
    Gone(ProviderError),
    OutputLimit,
    LogOutage,
}

impl Generation {
    /// Runs to the end, in `place` if there is one already.
    pub(in crate::engine) async fn run(mut self, place: Option<OwnedSemaphorePermit>) {
        let wall = self.engine.inner.limits.generation_wall;
        let wall = self.request.wall_s.map_or(wall, |s| wall.min(Duration::from_secs(s.into())));
        let mut stops = StopConditions {
            tail: Arc::clone(&self.tail),
            deadline: Instant::now() + wall,
            on_disconnect: self.request.on_disconnect,
            coming_back: coming_back(self.taken_over, &self.request),
            leaving: self.engine.inner.runs.live.leaving().clone(),
            instance: self.engine.inner.instance,
            model: self.request.model.clone(),
            log: self.engine.inner.log.clone(),
        };
        self.note_movable();
        let mut meter = self.meter();
        self.recount(&mut meter).await;
        let (_place, stop) = match place {
            Some(place) => (Some(place), None),
            None => self.queue(&stops).await,
        };
        // Waiting for a place is not the model's time.
        stops.deadline = Instant::now() + wall;
        let done = match stop {
            Some(stop) => stopped(stop),
            None => self.attempts(&stops, &mut meter).await,
        };
        if let Some(mut done) = done {
            done.usage = meter.total();
            // Before the ending, so that a receipt is true.
            self.abandon().await;
            self.end(done).await;
        } else if self.tail.stop_reason() == Some(Stop::HandOver) {
            self.give_up().await;
        }
    }

    /// Waits for a place among the running ones, or for a reason not to run at all.
    async fn queue(&self, stops: &StopConditions) -> (Option<OwnedSemaphorePermit>, Option<Stop>) {
        let places = Arc::clone(&self.engine.inner.runs.places);
        tokio::select! {
            biased;
            place = places.acquire_owned() => (place.ok(), None),
            stop = stops.wait() => (None, Some(stop)),
        }
    }

    /// Attempts until there is an ending; `None` if somebody else goes on.
    async fn attempts(&mut self, stops: &StopConditions, meter: &mut Meter) -> Option<Done> {
        let mut made = 0;
        let mut waiting = Waiting::default();
        loop {
            made += 1;
            meter.begin(self.resume().is_some());
            let before = self.transcript.seq;
            let mut error = match self.attempt(stops, meter).await {
                Attempted::Finished(reason, raw) => {
                    self.background.ended();
                    let reason = full_window::reason(reason, &self.model, &self.request, meter);
                    return Some(finished(reason, raw));
                }
                Attempted::OutputLimit => return Some(finished(FinishReason::Length, None)),
                Attempted::Stopped(stop) => return stopped(stop),
                Attempted::LogOutage => return Some(failed(log_outage())),
                Attempted::Lost(error) => error,
                Attempted::Gone(error) => {
                    made -= 1;
                    error
                }
            };
            // The code alone: the message may quote what the upstream answered.
            tracing::info!(generation = %self.at.id, made, code = error.code.as_str(), "attempt lost");
            self.pace.interrupted();
            self.engine.metrics().loss(error.code).inc();
            let mut told = Vec::new();
            if self.transcript.seq == before {
                match self.unheard(&mut error, &mut waiting, stops, meter).await {
                    Unheard::Lost => {}
                    Unheard::Spent => made = made.max(self.model.max_attempts),
                    Unheard::Over(done) => return done,
                    Unheard::Again => {
                        made -= 1;
                        continue;
                    }
                    Unheard::Refused(notice) => {
                        made -= 1;
                        told.push(notice);
                    }
                }
            } else {
                waiting = Waiting::default();
            }
            if !policy::may_retry(&self.model, &self.transcript, &error, made) {
                let Some(notice) = self.fall_back(&error) else {
                    return Some(lost(error, &self.transcript.answer));
                };
                told.push(notice);
                made = 0;
            }
            let facts = Facts { kept: self.resume().is_some(), structured: self.structured };
            match policy::next(&self.model, &self.transcript, LossReason::Upstream, facts) {
                Next::Again if told.is_empty() => told.push(notice("retrying", &error.message)),
                Next::Again => {}
                Next::Continue(event) => told.push(event),
                Next::Restart(event) => {
                    self.abandon_beside();
                    meter.voided();
                    told.push(event);
                }
                Next::End => return Some(lost(error, &self.transcript.answer)),
            }
            if let Some(stop) = rest(&error, made, stops).await {
                return stopped(stop);
            }
            if !self.push(told).await {
                return Some(failed(log_outage()));
            }
        }
    }

    /// Goes over to the model's fallback, if it has one that is still there.
    fn fall_back(&mut self, error: &ProviderError) -> Option<Event> {
        if !policy::may_fall_back(&self.model, &self.transcript, error) {
            return None;
        }
        let next = self.engine.models().find(Some(self.model.fallback.as_deref()?))?.clone();
        let message = format!(
            "`{}` is given up, `{}` goes on: {}",
            self.model.name, next.name, error.message
        );
        self.abandon_beside();
        self.model = next;
        Some(notice("fallback", &message))
    }

    async fn attempt(&mut self, stops: &StopConditions, meter: &mut Meter) -> Attempted {
        if let Some(why) = self.tail.stop_reason() {
            return Attempted::Stopped(why);
        }
        let mut stop = stops.beside();
        let named = tokio::select! {
            biased;
            why = &mut stop => return Attempted::Stopped(why),
            named = self.name_answer() => named,
        };
        let told = self.told().await;
        let (Ok(named), Ok(prompt)) = (named, told) else { return Attempted::LogOutage };
        let attempt = Attempt {
            prompt,
            so_far: self.transcript.answer.text.clone(),
            resume: if named.is_some() { None } else { self.resume() },
            trace: spans::upstream(self),
            source: self.request.source.clone(),
            reasoning: self.transcript.answer.reasoning.clone(),
            thinking: thinking::of_answer(&self.transcript.answer),
            spent: meter.spoken(),
            given: self.request.continues.map_or(0, |earlier| earlier.bytes),
        };
        let resumes = attempt.resume.is_some();
        let provider = Arc::clone(&self.model.provider);
        let mut starting = match &named {
            Some(name) => provider.start_as(name, attempt),
            None => provider.start(attempt),
        };
        let mut deltas = tokio::select! {
            biased;
            why = &mut stop => {
                self.learn(why, starting).await;
                return Attempted::Stopped(why);
            }
            started = &mut starting => match started {
                Ok(deltas) => deltas,
                Err(error) => {
                    self.note_unnamed(named.is_some(), &error);
                    return Attempted::Lost(error);
                }
            },
        };
        self.tail.accepted.cancel();
        self.model.note_seen();
        let heard = self.listen(&mut deltas, &mut stop, meter).await;
        self.model.note_seen();
        match heard {
            Attempted::Stopped(why) => {
                self.learn(why, ready(Ok(deltas))).await;
                Attempted::Stopped(why)
            }
            Attempted::Lost(error) if resumes && self.resume().is_none() => Attempted::Gone(error),
            attempted @ (Attempted::Finished(..)
            | Attempted::Lost(_)
            | Attempted::Gone(_)
            | Attempted::OutputLimit
            | Attempted::LogOutage) => attempted,
        }
    }

    /// Hears the model to its end, or until something else ends it.
    async fn listen(
        &mut self,
        deltas: &mut Deltas,
        stop: &mut (impl Future<Output = Stop> + Unpin),
        meter: &mut Meter,
    ) -> Attempted {
        let mut finish = None;
        loop {
            // An upstream that is always ready is stopped here; one that is not, below.
            if let Some(why) = self.tail.stop_reason() {
                return Attempted::Stopped(why);
            }
            let delta = tokio::select! {
                biased;
                delta = deltas.next() => delta,
                why = &mut *stop => return Attempted::Stopped(why),
                // A timer is made only when it is wanted.
                () = async { sleep(AFTER_FINISH).await }, if finish.is_some() => None,
            };
            let heard = read_batch(delta, deltas, meter, &mut finish);
            if let Some(kept) = heard.kept {
                self.keep(kept);
            }
            let said = heard.events.iter().any(|e| !matches!(e, Event::Notice { .. }));
            if said {
                self.pace.said(&self.engine.inner.metrics);
            }
            let pushed = tokio::select! {
                biased;
                pushed = self.push(heard.events) => pushed,
                why = &mut *stop => return Attempted::Stopped(why),
            };
            if !pushed {
                return Attempted::LogOutage;
            }
            let limits = &self.engine.inner.limits;
            let beside = self.transcript.answer.extras_bytes();
            if self.transcript.len() > limits.output_bytes || beside > limits.extras_bytes {
                return Attempted::OutputLimit;
            }
            match (heard.over, finish.take()) {
                (None, open) => finish = open,
                // The model had come to its end; what broke after it is of no account.
                (Some(_), Some((reason, raw))) => return Attempted::Finished(reason, raw),
                (Some(Err(error)), None) => return Attempted::Lost(error),
                (Some(Ok(())), None) => return Attempted::Lost(truncated()),
            }
        }
    }

    /// Hands events to the recorder and folds them; false if the log is out of reach for too long.
    pub(in crate::engine) async fn push(&mut self, events: Vec<Event>) -> bool {
        if events.is_empty() && !self.background.is_news() {
            return true;
        }
        let bytes = events.iter().map(size).sum();
        let next = self.writer.next();
        let limit = self.engine.inner.limits.write_outage;
        let place = match self.writer.try_permit(bytes) {
            Some(place) => place,
            None => match timeout(limit, self.writer.place(bytes)).await {
                Ok(Ok(place)) => place,
                Ok(Err(_)) | Err(_) => return false,
            },
        };
        let mut seq = next;
        for event in &events {
            if let Err(error) = self.transcript.apply(seq, event) {
                tracing::error!(generation = %self.at.id, %error, "a fault of lastword");
            }
            seq = seq.next();
        }
        self.note_movable();
        let row = self.row_change();
        self.writer.push(place, &events, row);
        true
    }

    /// Writes the one ending, however long the log takes to come back.
    async fn end(&mut self, done: Done) {
        let outcome = Outcome {
            answer: self.transcript.answer.clone(),
            done: done.clone(),
            attempts: self.transcript.attempts,
        };
        let (status, tokens) = (done.status, done.usage.output_tokens);
        let span = Span::of(self, &done);
        let hard = self.engine.inner.tasks.hard().clone();
        let durable = async {
            let place = self.writer.place(256).await.ok()?;
            self.writer.end(place, &[Event::Done(done)], outcome).await.ok()
        };
        tokio::select! {
            durable = durable => if durable.is_some() {
                tracing::info!(
                    generation = %self.at.id,
                    tenant = self.at.tenant.as_str(),
                    model = self.model.name,
                    status = status.as_str(),
                    attempts = self.transcript.attempts,
                    tokens,
                    trace_id = self.request.trace.map(|trace| trace.trace_id()),
                    ms = self.pace.milliseconds(),
                    "generation"
                );
                if let Some(span) = span {
                    span.say(self.pace.elapsed());
                }
                self.engine.metrics().ending(status).inc();
            },
            () = hard.cancelled() => {}
            () = self.tail.detached() => {}
        }
    }
}
