//! A database as a whole: what a server that starts takes from it.
use std::sync::Arc;

use async_trait::async_trait;

use super::{Keys, Log, LogError, Signals};
use crate::domain::id::InstanceId;

/// Everything that one database is for: the log, the keys, and its own way to carry hints.
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// The log.
    fn log(&self) -> Log;

    /// The keys.
    fn keys(&self) -> Arc<dyn Keys>;

    /// Hints between the instances on this database, for the instance `me`.
    fn signals(&self, me: InstanceId) -> Arc<dyn Signals>;

    /// Takes what this process cannot do without, before it takes anything else.
    async fn reserve(&self) -> Result<(), LogError>;

    /// Ends in order.
    async fn close(&self);
}
