//! Leases, and generations that change their owner.
use sqlx::Row;
use std::time::Duration;

use super::append::{insert_segment, mark_kept};
use super::endings::mark_ended;
use super::lane::Spoke;
use super::lane::{beside_new_lanes, close};
use super::postgres::PgLog;
use super::rows::{GENERATION, error, kept, seq};
use super::turns::tell;
use crate::domain::id::{Epoch, GenerationId, InstanceId};
use crate::ports::{Address, Claim, Claimed, LogError, Orphan, Orphans};

impl PgLog {
    pub(super) async fn renew(&self, owner: InstanceId, lease: Duration) -> Result<(), LogError> {
        sqlx::query(
            "insert into instances (id, lease_until) \
             values ($1, clock_timestamp() + make_interval(secs => $2)) \
             on conflict (id) do update set lease_until = excluded.lease_until",
        )
        .bind(owner.0)
        .bind(lease.as_secs_f64())
        .execute(&self.upkeep)
        .await
        .map(drop)
        .map_err(error)
    }

    /// In the row of the instance, which a process of the same identity may have left.
    pub(super) async fn begin(&self, owner: InstanceId, lease: Duration) -> Result<(), LogError> {
        self.close_lanes(owner).await?;
        self.renew(owner, lease).await?;
        self.replace_process(owner.0).await
    }

    pub(super) async fn mark_leaving(&self, owner: InstanceId) -> Result<bool, LogError> {
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
    }

    pub(super) async fn note_models(
        &self,
        owner: InstanceId,
        models: &[String],
    ) -> Result<(), LogError> {
        sqlx::query("update instances set models = $2 where id = $1")
            .bind(owner.0)
            .bind(models)
            .execute(&self.upkeep)
            .await
            .map(drop)
            .map_err(error)
    }

    pub(super) async fn others_have(
        &self,
        owner: InstanceId,
        model: &str,
    ) -> Result<bool, LogError> {
        sqlx::query_scalar(
            "select exists (select from instances where id <> $1 and not leaving \
             and lease_until >= clock_timestamp() and (models is null or $2 = any(models)))",
        )
        .bind(owner.0)
        .bind(model)
        .fetch_one(&self.workers)
        .await
        .map_err(error)
    }

    pub(super) async fn disown(
        &self,
        at: &Address,
        owner: InstanceId,
        epoch: Epoch,
    ) -> Result<(), LogError> {
        sqlx::query(
            "update generations set owner = $4 where id = $1 and tenant = $2 and owner = $3 \
             and epoch = $5 and status in ('queued', 'running', 'cancelling')",
        )
        .bind(at.id.0)
        .bind(at.tenant.as_str())
        .bind(owner.0)
        .bind(InstanceId::NOBODY.0)
        .bind(epoch.0)
        .execute(&self.workers)
        .await
        .map(drop)
        .map_err(error)
    }

    pub(super) async fn not_owned(
        &self,
        owner: InstanceId,
        running: &[GenerationId],
    ) -> Result<Vec<GenerationId>, LogError> {
        let running: Vec<uuid::Uuid> = running.iter().map(|id| id.0).collect();
        sqlx::query_scalar(
            "select w.id from unnest($2::uuid[]) as w (id) \
             left join generations g on g.id = w.id where g.owner is distinct from $1",
        )
        .bind(owner.0)
        .bind(&running)
        .fetch_all(&self.upkeep)
        .await
        .map(|ids| ids.into_iter().map(GenerationId).collect())
        .map_err(error)
    }

    pub(super) async fn find_orphans(
        &self,
        which: &Orphans,
        limit: u32,
    ) -> Result<Vec<Orphan>, LogError> {
        let expired = "not exists (select from instances i \
                       where i.id = g.owner and i.lease_until >= clock_timestamp())";
        let (condition, owner, attended) = match which {
            Orphans::LeaseExpired => (expired, None, &[][..]),
            Orphans::Unattended { owner, attended } => ("true", Some(owner), attended.as_slice()),
        };
        let sql = format!(
            "select {GENERATION} from generations g \
             where g.status in ('queued', 'running', 'cancelling') and {condition} \
             and ($1::uuid is null or g.owner = $1) and g.id <> all($2) order by g.id limit $3"
        );
        let attended: Vec<uuid::Uuid> = attended.iter().map(|id| id.0).collect();
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(owner.map(|o| o.0))
            .bind(&attended)
            .bind(i64::from(limit))
            .fetch_all(&self.workers)
            .await
            .map_err(error)?;
        Ok(self.all_readable("generations", &rows, |row| {
            Ok(Orphan {
                row: self.generation_in(row)?,
                owner: InstanceId(row.try_get("owner").map_err(error)?),
                cancel_requested: row.try_get("cancel_requested").map_err(error)?,
                kept: kept(row)?,
            })
        }))
    }

    /// The lanes of the old owner are closed first, which ends its appends. Then the log stays as
    /// it is until the new owner's first entry, or the claim was made for another state.
    pub(super) async fn claim(&self, claim: &Claim) -> Result<Claimed, LogError> {
        let append = &claim.append;
        let Some(first) = append.entries.first() else {
            return Err(LogError::Broken("a claim without an entry".into()));
        };
        // At read committed: what is read below is read after the wait.
        let mut transaction = self.workers.begin().await.map_err(error)?;
        beside_new_lanes(&mut transaction, claim.from.0).await?;
        // Closes the lanes of an earlier process of ours, and decides the appends of this one.
        if claim.from.0 != claim.owner {
            close(&mut transaction, "owner = $1", claim.from.0.0).await?;
        }
        let last: i64 = sqlx::query_scalar("select last_seq($1)")
            .bind(append.at.id.0)
            .fetch_one(&mut *transaction)
            .await
            .map_err(error)?;
        if seq(last).next() != first.seq {
            return Ok(Claimed::No);
        }
        let claimed: Option<bool> = sqlx::query_scalar(
            "update generations g set owner = $2, epoch = $3, \
             status = case g.status when 'queued' then 'running' else g.status end, \
             started_at = coalesce(g.started_at, clock_timestamp()) \
             where g.id = $1 and g.owner = $4 and g.epoch = $5 \
             and g.status in ('queued', 'running', 'cancelling') \
             and (g.owner = $2 or not exists (select from instances i \
                  where i.id = g.owner and i.lease_until >= clock_timestamp())) \
             returning g.cancel_requested_at is not null",
        )
        .bind(append.at.id.0)
        .bind(claim.owner.0)
        .bind(append.epoch.0)
        .bind(claim.from.0.0)
        .bind(claim.from.1.0)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(error)?;
        let Some(cancel_requested) = claimed else { return Ok(Claimed::No) };
        insert_segment(&mut transaction, append).await?;
        mark_kept(&mut transaction, &[append]).await?;
        let told = mark_ended(&mut transaction, &[append], |_| Spoke::Unknown).await?;
        tell(&mut transaction, told).await?;
        transaction.commit().await.map_err(error)?;
        Ok(Claimed::Ours { cancel_requested })
    }
}
