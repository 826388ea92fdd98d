//! Leases, and generations that change their owner.
use sqlx::Row;
use std::time::Duration;

use super::append::{insert, mark_ended};
use super::postgres::PgLog;
use super::rows::{GENERATION, error, generation};
use crate::domain::id::InstanceId;
use crate::ports::{Claim, LogError, Orphan, Orphans, RowChange};

/// A generation younger than this, in seconds, may just be starting: longer than a start's handler
/// goes on trying.
const YOUNG_S: u32 = 30;

impl PgLog {
    pub(super) async fn renew(&self, owner: InstanceId, lease: Duration) -> Result<(), LogError> {
        sqlx::query(
            "insert into instances (id, lease_until) \
             values ($1, clock_timestamp() + make_interval(secs => $2)) \
             on conflict (id) do update set lease_until = excluded.lease_until",
        )
        .bind(owner.0)
        .bind(lease.as_secs_f64())
        .execute(&self.workers)
        .await
        .map(drop)
        .map_err(error)
    }

    pub(super) async fn find_orphans(
        &self,
        which: &Orphans,
        limit: u32,
    ) -> Result<Vec<Orphan>, LogError> {
        let expired = "not exists (select from instances i \
                       where i.id = g.owner and i.lease_until >= clock_timestamp())";
        let (condition, owner, running) = match which {
            Orphans::LeaseExpired => (expired.to_owned(), None, &[][..]),
            Orphans::Unattended { owner, running, young_too } => {
                let age = if *young_too { 0 } else { YOUNG_S };
                let old =
                    format!("g.created_at <= clock_timestamp() - make_interval(secs => {age})");
                (old, Some(owner), running.as_slice())
            }
        };
        let sql = format!(
            "select {GENERATION} from generations g \
             where g.status in ('queued', 'running', 'cancelling') and {condition} \
             and ($1::uuid is null or g.owner = $1) and g.id <> all($2) order by g.id limit $3"
        );
        let running: Vec<uuid::Uuid> = running.iter().map(|id| id.0).collect();
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(owner.map(|o| o.0))
            .bind(&running)
            .bind(i64::from(limit))
            .fetch_all(&self.workers)
            .await
            .map_err(error)?;
        rows.iter()
            .map(|row| {
                Ok(Orphan {
                    row: generation(row)?,
                    owner: InstanceId(row.try_get("owner").map_err(error)?),
                    cancel_requested: row.try_get("cancel_requested").map_err(error)?,
                })
            })
            .collect()
    }

    /// The entry goes in first: it waits for an append of the old owner that is under way, and
    /// loses to it. Both writers touch the event before the row, so they cannot deadlock.
    pub(super) async fn claim(&self, claim: &Claim) -> Result<bool, LogError> {
        let append = &claim.append;
        let mut transaction = self.workers.begin().await.map_err(error)?;
        match insert(&mut transaction, &[append]).await {
            Ok(()) => {}
            Err(LogError::Conflict) => return Ok(false),
            Err(other) => return Err(other),
        }
        let claimed = sqlx::query(
            "update generations g set owner = $2, epoch = $3, \
             status = case g.status when 'queued' then 'running' else g.status end, \
             started_at = coalesce(g.started_at, clock_timestamp()) \
             where g.id = $1 and g.epoch = $3 - 1 and g.owner = $4 \
             and g.status in ('queued', 'running', 'cancelling') \
             and (g.owner = $2 or not exists (select from instances i \
                  where i.id = g.owner and i.lease_until >= clock_timestamp()))",
        )
        .bind(append.at.id.0)
        .bind(claim.owner.0)
        .bind(append.epoch.0)
        .bind(claim.from.0)
        .execute(&mut *transaction)
        .await
        .map_err(error)?
        .rows_affected();
        if claimed == 0 {
            return Ok(false);
        }
        if let RowChange::Ended(outcome) = &append.row {
            mark_ended(&mut transaction, append, outcome).await?;
        }
        transaction.commit().await.map_err(error)?;
        Ok(true)
    }
}
