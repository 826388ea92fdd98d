//! The border to the leases of instances.
use std::time::Duration;

use async_trait::async_trait;

use super::log::LogError;
use crate::domain::id::InstanceId;

/// The leases of instances, and the models that they have.
#[async_trait]
pub trait Leases: Send + Sync + 'static {
    /// Begins the lease of `owner`, who takes generations from now on.
    async fn acquire_lease(&self, owner: InstanceId, lease: Duration) -> Result<(), LogError>;

    /// Renews the lease of `owner` for `lease` by the database's clock.
    async fn heartbeat(&self, owner: InstanceId, lease: Duration) -> Result<(), LogError>;

    /// Notes that `owner` takes no more generations; whether an instance is alive that does.
    async fn mark_draining(&self, owner: InstanceId) -> Result<bool, LogError>;

    /// Gives the lease of `owner`, which appends no more, up, so that others may take its
    /// generations over at once.
    async fn release(&self, owner: InstanceId) -> Result<(), LogError>;

    /// Notes which models `owner` has.
    async fn advertise_models(&self, owner: InstanceId, models: &[String]) -> Result<(), LogError>;

    /// Whether an instance other than `owner` is alive that takes generations of this model.
    async fn is_offered_elsewhere(&self, owner: InstanceId, model: &str) -> Result<bool, LogError>;
}
