//! A start is stored once, whatever is repeated.
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgExecutor;

use super::postgres::PgLog;
use super::rows::{self, GENERATION, error};
use crate::domain::entry::Entry;
use crate::domain::event::Status;
use crate::domain::generation::{Idempotency, NewGeneration};
use crate::domain::id::{Seq, Tenant};
use crate::ports::{Address, Created, LogError};

impl PgLog {
    /// The rows behind `conflict do nothing` tell a repeat from a reused key.
    pub(super) async fn insert_or_find(&self, new: &NewGeneration) -> Result<Created, LogError> {
        let inserted = match new.key {
            Some((_, Some(_))) => {
                if let Some(known) = self.repeat_of(new).await? {
                    return Ok(known);
                }
                let mut transaction = self.workers.begin().await.map_err(error)?;
                if !super::keys::has_room(&mut transaction, new).await? {
                    return Ok(Created::KeyBusy);
                }
                let inserted = insert_generation(&mut *transaction, new, self.process).await?;
                transaction.commit().await.map_err(error)?;
                inserted
            }
            Some((_, None)) | None => insert_generation(&self.workers, new, self.process).await?,
        };
        let at = Address { tenant: new.tenant.clone(), id: new.id };
        let first = match inserted {
            Some(first) => Some(first),
            // Perhaps a try of this very start whose reply was lost.
            None => self.read_page(&at, Seq::ZERO, 1).await?.pop(),
        };
        if let Some(first) = first {
            let entries = vec![first];
            return Ok(Created::New(Box::new(rows::fresh(new, &entries)?), entries));
        }
        let Some(key) = &new.idempotency else {
            return Err(LogError::Broken(format!("generation {} was not stored", new.id)));
        };
        // Erased between the two statements: trying again stores it.
        self.earlier(&new.tenant, key)
            .await?
            .ok_or_else(|| LogError::Unavailable("the earlier start was just erased".into()))
    }

    /// The outcome of an earlier start with the same idempotency key.
    async fn repeat_of(&self, new: &NewGeneration) -> Result<Option<Created>, LogError> {
        let Some(key) = &new.idempotency else { return Ok(None) };
        self.earlier(&new.tenant, key).await
    }

    pub(super) async fn earlier(
        &self,
        tenant: &Tenant,
        key: &Idempotency,
    ) -> Result<Option<Created>, LogError> {
        let sql = format!(
            "select g.fingerprint, {GENERATION} from generations g \
             where g.tenant = $1 and g.idempotency_key = $2"
        );
        let earlier = sqlx::query(AssertSqlSafe(sql))
            .bind(tenant.as_str())
            .bind(&key.key)
            .fetch_optional(&self.workers)
            .await
            .map_err(error)?;
        let Some(row) = earlier else { return Ok(None) };
        let fingerprint: Vec<u8> = sqlx::Row::try_get(&row, "fingerprint").map_err(error)?;
        if fingerprint != key.fingerprint {
            return Ok(Some(Created::KeyReused));
        }
        Ok(Some(Created::Replayed(Box::new(self.generation_in(&row)?))))
    }
}

/// Stores the row and its `started` event by one statement: one commit on the way to the first
/// token. `None` if its id or its key is there already.
pub(super) async fn insert_generation(
    executor: impl PgExecutor<'_>,
    new: &NewGeneration,
    process: uuid::Uuid,
) -> Result<Option<Entry>, LogError> {
    let key = new.idempotency.as_ref();
    let request = rows::checked_json(&new.request)?;
    let row = sqlx::query(
        "with g as (insert into generations (id, tenant, status, model, provider, request, \
           idempotency_key, fingerprint, owner, started_at, conversation_id, parent_id, key_id) \
           values ($1, $2, $3, $4, $5, $6::json, $7, $8, $9, \
             case $3 when 'running' then clock_timestamp() end, $10, $11, $12) \
           on conflict do nothing returning *), \
         started as (select row_to_json(columns) as data from (select g.id as generation, \
           g.model, g.provider, to_char(g.created_at at time zone 'utc', \
             'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') as created_at from g) columns), \
         reads as (insert into request_reads (generation_id, hash, reader) \
           select g.id, $13, $14 from g where $13 is not null) \
         insert into segments (generation_id, seq, last, epoch, at, lines) \
         select g.id, 1, 1, g.epoch, clock_timestamp(), '0 started ' || substr(started.data::text, 2) \
         from g, started returning seq, epoch, lines, null::bigint as doubled",
    )
    .bind(new.id.0)
    .bind(new.tenant.as_str())
    .bind(if new.queued { Status::Queued } else { Status::Running }.as_str())
    .bind(&new.request.model)
    .bind(&new.provider)
    .bind(request)
    .bind(key.map(|k| k.key.as_str()))
    .bind(key.map(|k| k.fingerprint.as_slice()))
    .bind(new.owner.0)
    .bind(new.place.map(|p| p.conversation.0))
    .bind(new.place.map(|p| p.parent.0))
    .bind(new.key.map(|(id, _)| id.0))
    .bind(new.request_hash.as_deref())
    .bind(process)
    .fetch_optional(executor)
    .await
    .map_err(error)?;
    let mut started = Vec::new();
    if let Some(row) = &row {
        rows::unpack(row, new.id, Seq::ZERO, 1, &mut started)?;
    }
    Ok(started.pop())
}
