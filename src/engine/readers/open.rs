//! A reader comes with a cursor: what it gets, decided before the first byte.
use super::session::Session;
use crate::domain::entry::Entry;
use crate::domain::event::{Event, SnapshotReason, Status};
use crate::domain::generation::Generation;
use crate::domain::id::{Epoch, Seq};
use crate::domain::transcript::Answer;
use crate::engine::{Engine, EngineError};
use crate::ports::{Address, LogError};

/// The result of an opening.
pub enum Opened {
    /// Its events.
    Events(Box<Session>),
    /// It has the ending: there is nothing more, ever.
    Complete,
}

impl Engine {
    /// Opens the log of a generation behind `cursor`.
    ///
    /// A session opens even while the log is out of reach, and waits: an `EventSource` never comes
    /// back from a status other than 200.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn open(&self, at: &Address, cursor: Seq) -> Result<Opened, EngineError> {
        if let Some(tail) = self.inner.runs.live.find(&at.tenant, at.id)
            && cursor <= tail.head()
            && !tail.ended()
        {
            return Ok(self.follow(at, cursor, Vec::new()));
        }
        match self.preface(at, Read::up_to(cursor)).await {
            Ok(Preface::Complete) => Ok(Opened::Complete),
            Ok(Preface::Events(cursor, first)) => Ok(self.follow(at, cursor, first)),
            Err(EngineError::Log(LogError::Unavailable(_))) => Ok(Opened::Events(Box::new(
                Session::unopened(self.clone(), at.clone(), Read::up_to(cursor)),
            ))),
            Err(error) => Err(error),
        }
    }

    /// Waits until an upstream has taken the prompt; for ever, where that is not seen here.
    pub async fn accepted(&self, at: &Address) {
        match self.inner.runs.live.find(&at.tenant, at.id) {
            Some(tail) => tail.accepted.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Where a generation stands, and its last seq; `None` while the log is out of reach.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn standing(&self, at: &Address) -> Result<Option<(Status, Seq)>, EngineError> {
        match self.inner.log.generations.standing(at).await {
            Ok(Some(row)) => Ok(Some((row.status, row.last_seq))),
            Ok(None) => Err(EngineError::NotFound),
            Err(LogError::Unavailable(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn follow(&self, at: &Address, cursor: Seq, first: Vec<Entry>) -> Opened {
        Opened::Events(Box::new(Session::new(self.clone(), at.clone(), Read::up_to(cursor), first)))
    }

    /// The log's answer to a reader that has read so far.
    pub(super) async fn preface(&self, at: &Address, read: Read) -> Result<Preface, EngineError> {
        let row = self.inner.log.generations.standing(at).await?.ok_or(EngineError::NotFound)?;
        let (ended, cursor) = (row.result.is_some(), read.cursor);
        if cursor <= row.last_seq && row.events_retained && self.is_another(at, read).await? {
            return self.snapshot(at, row, SnapshotReason::CursorAhead).await;
        }
        if ended && cursor == row.last_seq {
            return Ok(Preface::Complete);
        }
        if cursor > row.last_seq {
            return self.snapshot(at, row, SnapshotReason::CursorAhead).await;
        }
        if ended && !row.events_retained {
            return self.snapshot(at, row, SnapshotReason::CursorExpired).await;
        }
        Ok(Preface::Events(cursor, Vec::new()))
    }

    /// Whether the log has another event at the cursor than the one that was read there: it went
    /// back in time, and has grown since.
    async fn is_another(&self, at: &Address, read: Read) -> Result<bool, EngineError> {
        let Some(epoch) = read.epoch else { return Ok(false) };
        let before = Seq(read.cursor.0.saturating_sub(1));
        let there = self.inner.log.events.read(at, before, 1).await?;
        Ok(there.first().is_some_and(|entry| entry.epoch != Some(epoch)))
    }

    /// Replaces everything up to the last event, but for the ending, which readers wait for.
    async fn snapshot(
        &self,
        at: &Address,
        row: Generation,
        reason: SnapshotReason,
    ) -> Result<Preface, EngineError> {
        self.inner.metrics.snapshot(reason).inc();
        let head = row.last_seq;
        let status = row.status;
        let (seq, answer, done) = match row.result {
            Some(outcome) => {
                let done = Entry::encode(head, &Event::Done(outcome.done));
                (Seq(head.0.saturating_sub(1)), outcome.answer, Some(done))
            }
            None => (head, self.transcript(at, head).await?.answer, None),
        };
        let Answer { text, reasoning, .. } = answer;
        let snapshot = Event::Snapshot { reason, text, reasoning, status };
        let first = std::iter::once(Entry::encode(seq, &snapshot)).chain(done).collect();
        Ok(Preface::Events(head, first))
    }
}

/// How far a reader has read.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Read {
    /// The last event.
    pub(in crate::engine) cursor: Seq,
    /// The epoch of the writer, if the entry was read here.
    pub(in crate::engine) epoch: Option<Epoch>,
}

impl Read {
    fn up_to(cursor: Seq) -> Self {
        Self { cursor, epoch: None }
    }
}

/// The part that precedes the events that follow.
pub(super) enum Preface {
    /// Nothing follows.
    Complete,
    /// These entries, then what follows this seq.
    Events(Seq, Vec<Entry>),
}
