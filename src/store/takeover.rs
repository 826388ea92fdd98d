//! Generations that change their owner, and their readers on other instances.
use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::append::{insert_segment, mark_kept};
use super::endings::mark_ended;
use super::events::columns;
use super::lane::Spoke;
use super::lane::{beside_new_lanes, close};
use super::postgres::PgLog;
use super::rows::{GENERATION, answered, error, kept, seq};
use super::turns::tell;
use crate::domain::id::{Epoch, GenerationId, InstanceId};
use crate::ports::{Address, Claim, Claimed, LogError, Orphan, Orphans, Ownership};

#[async_trait]
impl Ownership for PgLog {
    async fn orphans(
        &self,
        which: &Orphans,
        limit: u32,
    ) -> Result<Vec<(GenerationId, Epoch)>, LogError> {
        answered(async {
            let expired = "not exists (select from instances i \
                           where i.id = g.owner and i.lease_until >= clock_timestamp())";
            let (condition, owner, attended) = match which {
                Orphans::LeaseExpired => (expired, None, &[][..]),
                Orphans::Unattended { owner, attended } => {
                    ("true", Some(owner), attended.as_slice())
                }
            };
            let sql = format!(
                "select g.id, g.epoch from generations g \
                 where g.status in ('queued', 'running', 'cancelling') and {condition} \
                 and ($1::uuid is null or g.owner = $1) and g.id <> all($2) order by g.id limit $3"
            );
            let attended: Vec<uuid::Uuid> = attended.iter().map(|id| id.0).collect();
            let listed: Vec<(uuid::Uuid, i32)> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
                .bind(owner.map(|o| o.0))
                .bind(&attended)
                .bind(i64::from(limit))
                .fetch_all(&self.workers)
                .await
                .map_err(error)?;
            Ok(listed.into_iter().map(|(id, epoch)| (GenerationId(id), Epoch(epoch))).collect())
        })
        .await
    }

    // No value is unpacked for its length.
    async fn stored_bytes(
        &self,
        generations: &[GenerationId],
    ) -> Result<HashMap<GenerationId, u64>, LogError> {
        answered(async {
            let ids: Vec<uuid::Uuid> = generations.iter().map(|id| id.0).collect();
            let rows: Vec<(uuid::Uuid, i64)> = sqlx::query_as(
                "select g.id, (pg_column_size(g.request) + coalesce(octet_length(g.packed), 0) \
                   + coalesce((with recursive used as ( \
                       select u.hash from content_uses u where u.generation_id = g.id \
                       union select p.part from used join content_parts p on p.whole = used.hash) \
                     select sum(octet_length(c.body)) from used join contents c using (hash)), 0) \
                   + coalesce((select sum(octet_length(s.lines)) from segments s \
                     where s.generation_id = g.id), 0))::bigint \
                 from generations g where g.id = any($1)",
            )
            .bind(&ids)
            .fetch_all(&self.workers)
            .await
            .map_err(error)?;
            Ok(rows
                .into_iter()
                .map(|(id, bytes)| (GenerationId(id), bytes.unsigned_abs()))
                .collect())
        })
        .await
    }

    async fn orphan(&self, listed: (GenerationId, Epoch)) -> Result<Option<Orphan>, LogError> {
        answered(async {
            let sql = format!(
                "select {GENERATION} from generations g \
                 where g.id = $1 and g.epoch = $2 and g.status in ('queued', 'running', 'cancelling')"
            );
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(listed.0.0)
                .bind(listed.1.0)
                .fetch_all(&self.workers)
                .await
                .map_err(error)?;
            let read = |row: &PgRow| {
                Ok(Orphan {
                    row: self.generation_in(row)?,
                    owner: InstanceId(row.try_get("owner").map_err(error)?),
                    cancel_requested: row.try_get("cancel_requested").map_err(error)?,
                    kept: kept(row)?,
                })
            };
            Ok(self.all_readable("generations", &rows, read).pop())
        })
        .await
    }

    // The lanes of the old owner are closed first, which ends its appends. Then the log stays as
    // it is until the new owner's first entry, or the claim was made for another state.
    async fn take_over(&self, claim: &Claim) -> Result<Claimed, LogError> {
        answered(async {
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
        })
        .await
    }

    async fn give_up(&self, at: &Address, owner: InstanceId, epoch: Epoch) -> Result<(), LogError> {
        answered(async {
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
        })
        .await
    }

    async fn owned_elsewhere(
        &self,
        owner: InstanceId,
        running: &[GenerationId],
    ) -> Result<Vec<GenerationId>, LogError> {
        answered(async {
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
        })
        .await
    }

    async fn cancel_requests(&self, owner: InstanceId) -> Result<Vec<GenerationId>, LogError> {
        answered(async {
            sqlx::query_scalar(
                "select id from generations where owner = $1 and status = 'cancelling'",
            )
            .bind(owner.0)
            .fetch_all(&self.upkeep)
            .await
            .map(|ids| ids.into_iter().map(GenerationId).collect())
            .map_err(error)
        })
        .await
    }

    // Rows that somebody else has locked are skipped: another reader's renewal does as well, and
    // nobody waits for anybody.
    async fn renew_readers(
        &self,
        which: &[Address],
        lasting: Duration,
    ) -> Result<HashMap<GenerationId, InstanceId>, LogError> {
        answered(async {
            let (ids, tenants) = columns(which.iter());
            let found = sqlx::query(
                "with unfinished as (select g.id, g.owner, \
                   g.request #> '{on_disconnect,cancel_after_s}' is not null as counts \
                   from unnest($1::uuid[], $2::text[]) as w (id, tenant) \
                   join generations g on g.id = w.id and g.tenant = w.tenant \
                   where g.status in ('queued', 'running', 'cancelling')), \
                 free as (select g.id from generations g \
                   where g.id in (select id from unfinished where counts) for update skip locked), \
                 renewed as (update generations g \
                   set read_until = clock_timestamp() + make_interval(secs => $3) \
                   from free where g.id = free.id) \
                 select id, owner from unfinished",
            )
            .bind(&ids)
            .bind(&tenants)
            .bind(lasting.as_secs_f64())
            .fetch_all(&self.workers)
            .await
            .map_err(error)?;
            found
                .iter()
                .map(|row| {
                    let id = GenerationId(row.try_get("id").map_err(error)?);
                    Ok((id, InstanceId(row.try_get("owner").map_err(error)?)))
                })
                .collect()
        })
        .await
    }

    async fn unread_elsewhere(&self, at: &Address) -> Result<Option<Duration>, LogError> {
        answered(async {
            let unread: Option<f64> = sqlx::query_scalar(
                "select extract(epoch from greatest(clock_timestamp() - read_until, '0'))::float8 \
                 from generations where id = $1 and tenant = $2 and read_until is not null",
            )
            .bind(at.id.0)
            .bind(at.tenant.as_str())
            .fetch_optional(&self.workers)
            .await
            .map_err(error)?;
            Ok(unread.map(Duration::from_secs_f64))
        })
        .await
    }
}
