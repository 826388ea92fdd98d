//! The log on Postgres: everything but the appends.
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::append::PgWriter;
use super::rows::{self, GENERATION, answered, error, stored};
use crate::domain::entry::Entry;
use crate::domain::event::Status;
use crate::domain::generation::{Generation, Idempotency, NewGeneration};
use crate::domain::id::{GenerationId, InstanceId, Seq, Tenant};
use crate::ports::{
    Address, Claim, Created, Deleted, Filter, Log, LogError, LogWriter, Orphan, Orphans,
};

/// The durable log of all generations, in Postgres.
#[derive(Clone, Debug)]
pub struct PgLog {
    pub(super) readers: PgPool,
    pub(super) workers: PgPool,
    pub(super) options: PgConnectOptions,
}

#[async_trait]
impl Log for PgLog {
    async fn create(&self, new: &NewGeneration) -> Result<Created, LogError> {
        answered(self.insert_generation(new)).await
    }

    async fn repeated(
        &self,
        tenant: &Tenant,
        key: &Idempotency,
    ) -> Result<Option<Created>, LogError> {
        answered(self.earlier(tenant, key)).await
    }

    fn writer(&self) -> Box<dyn LogWriter> {
        Box::new(PgWriter { options: self.options.clone(), connection: None })
    }

    async fn read(&self, at: &Address, after: Seq, limit: u32) -> Result<Vec<Entry>, LogError> {
        answered(self.read_page(at, after, limit)).await
    }

    async fn generation(&self, at: &Address) -> Result<Option<Generation>, LogError> {
        answered(self.fetch_generation(at)).await
    }

    async fn list(&self, tenant: &Tenant, filter: &Filter) -> Result<Vec<Generation>, LogError> {
        answered(async {
            let sql = format!(
                "select {GENERATION} from generations g where g.tenant = $1 \
                 and ($2::text is null or g.status = $2) and ($3::uuid is null or g.id < $3) \
                 order by g.id desc limit $4"
            );
            let rows = sqlx::query(AssertSqlSafe(sql))
                .bind(tenant.as_str())
                .bind(filter.status.map(|s| s.as_str()))
                .bind(filter.before.map(|id| id.0))
                .bind(i64::from(filter.limit))
                .fetch_all(&self.readers)
                .await
                .map_err(error)?;
            rows.iter().map(rows::generation).collect()
        })
        .await
    }

    async fn delete(&self, at: &Address) -> Result<Deleted, LogError> {
        answered(self.erase(at)).await
    }

    async fn request_cancel(&self, at: &Address) -> Result<(), LogError> {
        answered(async {
            sqlx::query(
                "update generations set status = 'cancelling', \
                 cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp()) \
                 where id = $1 and tenant = $2 and status in ('queued', 'running')",
            )
            .bind(at.id.0)
            .bind(at.tenant.as_str())
            .execute(&self.workers)
            .await
            .map(drop)
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
            .fetch_all(&self.workers)
            .await
            .map(|ids| ids.into_iter().map(GenerationId).collect())
            .map_err(error)
        })
        .await
    }

    async fn heartbeat(&self, owner: InstanceId, lease: Duration) -> Result<(), LogError> {
        answered(self.renew(owner, lease)).await
    }

    async fn release(&self, owner: InstanceId) -> Result<(), LogError> {
        answered(self.renew(owner, Duration::ZERO)).await
    }

    async fn orphans(&self, which: &Orphans, limit: u32) -> Result<Vec<Orphan>, LogError> {
        answered(self.find_orphans(which, limit)).await
    }

    async fn take_over(&self, claim: &Claim) -> Result<bool, LogError> {
        answered(self.claim(claim)).await
    }

    async fn retain(&self, days: u32) -> Result<u64, LogError> {
        answered(async {
            let mut connection = self.workers.acquire().await.map_err(error)?;
            super::partitions::ensure(&mut connection).await.map_err(error)?;
            super::partitions::expire(&mut connection, days).await.map_err(error)
        })
        .await
    }

    /// By a connection of its own: a pool that is used up does not mean that the database is gone.
    async fn ping(&self) -> Result<(), LogError> {
        let ping = async {
            let mut connection = PgConnection::connect_with(&self.options).await.map_err(error)?;
            sqlx::query("select 1 from generations limit 0")
                .execute(&mut connection)
                .await
                .map_err(error)?;
            connection.close().await.map_err(error)
        };
        tokio::time::timeout(Duration::from_secs(2), ping)
            .await
            .unwrap_or_else(|_| Err(LogError::Unavailable("no answer in 2 s".into())))
    }
}

impl PgLog {
    /// Ends the pools' connections.
    pub async fn close(&self) {
        self.readers.close().await;
        self.workers.close().await;
    }

    /// The row and its `started` event by one statement, which is one commit on the way to the
    /// first token. The rows behind `conflict do nothing` tell a repeat from a reused key.
    async fn insert_generation(&self, new: &NewGeneration) -> Result<Created, LogError> {
        let key = new.idempotency.as_ref();
        let inserted = sqlx::query(
            "with g as (insert into generations (id, tenant, status, model, provider, request, \
               idempotency_key, fingerprint, owner, started_at) \
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, \
                 case $3 when 'running' then clock_timestamp() end) \
               on conflict do nothing returning *), \
             started as (select row_to_json(columns) as data from (select g.id as generation, \
               g.model, g.provider, to_char(g.created_at at time zone 'utc', \
                 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') as created_at from g) columns) \
             insert into events (generation_id, seq, epoch, tenant, type, data) \
             select g.id, 1, g.epoch, g.tenant, 'started', started.data from g, started \
             returning seq, type, data::text as data",
        )
        .bind(new.id.0)
        .bind(new.tenant.as_str())
        .bind(if new.queued { Status::Queued } else { Status::Running }.as_str())
        .bind(&new.request.model)
        .bind(&new.provider)
        .bind(rows::json(&new.request))
        .bind(key.map(|k| k.key.as_str()))
        .bind(key.map(|k| k.fingerprint.as_slice()))
        .bind(new.owner.0)
        .fetch_optional(&self.workers)
        .await
        .map_err(error)?;
        let at = Address { tenant: new.tenant.clone(), id: new.id };
        if let Some(first) = inserted {
            let first = rows::entry(&first)?;
            return Ok(Created::New(Box::new(rows::fresh(new, &first)?), first));
        }
        // Perhaps a try of this very start whose reply was lost.
        if let Some(first) = self.read_page(&at, Seq::ZERO, 1).await?.pop() {
            return Ok(Created::New(Box::new(rows::fresh(new, &first)?), first));
        }
        let Some(key) = key else {
            return Err(LogError::Broken(format!("generation {} was not stored", new.id)));
        };
        // Erased between the two statements: trying again stores it.
        self.earlier(&new.tenant, key)
            .await?
            .ok_or_else(|| LogError::Unavailable("the earlier start was just erased".into()))
    }

    async fn earlier(
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
        Ok(Some(Created::Replayed(Box::new(rows::generation(&row)?))))
    }

    async fn read_page(
        &self,
        at: &Address,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<Entry>, LogError> {
        let rows = sqlx::query(
            "select seq, type, data::text as data from events \
             where generation_id = $1 and tenant = $2 and seq > $3 order by seq limit $4",
        )
        .bind(at.id.0)
        .bind(at.tenant.as_str())
        .bind(stored(after))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(error)?;
        rows.iter().map(rows::entry).collect()
    }

    async fn fetch_generation(&self, at: &Address) -> Result<Option<Generation>, LogError> {
        let sql =
            format!("select {GENERATION} from generations g where g.id = $1 and g.tenant = $2");
        sqlx::query(AssertSqlSafe(sql))
            .bind(at.id.0)
            .bind(at.tenant.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(error)?
            .as_ref()
            .map(rows::generation)
            .transpose()
    }

    async fn erase(&self, at: &Address) -> Result<Deleted, LogError> {
        let mut transaction = self.workers.begin().await.map_err(error)?;
        let ended: Option<bool> = sqlx::query_scalar(
            "select done is not null from generations where id = $1 and tenant = $2 for update",
        )
        .bind(at.id.0)
        .bind(at.tenant.as_str())
        .fetch_optional(&mut *transaction)
        .await
        .map_err(error)?;
        match ended {
            None => return Ok(Deleted::Absent),
            Some(false) => return Ok(Deleted::Running),
            Some(true) => {}
        }
        let statements = [
            "delete from events where generation_id = $1 and tenant = $2",
            "delete from generations where id = $1 and tenant = $2",
        ];
        for statement in statements {
            sqlx::query(statement)
                .bind(at.id.0)
                .bind(at.tenant.as_str())
                .execute(&mut *transaction)
                .await
                .map_err(error)?;
        }
        transaction.commit().await.map_err(error)?;
        Ok(Deleted::Gone)
    }
}
