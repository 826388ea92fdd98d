//! What appends have left in the journal becomes segments.
use sqlx::PgConnection;
use std::time::Duration;
use uuid::Uuid;

use super::lane::close;
use super::postgres::PgLog;
use super::rows::error;
use crate::domain::id::InstanceId;
use crate::ports::LogError;

/// Lanes of others that are cleared away in one round.
const ROUND: i64 = 16;
/// Rows of one lane that are folded at a time, so that no backlog outlasts a statement's time: some
/// hundred thousand events. Four times a second that is more than a lane can write.
const ROWS: i64 = 2000;

impl PgLog {
    /// Folds what the lanes of `owner` have written, and clears away lanes that nobody writes by.
    pub(super) async fn fold_lanes(&self, owner: InstanceId) -> Result<u64, LogError> {
        let events: i64 = sqlx::query_scalar(
            "select coalesce(sum(fold(l.id, next_to_fold(l.id, $2))), 0)::bigint \
             from (select id from lanes where owner = $1 and open order by id) l",
        )
        .bind(owner.0)
        .bind(ROWS)
        .fetch_one(&self.workers)
        .await
        .map_err(error)?;
        let left = self.clear_away(owner).await?;
        Ok(events.unsigned_abs() + left)
    }

    /// Closed lanes, and those whose owner has no lease: should it live, it opens others.
    async fn clear_away(&self, owner: InstanceId) -> Result<u64, LogError> {
        const LEFT: &str = "(not l.open or l.owner <> $1 and not exists (select from instances i \
            where i.id = l.owner and i.lease_until >= clock_timestamp()))";
        let found: bool = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "select exists (select from lanes l where {LEFT})"
        )))
        .bind(owner.0)
        .fetch_one(&self.workers)
        .await
        .map_err(error)?;
        if !found {
            return Ok(0);
        }
        let mut transaction = self.workers.begin().await.map_err(error)?;
        // For update: their appends under way are decided.
        let lanes: Vec<Uuid> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "select l.id from lanes l where {LEFT} order by l.id limit $2 for update skip locked"
        )))
        .bind(owner.0)
        .bind(ROUND)
        .fetch_all(&mut *transaction)
        .await
        .map_err(error)?;
        let events: i64 = sqlx::query_scalar(
            "select coalesce(sum(fold(l, next_to_fold(l, $2))), 0)::bigint from unnest($1::uuid[]) l",
        )
        .bind(&lanes)
        .bind(ROWS)
        .fetch_one(&mut *transaction)
        .await
        .map_err(error)?;
        sqlx::query("update lanes set open = false where id = any($1)")
            .bind(&lanes)
            .execute(&mut *transaction)
            .await
            .map_err(error)?;
        let empty = "delete from lanes where id = any($1) and next_to_fold(id, 1) is null";
        sqlx::query(empty).bind(&lanes).execute(&mut *transaction).await.map_err(error)?;
        transaction.commit().await.map_err(error)?;
        Ok(events.unsigned_abs())
    }

    /// Closes the lanes of `owner`, whose process writes no more, and gives its lease up.
    pub(super) async fn end_lease(&self, owner: InstanceId) -> Result<(), LogError> {
        self.close_lanes(owner).await?;
        self.clear_away(owner).await?;
        self.renew(owner, Duration::ZERO).await
    }

    /// Closes what an earlier process of `owner` has left open.
    pub(super) async fn close_lanes(&self, owner: InstanceId) -> Result<(), LogError> {
        let mut transaction = self.workers.begin().await.map_err(error)?;
        close(&mut transaction, "owner = $1", owner.0).await?;
        transaction.commit().await.map_err(error)
    }
}

/// Folds all lanes that have something of `generations`, so that what is erased stays erased.
pub(super) async fn fold_all_of(
    connection: &mut PgConnection,
    generations: &[Uuid],
) -> Result<(), LogError> {
    sqlx::query(
        "select fold(lane, n) from (select lane, max(n) as n from waiting \
           where lane in (select lane from waiting where ids && $1) group by lane order by lane) l",
    )
    .bind(generations)
    .execute(connection)
    .await
    .map(drop)
    .map_err(error)
}
