//! The leases of instances, and the models that they have.
use std::time::Duration;

use async_trait::async_trait;

use super::postgres::PgLog;
use super::rows::{answered, error};
use crate::domain::id::InstanceId;
use crate::ports::{Leases, LogError};

#[async_trait]
impl Leases for PgLog {
    // In the row of the instance, which a process of the same identity may have left.
    async fn acquire_lease(&self, owner: InstanceId, lease: Duration) -> Result<(), LogError> {
        answered(async {
            self.close_lanes(owner).await?;
            self.renew(owner, lease).await?;
            self.replace_process(owner.0).await
        })
        .await
    }

    async fn heartbeat(&self, owner: InstanceId, lease: Duration) -> Result<(), LogError> {
        answered(async {
            self.renew(owner, lease).await?;
            self.fit().await
        })
        .await
    }

    async fn mark_draining(&self, owner: InstanceId) -> Result<bool, LogError> {
        answered(async {
            sqlx::query("update instances set leaving = true where id = $1")
                .bind(owner.0)
                .execute(&self.workers)
                .await
                .map_err(error)?;
            // A statement of its own: of two that leave at once, the later one sees the other.
            sqlx::query_scalar(
                "select exists (select from instances \
                 where id <> $1 and not leaving and lease_until >= clock_timestamp())",
            )
            .bind(owner.0)
            .fetch_one(&self.workers)
            .await
            .map_err(error)
        })
        .await
    }

    async fn release(&self, owner: InstanceId) -> Result<(), LogError> {
        answered(async {
            self.close_lanes(owner).await?;
            self.clear_away(owner).await?;
            self.renew(owner, Duration::ZERO).await
        })
        .await
    }

    async fn advertise_models(&self, owner: InstanceId, models: &[String]) -> Result<(), LogError> {
        answered(async {
            // Mostly they are the same: then nothing is written, and nothing flushed.
            let changed = "update instances set models = $2 \
                 where id = $1 and models is distinct from $2";
            sqlx::query(changed)
                .bind(owner.0)
                .bind(models)
                .execute(&self.upkeep)
                .await
                .map(drop)
                .map_err(error)
        })
        .await
    }

    async fn is_offered_elsewhere(&self, owner: InstanceId, model: &str) -> Result<bool, LogError> {
        answered(async {
            sqlx::query_scalar(
                "select exists (select from instances where id <> $1 and not leaving \
                 and lease_until >= clock_timestamp() and (models is null or $2 = any(models)))",
            )
            .bind(owner.0)
            .bind(model)
            .fetch_one(&self.workers)
            .await
            .map_err(error)
        })
        .await
    }
}

impl PgLog {
    /// Sets the end of the lease, by the database's clock.
    async fn renew(&self, owner: InstanceId, lease: Duration) -> Result<(), LogError> {
        sqlx::query(
            "insert into instances (id, lease_until, process, reads_packed) \
             values ($1, clock_timestamp() + make_interval(secs => $2), $3, $3) \
             on conflict (id) do update set lease_until = excluded.lease_until",
        )
        .bind(owner.0)
        .bind(lease.as_secs_f64())
        .bind(self.process)
        .execute(&self.upkeep)
        .await
        .map(drop)
        .map_err(error)
    }
}
