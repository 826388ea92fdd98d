//! The slow work: an answer is started, found or ended.
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};

use super::frames::ClientFrame;
use crate::domain::generation::Generation;
use crate::domain::key::Scope;
use crate::domain::trace::TraceParent;
use crate::engine::{Caller, Engine};
use crate::http::dialect::Frames;
use crate::http::dialect_reader::Reader;
use crate::http::problem::Problem;
use crate::http::protocols::ai_sdk::encoder::UiMessage;
use crate::http::protocols::ai_sdk::{ChatBody, begin, running};
use crate::ports::Address;

/// The worker of a connection.
#[derive(Clone)]
pub(super) struct Worker {
    pub(super) engine: Engine,
    pub(super) caller: Caller,
    /// Of the handshake.
    pub(super) trace: Option<TraceParent>,
}

/// An answer that is read.
pub(super) struct Opened {
    pub(super) at: Address,
    /// Whether the client waits for a word that there is one.
    pub(super) resumed: bool,
    /// The number of its first part.
    pub(super) first: u64,
    /// Its parts as server-sent events.
    pub(super) parts: BoxStream<'static, Bytes>,
}

/// A request, and what came of it: an answer, or none that runs.
pub(super) type Outcome = (String, Result<Option<Opened>, Problem>);

impl Worker {
    pub(super) async fn run(self, request: String, frame: ClientFrame) -> Outcome {
        let opened = match frame {
            ClientFrame::Send(body) => self.send(*body).await.map(Some),
            ClientFrame::Resume { id, last_sequence } => self.resume(id, last_sequence).await,
            ClientFrame::Abort => Ok(None),
        };
        (request, opened)
    }

    /// Whether the caller may do this now, as if it were a request of its own.
    fn admit(&self, scope: Scope) -> Result<(), Problem> {
        if !self.caller.may(scope) {
            return Err(Problem::insufficient_scope(scope));
        }
        self.caller.count().map_err(Problem::rate_limited)
    }

    async fn send(&self, body: ChatBody) -> Result<Opened, Problem> {
        self.admit(Scope::Write)?;
        let row = begin(&self.engine, self.caller.clone(), body, (None, self.trace)).await?;
        self.read(&row, None, false).await
    }

    async fn resume(&self, chat: String, seen: Option<u64>) -> Result<Option<Opened>, Problem> {
        self.admit(Scope::Read)?;
        match running(&self.engine, self.caller.tenant(), chat).await? {
            Some(row) => self.read(&row, seen, true).await.map(Some),
            None => Ok(None),
        }
    }

    async fn read(
        &self,
        row: &Generation,
        seen: Option<u64>,
        resumed: bool,
    ) -> Result<Opened, Problem> {
        let dialect = UiMessage::of(row).without_cursors();
        let reader = Reader::open(&self.engine, row, dialect, Frames::after(seen)).await?;
        if reader.frames.is_ahead() {
            let detail = "`lastSequence` is ahead of the answer";
            return Err(Problem::bad_request("cursor_ahead", detail).with("field", "lastSequence"));
        }
        let at = Address { tenant: row.tenant.clone(), id: row.id };
        let parts = reader.into_bytes().map(|bytes| match bytes {
            Ok(bytes) => bytes,
            Err(never) => match never {},
        });
        let first = seen.map_or(0, |seen| seen.saturating_add(1));
        Ok(Opened { at, resumed, first, parts: parts.boxed() })
    }

    /// Ends an answer for everybody.
    pub(super) async fn cancel(self, at: Address) {
        if self.admit(Scope::Write).is_ok()
            && let Err(error) = self.engine.cancel(&at).await
        {
            tracing::warn!(%error, "an abort over a socket did not arrive");
        }
    }
}
