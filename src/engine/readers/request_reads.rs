//! The reader of the answer to a request. Its end is noted in the log, so that the same request
//! finds the answer when it is sent again.
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::unsettled_reads::{UnsettledRead, UnsettledReads};
use crate::domain::id::GenerationId;
use crate::engine::Engine;
use crate::ports::{LogError, ReadEnd, Signal, To};

mod attach;

pub use attach::Repeat;

/// After a cut a repeat takes the answer over for this time.
pub(in crate::engine) const WINDOW: Duration = Duration::from_secs(120);
/// The reader of a request comes within this time after its start, even where the grace is shorter.
pub(in crate::engine) const FIRST_READER: Duration = Duration::from_secs(10);
/// Readers whose end waits to be noted; more are not noted.
const QUEUE: usize = 4096;
/// Delivered answers are noted together: nobody waits for it.
const TOGETHER: Duration = Duration::from_millis(250);
/// A stream that the server ends stays open no longer than this for the note of it.
const NOTING: Duration = Duration::from_secs(5);
/// The pause before ends are written again that the log did not take.
const AGAIN: Duration = Duration::from_millis(500);

/// The reader of the answer to a request. Dropped, it notes how the reading ended.
pub struct RequestRead {
    engine: Engine,
    id: GenerationId,
    /// Of the request that was stored with the answer.
    hash: Vec<u8>,
    delivered: bool,
    cut: Arc<AtomicBool>,
}

impl RequestRead {
    /// The reader has the whole answer.
    pub fn delivered(&mut self) {
        self.delivered = true;
    }

    /// The server ends the reader's stream early. Returns when that is in the log: the client may
    /// ask another instance in the same moment.
    pub async fn cut_off(self) {
        let unsettled = self.engine.inner.readers.request_reads.unsettled.clone();
        let hash = self.hash.clone();
        self.cut.store(true, Ordering::Relaxed);
        drop(self);
        let noted = async {
            while let Some(change) = unsettled.next_change(&hash, false) {
                change.wait().await;
            }
        };
        let _in_time = timeout(NOTING, noted).await;
    }

    /// Set by whoever ends the reader's stream early.
    #[must_use]
    pub fn cut(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cut)
    }
}

impl fmt::Debug for RequestRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequestRead").field(&self.id).finish()
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
        let reads = &self.engine.inner.readers.request_reads;
        let unsettled = match end {
            ReadEnd::Delivered => None,
            ReadEnd::Cut => {
                let tail = self.engine.inner.runs.live.get(self.id);
                tail.iter().for_each(|tail| tail.cut_reader.begin(WINDOW));
                Some(reads.unsettled.begin(&self.hash, true))
            }
            ReadEnd::ClientLeft => Some(reads.unsettled.begin(&self.hash, false)),
        };
        // Full: the note is lost, as in a crash.
        let _lost = reads.sender.try_send(Ended { id: self.id, end, _unsettled: unsettled });
    }
}

/// The end of a reader, on its way to the log.
pub(in crate::engine) struct Ended {
    id: GenerationId,
    end: ReadEnd,
    /// Until it is there.
    _unsettled: Option<UnsettledRead>,
}

impl Ended {
    fn is_delivered(&self) -> bool {
        self.end == ReadEnd::Delivered
    }
}

/// Ends of readers, on their way to the log, and what else of readers is on its way there.
pub(in crate::engine) struct Queue {
    sender: Sender<Ended>,
    pub(in crate::engine) unsettled: UnsettledReads,
    /// Readers were cut, here or elsewhere, and the log says so.
    pub(in crate::engine) cut: Notify,
}

/// The other end of a [`Queue`].
pub(in crate::engine) type Ends = Receiver<Ended>;

/// A queue and its receiver.
pub(in crate::engine) fn queue() -> (Queue, Ends) {
    let (sender, receiver) = channel(QUEUE);
    (Queue { sender, unsettled: UnsettledReads::default(), cut: Notify::new() }, receiver)
}

impl Engine {
    /// Counts the reader of the answer to the request that started `id`, or took it over.
    pub(in crate::engine) fn request_read(&self, id: GenerationId, hash: Vec<u8>) -> RequestRead {
        RequestRead { engine: self.clone(), id, hash, delivered: false, cut: Arc::default() }
    }

    /// Notes ends of readers until the hard stop.
    pub(in crate::engine) fn note_request_reads(&self, mut ends: Ends) {
        let engine = self.clone();
        let hard = self.inner.tasks.hard().clone();
        self.inner.tasks.spawn_service(async move {
            let mut batch = Vec::new();
            while hard.run_until_cancelled(ends.recv_many(&mut batch, QUEUE)).await.is_some() {
                hard.run_until_cancelled(until_worth_a_write(&mut ends, &mut batch)).await;
                while engine.note_batch(&mut ends, &mut batch).await.is_err() {
                    // A cut that is not noted would look read for as long as this process lives.
                    if hard.run_until_cancelled(sleep(AGAIN)).await.is_none() {
                        return;
                    }
                }
            }
            let _again_by_nobody = engine.note_batch(&mut ends, &mut batch).await;
        });
    }

    /// An error: the log may take it later.
    async fn note_batch(&self, ends: &mut Ends, batch: &mut Vec<Ended>) -> Result<(), ()> {
        while batch.len() < QUEUE
            && let Ok(end) = ends.try_recv()
        {
            batch.push(end);
        }
        let ended: Vec<_> = batch.iter().map(|ended| (ended.id, ended.end)).collect();
        match self.inner.log.request_reads.note(&ended).await {
            Ok(()) => {
                let cut = batch.iter().filter(|ended| !ended.is_delivered()).count();
                self.inner.metrics.readers_cut.inc_by(cut as u64);
                if cut > 0 {
                    self.inner.readers.request_reads.cut.notify_waiters();
                    self.inner.fleet.signals.send(To::All, Signal::ReadersCut);
                }
            }
            Err(LogError::Unavailable(why)) => {
                tracing::warn!(why, "ends of readers are not noted yet");
                return Err(());
            }
            Err(error) => tracing::warn!(%error, "ends of readers are not noted"),
        }
        batch.clear();
        Ok(())
    }
}

/// Gathers delivered answers for a moment; a reader that was cut may come back at once.
async fn until_worth_a_write(ends: &mut Ends, batch: &mut Vec<Ended>) {
    let over = Instant::now() + TOGETHER;
    let mut seen = 0;
    while batch.iter().skip(seen).all(Ended::is_delivered) && batch.len() < QUEUE {
        seen = batch.len();
        let more = timeout_at(over, ends.recv_many(batch, QUEUE)).await;
        if !more.is_ok_and(|more| more > 0) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_cut_does_not_wait_behind_delivered_answers() {
        let (sender, mut ends) = channel(8);
        let ended = |end| Ended { id: GenerationId::random(), end, _unsettled: None };
        let mut batch = vec![ended(ReadEnd::Delivered)];
        let begun = Instant::now();
        let cut = async {
            sleep(Duration::from_millis(10)).await;
            assert!(sender.try_send(ended(ReadEnd::ClientLeft)).is_ok());
        };
        tokio::join!(until_worth_a_write(&mut ends, &mut batch), cut);
        assert_eq!((batch.len(), begun.elapsed()), (2, Duration::from_millis(10)));
    }
}
