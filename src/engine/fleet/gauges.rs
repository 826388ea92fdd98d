//! Gauges that nobody counts along: they are looked up when somebody asks for the metrics.
use std::time::Duration;

use tokio::time::timeout;

use crate::engine::Engine;
use crate::ports::{Condition, LogError};

/// How long the log may take to say its size: less than a scrape waits.
const MEASURING: Duration = Duration::from_secs(2);

impl Engine {
    /// Looks up the gauges that nobody counts along: what runs, the pools, the log's size.
    pub async fn measure(&self) {
        let metrics = self.metrics();
        metrics.running.set(i64::try_from(self.running()).unwrap_or(i64::MAX));
        for pool in self.inner.log.upkeep.pools() {
            for (state, count) in [("idle", pool.idle), ("busy", pool.busy), ("free", pool.free)] {
                metrics.pool.get_or_create(&[("pool", pool.name), ("state", state)]).set(count);
            }
        }
        metrics.unreadable.inc_by(self.inner.log.upkeep.take_unreadable());
        let refused = self.inner.log.upkeep.refused();
        metrics.refused.inc_by(refused.saturating_sub(metrics.refused.get()));
        if let Ok(condition) = self.ready().await {
            let waits = condition.unacknowledged.unwrap_or_default();
            metrics.unacknowledged.set(waits.as_secs_f64());
        }
        // Without the log the old figure stays: the other metrics are wanted all the more.
        if let Ok(Ok(bytes)) = timeout(MEASURING, self.inner.log.upkeep.bytes()).await {
            metrics.log_bytes.set(bytes);
        }
        if let Ok(Ok(bytes)) = timeout(MEASURING, self.inner.log.upkeep.unsorted_bytes()).await {
            metrics.unsorted_bytes.set(bytes);
        }
    }

    /// How the log is.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn ready(&self) -> Result<Condition, LogError> {
        self.inner.log.upkeep.condition().await
    }
}
