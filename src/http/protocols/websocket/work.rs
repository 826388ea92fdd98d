//! The slow work, each on the main runtime, so that it goes on while the socket cannot send.
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::frames::{Generate, Ref};
use super::session::{Begin, Found, Slot, Standing, Task};
use crate::domain::id::{ConversationId, GenerationId, Tenant};
use crate::domain::key::Scope;
use crate::domain::room::{Participant, ParticipantKind};
use crate::engine::{self, Access, Caller, Engine, Opened, Receipt};
use crate::http::problem::Problem;
use crate::http::protocols::native::generations::{begin, receipt_json};
use crate::http::start::checked_key;
use crate::metrics::Transport;
use crate::ports::{Address, ConversationAt};

/// The worker of a connection.
#[derive(Clone)]
pub(super) struct Worker {
    pub(super) engine: Engine,
    pub(super) access: Access,
    /// `None` before its hello.
    pub(super) caller: Option<Caller>,
    pub(super) connection: String,
}

/// The result of a task.
pub(super) enum Outcome {
    Identified(Option<Ref>, Option<Caller>),
    Started(Option<Ref>, Result<(Found, Reader), Problem>),
    Opened(Option<Ref>, (GenerationId, Slot), Result<(Standing, Reader), Problem>),
    Cancelled(Option<Ref>, Result<Box<Receipt>, Problem>),
    Joined(Option<Ref>, ConversationId, Result<(), Problem>),
}

/// The events of a subscription, if there are any.
pub(super) struct Reader {
    pub(super) session: Option<Box<engine::Session>>,
    pub(super) coalesce: bool,
}

impl Worker {
    pub(super) async fn run(self, task: Task) -> Outcome {
        match task {
            Task::Identify { reference, token } => {
                let caller = self.access.with_key(&token).await;
                Outcome::Identified(reference, caller.ok().filter(|c| c.may(Scope::Read)))
            }
            Task::Start { reference, generate } => {
                let started = self.start(reference.as_ref(), *generate).await;
                Outcome::Started(reference, started)
            }
            Task::Open { reference, slot, generation, begin } => {
                Outcome::Opened(reference, (generation, slot), self.open(generation, begin).await)
            }
            Task::Cancel { reference, generation } => {
                Outcome::Cancelled(reference, self.cancel(generation).await)
            }
            Task::Join { reference, conversation } => {
                Outcome::Joined(reference, conversation, self.find(conversation).await)
            }
        }
    }

    async fn find(&self, id: ConversationId) -> Result<(), Problem> {
        self.admit(Scope::Read)?;
        self.engine.conversation(&self.room(id)).await?;
        Ok(())
    }

    /// A conversation of the caller's.
    pub(super) fn room(&self, id: ConversationId) -> ConversationAt {
        ConversationAt { tenant: self.tenant(), id }
    }

    /// The participant of the connection until it names another.
    pub(super) fn guest(&self) -> Participant {
        let name = self.caller.as_ref().and_then(Caller::name).unwrap_or("Guest");
        Participant::user(self.connection.clone(), name.to_owned()).unwrap_or(Participant {
            id: self.connection.clone(),
            name: "Guest".into(),
            kind: ParticipantKind::User,
        })
    }

    fn tenant(&self) -> Tenant {
        self.caller.as_ref().map_or_else(Tenant::nobody, |caller| caller.tenant().clone())
    }

    fn address(&self, id: GenerationId) -> Address {
        Address { tenant: self.tenant(), id }
    }

    /// Whether the caller may do this now, as if it were a request of its own.
    fn admit(&self, scope: Scope) -> Result<&Caller, Problem> {
        let Some(caller) = &self.caller else { return Err(Problem::insufficient_scope(scope)) };
        if !caller.may(scope) {
            return Err(Problem::insufficient_scope(scope));
        }
        caller.count().map_err(Problem::rate_limited)?;
        Ok(caller)
    }

    async fn cancel(&self, generation: GenerationId) -> Result<Box<Receipt>, Problem> {
        self.admit(Scope::Write)?;
        Ok(Box::new(self.engine.cancel(&self.address(generation)).await?))
    }

    async fn start(
        &self,
        reference: Option<&Ref>,
        generate: Generate,
    ) -> Result<(Found, Reader), Problem> {
        let caller = self.admit(Scope::Write)?.clone();
        let Generate { body, options } = generate;
        let (key, by_ref) = match options.idempotency_key {
            Some(key) => (Some(checked_key(key)?), false),
            None => (reference.map(|reference| self.key(reference)), true),
        };
        let trace = options.traceparent.and_then(|text| text.parse().ok());
        let started = begin(&self.engine, caller, body, key, trace).await.map_err(|e| {
            // The client never sent a key: what it used again is its `ref`.
            if by_ref { e.renamed("idempotency_key_reused", "ref_reused") } else { e }
        })?;
        let generation = started.generation.id;
        let reader = Begin { after: options.after, coalesce: options.coalesce };
        let reader = self.read(generation, reader).await?;
        let complete = reader.session.is_none();
        let receipt: Value = receipt_json(&started);
        Ok((Found { generation, replayed: started.replayed, receipt, complete }, reader))
    }

    /// A `ref` names a start on its connection as a key names it for ever.
    fn key(&self, reference: &Ref) -> String {
        let json = serde_json::to_vec(reference).unwrap_or_default();
        let hash: String = Sha256::digest(json).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("ws-{}-{hash}", self.connection)
    }

    async fn open(
        &self,
        generation: GenerationId,
        begin: Begin,
    ) -> Result<(Standing, Reader), Problem> {
        self.admit(Scope::Read)?;
        let now = self.engine.standing(&self.address(generation)).await?;
        let reader = self.read(generation, begin).await?;
        Ok((Standing { now, complete: reader.session.is_none() }, reader))
    }

    async fn read(&self, generation: GenerationId, begin: Begin) -> Result<Reader, Problem> {
        let Begin { after, coalesce } = begin;
        let session = match self.engine.open(&self.address(generation), after).await? {
            Opened::Complete => None,
            Opened::Events(session) => {
                Some(Box::new(session.counted_as(Transport::WebSocket, "native")))
            }
        };
        Ok(Reader { session, coalesce })
    }
}
