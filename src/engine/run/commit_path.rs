//! The way of an event from its generation to its readers' memory, with any log: for whoever counts
//! what it costs (`bench/tests/instructions.rs`).
use std::sync::Arc;

use super::live::Tail;
use super::recorder::{Closed, Recorder, Writer};
use crate::domain::event::Event;
use crate::domain::id::{Epoch, GenerationId, Seq, Tenant};
use crate::metrics::Metrics;
use crate::ports::{Address, LogWriter, RowChange};
use crate::tasks::Tasks;

/// Generations that say something at the same time, and the lane that writes it.
pub struct CommitPath {
    writers: Vec<Writer>,
    /// Keeps the lane.
    _recorder: Recorder,
}

impl std::fmt::Debug for CommitPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommitPath").field("generations", &self.writers.len()).finish()
    }
}

impl CommitPath {
    /// So many generations on a lane that writes to the log by `writer`. Takes the runtime that it
    /// is called on.
    pub fn new(writer: impl Fn() -> Box<dyn LogWriter>, generations: usize) -> Self {
        let recorder = Recorder::start(writer, &Tasks::new(), &Arc::new(Metrics::default()));
        let writers = (0..generations).map(|_| {
            let (tenant, id) = (Tenant::anonymous(), GenerationId::random());
            let tail = Tail::new(tenant.clone(), id, Seq::ZERO);
            recorder.open(Address { tenant, id }, Epoch::FIRST, tail)
        });
        Self { writers: writers.collect(), _recorder: recorder }
    }

    /// Has every generation say `event`; ends when all of it is durable and published. False if the
    /// lane is gone.
    pub async fn say(&mut self, event: &Event) -> bool {
        for writer in &mut self.writers {
            let place = match writer.try_permit(64) {
                Some(place) => Ok(place),
                None => writer.place(64).await,
            };
            match place {
                Ok(place) => writer.push(place, std::slice::from_ref(event), RowChange::None),
                Err(Closed) => return false,
            }
        }
        for writer in &self.writers {
            writer.flush().await;
        }
        true
    }
}
