//! A request that is sent again takes the earlier answer over, if that one's reader was cut.
use std::pin::pin;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::{RequestRead, WINDOW};
use crate::domain::id::GenerationId;
use crate::engine::Engine;
use crate::engine::readers::unsettled_reads::UnsettledReads;
use crate::engine::run::start::{Start, StartError, Started};
use crate::engine::run::stop_conditions::Stop;
use crate::ports::{Address, Attachment, RequestReads, Sought};

/// Pauses of a client that tries again, while its first connection's close is on its way to us. A
/// hint tells of a close that comes to another instance, and ends the pause. A crash has no hint.
const NOTICED: [Duration; 6] = [
    Duration::from_millis(20),
    Duration::from_millis(40),
    Duration::from_millis(80),
    Duration::from_millis(160),
    Duration::from_millis(320),
    Duration::from_millis(640),
];
/// A start does not wait longer for the log to say whether it is a repeat.
const ASKING: Duration = Duration::from_secs(5);

/// The properties that make a request the same as an earlier one.
#[derive(Clone, Debug)]
pub struct Repeat {
    /// Of tenant, key, protocol and body.
    pub hash: Vec<u8>,
    /// Whether the client says that it tries again.
    pub is_retry: bool,
    /// The hash without what the unfinished answer has said, where the client sends that along; and
    /// whose answer it is, if that shows. It is then a retry.
    pub said: Option<(Vec<u8>, Option<GenerationId>)>,
}

impl Engine {
    /// The answer that this request takes over, if there is one.
    ///
    /// It is sought beside the request. A client that goes away meanwhile drops the request, and
    /// an answer that was taken by then gets a reader that left.
    pub(in crate::engine) async fn attach(
        &self,
        start: &Start,
    ) -> Result<Option<Started>, StartError> {
        let Some(repeat) = start.repeat.clone() else { return Ok(None) };
        let engine = self.clone();
        let taken = self.inner.tasks.spawn_aside(async move { engine.taken(repeat).await });
        let Ok(Ok(Some(read))) = timeout(ASKING, taken).await else { return Ok(None) };
        let at = Address { tenant: start.caller.tenant().clone(), id: read.id };
        let Some(generation) = self.inner.log.generations.generation(&at).await? else {
            return Ok(None);
        };
        let tail = self.inner.runs.live.get(read.id);
        let stop = tail.as_ref().and_then(|tail| tail.stop_reason());
        if matches!(stop, Some(Stop::Abandoned | Stop::Cancelled)) {
            return Ok(None);
        }
        tail.iter().for_each(|tail| tail.cut_reader.end());
        self.inner.metrics.attached.inc();
        tracing::info!(generation = %read.id, "a repeated request takes the answer over");
        Ok(Some(Started { generation, replayed: true, attached: true, read: Some(read) }))
    }

    async fn taken(&self, repeat: Repeat) -> Option<RequestRead> {
        let reads = self.inner.log.request_reads.as_ref();
        let seeking = Seeking {
            reads,
            unsettled: &self.inner.readers.request_reads.unsettled,
            cut: &self.inner.readers.request_reads.cut,
            give_up: Instant::now() + ASKING,
        };
        if let Some((hash, of)) = repeat.said {
            let sought = Sought { hash: &hash, is_retry: true, of };
            if let Some(id) = seeking.sought(sought).await {
                return Some(self.request_read(id, hash));
            }
        }
        let sought = Sought { hash: &repeat.hash, is_retry: repeat.is_retry, of: None };
        let id = seeking.sought(sought).await?;
        Some(self.request_read(id, repeat.hash))
    }
}

/// The search for an answer that a repeat takes over.
struct Seeking<'a> {
    reads: &'a dyn RequestReads,
    unsettled: &'a UnsettledReads,
    /// Readers were cut, here or elsewhere.
    cut: &'a Notify,
    give_up: Instant,
}

impl Seeking<'_> {
    /// A client that tries again has closed just before. Its answer looks read until the close has
    /// come and is noted.
    async fn sought(&self, sought: Sought<'_>) -> Option<GenerationId> {
        let mut pauses = NOTICED.iter();
        let mut pause_over = Instant::now();
        loop {
            // Both before the look at the log, which may be from before the write.
            let mut cut = pin!(self.cut.notified());
            cut.as_mut().enable();
            let change = self.unsettled.next_change(sought.hash, sought.is_retry);
            match (self.reads.attach(sought, WINDOW).await, change) {
                (Ok(Attachment::Taken(id)), _) => return Some(id),
                (Ok(Attachment::Read | Attachment::None), Some(change)) => {
                    timeout_at(self.give_up, change.wait()).await.ok()?;
                }
                (Ok(Attachment::Read), None) => {
                    if pause_over <= Instant::now() {
                        pause_over = Instant::now() + *pauses.next()?;
                    }
                    let _told_or_over = timeout_at(pause_over, cut).await;
                }
                (Ok(Attachment::None), None) | (Err(_), _) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests;
