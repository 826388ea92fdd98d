//! The upkeep of the log: compaction, retention, and figures about the database.
use async_trait::async_trait;

use super::postgres::PgLog;
use super::rows::{answered, error};
use super::{neighbours, partitions, segments};
use crate::domain::id::InstanceId;
use crate::ports::{Condition, Holder, LogError, Pool, Upkeep};

#[async_trait]
impl Upkeep for PgLog {
    async fn compact(&self, owner: InstanceId) -> Result<u64, LogError> {
        answered(self.fold_lanes(owner)).await
    }

    async fn retain(&self, days: u32) -> Result<u64, LogError> {
        answered(async {
            self.forget_request_reads().await?;
            self.forget_pictures().await?;
            self.forget_contents().await?;
            let mut connection = self.workers.acquire().await.map_err(error)?;
            let missing = partitions::ensure(&mut connection).await.map_err(error)?;
            segments::forget_doubled(&mut connection, days).await.map_err(error)?;
            let expired = partitions::expire(&mut connection, days).await;
            let (dropped, in_use) = expired.map_err(error)?;
            connection.clean();
            if in_use + missing > 0 {
                let why = format!(
                    "{in_use} tables of old days are in use and stay for now, \
                     {missing} of coming days could not be made"
                );
                return Err(LogError::Unavailable(why));
            }
            Ok(dropped)
        })
        .await
    }

    async fn erase_old(&self, days: u32) -> Result<u64, LogError> {
        answered(self.erase_old_ones(days)).await
    }

    async fn bytes(&self) -> Result<i64, LogError> {
        answered(partitions::bytes(&self.workers)).await
    }

    async fn unsorted_bytes(&self) -> Result<i64, LogError> {
        answered(partitions::unsorted_bytes(&self.workers)).await
    }

    fn pools(&self) -> Vec<Pool> {
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.all_pools()
            .map(|pool| {
                let count = pool.count();
                let (idle, busy, free) =
                    (number(count.idle), number(count.busy), number(count.free));
                Pool { name: pool.name(), idle, busy, free }
            })
            .to_vec()
    }

    fn take_unreadable(&self) -> u64 {
        self.unreadable.take()
    }

    fn refused(&self) -> u64 {
        self.supply.refused()
    }

    async fn look_around(&self) -> Result<Option<Holder>, LogError> {
        answered(async {
            self.cut_listeners(neighbours::SILENT).await?;
            self.holder(neighbours::LONG).await
        })
        .await
    }

    async fn condition(&self) -> Result<Condition, LogError> {
        self.probe.look(&self.watch, &self.supply).await
    }
}
