//! The real log, but for its writers: they keep starts and endings, and forget all between.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lastword::domain::entry::Entry;
use lastword::domain::generation::{Generation, Idempotency, NewGeneration};
use lastword::domain::id::{Epoch, GenerationId, InstanceId, Seq, Tenant};
use lastword::ports::{
    Address, Append, Claim, Claimed, Conversations, Created, Deleted, Filter, Log, LogError,
    LogWriter, Operations, Orphan, Orphans, Pool, RequestReads, RowChange, Tail,
};

/// A log that keeps no token. Readers never miss any: they have them from memory, unless they fall
/// further behind than a generation keeps.
pub(crate) struct Forgetful(pub(crate) Arc<dyn Log>);

struct Writer(Box<dyn LogWriter>);

/// What is left of an append: its change of the row, and of its entries the ending alone. That is
/// all that a lane hears of a generation, so nothing seems to be missing before it.
fn kept(append: &Append) -> Option<Append> {
    let entries = match &append.row {
        RowChange::None => return None,
        RowChange::Started | RowChange::Background(_) => Vec::new(),
        RowChange::Ended(_) => append.entries.last().cloned().into_iter().collect(),
    };
    let (at, row) = (append.at.clone(), append.row.clone());
    Some(Append { at, epoch: append.epoch, entries, row })
}

#[async_trait]
impl LogWriter for Writer {
    async fn append(&mut self, batch: &[&Append]) -> Result<(), LogError> {
        let kept: Vec<Append> = batch.iter().filter_map(|append| kept(append)).collect();
        if kept.is_empty() {
            return Ok(());
        }
        self.0.append(&kept.iter().collect::<Vec<_>>()).await
    }

    async fn tails(&mut self, ids: &[GenerationId]) -> Result<Vec<Tail>, LogError> {
        self.0.tails(ids).await
    }
}

#[async_trait]
impl Log for Forgetful {
    fn writer(&self, owner: InstanceId) -> Box<dyn LogWriter> {
        Box::new(Writer(self.0.writer(owner)))
    }

    fn conversations(&self) -> Arc<dyn Conversations> {
        self.0.conversations()
    }
    fn request_reads(&self) -> Arc<dyn RequestReads> {
        self.0.request_reads()
    }
    fn operations(&self) -> Arc<dyn Operations> {
        self.0.operations()
    }
    async fn create(&self, new: &NewGeneration) -> Result<Created, LogError> {
        self.0.create(new).await
    }
    async fn repeated(&self, of: &Tenant, key: &Idempotency) -> Result<Option<Created>, LogError> {
        self.0.repeated(of, key).await
    }
    async fn read(&self, at: &Address, after: Seq, limit: u32) -> Result<Vec<Entry>, LogError> {
        self.0.read(at, after, limit).await
    }
    async fn read_many(
        &self,
        wanted: &[(Address, Seq)],
        limit: u32,
    ) -> Result<HashMap<GenerationId, Vec<Entry>>, LogError> {
        self.0.read_many(wanted, limit).await
    }
    async fn renew_readers(
        &self,
        which: &[Address],
        lasting: Duration,
    ) -> Result<HashMap<GenerationId, InstanceId>, LogError> {
        self.0.renew_readers(which, lasting).await
    }
    async fn unread_elsewhere(&self, at: &Address) -> Result<Option<Duration>, LogError> {
        self.0.unread_elsewhere(at).await
    }
    async fn generation(&self, at: &Address) -> Result<Option<Generation>, LogError> {
        self.0.generation(at).await
    }
    async fn newest_of(&self, tenant: &Tenant, chat: &str) -> Result<Option<Generation>, LogError> {
        self.0.newest_of(tenant, chat).await
    }
    async fn list(&self, tenant: &Tenant, filter: &Filter) -> Result<Vec<Generation>, LogError> {
        self.0.list(tenant, filter).await
    }
    async fn delete(&self, at: &Address) -> Result<Deleted, LogError> {
        self.0.delete(at).await
    }
    async fn request_cancel(&self, at: &Address) -> Result<Option<InstanceId>, LogError> {
        self.0.request_cancel(at).await
    }
    async fn cancel_requests(&self, owner: InstanceId) -> Result<Vec<GenerationId>, LogError> {
        self.0.cancel_requests(owner).await
    }
    async fn owned_elsewhere(
        &self,
        owner: InstanceId,
        running: &[GenerationId],
    ) -> Result<Vec<GenerationId>, LogError> {
        self.0.owned_elsewhere(owner, running).await
    }
    async fn acquire_lease(&self, owner: InstanceId, lease: Duration) -> Result<(), LogError> {
        self.0.acquire_lease(owner, lease).await
    }
    async fn mark_draining(&self, owner: InstanceId) -> Result<bool, LogError> {
        self.0.mark_draining(owner).await
    }
    async fn give_up(&self, at: &Address, owner: InstanceId, epoch: Epoch) -> Result<(), LogError> {
        self.0.give_up(at, owner, epoch).await
    }
    async fn heartbeat(&self, owner: InstanceId, lease: Duration) -> Result<(), LogError> {
        self.0.heartbeat(owner, lease).await
    }
    async fn advertise_models(&self, owner: InstanceId, models: &[String]) -> Result<(), LogError> {
        self.0.advertise_models(owner, models).await
    }
    async fn is_offered_elsewhere(&self, owner: InstanceId, model: &str) -> Result<bool, LogError> {
        self.0.is_offered_elsewhere(owner, model).await
    }
    async fn release(&self, owner: InstanceId) -> Result<(), LogError> {
        self.0.release(owner).await
    }
    async fn orphans(&self, which: &Orphans, limit: u32) -> Result<Vec<Orphan>, LogError> {
        self.0.orphans(which, limit).await
    }
    async fn take_over(&self, claim: &Claim) -> Result<Claimed, LogError> {
        self.0.take_over(claim).await
    }
    async fn compact(&self, owner: InstanceId) -> Result<u64, LogError> {
        self.0.compact(owner).await
    }
    async fn retain(&self, days: u32) -> Result<u64, LogError> {
        self.0.retain(days).await
    }
    fn take_unreadable(&self) -> u64 {
        self.0.take_unreadable()
    }
    fn pools(&self) -> Vec<Pool> {
        self.0.pools()
    }
    async fn bytes(&self) -> Result<i64, LogError> {
        self.0.bytes().await
    }
    async fn condition(&self) -> Result<lastword::ports::Condition, LogError> {
        self.0.condition().await
    }
}
