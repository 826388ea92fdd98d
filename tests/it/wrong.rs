//! The mistakes that a durable log invites, kept alive: tests that use them must fail.
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lastword::domain::entry::Entry;
use lastword::domain::generation::{Generation, NewGeneration};
use lastword::domain::id::{Epoch, GenerationId, InstanceId, Seq, Tenant};
use lastword::ports::{
    Address, Append, Claim, Claimed, Conversations, Created, Deleted, Filter, Log, LogError,
    LogWriter, Orphan, Orphans, Pool, RequestReads, Tail,
};
use lastword::store::PgLog;
use sqlx::{Connection, PgConnection};

/// Which mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// None: the real writer.
    None,
    /// Whoever appends, appends at the end.
    NoFence,
    /// An append whose outcome is unknown is simply made again, at the end.
    BlindRetry,
    /// A take-over closes no lane, and looks at the log as it was before it began.
    OldSnapshot,
}

/// The real log with writers that make a mistake.
pub(crate) struct WrongLog {
    pub(crate) real: PgLog,
    url: String,
    /// Orphans that are found once more, whatever has become of them.
    pub(crate) late: Mutex<Option<Vec<Orphan>>>,
    pub(crate) mistake: Mistake,
    /// Reads by one reader, and reads for many.
    pub(crate) read: AtomicUsize,
    pub(crate) read_many: AtomicUsize,
}

struct WrongWriter {
    real: Box<dyn LogWriter>,
    mistake: Mistake,
}

impl WrongWriter {
    /// The same events behind whatever the log has now.
    async fn at_the_end(&mut self, batch: &[&Append]) -> Result<Vec<Append>, LogError> {
        let mut moved: Vec<Append> = batch.iter().copied().cloned().collect();
        for append in &mut moved {
            let tails = self.real.tails(&[append.at.id]).await?;
            let mut seq = tails[0].seq;
            // Whoever owns it now.
            append.epoch = tails[0].epoch;
            for entry in &mut append.entries {
                seq = seq.next();
                *entry = Entry::encode(seq, &entry.decode().unwrap()).by(append.epoch);
            }
        }
        Ok(moved)
    }
}

#[async_trait]
impl LogWriter for WrongWriter {
    async fn append(&mut self, batch: &[&Append]) -> Result<(), LogError> {
        match self.mistake {
            Mistake::None | Mistake::OldSnapshot => self.real.append(batch).await,
            Mistake::NoFence => {
                let moved = self.at_the_end(batch).await?;
                self.real.append(&moved.iter().collect::<Vec<_>>()).await
            }
            Mistake::BlindRetry => match self.real.append(batch).await {
                Err(LogError::Unavailable(_)) => {
                    let moved = self.at_the_end(batch).await?;
                    self.real.append(&moved.iter().collect::<Vec<_>>()).await
                }
                other => other,
            },
        }
    }

    async fn tails(&mut self, ids: &[GenerationId]) -> Result<Vec<Tail>, LogError> {
        let mut tails = self.real.tails(ids).await?;
        if self.mistake == Mistake::NoFence {
            // Nobody looks whose turn it is.
            for tail in &mut tails {
                tail.epoch = Epoch::FIRST;
            }
        }
        Ok(tails)
    }
}

impl WrongLog {
    /// The first entry goes in where the claim was made for, whatever is there by now.
    async fn take_over_blindly(&self, claim: &Claim) -> Claimed {
        let Claim { owner, from, append } = claim;
        let entry = &append.entries[0];
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        let mut transaction = connection.begin().await.unwrap();
        sqlx::query(
            "insert into segments (generation_id, seq, last, epoch, at, lines) \
             values ($1, $2, $2, $3, clock_timestamp(), $4)",
        )
        .bind(append.at.id.0)
        .bind(i64::try_from(entry.seq.0).unwrap())
        .bind(append.epoch.0)
        .bind(format!("0 {} {}", entry.name(), entry.data()))
        .execute(&mut *transaction)
        .await
        .unwrap();
        let sql = "update generations set owner = $2, epoch = $3 where id = $1 and epoch = $4";
        sqlx::query(sql)
            .bind(append.at.id.0)
            .bind(owner.0)
            .bind(append.epoch.0)
            .bind(from.1.0)
            .execute(&mut *transaction)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        Claimed::Ours { cancel_requested: false }
    }
}

#[async_trait]
impl Log for WrongLog {
    fn conversations(&self) -> Arc<dyn Conversations> {
        self.real.conversations()
    }
    fn request_reads(&self) -> Arc<dyn RequestReads> {
        self.real.request_reads()
    }
    fn operations(&self) -> Arc<dyn lastword::ports::Operations> {
        self.real.operations()
    }
    fn writer(&self, owner: InstanceId) -> Box<dyn LogWriter> {
        Box::new(WrongWriter { real: self.real.writer(owner), mistake: self.mistake })
    }
    async fn create(&self, new: &NewGeneration) -> Result<Created, LogError> {
        self.real.create(new).await
    }
    async fn repeated(
        &self,
        tenant: &Tenant,
        key: &lastword::domain::generation::Idempotency,
    ) -> Result<Option<Created>, LogError> {
        self.real.repeated(tenant, key).await
    }
    async fn read(&self, at: &Address, after: Seq, limit: u32) -> Result<Vec<Entry>, LogError> {
        self.read.fetch_add(1, Ordering::Relaxed);
        self.real.read(at, after, limit).await
    }
    async fn read_many(
        &self,
        wanted: &[(Address, Seq)],
        limit: u32,
    ) -> Result<HashMap<GenerationId, Vec<Entry>>, LogError> {
        self.read_many.fetch_add(1, Ordering::Relaxed);
        self.real.read_many(wanted, limit).await
    }
    async fn renew_readers(
        &self,
        which: &[Address],
        lasting: Duration,
    ) -> Result<HashMap<GenerationId, InstanceId>, LogError> {
        self.real.renew_readers(which, lasting).await
    }
    async fn unread_elsewhere(&self, at: &Address) -> Result<Option<Duration>, LogError> {
        self.real.unread_elsewhere(at).await
    }
    async fn generation(&self, at: &Address) -> Result<Option<Generation>, LogError> {
        self.real.generation(at).await
    }
    async fn newest_of(&self, tenant: &Tenant, chat: &str) -> Result<Option<Generation>, LogError> {
        self.real.newest_of(tenant, chat).await
    }
    async fn list(&self, tenant: &Tenant, filter: &Filter) -> Result<Vec<Generation>, LogError> {
        self.real.list(tenant, filter).await
    }
    async fn delete(&self, at: &Address) -> Result<Deleted, LogError> {
        self.real.delete(at).await
    }
    async fn request_cancel(&self, at: &Address) -> Result<Option<InstanceId>, LogError> {
        self.real.request_cancel(at).await
    }
    async fn cancel_requests(&self, owner: InstanceId) -> Result<Vec<GenerationId>, LogError> {
        self.real.cancel_requests(owner).await
    }
    async fn owned_elsewhere(
        &self,
        owner: InstanceId,
        running: &[GenerationId],
    ) -> Result<Vec<GenerationId>, LogError> {
        self.real.owned_elsewhere(owner, running).await
    }
    async fn acquire_lease(&self, owner: InstanceId, lease: Duration) -> Result<(), LogError> {
        self.real.acquire_lease(owner, lease).await
    }
    async fn mark_draining(&self, owner: InstanceId) -> Result<bool, LogError> {
        self.real.mark_draining(owner).await
    }
    async fn give_up(&self, at: &Address, owner: InstanceId, epoch: Epoch) -> Result<(), LogError> {
        self.real.give_up(at, owner, epoch).await
    }
    async fn heartbeat(&self, owner: InstanceId, lease: Duration) -> Result<(), LogError> {
        self.real.heartbeat(owner, lease).await
    }
    async fn advertise_models(&self, owner: InstanceId, models: &[String]) -> Result<(), LogError> {
        self.real.advertise_models(owner, models).await
    }
    async fn is_offered_elsewhere(&self, owner: InstanceId, model: &str) -> Result<bool, LogError> {
        self.real.is_offered_elsewhere(owner, model).await
    }
    async fn release(&self, owner: InstanceId) -> Result<(), LogError> {
        self.real.release(owner).await
    }
    async fn orphans(&self, which: &Orphans, limit: u32) -> Result<Vec<Orphan>, LogError> {
        if let Some(late) = self.late.lock().unwrap().take() {
            return Ok(late);
        }
        self.real.orphans(which, limit).await
    }
    async fn take_over(&self, claim: &Claim) -> Result<Claimed, LogError> {
        if self.mistake == Mistake::OldSnapshot {
            return Ok(self.take_over_blindly(claim).await);
        }
        self.real.take_over(claim).await
    }
    async fn compact(&self, owner: InstanceId) -> Result<u64, LogError> {
        self.real.compact(owner).await
    }
    async fn retain(&self, days: u32) -> Result<u64, LogError> {
        self.real.retain(days).await
    }
    fn take_unreadable(&self) -> u64 {
        self.real.take_unreadable()
    }
    fn pools(&self) -> Vec<Pool> {
        self.real.pools()
    }

    async fn bytes(&self) -> Result<i64, LogError> {
        self.real.bytes().await
    }

    async fn condition(&self) -> Result<lastword::ports::Condition, LogError> {
        self.real.condition().await
    }
}

/// The log at `url` with that mistake.
pub(crate) async fn wrong_log(url: &str, mistake: Mistake) -> Arc<WrongLog> {
    let durability = lastword::store::Durability::Required;
    let real = lastword::store::connect(url.parse().unwrap(), durability).await.unwrap();
    let late = Mutex::new(None);
    Arc::new(WrongLog { real, url: url.into(), late, mistake, read: 0.into(), read_many: 0.into() })
}
