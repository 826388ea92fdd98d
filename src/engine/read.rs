//! The one way to read: catch up from the log, follow the tail, and on lag catch up again.
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::live::{Behind, Reading};
use super::open::Preface;
use super::{Engine, EngineError, PAGE};
use crate::domain::entry::{Entry, Kind};
use crate::domain::id::Seq;
use crate::ports::{Address, LogError};

/// The pause before the log is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// What a reader gets next.
#[derive(Debug)]
pub enum Item {
    /// Everything that is ready, in order, right behind what came before.
    Entries(Vec<Entry>),
    /// A sign of life: nothing happened for a while.
    Heartbeat,
}

/// One reader of one generation.
///
/// It ends after `done`, at a shutdown, or when the log was out of reach for too long: in the
/// latter cases the reader comes back with its cursor.
pub struct Session {
    engine: Engine,
    at: Address,
    cursor: Seq,
    state: State,
    following: Option<(Reading, watch::Receiver<Seq>)>,
    heartbeat: Instant,
    /// Set anew only when it rings: a timer per event would cost more than the event.
    alarm: Pin<Box<Sleep>>,
    /// Since when the log has been out of reach.
    outage: Option<Instant>,
}

enum State {
    /// The log was out of reach when the reader came: its cursor is not yet looked at.
    Unopened,
    /// These come first.
    First(Vec<Entry>),
    Following,
    Over,
}

impl Session {
    pub(super) fn new(engine: Engine, at: Address, cursor: Seq, first: Vec<Entry>) -> Self {
        let state = if first.is_empty() { State::Following } else { State::First(first) };
        Self::in_state(engine, at, cursor, state)
    }

    pub(super) fn unopened(engine: Engine, at: Address, cursor: Seq) -> Self {
        Self::in_state(engine, at, cursor, State::Unopened)
    }

    fn in_state(engine: Engine, at: Address, cursor: Seq, state: State) -> Self {
        let heartbeat = Instant::now() + engine.inner.limits.heartbeat;
        // Counted as a reader from the start: before its first event, too, it reads.
        let following = engine.inner.live.find(&at.tenant, at.id).map(|tail| {
            let heads = tail.heads();
            (tail.reader(), heads)
        });
        let alarm = Box::pin(sleep_until(heartbeat));
        Self { engine, at, cursor, state, following, heartbeat, alarm, outage: None }
    }

    /// The next item; `None` when the session is over. Cancel safe.
    pub async fn next(&mut self) -> Option<Item> {
        loop {
            match std::mem::replace(&mut self.state, State::Following) {
                State::Over => {
                    self.state = State::Over;
                    return None;
                }
                State::First(entries) => return Some(self.hand_out(entries)),
                State::Unopened => {
                    self.state = State::Unopened;
                    if let Some(item) = self.open().await {
                        return item;
                    }
                }
                State::Following => {
                    if let Some(item) = self.follow().await {
                        return item;
                    }
                }
            }
        }
    }

    /// Looks at the cursor, now that the log may be back.
    async fn open(&mut self) -> Option<Option<Item>> {
        match self.engine.preface(&self.at, self.cursor).await {
            Ok(Preface::Events(cursor, first)) => {
                self.outage = None;
                self.cursor = cursor;
                self.state = if first.is_empty() { State::Following } else { State::First(first) };
                None
            }
            Err(EngineError::Log(LogError::Unavailable(_))) => self.wait_for_log().await,
            // The reader's reconnect gets 204 or 404.
            Ok(Preface::Complete) | Err(_) => self.over(),
        }
    }

    /// One step; `None` to take another.
    async fn follow(&mut self) -> Option<Option<Item>> {
        if self.engine.is_draining() {
            return self.over();
        }
        self.attach();
        let ready = match &self.following {
            Some((reading, _)) => reading.tail.after(self.cursor),
            None => Behind::Log,
        };
        match ready {
            Behind::Entries(entries) => Some(Some(self.hand_out(entries))),
            Behind::Nothing => self.wait_for_tail().await,
            Behind::Log => self.catch_up().await,
        }
    }

    /// Follows the tail if the generation runs here, and lets go of one that no longer does.
    fn attach(&mut self) {
        if let Some((reading, _)) = &self.following {
            if !reading.tail.is_detached() {
                return;
            }
            self.following = None;
        }
        let tail = self.engine.inner.live.find(&self.at.tenant, self.at.id);
        self.following = tail.filter(|tail| !tail.is_detached()).map(|tail| {
            let heads = tail.heads();
            (tail.reader(), heads)
        });
    }

    async fn catch_up(&mut self) -> Option<Option<Item>> {
        match self.engine.inner.log.read(&self.at, self.cursor, PAGE).await {
            Ok(entries) if entries.is_empty() => {
                self.outage = None;
                if self.following.is_some() { None } else { self.wait_elsewhere().await }
            }
            Ok(entries) => {
                self.outage = None;
                Some(Some(self.hand_out(entries)))
            }
            Err(LogError::Unavailable(_)) => self.wait_for_log().await,
            Err(error @ (LogError::Conflict | LogError::Broken(_))) => {
                tracing::error!(generation = %self.at.id, %error, "cannot be read");
                self.over()
            }
        }
    }

    /// The tail wakes its readers for a stop and a loss too: two things to wait for are all that
    /// an event costs.
    async fn wait_for_tail(&mut self) -> Option<Option<Item>> {
        let (_, heads) = self.following.as_mut()?;
        tokio::select! {
            // Fails never: the reading keeps the sender alive.
            _ = heads.changed() => None,
            () = self.alarm.as_mut() => self.beat(),
        }
    }

    /// The generation runs on another instance, or waits for an owner. After a long silence we
    /// look whether it is still there: its events may have been dropped, or all of it erased.
    async fn wait_elsewhere(&mut self) -> Option<Option<Item>> {
        tokio::select! {
            () = sleep(self.engine.inner.limits.poll) => None,
            () = self.alarm.as_mut() => {
                self.state = State::Unopened;
                self.beat()
            }
            () = self.engine.inner.tasks.soft().cancelled() => self.over(),
        }
    }

    async fn wait_for_log(&mut self) -> Option<Option<Item>> {
        let since = *self.outage.get_or_insert_with(Instant::now);
        if since.elapsed() > self.engine.inner.limits.read_outage {
            return self.over();
        }
        tokio::select! {
            () = sleep(RETRY) => None,
            () = self.alarm.as_mut() => self.beat(),
            () = self.engine.inner.tasks.soft().cancelled() => self.over(),
        }
    }

    fn hand_out(&mut self, entries: Vec<Entry>) -> Item {
        if let Some(last) = entries.last() {
            self.cursor = self.cursor.max(last.seq);
            if last.kind == Kind::Done {
                self.state = State::Over;
            }
        }
        self.heartbeat = Instant::now() + self.engine.inner.limits.heartbeat;
        Item::Entries(entries)
    }

    /// The alarm rang: a heartbeat, unless something was handed out meanwhile.
    #[expect(clippy::option_option, reason = "the step's answer: an item, the end, or neither")]
    fn beat(&mut self) -> Option<Option<Item>> {
        let silent = self.heartbeat <= Instant::now();
        if silent {
            self.heartbeat = Instant::now() + self.engine.inner.limits.heartbeat;
        }
        self.alarm.as_mut().reset(self.heartbeat);
        silent.then_some(Some(Item::Heartbeat))
    }

    #[expect(clippy::option_option, reason = "the step's answer: an item, the end, or neither")]
    fn over(&mut self) -> Option<Option<Item>> {
        self.state = State::Over;
        Some(None)
    }
}
