//! Group commit: what all running generations say goes to the log together.
//!
//! A lane takes everything that waits, writes it in one transaction, publishes it, and repeats. An
//! idle lane commits a first event at once; a busy one waits for others to come along.
mod lane;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::live::Tail;
use crate::domain::entry::Entry;
use crate::domain::event::Event;
use crate::domain::generation::Outcome;
use crate::domain::id::{Epoch, GenerationId, Seq};
use crate::metrics::Metrics;
use crate::ports::{Address, Append, LogWriter, RowChange};
use crate::tasks::Tasks;
use lane::Lane;

/// Lanes, each with a connection. One writes some hundred thousand events a second; two would
/// commit twice as often for the same events.
const LANES: usize = 1;
/// Submissions that wait in a lane; more make generations wait, and so their upstreams.
const QUEUE: usize = 4096;
/// Bytes of one generation that are not yet durable: what its upstream may be ahead of the log.
const WINDOW: u32 = 256 * 1024;
/// Bytes of all large events that are not yet durable: the others wait, and so do their upstreams.
/// Larger than any event.
const LARGE: u32 = 32 * 1024 * 1024;

/// Writes for all generations of this process.
pub(in crate::engine) struct Recorder {
    lanes: Vec<LaneHandle>,
    large: Arc<Semaphore>,
    closed: CancellationToken,
    /// Lanes that still write.
    writing: TaskTracker,
}

#[derive(Clone)]
struct LaneHandle {
    queue: mpsc::Sender<Submission>,
    /// How often this lane lost its connection, or was closed by another owner.
    losses: Arc<AtomicU64>,
    /// Told of what is not to wait for others.
    hurry: Arc<Notify>,
    /// Told when this process is its instance.
    register: Arc<Notify>,
}

/// Some entries of one generation on their way to the log.
struct Submission {
    append: Append,
    slot: Arc<Slot>,
    /// Released when the entries are durable.
    _window: Share,
    durable: Option<oneshot::Sender<()>>,
}

/// Shares of a generation's window and, for what is larger than that, of what all may take.
struct Share {
    _window: OwnedSemaphorePermit,
    _large: Option<OwnedSemaphorePermit>,
}

/// A lane's knowledge of a generation.
struct Slot {
    tail: Arc<Tail>,
    /// The lane's count of losses when it last compared the log with what it expects.
    compared: AtomicU64,
}

impl Recorder {
    /// Starts the lanes, each with a writer.
    pub(in crate::engine) fn start(
        writer: impl Fn() -> Box<dyn LogWriter>,
        tasks: &Tasks,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let (closed, writing) = (CancellationToken::new(), TaskTracker::new());
        let lanes = (0..LANES)
            .map(|_| {
                let (queue, waiting) = mpsc::channel(QUEUE);
                let (losses, hurry) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
                let register = Arc::new(Notify::new());
                let lane = Lane {
                    waiting,
                    writer: writer(),
                    losses: Arc::clone(&losses),
                    hurry: Arc::clone(&hurry),
                    register: Arc::clone(&register),
                    closed: closed.clone(),
                    hard: tasks.hard().clone(),
                    metrics: Arc::clone(metrics),
                };
                tasks.spawn_service(writing.track_future(lane.run()));
                LaneHandle { queue, losses, hurry, register }
            })
            .collect();
        let large = Arc::new(Semaphore::new(LARGE as usize));
        Self { lanes, large, closed, writing }
    }

    /// Has the lanes take the right to append, before there is anything to append. Not before this
    /// process is its instance: that closes all lanes of the process before.
    pub(in crate::engine) fn register(&self) {
        self.lanes.iter().for_each(|lane| lane.register.notify_one());
    }

    /// Lets the lanes write what waits, and end, within `limit`.
    pub(in crate::engine) async fn close(&self, limit: Duration) {
        self.closed.cancel();
        self.writing.close();
        // Past the limit the fence keeps the log whole.
        let _ = tokio::time::timeout(limit, self.writing.wait()).await;
    }

    /// A writer behind `tail`'s last entry.
    pub(in crate::engine) fn open(&self, at: Address, epoch: Epoch, tail: Arc<Tail>) -> Writer {
        let lane = self.lane(at.id).clone();
        let slot = Slot {
            compared: AtomicU64::new(lane.losses.load(Ordering::Relaxed)),
            tail: Arc::clone(&tail),
        };
        Writer {
            last: tail.head(),
            at,
            epoch,
            lane,
            slot: Arc::new(slot),
            begun: false,
            window: Arc::new(Semaphore::new(WINDOW as usize)),
            large: Arc::clone(&self.large),
        }
    }

    /// Waits until whatever was handed in for `at` by a writer that is gone is durable, or never
    /// will be.
    pub(in crate::engine) async fn settle(&self, at: &Address, epoch: Epoch) {
        let tail = Tail::new(at.tenant.clone(), at.id, Seq::ZERO);
        let mut last = self.open(at.clone(), epoch, tail);
        if let Ok(place) = last.place(1).await {
            let (durable, decided) = oneshot::channel();
            last.submit(place, &[], RowChange::None, Some(durable));
            // Behind all of it in its lane; whether it is refused itself is of no account.
            let _ = decided.await;
        }
    }

    fn lane(&self, id: GenerationId) -> &LaneHandle {
        // The low bits of a UUIDv7 are random.
        let index = (id.0.as_u128() % self.lanes.len() as u128) as usize;
        &self.lanes[index]
    }
}

/// The only way into the log for one owner of one generation.
pub(in crate::engine) struct Writer {
    at: Address,
    epoch: Epoch,
    /// The seq of the last entry handed in.
    last: Seq,
    lane: LaneHandle,
    slot: Arc<Slot>,
    /// Whether anything was handed in.
    begun: bool,
    window: Arc<Semaphore>,
    /// That of all generations.
    large: Arc<Semaphore>,
}

/// A place in the lane. Waiting for one can be given up; a place that is there is used at once.
pub(in crate::engine) struct LanePermit {
    queue: mpsc::OwnedPermit<Submission>,
    share: Share,
}

/// The recorder is closed: the process stops.
#[derive(Debug)]
pub(in crate::engine) struct Closed;

impl Writer {
    /// A place for `bytes` of entries if there is one at once, as there mostly is.
    pub(super) fn try_permit(&self, bytes: usize) -> Option<LanePermit> {
        let window = Arc::clone(&self.window).try_acquire_many_owned(permits(bytes)).ok()?;
        let large = match large_permits(bytes) {
            Some(count) => Some(Arc::clone(&self.large).try_acquire_many_owned(count).ok()?),
            None => None,
        };
        let queue = self.lane.queue.clone().try_reserve_owned().ok()?;
        Some(LanePermit { queue, share: Share { _window: window, _large: large } })
    }

    /// Waits until `bytes` of entries may be handed in.
    pub(in crate::engine) async fn place(&self, bytes: usize) -> Result<LanePermit, Closed> {
        let window = Arc::clone(&self.window).acquire_many_owned(permits(bytes)).await;
        let window = window.map_err(|_| Closed)?;
        let large = match large_permits(bytes) {
            Some(count) => {
                let large = Arc::clone(&self.large).acquire_many_owned(count).await;
                Some(large.map_err(|_| Closed)?)
            }
            None => None,
        };
        let queue = self.lane.queue.clone().reserve_owned().await.map_err(|_| Closed)?;
        Ok(LanePermit { queue, share: Share { _window: window, _large: large } })
    }

    /// The seq that the next event will have.
    pub(in crate::engine) fn next(&self) -> Seq {
        self.last.next()
    }

    /// Waits until all that was handed in is durable, or never will be.
    pub(in crate::engine) async fn flush(&self) {
        // Never closed: this writer holds it.
        let _ = self.window.acquire_many(WINDOW).await;
    }

    /// The epoch of the writer.
    pub(in crate::engine) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Hands `events` in; they are published when they are durable.
    pub(in crate::engine) fn push(&mut self, place: LanePermit, events: &[Event], row: RowChange) {
        self.submit(place, events, row, None);
    }

    /// Hands the ending in; the receiver fires when it is durable, and is dropped if it never
    /// will be, because another owner has taken over.
    pub(in crate::engine) fn end(
        &mut self,
        place: LanePermit,
        events: &[Event],
        outcome: Outcome,
    ) -> oneshot::Receiver<()> {
        let (durable, receiver) = oneshot::channel();
        self.submit(place, events, RowChange::Ended(Box::new(outcome)), Some(durable));
        receiver
    }

    fn submit(
        &mut self,
        place: LanePermit,
        events: &[Event],
        row: RowChange,
        durable: Option<oneshot::Sender<()>>,
    ) {
        let mut entries = Vec::with_capacity(events.len());
        for event in events {
            self.last = self.last.next();
            entries.push(Entry::encode(self.last, event).by(self.epoch));
        }
        let append = Append { at: self.at.clone(), epoch: self.epoch, entries, row };
        let slot = Arc::clone(&self.slot);
        // The first word is what people wait for most, and an ending has somebody who waits.
        let hurries = !std::mem::replace(&mut self.begun, true) || durable.is_some();
        place.queue.send(Submission { append, slot, _window: place.share, durable });
        if hurries {
            self.lane.hurry.notify_one();
        }
    }
}

/// The share of the window that `bytes` take; more than all of it counts as all of it.
fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(WINDOW).clamp(1, WINDOW)
}

/// The share that an event of `bytes` takes of what all large ones may; none of a small one.
fn large_permits(bytes: usize) -> Option<u32> {
    (bytes > WINDOW as usize).then(|| u32::try_from(bytes).unwrap_or(LARGE).min(LARGE))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::FutureExt;

    use async_trait::async_trait;
    use tokio::time::Instant;
    use uuid::Uuid;

    use super::super::ending::ended;
    use super::lane::PERIOD;
    use super::*;
    use crate::domain::event::Status;
    use crate::domain::id::Tenant;
    use crate::domain::transcript::Answer;
    use crate::ports::{LogError, Tail as LogTail};

    /// Takes no time; notes how many appends were in each commit.
    struct Commits(Arc<Mutex<Vec<usize>>>);

    #[async_trait]
    impl LogWriter for Commits {
        async fn append(&mut self, batch: &[&Append]) -> Result<(), LogError> {
            self.0.lock().unwrap().push(batch.len());
            Ok(())
        }

        async fn tails(&mut self, _: &[GenerationId]) -> Result<Vec<LogTail>, LogError> {
            Ok(Vec::new())
        }
    }

    fn writer(recorder: &Recorder, n: u128) -> Writer {
        let at = Address { tenant: Tenant::anonymous(), id: GenerationId(Uuid::from_u128(n)) };
        let tail = Tail::new(at.tenant.clone(), at.id, Seq::ZERO);
        recorder.open(at, Epoch::FIRST, tail)
    }

    fn say(writer: &mut Writer) {
        let place = writer.try_permit(1).unwrap();
        writer.push(place, &[Event::Delta { text: "x".into() }], RowChange::None);
    }

    #[tokio::test(start_paused = true)]
    async fn large_events_of_all_generations_share_a_bound() {
        let tasks = Tasks::new();
        let writer_of = || Box::new(Commits(Arc::default())) as Box<dyn LogWriter>;
        let recorder = Recorder::start(writer_of, &tasks, &Arc::default());
        let mut writers = [1, 2, 3].map(|n| writer(&recorder, n));
        let most = LARGE as usize;
        let place = writers[0].try_permit(most - 1000).unwrap();
        assert!(writers[1].place(most / 2).now_or_never().is_none(), "it waits");
        assert!(writers[1].try_permit(WINDOW as usize).is_some(), "a small one does not");
        writers[0].push(place, &[Event::Delta { text: "x".into() }], RowChange::None);
        assert!(writers[1].place(most / 2).await.is_ok(), "until the other is durable");
        assert!(writers[2].place(10 * most).await.is_ok(), "one that is larger than all has all");
        recorder.close(Duration::from_secs(1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_wait_for_takes_along_what_waits_for_others() {
        let (commits, tasks) = (Arc::default(), Tasks::new());
        let log = Arc::clone(&commits);
        let writer_of = || Box::new(Commits(Arc::clone(&log))) as Box<dyn LogWriter>;
        let recorder = Recorder::start(writer_of, &tasks, &Arc::default());
        let begun = Instant::now();
        let mut first = writer(&recorder, 1);
        say(&mut first);
        first.flush().await;
        assert_eq!(begun.elapsed(), Duration::ZERO, "an idle lane commits at once");
        say(&mut first);
        first.flush().await;
        let paced = begun.elapsed();
        assert!((PERIOD..2 * PERIOD).contains(&paced), "only the first word hurries: {paced:?}");
        say(&mut first);
        let mut second = writer(&recorder, 2);
        say(&mut second);
        second.flush().await;
        assert_eq!(begun.elapsed(), paced, "a first word does not wait");
        say(&mut first);
        say(&mut second);
        first.flush().await;
        let again = begun.elapsed() - paced;
        assert!((PERIOD..2 * PERIOD).contains(&again), "{again:?}");
        let paced = begun.elapsed();
        say(&mut second);
        let outcome =
            Outcome { answer: Answer::default(), done: ended(Status::Completed), attempts: 1 };
        let place = first.place(1).await.unwrap();
        first.end(place, &[Event::Done(outcome.done.clone())], outcome).await.unwrap();
        assert_eq!(begun.elapsed(), paced, "nor does an ending");
        assert_eq!(*commits.lock().unwrap(), [1, 1, 2, 2, 2], "the others go along");
        recorder.close(Duration::from_secs(1)).await;
    }
}
