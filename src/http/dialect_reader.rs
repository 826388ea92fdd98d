//! A dialect's reader: the log of a generation, told in its frames.
use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::body::{BodyStream, MessageBody};
use actix_web::http::header::HeaderName;
use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::time::{Instant, sleep};

use super::dialect::{Dialect, EventReplay, Frames};
use super::problem::Problem;
use crate::domain::entry::Entry;
use crate::domain::event::{Done, Status};
use crate::domain::generation::Generation;
use crate::domain::id::Seq;
use crate::domain::transcript::Answer;
use crate::engine::{Engine, EngineError, Item, Opened, RequestRead, Session};
use crate::metrics::Transport;
use crate::ports::Address;

/// How long the head of a streamed answer waits for the model's server to take the prompt.
const HELD: Duration = Duration::from_secs(10);
/// How long after that it waits for the first event, which may be an error. The first word sends
/// the head at once: only a head without words comes later for it.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Reads one generation from its first event on and tells it in the frames of `D`.
///
/// The frames' numbers are not in the log, they follow from it. Each reader that comes in the
/// middle therefore reads the whole log, 512 events a query.
pub(super) struct Reader<D> {
    pub(super) dialect: D,
    pub(super) frames: Frames,
    pub(super) replay: EventReplay,
    /// Notes how the reading of a request's answer ends. Dropped before the session: a generation
    /// without readers shall know by then that it was a cut.
    read: Option<RequestRead>,
    /// None once everything is told.
    session: Option<Box<Session>>,
    /// Up to this event the reader wants none.
    silent_until: Seq,
    /// Whether a sign of life was due.
    pinged: bool,
}

impl<D: Dialect> Reader<D> {
    /// Opens the generation of `row` and tells what is there by now. `frames` says what of it the
    /// reader wants.
    pub(super) async fn open(
        engine: &Engine,
        row: &Generation,
        dialect: D,
        frames: Frames,
    ) -> Result<Self, Problem> {
        Self::open_after(engine, row, dialect, frames, Seq::ZERO).await
    }

    /// The same for a reader that has the frames of the events up to `seen`.
    pub(super) async fn open_after(
        engine: &Engine,
        row: &Generation,
        dialect: D,
        frames: Frames,
        seen: Seq,
    ) -> Result<Self, Problem> {
        let replay = EventReplay::default();
        let mut reader = Self {
            dialect,
            frames,
            replay,
            read: None,
            session: None,
            silent_until: seen,
            pinged: false,
        };
        match &row.result {
            Some(outcome) if !row.events_retained => {
                let (last, Reader { replay, dialect, frames, .. }) = (row.last_seq, &mut reader);
                replay.outcome(last, outcome, dialect, frames);
            }
            Some(_) | None => {
                let at = Address { tenant: row.tenant.clone(), id: row.id };
                match engine.open(&at, Seq::ZERO).await? {
                    Opened::Events(session) => {
                        let counted = session.counted_as(Transport::Sse, D::NAME);
                        reader.session = Some(Box::new(counted));
                    }
                    Opened::Complete => return Err(EngineError::NotFound.into()),
                }
                reader.catch_up(row.last_seq).await;
            }
        }
        reader.frames.backlog = false;
        Ok(reader)
    }

    /// The same, as the reader of the answer to a request.
    pub(super) fn answering(mut self, read: Option<RequestRead>) -> Self {
        self.read = read;
        self
    }

    /// Notes that the stream is over, before the client sees that.
    fn over(&mut self) {
        if self.replay.done().is_none() {
            return self.cut();
        }
        if let Some(mut read) = self.read.take() {
            read.delivered();
        }
    }

    /// Notes that the stream ends before its generation does. So it is where the model began again
    /// and this protocol cannot take back sent frames.
    fn cut(&mut self) {
        if let Some(read) = self.read.take() {
            read.cut().store(true, Ordering::Relaxed);
        }
    }

    /// The same, and waits until it is in the log.
    async fn cut_off(&mut self) {
        if let Some(read) = self.read.take() {
            read.cut_off().await;
        }
    }

    /// Tells everything up to `head`.
    async fn catch_up(&mut self, head: Seq) {
        while self.replay.seq() < head && self.step().await {}
    }

    /// Waits until the model's server has accepted the prompt, and for its first event if that
    /// comes at once. The wait ends before a client without a head would give up. The failure, if
    /// there is nothing else to tell.
    pub(super) async fn hold(&mut self, engine: &Engine, at: &Address) -> Option<&Done> {
        let mut accepted = pin!(engine.accepted(at));
        let mut taken = false;
        let mut over = pin!(sleep(HELD));
        while self.replay.answer().is_empty() && !self.pinged {
            tokio::select! {
                biased;
                more = self.step() => if !more { break },
                () = &mut accepted, if !taken => {
                    taken = true;
                    over.as_mut().reset(Instant::now() + AT_ONCE);
                }
                () = &mut over => break,
            }
        }
        let failed = |done: &&Done| matches!(done.status, Status::Failed | Status::Interrupted);
        self.replay.done().filter(failed).filter(|_| self.replay.answer().is_empty())
    }

    /// Waits for the end; the ending, or `None` if the reading ended before the generation did.
    pub(super) async fn finish(&mut self) -> Option<&Done> {
        while self.step().await {}
        self.over();
        self.replay.done()
    }

    /// The rate limits that the model's server told, for the head of the answer.
    pub(super) fn rate_limits(&self) -> Vec<(HeaderName, String)> {
        let named = |(name, value): (&str, &str)| {
            Some((HeaderName::try_from(name).ok()?, value.to_owned()))
        };
        self.replay.rate_limits().iter().filter_map(named).collect()
    }

    /// The answer so far.
    pub(super) fn answer(&self) -> &Answer {
        self.replay.answer()
    }

    /// Tells what is ready; false when there is nothing more.
    async fn step(&mut self) -> bool {
        let Some(session) = &mut self.session else { return false };
        match session.next().await {
            Some(Item::Entries(entries)) => {
                if self.tell(&entries) {
                    self.dialect.paused(self.replay.seq(), &mut self.frames);
                } else {
                    if self.replay.done().is_none() {
                        self.cut_off().await;
                    }
                    self.session = None;
                }
            }
            Some(Item::Heartbeat) => {
                self.pinged = true;
                self.frames.raw(self.dialect.keep_alive());
            }
            None => {
                self.cut_off().await;
                self.session = None;
                self.dialect.cut(&mut self.frames);
            }
        }
        true
    }

    /// False when there is nothing more to come.
    fn tell(&mut self, entries: &[Entry]) -> bool {
        for entry in entries {
            if self.silent_until > Seq::ZERO {
                self.frames.silent = entry.seq <= self.silent_until;
            }
            if let Err(error) = self.replay.tell(entry, &mut self.dialect, &mut self.frames) {
                tracing::error!(%error, "a reader's stream ends");
                return false;
            }
            if self.frames.over {
                return false;
            }
        }
        self.replay.done().is_none()
    }

    /// The frames, everything that is ready in one piece.
    pub(super) fn into_bytes(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        // In a box, because it moves with every piece.
        stream::unfold(Box::new(self), |mut reader| async move {
            loop {
                // An empty piece would end a chunked body.
                let ready = reader.frames.take();
                if !ready.is_empty() {
                    return Some((Ok(ready), reader));
                }
                if !reader.step().await {
                    reader.over();
                    return None;
                }
            }
        })
    }

    /// The same as a body.
    pub(super) fn into_body(self) -> impl MessageBody {
        BodyStream::new(self.into_bytes())
    }
}
