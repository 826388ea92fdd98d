//! The one way to read: catch up from the log, follow the tail, and on lag catch up again.
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::live::{Behind, Reading};
use super::open::{Preface, Read};
use super::{Engine, EngineError, PAGE};
use crate::domain::entry::{Entry, Kind};
use crate::metrics::{Counted, Transport};
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
    read: Read,
    state: State,
    following: Option<Following>,
    heartbeat: Instant,
    /// Set anew only when it rings: a timer per event would cost more than the event.
    alarm: Pin<Box<Sleep>>,
    /// Since when the log has been out of reach.
    outage: Option<Instant>,
    /// As what it is counted, once its transport said so.
    counted: Option<(Transport, Counted)>,
}

/// The tail that a reader follows.
pub(super) struct Following {
    pub(super) reading: Reading,
    /// Changes of the tail that were looked at.
    pub(super) seen: u64,
    /// Whether the generation runs on another instance.
    pub(super) remote: bool,
}

impl Following {
    pub(super) fn new(reading: Reading, remote: bool) -> Self {
        let seen = reading.tail.waiters().changes();
        Self { reading, seen, remote }
    }
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
    pub(super) fn new(engine: Engine, at: Address, read: Read, first: Vec<Entry>) -> Self {
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
        let alarm = Box::pin(sleep_until(heartbeat));
        Self { engine, at, read, state, following, heartbeat, alarm, outage: None, counted: None }
    }

    /// Counts it, and what it hands out, as a stream of this transport and dialect.
    #[must_use]
    pub fn counted_as(mut self, transport: Transport, dialect: &'static str) -> Self {
        self.counted = Some((transport, self.engine.metrics().reading(transport, dialect)));
        self
    }

    /// The next item; `None` when the session is over. Cancel safe.
    pub async fn next(&mut self) -> Option<Item> {
        loop {
            match std::mem::replace(&mut self.state, State::Following) {
                State::Over => {
                    self.state = State::Over;
                    return None;
                }
                State::First(entries) => return Some(self.hand_out(entries, None)),
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
        let (engine, at, read) = (self.engine.clone(), self.at.clone(), self.read);
        let preface = self.engine.aside(async move { engine.preface(&at, read).await }).await;
        match preface.unwrap_or_else(|e| Err(LogError::Broken(e.to_string()).into())) {
            Ok(Preface::Events(cursor, first)) => {
                self.outage = None;
                if !first.is_empty() {
                    self.read = Read { cursor, epoch: None };
                }
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
        if self.following.as_ref().is_some_and(|f| f.reading.tail.is_detached()) {
            // The log that comes next may have been restored to an older state, and its events
            // after our cursor may belong to another history.
            return self.reopen();
        }
        if self.following.is_none() {
            self.following = self.engine.tail_of(&self.at);
        }
        let ready = match &self.following {
            Some(following) => following.reading.tail.after(self.read.cursor),
            None => Behind::Log,
        };
        match ready {
            Behind::Entries(entries) if self.is_elsewhere(&entries) => self.reopen(),
            Behind::Entries(entries) => {
                let lag = self.following.as_ref().map(|f| f.reading.tail.lag());
                Some(Some(self.hand_out(entries, lag)))
            }
            Behind::Nothing => self.wait_for_tail().await,
            Behind::Log => self.catch_up().await,
        }
    }

    /// Whether these entries do not continue what was read: the log was restored to an older state.
    fn is_elsewhere(&self, entries: &[Entry]) -> bool {
        entries.first().is_some_and(|first| !first.continues(self.read.epoch))
    }

    #[expect(clippy::option_option, reason = "the step's answer: an item, the end, or neither")]
    fn reopen(&mut self) -> Option<Option<Item>> {
        self.following = None;
        self.state = State::Unopened;
        None
    }

    async fn catch_up(&mut self) -> Option<Option<Item>> {
        match self.page().await {
            Ok(entries) if entries.is_empty() && self.following.is_some() => {
                self.look_again().await
            }
            Ok(entries) if self.is_elsewhere(&entries) => self.reopen(),
            Ok(entries) => {
                self.outage = None;
                let at_end = entries.len() < PAGE as usize;
                let item = (!entries.is_empty()).then(|| Some(self.hand_out(entries, None)));
                if at_end && self.following.is_none() && !matches!(self.state, State::Over) {
                    self.following = self.engine.join(&self.at, self.read.cursor);
                    if self.following.is_none() {
                        return self.over();
                    }
                }
                item
            }
            Err(LogError::Unavailable(_)) => self.wait_for_log().await,
            Err(error @ (LogError::Conflict | LogError::Broken(_))) => {
                tracing::error!(generation = %self.at.id, %error, "cannot be read");
                self.over()
            }
        }
    }

    /// The next page of the log, read aside: a reader that is not asked for more for a while must
    /// not keep a connection of the pool.
    async fn page(&self) -> Result<Vec<Entry>, LogError> {
        let (engine, at, cursor) = (self.engine.clone(), self.at.clone(), self.read.cursor);
        let page = async move { engine.inner.log.read(&at, cursor, PAGE).await };
        let page = self.engine.aside(page).await;
        page.unwrap_or_else(|e| Err(LogError::Broken(e.to_string())))
    }

    /// The tail wakes its readers for a stop and a loss too: two things to wait for are all that
    /// an event costs.
    async fn wait_for_tail(&mut self) -> Option<Option<Item>> {
        // Once more, now that a stop that comes later wakes us.
        if self.engine.is_draining() {
            return self.over();
        }
        let Following { reading, seen, remote } = self.following.as_mut()?;
        let remote = *remote;
        tokio::select! {
            () = reading.tail.waiters().changed(seen) => return None,
            () = self.alarm.as_mut() => {}
        }
        let beat = self.beat();
        // After a long silence we look whether what runs elsewhere is still there: its events may
        // have been dropped, or all of it erased.
        if remote && beat.is_some() {
            self.state = State::Unopened;
        }
        beat
    }

    /// The tail has moved on, and the log does not have what it left behind: it was erased, or
    /// went back in time. The cursor is looked at anew.
    async fn look_again(&mut self) -> Option<Option<Item>> {
        self.state = State::Unopened;
        tokio::select! {
            () = sleep(RETRY) => None,
            () = self.engine.inner.tasks.soft().cancelled() => self.over(),
        }
    }

    async fn wait_for_log(&mut self) -> Option<Option<Item>> {
        // Whatever kept the log away may have changed it: the cursor is looked at anew.
        self.state = State::Unopened;
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

    fn hand_out(&mut self, entries: Vec<Entry>, lag: Option<Duration>) -> Item {
        if let Some((transport, _)) = &self.counted {
            self.engine.metrics().handed_out(*transport, entries.len(), lag);
        }
        if let Some(last) = entries.last() {
            if last.seq >= self.read.cursor {
                self.read = Read { cursor: last.seq, epoch: last.epoch };
            }
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
