//! A request that is sent again takes the earlier answer over, if that one's reader was cut.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{sleep, timeout};

use super::Engine;
use super::start::{Start, StartError, Started};
use crate::domain::id::GenerationId;
use crate::ports::{Address, Attachment, ReadEnd, Sought};

/// After a cut a repeat takes the answer over for this time.
pub(super) const WINDOW: Duration = Duration::from_secs(120);
/// The reader of a request comes within this time after its start, even where the grace is shorter.
pub(super) const FIRST_READER: Duration = Duration::from_secs(10);
/// Readers whose end waits to be noted; more are not noted.
const QUEUE: usize = 4096;
/// Delivered answers are noted together: nobody waits for it.
const TOGETHER: Duration = Duration::from_millis(250);
/// Pauses of a client that tries again while the end of its first try is noted.
const NOTICED: [Duration; 5] = [
    Duration::from_millis(20),
    Duration::from_millis(40),
    Duration::from_millis(80),
    Duration::from_millis(160),
    Duration::from_millis(320),
];
/// A start does not wait longer for the log to say whether it is a repeat.
const ASKING: Duration = Duration::from_secs(2);

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

/// The reader of the answer to a request. Dropped, it notes how the reading ended.
pub struct RequestRead {
    engine: Engine,
    id: GenerationId,
    delivered: bool,
    cut: Arc<AtomicBool>,
}

impl RequestRead {
    /// The reader has the whole answer.
    pub fn delivered(&mut self) {
        self.delivered = true;
    }

    /// Set by whoever ends the reader's stream early.
    #[must_use]
    pub fn cut(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cut)
    }
}

impl Drop for RequestRead {
    fn drop(&mut self) {
        let end = if self.delivered {
            ReadEnd::Delivered
        } else if self.cut.load(Ordering::Relaxed) || self.engine.is_draining() {
            ReadEnd::Cut
        } else {
            ReadEnd::ClientLeft
        };
        // Full: the note is lost, as in a crash.
        let _lost = self.engine.inner.request_reads.0.try_send((self.id, end));
    }
}

/// Ends of readers, on their way to the log.
pub(super) struct Queue(Sender<(GenerationId, ReadEnd)>);

/// The other end of a [`Queue`].
pub(super) type Ends = Receiver<(GenerationId, ReadEnd)>;

/// A queue and its receiver.
pub(super) fn queue() -> (Queue, Ends) {
    let (sender, receiver) = channel(QUEUE);
    (Queue(sender), receiver)
}

impl Engine {
    /// Counts the reader of the answer to the request that started `id`, or took it over.
    #[must_use]
    pub fn request_read(&self, id: GenerationId) -> RequestRead {
        RequestRead { engine: self.clone(), id, delivered: false, cut: Arc::default() }
    }

    /// The answer that this request takes over, if there is one.
    pub(super) async fn attach(&self, start: &Start) -> Result<Option<Started>, StartError> {
        let Some(repeat) = &start.repeat else { return Ok(None) };
        let Ok(Some(id)) = timeout(ASKING, self.taken(repeat)).await else { return Ok(None) };
        let at = Address { tenant: start.caller.tenant().clone(), id };
        let Some(generation) = self.inner.log.generations.generation(&at).await? else {
            return Ok(None);
        };
        self.inner.metrics.attached.inc();
        tracing::info!(generation = %id, "a repeated request takes the answer over");
        Ok(Some(Started { generation, replayed: true, attached: true }))
    }

    /// A client that tries again has closed just before: until that is noted, its answer looks
    /// read.
    async fn taken(&self, repeat: &Repeat) -> Option<GenerationId> {
        if let Some((hash, of)) = &repeat.said {
            let sought = Sought { hash, is_retry: true, of: *of };
            if let Some(id) = self.sought(sought).await {
                return Some(id);
            }
        }
        self.sought(Sought { hash: &repeat.hash, is_retry: repeat.is_retry, of: None }).await
    }

    async fn sought(&self, sought: Sought<'_>) -> Option<GenerationId> {
        let log = &self.inner.log.request_reads;
        let mut pauses = NOTICED.iter();
        loop {
            match log.attach(sought, WINDOW).await {
                Ok(Attachment::Taken(id)) => return Some(id),
                Ok(Attachment::Read) => sleep(*pauses.next()?).await,
                Ok(Attachment::None) | Err(_) => return None,
            }
        }
    }

    /// Notes ends of readers until the hard stop.
    pub(super) fn note_request_reads(&self, mut ends: Ends) {
        let engine = self.clone();
        let hard = self.inner.tasks.hard().clone();
        self.inner.tasks.spawn_service(async move {
            let mut batch = Vec::new();
            while hard.run_until_cancelled(ends.recv_many(&mut batch, QUEUE)).await.is_some() {
                // A repeat may follow at once where a reader was cut.
                if batch.iter().all(|(_, end)| *end == ReadEnd::Delivered) {
                    hard.run_until_cancelled(sleep(TOGETHER)).await;
                }
                engine.note_batch(&mut ends, &mut batch).await;
            }
            engine.note_batch(&mut ends, &mut batch).await;
        });
    }

    async fn note_batch(&self, ends: &mut Ends, batch: &mut Vec<(GenerationId, ReadEnd)>) {
        while let Ok(end) = ends.try_recv() {
            batch.push(end);
        }
        match self.inner.log.request_reads.note(batch).await {
            Ok(()) => {
                let cut = batch.iter().filter(|(_, end)| *end != ReadEnd::Delivered).count();
                self.inner.metrics.readers_cut.inc_by(cut as u64);
            }
            Err(error) => tracing::warn!(%error, "ends of readers are not noted"),
        }
        batch.clear();
    }
}
