//! The real log, except for its writers: they keep starts and endings, and forget all entries
//! between.
use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use lastword::domain::entry::Entry;
use lastword::domain::id::{GenerationId, InstanceId, Seq};
use lastword::ports::{Address, Append, EventPage, Events, LogError, LogWriter, RowChange, Tail};

/// A log that keeps no token. Readers never miss any: they have them from memory, unless they fall
/// further behind than a generation keeps.
pub(crate) struct Forgetful(pub(crate) Arc<dyn Events>);

struct Writer(Box<dyn LogWriter>);

/// The rest of an append: its change of the row, and of its entries only the ending. A lane gets
/// only that of a generation, so nothing seems to be missing before it.
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
impl Events for Forgetful {
    fn writer(&self, owner: InstanceId) -> Box<dyn LogWriter> {
        Box::new(Writer(self.0.writer(owner)))
    }

    async fn read(&self, at: &Address, after: Seq, limit: u32) -> Result<Vec<Entry>, LogError> {
        self.0.read(at, after, limit).await
    }

    async fn read_many(
        &self,
        wanted: &[(Address, Seq)],
        limit: u32,
    ) -> Result<HashMap<GenerationId, EventPage>, LogError> {
        self.0.read_many(wanted, limit).await
    }
}
