//! The log on Postgres: everything but the appends.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use sqlx::AssertSqlSafe;

use super::append_cache::AppendCache;
use super::conversations::PgConversations;
use super::lane::PgWriter;
use super::neighbours;
use super::operations::PgOperations;
use super::pool;
use super::probe::Probe;
use super::room;
use super::rows::{GENERATION, answered, error};
use super::session_settings::Sessions;
use super::supply::Supply;
use super::turns;
use super::unreadable::Unreadable;
use crate::domain::entry::Entry;
use crate::domain::generation::{Generation, Idempotency, NewGeneration};
use crate::domain::id::{Epoch, GenerationId, InstanceId, Seq, Tenant};
use crate::ports::{
    Address, Claim, Claimed, Condition, Conversations, Created, Deleted, Filter, Holder, Log,
    LogError, LogWriter, Operations, Orphan, Orphans, Pool, RequestReads,
};

/// How long the connections may take to close.
const CLOSING: Duration = Duration::from_secs(3);

/// The durable log of all generations, in Postgres.
#[derive(Clone, Debug)]
pub struct PgLog {
    /// For readers, so that they never wait for writers or the other way round.
    pub(super) readers: pool::Pool,
    /// For starts, cancels and take-overs.
    pub(super) workers: pool::Pool,
    /// For the lease and the fold, which nothing else may keep waiting.
    pub(super) upkeep: pool::Pool,
    /// For looking at the database and at our own connections.
    pub(super) watch: pool::Pool,
    pub(super) supply: Supply,
    pub(super) probe: Probe,
    pub(super) append_cache: AppendCache,
    pub(super) unreadable: Arc<Unreadable>,
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
        Box::new(PgWriter::new(self.supply.clone(), owner, self.append_cache.clone()))
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
                .map(|row| self.generation_in(row))
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
            Ok(self.all_readable("generations", &rows, |row| self.generation_in(row)))
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
            .fetch_all(&self.upkeep)
            .await
            .map(|ids| ids.into_iter().map(GenerationId).collect())
            .map_err(error)
        })
        .await
    }

    async fn owned_elsewhere(
        &self,
        owner: InstanceId,
        running: &[GenerationId],
    ) -> Result<Vec<GenerationId>, LogError> {
        answered(self.not_owned(owner, running)).await
    }

    async fn acquire_lease(&self, owner: InstanceId, lease: Duration) -> Result<(), LogError> {
        answered(self.begin(owner, lease)).await
    }

    async fn mark_draining(&self, owner: InstanceId) -> Result<bool, LogError> {
        answered(self.mark_leaving(owner)).await
    }

    async fn give_up(&self, at: &Address, owner: InstanceId, epoch: Epoch) -> Result<(), LogError> {
        answered(self.disown(at, owner, epoch)).await
    }

    async fn heartbeat(&self, owner: InstanceId, lease: Duration) -> Result<(), LogError> {
        answered(async {
            self.renew(owner, lease).await?;
            self.fit().await
        })
        .await
    }

    async fn advertise_models(&self, owner: InstanceId, models: &[String]) -> Result<(), LogError> {
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

    async fn compact(&self, owner: InstanceId) -> Result<u64, LogError> {
        answered(self.fold_lanes(owner)).await
    }

    async fn retain(&self, days: u32) -> Result<u64, LogError> {
        answered(async {
            self.forget_request_reads().await?;
            let mut connection = self.workers.acquire().await.map_err(error)?;
            super::partitions::ensure(&mut connection).await.map_err(error)?;
            super::segments::forget_doubled(&mut connection, days).await.map_err(error)?;
            let expired = super::partitions::expire(&mut connection, days).await;
            let (dropped, in_use) = expired.map_err(error)?;
            connection.clean();
            if in_use > 0 {
                let why = format!("{in_use} tables of old days are in use and stay for now");
                return Err(LogError::Unavailable(why));
            }
            Ok(dropped)
        })
        .await
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

    async fn bytes(&self) -> Result<i64, LogError> {
        answered(super::partitions::bytes(&self.workers)).await
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

impl PgLog {
    /// On a database that was checked; nothing is connected yet. Must be called on the main
    /// runtime.
    pub(super) fn on(sessions: Sessions, space: String) -> Self {
        let supply = Supply::new(sessions, space);
        let pool = |name, keep, most| pool::Pool::new(name, keep, most, &supply);
        let watch = pool("watch", 1, 1);
        supply.watch_by(&watch);
        Self {
            readers: pool("readers", 1, room::MOST),
            workers: pool("workers", 1, room::MOST),
            upkeep: pool("upkeep", 2, 2),
            watch,
            probe: Probe::default(),
            append_cache: AppendCache::default(),
            unreadable: Arc::default(),
            process: InstanceId::random().0,
            supply,
        }
    }

    fn all_pools(&self) -> [&pool::Pool; 4] {
        [&self.readers, &self.workers, &self.upkeep, &self.watch]
    }

    /// Ends the pools' connections, in order if the database takes part. Waiting for a connection
    /// whose other end has vanished would never end.
    pub async fn close(&self) {
        let closed = join_all(self.all_pools().map(pool::Pool::close));
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
            .map(|row| self.generation_in(row))
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
        super::compact::fold_all_of(&mut transaction, &[at.id.0]).await?;
        let statements = [
            "delete from doubled where generation_id in \
             (select id from generations where id = $1 and tenant = $2)",
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
