//! A reader comes with a cursor: what it gets, decided before the first byte.
use super::live::Behind;
use super::read::Session;
use super::{Engine, EngineError};
use crate::domain::entry::Entry;
use crate::domain::event::{Event, SnapshotReason, Status};
use crate::domain::generation::Generation;
use crate::domain::id::Seq;
use crate::domain::transcript::Answer;
use crate::ports::{Address, LogError};

/// What a reader gets.
pub enum Opened {
    /// Its events.
    Events(Box<Session>),
    /// It has the ending: there is nothing more, ever.
    Complete,
}

impl Engine {
    /// Opens the log of a generation behind `cursor`.
    ///
    /// While the log is out of reach it opens all the same, and the session waits: an
    /// `EventSource` never comes back from a status other than 200.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn open(&self, at: &Address, cursor: Seq) -> Result<Opened, EngineError> {
        if let Some(tail) = self.inner.live.find(&at.tenant, at.id)
            && cursor <= tail.head()
            && !matches!(tail.after(cursor), Behind::Log)
            && !tail.ended()
        {
            return Ok(self.follow(at, cursor, Vec::new()));
        }
        match self.preface(at, cursor).await {
            Ok(Preface::Complete) => Ok(Opened::Complete),
            Ok(Preface::Events(cursor, first)) => Ok(self.follow(at, cursor, first)),
            Err(EngineError::Log(LogError::Unavailable(_))) => {
                Ok(Opened::Events(Box::new(Session::unopened(self.clone(), at.clone(), cursor))))
            }
            Err(error) => Err(error),
        }
    }

    /// Where a generation stands, and its last seq; `None` while the log is out of reach.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn standing(&self, at: &Address) -> Result<Option<(Status, Seq)>, EngineError> {
        match self.inner.log.generation(at).await {
            Ok(Some(row)) => Ok(Some((row.status, row.last_seq))),
            Ok(None) => Err(EngineError::NotFound),
            Err(LogError::Unavailable(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn follow(&self, at: &Address, cursor: Seq, first: Vec<Entry>) -> Opened {
        Opened::Events(Box::new(Session::new(self.clone(), at.clone(), cursor, first)))
    }

    /// What the log says to a cursor.
    pub(super) async fn preface(&self, at: &Address, cursor: Seq) -> Result<Preface, EngineError> {
        let row = self.inner.log.generation(at).await?.ok_or(EngineError::NotFound)?;
        let ended = row.result.is_some();
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

/// What comes before the events that follow.
pub(super) enum Preface {
    /// Nothing follows.
    Complete,
    /// These entries, then what follows this seq.
    Events(Seq, Vec<Entry>),
}
