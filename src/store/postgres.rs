//! The log on Postgres: everything but the appends.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::conversations::PgConversations;
use super::lane::PgWriter;
use super::operations::PgOperations;
use super::rows::{self, GENERATION, answered, error};
use super::turns;
use super::unfolded::Unfolded;
use crate::domain::entry::Entry;
use crate::domain::generation::{Generation, Idempotency, NewGeneration};
use crate::domain::id::{Epoch, GenerationId, InstanceId, Seq, Tenant};
use crate::ports::{
    Address, Claim, Claimed, Conversations, Created, Deleted, Filter, Log, LogError, LogWriter,
    Operations, Orphan, Orphans, Pool, RequestReads,
};

/// How long the connections may take to close.
const CLOSING: Duration = Duration::from_secs(3);

/// The durable log of all generations, in Postgres.
#[derive(Clone, Debug)]
pub struct PgLog {
    pub(super) readers: PgPool,
    pub(super) workers: PgPool,
    pub(super) options: PgConnectOptions,
    pub(super) unfolded: Unfolded,
    /// This process, anew with each start.
    pub(super) process: uuid::Uuid,
}

#[async_trait]
impl Log for PgLog {
    async fn create(&self, new: &NewGeneration) -> Result<Created, LogError> {
        answered(self.insert_or_find(new)).await
    }

    async fn repeated(
        &self,
        tenant: &Tenant,
        key: &Idempotency,
    ) -> Result<Option<Created>, LogError> {
        answered(self.earlier(tenant, key)).await
    }

    fn conversations(&self) -> Arc<dyn Conversations> {
        Arc::new(PgConversations { log: self.clone() })
    }

    fn request_reads(&self) -> Arc<dyn RequestReads> {
        Arc::new(self.clone())
    }

    fn operations(&self) -> Arc<dyn Operations> {
        Arc::new(PgOperations { log: self.clone() })
    }

    fn writer(&self, owner: InstanceId) -> Box<dyn LogWriter> {
        Box::new(PgWriter::new(self.options.clone(), owner, self.unfolded.clone()))
    }

    async fn read(&self, at: &Address, after: Seq, limit: u32) -> Result<Vec<Entry>, LogError> {
        answered(self.read_page(at, after, limit)).await
    }

    async fn read_many(
        &self,
        wanted: &[(Address, Seq)],
        limit: u32,
    ) -> Result<HashMap<GenerationId, Vec<Entry>>, LogError> {
        answered(self.read_pages(wanted, limit)).await
    }

    async fn renew_readers(
        &self,
        which: &[Address],
        lasting: Duration,
    ) -> Result<HashMap<GenerationId, InstanceId>, LogError> {
        answered(self.renew_reading(which, lasting)).await
    }

    async fn unread_elsewhere(&self, at: &Address) -> Result<Option<Duration>, LogError> {
        answered(self.last_read(at)).await
    }

    async fn generation(&self, at: &Address) -> Result<Option<Generation>, LogError> {
        answered(self.fetch_generation(at)).await
    }

    async fn newest_of(&self, tenant: &Tenant, chat: &str) -> Result<Option<Generation>, LogError> {
        answered(async {
            let sql = format!(
                "select {GENERATION} from generations g where g.tenant = $1 \
                 and g.request ->> 'chat' = $2 order by g.id desc limit 1"
            );
            sqlx::query(AssertSqlSafe(sql))
                .bind(tenant.as_str())
                .bind(chat)
                .fetch_optional(&self.readers)
                .await
                .map_err(error)?
                .as_ref()
                .map(rows::generation)
                .transpose()
        })
        .await
    }

    async fn list(&self, tenant: &Tenant, filter: &Filter) -> Result<Vec<Generation>, LogError> {
        answered(async {
            let sql = format!(
                "select {GENERATION} from generations g where g.tenant = $1 \
                 and ($2::text is null or g.status = $2) and ($3::uuid is null or g.id < $3) \
                 and ($5::uuid is null or g.conversation_id = $5) order by g.id desc limit $4"
            );
            let rows = sqlx::query(AssertSqlSafe(sql))
                .bind(tenant.as_str())
                .bind(filter.status.map(|s| s.as_str()))
                .bind(filter.before.map(|id| id.0))
                .bind(i64::from(filter.limit))
                .bind(filter.conversation.map(|id| id.0))
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

    async fn request_cancel(&self, at: &Address) -> Result<Option<InstanceId>, LogError> {
        answered(async {
            sqlx::query_scalar(
                "update generations set status = 'cancelling', \
                 cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp()) \
                 where id = $1 and tenant = $2 and status in ('queued', 'running', 'cancelling') \
                 returning owner",
            )
            .bind(at.id.0)
            .bind(at.tenant.as_str())
            .fetch_optional(&self.workers)
            .await
            .map(|owner| owner.map(InstanceId))
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

    async fn lost(
        &self,
        owner: InstanceId,
        running: &[GenerationId],
    ) -> Result<Vec<GenerationId>, LogError> {
        answered(self.not_owned(owner, running)).await
    }

    async fn arrive(&self, owner: InstanceId, lease: Duration) -> Result<(), LogError> {
        answered(self.begin(owner, lease)).await
    }

    async fn leave(&self, owner: InstanceId) -> Result<bool, LogError> {
        answered(self.mark_leaving(owner)).await
    }

    async fn give_up(&self, at: &Address, owner: InstanceId, epoch: Epoch) -> Result<(), LogError> {
        answered(self.disown(at, owner, epoch)).await
    }

    async fn heartbeat(&self, owner: InstanceId, lease: Duration) -> Result<(), LogError> {
        answered(self.renew(owner, lease)).await
    }

    async fn offer(&self, owner: InstanceId, models: &[String]) -> Result<(), LogError> {
        answered(self.note_models(owner, models)).await
    }

    async fn is_offered_elsewhere(&self, owner: InstanceId, model: &str) -> Result<bool, LogError> {
        answered(self.others_have(owner, model)).await
    }

    async fn release(&self, owner: InstanceId) -> Result<(), LogError> {
        answered(self.end_lease(owner)).await
    }

    async fn orphans(&self, which: &Orphans, limit: u32) -> Result<Vec<Orphan>, LogError> {
        answered(self.find_orphans(which, limit)).await
    }

    async fn take_over(&self, claim: &Claim) -> Result<Claimed, LogError> {
        answered(self.claim(claim)).await
    }

    async fn fold(&self, owner: InstanceId) -> Result<u64, LogError> {
        answered(self.fold_lanes(owner)).await
    }

    async fn retain(&self, days: u32) -> Result<u64, LogError> {
        answered(async {
            let mut connection = self.workers.acquire().await.map_err(error)?;
            self.forget_request_reads().await?;
            super::partitions::ensure(&mut connection).await.map_err(error)?;
            super::partitions::expire(&mut connection, days).await.map_err(error)
        })
        .await
    }

    fn pools(&self) -> Vec<Pool> {
        [("readers", &self.readers), ("workers", &self.workers)]
            .map(|(name, pool)| {
                let idle = i64::try_from(pool.num_idle()).unwrap_or(i64::MAX);
                Pool { name, idle, busy: (i64::from(pool.size()) - idle).max(0) }
            })
            .to_vec()
    }

    async fn bytes(&self) -> Result<i64, LogError> {
        answered(super::partitions::bytes(&self.workers)).await
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
    /// Ends the pools' connections, in order if the database takes part: a connection whose other
    /// end has gone without a word would be waited for without end.
    pub async fn close(&self) {
        let closed = async { tokio::join!(self.readers.close(), self.workers.close()) };
        if tokio::time::timeout(CLOSING, closed).await.is_err() {
            tracing::warn!("not all connections to the database closed in order");
        }
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
        let conversation = turns::lock_conversation(&mut transaction, at).await?;
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
        if let Some(conversation) = conversation {
            turns::take_out(&mut transaction, at, conversation).await?;
        }
        super::fold::fold_all_of(&mut transaction, &[at.id.0]).await?;
        let statements = [
            "delete from segments where generation_id in \
             (select id from generations where id = $1 and tenant = $2)",
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
