//! The border to the generations: starts, rows, cancels and erasures.
use async_trait::async_trait;

use super::log::{Address, LogError};
use crate::domain::entry::Entry;
use crate::domain::event::Status;
use crate::domain::generation::{Generation, Idempotency, NewGeneration};
use crate::domain::id::{ConversationId, GenerationId, InstanceId, Tenant};

/// The generations: starts, rows, cancels and erasures.
#[async_trait]
pub trait Generations: Send + Sync + 'static {
    /// Stores a new generation with its first event, `started`, in one transaction. Repeating it
    /// with the same id changes nothing.
    async fn create(&self, new: &NewGeneration) -> Result<Created, LogError>;

    /// The outcome of an earlier start with this key; `None` if there was none.
    async fn repeated(
        &self,
        tenant: &Tenant,
        key: &Idempotency,
    ) -> Result<Option<Created>, LogError>;

    /// The generation's row; `None` if the tenant has none of that id.
    async fn generation(&self, at: &Address) -> Result<Option<Generation>, LogError>;

    /// The same for whoever does not look beside the answer's text: large extras are left out.
    async fn standing(&self, at: &Address) -> Result<Option<Generation>, LogError>;

    /// The newest generation of a chat, by the name that its client gave it.
    async fn newest_of(&self, tenant: &Tenant, chat: &str) -> Result<Option<Generation>, LogError>;

    /// The tenant's generations, newest first. A long request may come without its prompt.
    async fn list(&self, tenant: &Tenant, filter: &Filter) -> Result<Vec<Generation>, LogError>;

    /// Erases an ended generation with all its events, and its message: what was said below that
    /// moves up to its parent.
    async fn delete(&self, at: &Address) -> Result<Deleted, LogError>;

    /// Notes that a cancel is asked for, unless the generation has ended; its owner by then.
    async fn request_cancel(&self, at: &Address) -> Result<Option<InstanceId>, LogError>;
}

/// The result of a start.
#[derive(Debug)]
pub enum Created {
    /// It is new; its first entries.
    New(Box<Generation>, Vec<Entry>),
    /// The same start was made before.
    Replayed(Box<Generation>),
    /// The idempotency key was used for another request.
    KeyReused,
    /// As many generations as the API key may have at a time have not ended.
    KeyBusy,
}

/// The result of a delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone.
    Gone,
    /// The tenant has none of that id.
    Absent,
    /// It has not ended.
    Running,
}

/// Which generations to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only those of this status.
    pub status: Option<Status>,
    /// Only those of this conversation.
    pub conversation: Option<ConversationId>,
    /// Only those older than this one.
    pub before: Option<GenerationId>,
    /// At most so many.
    pub limit: u32,
}
