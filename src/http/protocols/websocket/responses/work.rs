//! The slow work: a response is started, prepared, found or ended.
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};

use super::frames::{ClientFrame, Create, Lane};
use crate::domain::key::Scope;
use crate::domain::trace::TraceParent;
use crate::engine::{Caller, Engine};
use crate::http::dialect_reader::Reader;
use crate::http::problem::Problem;
use crate::http::protocols::openai_responses::socket;
use crate::http::protocols::openai_responses::socket::{Before, OnSocket, Prepared};
use crate::ports::Address;

/// The worker of a connection.
#[derive(Clone)]
pub(super) struct Worker {
    pub(super) engine: Engine,
    pub(super) caller: Caller,
    /// Of the handshake.
    pub(super) trace: Option<TraceParent>,
}

/// A response that is read.
pub(super) struct Opened {
    /// `None` for one that was only prepared.
    pub(super) at: Option<Address>,
    pub(super) prepared: Option<Prepared>,
    /// Its events as server-sent events.
    pub(super) parts: BoxStream<'static, Bytes>,
}

/// The result of a frame.
pub(super) enum Outcome {
    /// There is a response to read in the lane, or none.
    Opened(Lane, Result<Opened, Problem>),
    /// A response that the connection reads has been cancelled, or not.
    Cancelled(Lane, Result<(), Problem>),
}

impl Worker {
    /// Does what a frame asks for, behind the response that it continues.
    pub(super) async fn run(self, lane: Lane, frame: ClientFrame, before: Before) -> Outcome {
        let opened = match frame {
            ClientFrame::Create(create) => self.create(create, before).await,
            ClientFrame::Retrieve { response_id, starting_after } => {
                self.retrieve(&response_id, starting_after).await
            }
            ClientFrame::Cancel { response_id } => self.end(&response_id.unwrap_or_default()).await,
            // Answered without work.
            ClientFrame::Steer { .. } => Err(Problem::internal()),
        };
        Outcome::Opened(lane, opened)
    }

    /// Ends a response that the connection reads.
    pub(super) async fn cancel(self, lane: Lane, at: Address) -> Outcome {
        let cancelled = match self.admit(Scope::Write) {
            Ok(()) => self.engine.cancel(&at).await.map(drop).map_err(Problem::from),
            Err(problem) => Err(problem),
        };
        Outcome::Cancelled(lane, cancelled)
    }

    /// Whether the caller may do this now, as if it were a request of its own.
    fn admit(&self, scope: Scope) -> Result<(), Problem> {
        if !self.caller.may(scope) {
            return Err(Problem::insufficient_scope(scope));
        }
        self.caller.count().map_err(Problem::rate_limited)
    }

    async fn create(&self, create: Create, before: Before) -> Result<Opened, Problem> {
        self.admit(Scope::Write)?;
        let Create { body, generate } = create;
        if !generate {
            let prepared = socket::prepare(&self.engine, &self.caller, body, before).await?;
            let events = prepared.events.clone();
            let parts = stream::once(async move { events }).boxed();
            return Ok(Opened { at: None, prepared: Some(prepared), parts });
        }
        let who = (self.caller.clone(), self.trace);
        let row = socket::create(&self.engine, who, body, before).await?;
        let reader = socket::read(&self.engine, &row, None).await?;
        Ok(opened(Address { tenant: row.tenant, id: row.id }, reader))
    }

    async fn retrieve(&self, id: &str, seen: Option<u64>) -> Result<Opened, Problem> {
        self.admit(Scope::Read)?;
        let at = self.at(id)?;
        let row = self.engine.generation(&at).await?;
        Ok(opened(at, socket::read(&self.engine, &row, seen).await?))
    }

    /// Ends a response that the connection does not read, and reads its end.
    async fn end(&self, id: &str) -> Result<Opened, Problem> {
        self.admit(Scope::Write)?;
        let at = self.at(id)?;
        let reader = socket::cancel(&self.engine, &at).await?;
        Ok(opened(at, reader))
    }

    fn at(&self, id: &str) -> Result<Address, Problem> {
        let id = socket::parse_id(id).map_err(|problem| problem.with("field", "response_id"))?;
        Ok(Address { tenant: self.caller.tenant().clone(), id })
    }
}

fn opened(at: Address, reader: Reader<OnSocket>) -> Opened {
    let parts = reader.into_bytes().map(|bytes| match bytes {
        Ok(bytes) => bytes,
        Err(never) => match never {},
    });
    Opened { at: Some(at), prepared: None, parts: parts.boxed() }
}
