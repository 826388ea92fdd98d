//! The one way to read: catch up from the log, follow the tail, and on lag catch up again.
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::JoinError;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::following::Following;
use super::open::{Preface, Read};
use super::pages::Page;
use super::poll_gate::Alarm;
use crate::domain::entry::{Entry, Kind};
use crate::domain::id::Seq;
use crate::engine::run::live::Behind;
use crate::engine::{Engine, EngineError};
use crate::metrics::{Counted, Transport};
use crate::ports::{Address, LogError};

/// The pause before the log is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// The next item of a reader.
#[derive(Debug)]
pub enum Item {
    /// Everything that is ready, in order, right behind what came before.
    Entries(Vec<Entry>),
    /// A sign of life: nothing happened for a while.
    Heartbeat,
}

/// One reader of one generation.
///
/// It ends after `done`, at a shutdown, or when the log was out of reach for too long. In the
/// latter cases the reader comes back with its cursor.
pub struct Session {
    engine: Engine,
    at: Address,
    read: Read,
    state: State,
    following: Option<Following>,
    heartbeat: Instant,
    /// Set anew only when it rings: a timer per event would cost more than the event.
    alarm: Alarm,
    /// Since when the log has been out of reach.
    outage: Option<Instant>,
    /// When it leaves a server that is about to stop.
    leaves: Option<Box<Alarm>>,
    /// As what it is counted, once its transport said so.
    counted: Option<(Transport, Counted)>,
}

/// Work on the log, done aside: a reader that is not asked for more for a while must not keep a
/// connection of the pool.
type Aside<T> = AbortOnDropHandle<T>;

enum State {
    /// The cursor is not yet looked at: the log was out of reach when the reader came, or may have
    /// changed since.
    Unopened,
    /// It is being looked at.
    Opening(Aside<Result<Preface, EngineError>>),
    /// These come first.
    First(Vec<Entry>),
    Following,
    /// A page of the log is on its way.
    Reading(Aside<Result<Page, LogError>>),
    /// The log is left alone for a while; true at a shutdown.
    Pausing(Pin<Box<dyn Future<Output = bool> + Send>>),
    Over,
}

/// The result of a step.
enum Step {
    /// Take another one.
    Again,
    Item(Item),
    /// The session is over.
    Over,
}

impl Session {
    pub(in crate::engine) fn new(
        engine: Engine,
        at: Address,
        read: Read,
        first: Vec<Entry>,
    ) -> Self {
        let state = if first.is_empty() { State::Following } else { State::First(first) };
        Self::in_state(engine, at, read, state)
    }

    pub(super) fn unopened(engine: Engine, at: Address, read: Read) -> Self {
        Self::in_state(engine, at, read, State::Unopened)
    }

    fn in_state(engine: Engine, at: Address, read: Read, state: State) -> Self {
        let heartbeat = Instant::now() + engine.inner.limits.heartbeat;
        // Counted as a reader from the start: before its first event, too, it reads.
        let following = engine.tail_of(&at);
        let alarm = Alarm::at(heartbeat);
        Self {
            engine,
            at,
            read,
            state,
            following,
            heartbeat,
            alarm,
            outage: None,
            leaves: None,
            counted: None,
        }
    }

    /// Counts it, and what it hands out, as a stream of this transport and dialect.
    #[must_use]
    pub fn counted_as(mut self, transport: Transport, dialect: &'static str) -> Self {
        self.counted = Some((transport, self.engine.metrics().reading(transport, dialect)));
        self
    }

    /// The next item; `None` when the session is over. Cancel safe.
    pub async fn next(&mut self) -> Option<Item> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same. Most of a reader's cost per event is here and in the callees. The common path is
    /// therefore plain, and rare results are boxed.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        loop {
            match ready!(self.step(cx)) {
                Step::Again => {}
                Step::Item(item) => return Poll::Ready(Some(item)),
                Step::Over => {
                    self.state = State::Over;
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let step = match &mut self.state {
            State::Following => return self.follow(cx),
            State::First(entries) => {
                let entries = std::mem::take(entries);
                self.state = State::Following;
                self.hand_out(entries, Instant::now())
            }
            State::Unopened => {
                let (engine, at, read) = (self.engine.clone(), self.at.clone(), self.read);
                let preface = async move { engine.preface(&at, read).await };
                self.state = State::Opening(self.engine.aside(preface));
                Step::Again
            }
            State::Opening(preface) => {
                let preface = ready!(Pin::new(preface).poll(cx));
                self.opened(preface.unwrap_or_else(|e| Err(broken(&e).into())))
            }
            State::Reading(page) => {
                let page = ready!(Pin::new(page).poll(cx));
                self.state = State::Following;
                self.caught_up(page.unwrap_or_else(|e| Err(broken(&e))))
            }
            State::Pausing(pause) => match pause.as_mut().poll(cx) {
                Poll::Ready(true) => Step::Over,
                // The log may have changed while it was away.
                Poll::Ready(false) => {
                    self.state = State::Unopened;
                    Step::Again
                }
                Poll::Pending => {
                    ready!(self.alarm.poll(cx));
                    self.beat()
                }
            },
            State::Over => Step::Over,
        };
        Poll::Ready(step)
    }

    /// Applies the log's answer to the cursor.
    fn opened(&mut self, preface: Result<Preface, EngineError>) -> Step {
        match preface {
            Ok(Preface::Events(cursor, first)) => {
                self.outage = None;
                if !first.is_empty() {
                    self.read = Read { cursor, epoch: None };
                }
                self.state = if first.is_empty() { State::Following } else { State::First(first) };
                Step::Again
            }
            Err(EngineError::Log(LogError::Unavailable(_))) => self.wait_for_log(),
            // The reader's reconnect gets 204 or 404.
            Ok(Preface::Complete) | Err(_) => Step::Over,
        }
    }

    fn follow(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        if self.leaves(cx) {
            return Poll::Ready(Step::Over);
        }
        if self.following.is_none() {
            self.following = self.engine.tail_of(&self.at);
        }
        let Some(following) = &mut self.following else {
            return Poll::Ready(self.catch_up(None));
        };
        let tail = &following.reading.tail;
        if tail.is_detached() {
            // The log that comes next may have been restored to an older state, and its events
            // after our cursor may belong to another history.
            return Poll::Ready(self.reopen());
        }
        match tail.after(self.read.cursor) {
            Behind::Entries(entries) => {
                let now = Instant::now();
                if self.counted.is_some() {
                    self.engine.metrics().lag(tail.lag(now));
                }
                Poll::Ready(self.take(entries, now))
            }
            Behind::Log(until) => Poll::Ready(self.catch_up(Some(until))),
            // It wakes its readers for a stop and a loss too.
            Behind::Nothing if following.poll_changed(cx).is_ready() => Poll::Ready(Step::Again),
            Behind::Nothing => {
                // Once more, now that a stop that comes later wakes us.
                if self.engine.is_draining() && self.leaves.is_none() {
                    return Poll::Ready(Step::Again);
                }
                let remote = following.remote;
                ready!(self.alarm.poll(cx));
                let beat = self.beat();
                // After a long silence we look whether what runs elsewhere is still there: its
                // events may have been dropped, or all of it erased.
                if remote && matches!(beat, Step::Item(_)) {
                    self.state = State::Unopened;
                }
                Poll::Ready(beat)
            }
        }
    }

    /// Whether the server is about to stop, and it is this reader's turn to leave.
    fn leaves(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.engine.is_draining() {
            return false;
        }
        let turn = || Box::new(Alarm::at(self.engine.turn_to_leave()));
        self.leaves.get_or_insert_with(turn).poll(cx).is_ready()
    }

    fn reopen(&mut self) -> Step {
        self.following = None;
        self.state = State::Unopened;
        Step::Again
    }

    fn catch_up(&mut self, until: Option<Seq>) -> Step {
        let page = self.engine.clone().page(self.at.clone(), self.read.cursor, until);
        self.state = State::Reading(self.engine.aside(page));
        Step::Again
    }

    fn caught_up(&mut self, page: Result<Page, LogError>) -> Step {
        match page {
            // The tail has moved on, and the log does not have what it left behind: it was erased,
            // or went back in time. The cursor is looked at anew.
            Ok(page) if page.entries.is_empty() && self.following.is_some() => self.pause(),
            Ok(Page { entries, at_end }) => {
                self.outage = None;
                let step = match entries.is_empty() {
                    true => Step::Again,
                    false => self.take(entries, Instant::now()),
                };
                if at_end && self.following.is_none() && matches!(self.state, State::Following) {
                    self.following = self.engine.join(&self.at, self.read.cursor);
                    if self.following.is_none() {
                        return Step::Over;
                    }
                }
                step
            }
            Err(LogError::Unavailable(_)) => self.wait_for_log(),
            Err(error @ (LogError::Conflict | LogError::Broken(_) | LogError::Doubled(_))) => {
                self.engine.note_doubled(&error);
                tracing::error!(generation = %self.at.id, %error, "cannot be read");
                Step::Over
            }
        }
    }

    fn wait_for_log(&mut self) -> Step {
        let since = *self.outage.get_or_insert_with(Instant::now);
        if since.elapsed() > self.engine.inner.limits.read_outage {
            return Step::Over;
        }
        self.pause()
    }

    fn pause(&mut self) -> Step {
        let soft = self.engine.inner.tasks.soft().clone();
        self.state = State::Pausing(Box::pin(async move {
            tokio::select! {
                () = sleep(RETRY) => false,
                () = soft.cancelled() => true,
            }
        }));
        Step::Again
    }

    /// Hands out what continues what was read.
    fn take(&mut self, entries: Vec<Entry>, now: Instant) -> Step {
        let continues = entries.first().is_none_or(|first| first.continues(self.read.epoch));
        // The log was restored to an older state.
        if continues { self.hand_out(entries, now) } else { self.reopen() }
    }

    fn hand_out(&mut self, entries: Vec<Entry>, now: Instant) -> Step {
        if let Some((transport, _)) = &self.counted {
            self.engine.metrics().handed_out(*transport, entries.len());
        }
        if let Some(last) = entries.last() {
            if last.seq >= self.read.cursor {
                self.read = Read { cursor: last.seq, epoch: last.epoch };
            }
            if last.kind == Kind::Done {
                self.state = State::Over;
            }
        }
        self.heartbeat = now + self.engine.inner.limits.heartbeat;
        Step::Item(Item::Entries(entries))
    }

    /// The alarm rang: a heartbeat, unless something was handed out meanwhile.
    fn beat(&mut self) -> Step {
        let now = Instant::now();
        let silent = self.heartbeat <= now;
        if silent {
            self.heartbeat = now + self.engine.inner.limits.heartbeat;
        }
        self.alarm.reset(self.heartbeat);
        if silent { Step::Item(Item::Heartbeat) } else { Step::Again }
    }
}

fn broken(error: &JoinError) -> LogError {
    LogError::Broken(error.to_string())
}
