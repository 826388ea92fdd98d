//! One generation: asks the model, hands what it says to the recorder, and always ends in one
//! `done`, which is written here and nowhere else.
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout};

use super::Engine;
use super::live::Tail;
use super::meter::Meter;
use super::models::Model;
use super::policy::{self, Next};
use super::recorder::Writer;
use super::stops::{Stop, Stops};
use crate::domain::event::{
    Done, ErrorCode, Event, Failure, FinishReason, LossReason, Status, ToolCallDelta,
};
use crate::domain::generation::{Outcome, Request};
use crate::domain::transcript::Transcript;
use crate::domain::utf8::without_nul;
use crate::ports::{Address, Attempt, Delta, Deltas, ProviderError, RowChange};

/// Deltas that are taken together when they are ready together.
const TOGETHER: usize = 128;
/// How long the usage may come after the model said that it is at its end.
const AFTER_FINISH: Duration = Duration::from_secs(5);
/// The longest text of one event, in bytes: a reader's page of events stays small.
const EVENT_BYTES: usize = 16 * 1024;

/// A generation that this process runs.
pub(super) struct Generation {
    pub(super) engine: Engine,
    pub(super) at: Address,
    pub(super) model: Model,
    pub(super) request: Request,
    pub(super) tail: Arc<Tail>,
    pub(super) writer: Writer,
    pub(super) transcript: Transcript,
    /// Whether its row still says that it waits.
    pub(super) queued: bool,
}

/// How an attempt went.
enum Attempted {
    Finished(FinishReason, Option<String>),
    Stopped(Stop),
    Lost(ProviderError),
    OutputLimit,
    LogOutage,
}

impl Generation {
    /// Runs to the end, in `place` if there is one already.
    pub(super) async fn run(mut self, place: Option<OwnedSemaphorePermit>) {
        let wall = self.engine.inner.limits.generation_wall;
        let mut stops = Stops {
            tail: Arc::clone(&self.tail),
            deadline: Instant::now() + wall,
            on_disconnect: self.request.on_disconnect,
        };
        let earlier = self.transcript.attempts;
        let input = self.request.prompt.estimated_tokens();
        let mut meter = Meter::new(input, &self.transcript.answer, earlier.saturating_sub(1));
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
            self.end(done).await;
        }
    }

    /// Waits for a place among the running ones, or for a reason not to run at all.
    async fn queue(&self, stops: &Stops) -> (Option<OwnedSemaphorePermit>, Option<Stop>) {
        let places = Arc::clone(&self.engine.inner.places);
        tokio::select! {
            biased;
            place = places.acquire_owned() => (place.ok(), None),
            stop = stops.wait() => (None, Some(stop)),
        }
    }

    /// Attempts until there is an ending; `None` if somebody else goes on.
    async fn attempts(&mut self, stops: &Stops, meter: &mut Meter) -> Option<Done> {
        let mut made = 0;
        loop {
            made += 1;
            meter.begin();
            let error = match self.attempt(stops, meter).await {
                Attempted::Finished(reason, raw) => return Some(finished(reason, raw)),
                Attempted::OutputLimit => return Some(finished(FinishReason::Length, None)),
                Attempted::Stopped(stop) => return stopped(stop),
                Attempted::LogOutage => return Some(failed(log_outage())),
                Attempted::Lost(error) => error,
            };
            tracing::info!(generation = %self.at.id, made, %error, "attempt lost");
            let mut told = Vec::new();
            if !policy::may_retry(&self.model, &self.transcript, &error, made) {
                let Some(notice) = self.fall_back(&error) else {
                    return Some(failed(error.into()));
                };
                told.push(notice);
                made = 0;
            }
            match policy::next(&self.model, &self.transcript, LossReason::Upstream) {
                Next::Again if told.is_empty() => told.push(notice("retrying", &error.message)),
                Next::Again => {}
                Next::Continue(event) | Next::Restart(event) => told.push(event),
                Next::End => return Some(failed(error.into())),
            }
            // Another model has no reason to wait.
            let pause = policy::pause(&error, made, chance());
            tokio::select! {
                stop = stops.wait() => return stopped(stop),
                () = sleep(pause), if made > 0 => {}
                () = std::future::ready(()), if made == 0 => {}
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
        self.model = next;
        Some(notice("fallback", &message))
    }

    async fn attempt(&mut self, stops: &Stops, meter: &mut Meter) -> Attempted {
        let stop = stops.wait();
        tokio::pin!(stop);
        let attempt = Attempt {
            prompt: self.request.prompt.clone(),
            so_far: self.transcript.answer.text.clone(),
        };
        let mut deltas = tokio::select! {
            biased;
            why = &mut stop => return Attempted::Stopped(why),
            started = self.model.provider.start(attempt) => match started {
                Ok(deltas) => deltas,
                Err(error) => return Attempted::Lost(error),
            },
        };
        let mut finish = None;
        loop {
            // An upstream that is always ready is stopped here; one that is not, below.
            if let Some(why) = self.tail.stop_reason() {
                return Attempted::Stopped(why);
            }
            let delta = tokio::select! {
                biased;
                delta = deltas.next() => delta,
                why = &mut stop => return Attempted::Stopped(why),
                () = sleep(AFTER_FINISH), if finish.is_some() => None,
            };
            let heard = hear(delta, &mut deltas, meter, &mut finish);
            let said = heard.events.iter().any(|e| !matches!(e, Event::Notice { .. }));
            let pushed = tokio::select! {
                biased;
                pushed = self.push(heard.events) => pushed,
                why = &mut stop => return Attempted::Stopped(why),
            };
            if !pushed {
                return Attempted::LogOutage;
            }
            if said && self.transcript.answer.len() > self.engine.inner.limits.output_bytes {
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
    async fn push(&mut self, events: Vec<Event>) -> bool {
        if events.is_empty() {
            return true;
        }
        let bytes = events.iter().map(size).sum();
        let next = self.writer.next();
        let limit = self.engine.inner.limits.write_outage;
        let place = match self.writer.try_place(bytes) {
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
        // Who waited in the queue is shown as running from its first event on.
        let row =
            if std::mem::take(&mut self.queued) { RowChange::Started } else { RowChange::None };
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
        let status = done.status;
        let hard = self.engine.inner.tasks.hard().clone();
        let durable = async {
            let place = self.writer.place(256).await.ok()?;
            self.writer.end(place, &[Event::Done(done)], outcome).await.ok()
        };
        tokio::select! {
            durable = durable => if durable.is_some() {
                tracing::info!(generation = %self.at.id, status = status.as_str(), "ended");
            },
            () = hard.cancelled() => {}
            () = self.tail.detached() => {}
        }
    }
}

/// What was ready at once.
struct Heard {
    events: Vec<Event>,
    /// `Some` when the deltas are over.
    over: Option<Result<(), ProviderError>>,
}

/// Takes `first` and everything behind it that is ready.
fn hear(
    first: Option<Result<Delta, ProviderError>>,
    deltas: &mut Deltas,
    meter: &mut Meter,
    finish: &mut Option<(FinishReason, Option<String>)>,
) -> Heard {
    let mut heard = Heard { events: Vec::new(), over: None };
    let mut next = Some(first);
    while let Some(item) = next {
        match item {
            None => heard.over = Some(Ok(())),
            Some(Err(error)) => heard.over = Some(Err(error)),
            Some(Ok(Delta::Finish { reason, raw })) => {
                *finish = Some((reason, raw.map(without_nul)));
            }
            Some(Ok(Delta::Usage(usage))) => meter.reported(usage),
            Some(Ok(Delta::Notice { code, message })) => heard.events.push(notice(code, &message)),
            Some(Ok(Delta::Text(text))) => {
                each_piece(text, |text| Event::Delta { text }, meter, &mut heard.events);
            }
            Some(Ok(Delta::Reasoning(text))) => {
                each_piece(text, |text| Event::Reasoning { text }, meter, &mut heard.events);
            }
            Some(Ok(Delta::Refusal(text))) => {
                each_piece(text, |text| Event::Refusal { text }, meter, &mut heard.events);
            }
            Some(Ok(Delta::ToolCall(call))) => tool_call(call, meter, &mut heard.events),
        }
        if heard.over.is_some() || heard.events.len() >= TOGETHER {
            break;
        }
        next = deltas.next().now_or_never();
    }
    heard
}

/// One event, or several where the upstream sends more at once than a reader shall hold.
fn each_piece(
    text: String,
    event: impl Fn(String) -> Event,
    meter: &mut Meter,
    events: &mut Vec<Event>,
) {
    meter.said(text.len());
    let mut rest = without_nul(text);
    while rest.len() > EVENT_BYTES {
        let tail = rest.split_off(rest.floor_char_boundary(EVENT_BYTES));
        events.push(event(std::mem::replace(&mut rest, tail)));
    }
    if !rest.is_empty() {
        events.push(event(rest));
    }
}

fn tool_call(call: ToolCallDelta, meter: &mut Meter, events: &mut Vec<Event>) {
    let ToolCallDelta { index, id, name, arguments } = call;
    let (mut id, mut name) = (id.map(without_nul), name.map(without_nul));
    if arguments.is_empty() {
        events.push(Event::ToolCall(ToolCallDelta { index, id, name, arguments }));
        return;
    }
    let fragment = |arguments| {
        let (id, name) = (id.take(), name.take());
        Event::ToolCall(ToolCallDelta { index, id, name, arguments })
    };
    let fragment = std::cell::RefCell::new(fragment);
    each_piece(arguments, |arguments| (fragment.borrow_mut())(arguments), meter, events);
}

/// The memory of an event, roughly, in bytes.
fn size(event: &Event) -> usize {
    let text = match event {
        Event::Delta { text } | Event::Reasoning { text } | Event::Refusal { text } => text.len(),
        Event::ToolCall(call) => call.arguments.len(),
        Event::Notice { message, .. } => message.len(),
        Event::Started { .. }
        | Event::Superseded { .. }
        | Event::Resumed { .. }
        | Event::Snapshot { .. }
        | Event::Done(_) => 64,
    };
    text + 64
}

fn notice(code: &str, message: &str) -> Event {
    Event::Notice { code: code.into(), message: without_nul(message.into()) }
}

fn finished(reason: FinishReason, raw: Option<String>) -> Done {
    Done { provider_finish_reason: raw, finish_reason: Some(reason), ..ended(reason.status()) }
}

/// The ending for a reason to stop; `None` if somebody else goes on.
fn stopped(stop: Stop) -> Option<Done> {
    match stop {
        Stop::Cancelled | Stop::Abandoned => Some(ended(Status::Cancelled)),
        Stop::TimeLimit => Some(finished(FinishReason::TimeLimit, None)),
        Stop::LetGo => None,
    }
}

pub(super) fn failed(error: Failure) -> Done {
    Done { error: Some(error.clone()), ..ended(policy::ending(error.code)) }
}

pub(super) fn ended(status: Status) -> Done {
    Done {
        status,
        finish_reason: None,
        provider_finish_reason: None,
        usage: crate::domain::event::Usage::default(),
        error: None,
    }
}

fn truncated() -> ProviderError {
    ProviderError {
        code: ErrorCode::UpstreamTruncated,
        message: "the model's answer broke off".into(),
        retryable: true,
        retry_after: None,
    }
}

fn log_outage() -> Failure {
    Failure {
        code: ErrorCode::StorageUnavailable,
        message: "the log could not be written for too long".into(),
        retryable: true,
        retry_after_ms: None,
    }
}

/// A number in 0..1, different for every caller: only for spreading retries.
#[expect(clippy::cast_precision_loss, reason = "a rough number will do")]
fn chance() -> f64 {
    (RandomState::new().hash_one(()) >> 11) as f64 / (1u64 << 53) as f64
}
