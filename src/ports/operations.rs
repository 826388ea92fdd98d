//! The operator's view of all tenants: the owners of generations, and the times at which events
//! were stored. Never what was said.
use async_trait::async_trait;

use super::{Address, LogError};
use crate::domain::fleet::{Fleet, Moment};
use crate::domain::id::{GenerationId, Seq, Tenant};

/// The whole database, without its texts.
#[async_trait]
pub trait Operations: Send + Sync + 'static {
    /// The instances, and what has not ended: how many by status, and the newest `limit` of them.
    async fn fleet(&self, limit: u32) -> Result<Fleet, LogError>;

    /// The tenant of a generation; `None` if there is none of that id.
    async fn tenant_of(&self, id: GenerationId) -> Result<Option<Tenant>, LogError>;

    /// When events were stored, oldest first: the first `limit` behind `after`, or the last `limit`
    /// without it.
    async fn moments(
        &self,
        at: &Address,
        after: Option<Seq>,
        limit: u32,
    ) -> Result<Vec<Moment>, LogError>;
}
