//! The generations that run here, and the last durable entries of each for its readers.
//!
//! A tail is a window on the log, never the truth: a reader that is behind it reads the log.
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard, RwLock, RwLockWriteGuard};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::cut_reader::CutReader;
use super::starting::Starting;
use super::stop_conditions::Stop;
use super::wake_batch::{Waiters, WakeBatch};
pub use super::window::Behind;
use super::window::Window;
use crate::domain::entry::Entry;
use crate::domain::id::{GenerationId, InstanceId, Seq, Tenant};
use crate::ports::Address;

/// The generations that this process runs.
#[derive(Default)]
pub(in crate::engine) struct Live {
    tails: RwLock<HashMap<GenerationId, Arc<Tail>>>,
    starting: Starting,
    /// Cancelled when generations shall move to other instances.
    leaving: CancellationToken,
}

impl Live {
    pub(in crate::engine) fn insert(&self, tail: Arc<Tail>) {
        self.write().insert(tail.id, tail);
    }

    /// Generations that are about to be stored and run.
    pub(in crate::engine) fn starting(&self) -> &Starting {
        &self.starting
    }

    /// The generations that this process runs or is about to run: nobody needs to take them up.
    pub(in crate::engine) fn attended(&self) -> HashSet<GenerationId> {
        // Those that start first: meanwhile one of them may have become a running one.
        let starting = self.starting.ids();
        starting.into_iter().chain(self.ids()).collect()
    }

    /// The tail of a generation of that tenant.
    pub(in crate::engine) fn find(&self, tenant: &Tenant, id: GenerationId) -> Option<Arc<Tail>> {
        let tails = self.tails.read();
        tails.get(&id).filter(|tail| tail.tenant == *tenant).cloned()
    }

    /// The tail of a generation, for other instances, which know whose it is.
    pub(in crate::engine) fn get(&self, id: GenerationId) -> Option<Arc<Tail>> {
        self.tails.read().get(&id).cloned()
    }

    /// Cancels a generation if it runs here; says whether it does.
    pub(in crate::engine) fn cancel(&self, id: GenerationId) -> bool {
        let tails = self.tails.read();
        let tail = tails.get(&id);
        tail.inspect(|tail| tail.stop(Stop::Cancelled)).is_some()
    }

    /// Cancelled when generations that can shall move to other instances.
    pub(in crate::engine) fn leaving(&self) -> &CancellationToken {
        &self.leaving
    }

    /// Has every generation let go of its model, and leave the rest to the next owner.
    pub(in crate::engine) fn let_go(&self) {
        let tails = self.tails.read();
        tails.values().for_each(|tail| tail.stop(Stop::LetGo));
    }

    /// Has every reader look whether it shall go on.
    pub(in crate::engine) fn wake_readers(&self) {
        let tails = self.tails.read();
        tails.values().for_each(|tail| tail.wake_readers());
    }

    /// Removes this very tail; a later owner's stays.
    pub(in crate::engine) fn remove(&self, tail: &Arc<Tail>) {
        let mut tails = self.write();
        if tails.get(&tail.id).is_some_and(|current| Arc::ptr_eq(current, tail)) {
            tails.remove(&tail.id);
        }
    }

    pub(in crate::engine) fn ids(&self) -> Vec<GenerationId> {
        self.tails.read().keys().copied().collect()
    }

    pub(in crate::engine) fn len(&self) -> usize {
        self.tails.read().len()
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<GenerationId, Arc<Tail>>> {
        self.tails.write()
    }
}

/// The last durable entries of one generation that runs here.
pub struct Tail {
    pub(in crate::engine) id: GenerationId,
    pub(in crate::engine) tenant: Tenant,
    /// Why the generation shall stop; one thing to wait for, because it is looked at with every
    /// token.
    stop: OnceLock<Stop>,
    stopping: CancellationToken,
    /// Cancelled when this process is no longer the owner.
    detached: CancellationToken,
    /// The same, for readers, who look with every event.
    lost: AtomicBool,
    window: Mutex<Window>,
    born: Instant,
    /// When entries were last published, in microseconds since `born`.
    published: AtomicU64,
    head: AtomicU64,
    /// The readers that wait for more, or for a stop.
    waiters: Waiters,
    readers: watch::Sender<usize>,
    followers: Mutex<Followers>,
    /// Whether another instance could go on as if nothing had happened.
    movable: AtomicBool,
    /// Cancelled when an upstream has taken the prompt.
    pub(in crate::engine) accepted: CancellationToken,
    pub(in crate::engine) cut_reader: CutReader,
}

/// Instances with readers, each until when it said so.
#[derive(Default)]
struct Followers {
    until: HashMap<InstanceId, Instant>,
    /// Whether a task tells them.
    told: bool,
}

impl Tail {
    /// An empty tail of a generation whose last durable event is `head`.
    pub fn new(tenant: Tenant, id: GenerationId, head: Seq) -> Arc<Self> {
        let window = Window::new(head);
        Arc::new(Self {
            id,
            tenant,
            stop: OnceLock::new(),
            stopping: CancellationToken::new(),
            detached: CancellationToken::new(),
            lost: AtomicBool::new(false),
            window: Mutex::new(window),
            born: Instant::now(),
            published: AtomicU64::new(0),
            head: AtomicU64::new(head.0),
            waiters: Waiters::default(),
            readers: watch::Sender::new(0),
            followers: Mutex::default(),
            movable: AtomicBool::new(false),
            accepted: CancellationToken::new(),
            cut_reader: CutReader::default(),
        })
    }

    /// Gives the generation a reason to stop; the first one counts.
    pub(in crate::engine) fn stop(&self, why: Stop) {
        self.stop.get_or_init(|| why);
        self.stopping.cancel();
    }

    /// The reason to stop, if there is one yet.
    pub(in crate::engine) fn stop_reason(&self) -> Option<Stop> {
        self.stop.get().copied()
    }

    /// The reason to stop, when there is one.
    pub(in crate::engine) async fn stopped(&self) -> Stop {
        self.stopping.cancelled().await;
        self.stop.get().copied().unwrap_or(Stop::LetGo)
    }

    /// This process is no longer the owner: the generation stops, and readers turn to the log.
    pub(in crate::engine) fn detach(&self) {
        self.lost.store(true, Ordering::Release);
        self.detached.cancel();
        self.stop(Stop::LetGo);
        self.wake_readers();
    }

    /// Whether this process is no longer the owner.
    pub(in crate::engine) fn is_detached(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Ends when this process is no longer the owner.
    pub(super) async fn detached(&self) {
        self.detached.cancelled().await;
    }

    /// Notes whether another instance could go on as if nothing had happened.
    pub(in crate::engine) fn set_movable(&self, movable: bool) {
        self.movable.store(movable, Ordering::Relaxed);
    }

    /// Whether it could.
    pub(in crate::engine) fn may_move(&self) -> bool {
        self.movable.load(Ordering::Relaxed)
    }

    /// Shows entries that have become durable.
    pub fn publish(&self, entries: Vec<Entry>) {
        self.publish_with(entries, &mut WakeBatch::default());
    }

    /// The same; readers are woken when `wakes` is dropped.
    pub(super) fn publish_with(&self, entries: Vec<Entry>, wakes: &mut WakeBatch) {
        if entries.is_empty() {
            return;
        }
        let last = self.window().push(entries);
        self.show(last, wakes);
    }

    /// The same for what comes from elsewhere, by several ways: what is there already is left
    /// out. False if the rest does not follow: the log is not the one it was, or some is missing.
    pub(in crate::engine) fn extend(&self, mut entries: Vec<Entry>) -> bool {
        let mut window = self.window();
        let (head, epoch) = window.last();
        entries.retain(|entry| entry.seq > head);
        let Some(first) = entries.first() else { return true };
        if first.seq != head.next() || !first.continues(epoch) {
            return false;
        }
        // Under the lock, so that the head never goes back.
        self.show(window.push(entries), &mut WakeBatch::default());
        true
    }

    fn show(&self, last: Seq, wakes: &mut WakeBatch) {
        let age = wakes.at.saturating_duration_since(self.born).as_micros();
        let age = u64::try_from(age).unwrap_or(u64::MAX);
        self.published.store(age, Ordering::Relaxed);
        self.head.store(last.0, Ordering::Release);
        self.waiters.change(wakes);
    }

    /// How long before `now` the newest entries were published.
    pub(in crate::engine) fn lag(&self, now: Instant) -> Duration {
        let published = Duration::from_micros(self.published.load(Ordering::Relaxed));
        now.saturating_duration_since(self.born).saturating_sub(published)
    }

    /// The entries behind `cursor`.
    pub fn after(&self, cursor: Seq) -> Behind {
        // A reader that has every entry asks once more before it waits, without a lock.
        if self.head() <= cursor { Behind::Nothing } else { self.window().after(cursor) }
    }

    /// The seq of the last durable entry.
    pub(in crate::engine) fn head(&self) -> Seq {
        Seq(self.head.load(Ordering::Acquire))
    }

    /// Whether `done` is durable.
    pub(in crate::engine) fn ended(&self) -> bool {
        self.window().ended
    }

    /// Changes with every publication, and when readers are to look whether they shall go on.
    pub(in crate::engine) fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    /// Has every reader look whether it shall go on.
    pub(in crate::engine) fn wake_readers(&self) {
        self.waiters.change(&mut WakeBatch::default());
    }

    pub(in crate::engine) fn address(&self) -> Address {
        Address { tenant: self.tenant.clone(), id: self.id }
    }

    /// Notes that another instance has readers; true if a task has to begin to tell it.
    pub(in crate::engine) fn followed_by(&self, reader: InstanceId, until: Instant) -> bool {
        let mut followers = self.followers.lock();
        followers.until.insert(reader, until);
        !std::mem::replace(&mut followers.told, true)
    }

    /// The instances with readers now, and until when the first of them said so. `None` when there
    /// is none: the task that tells them must end then.
    pub(in crate::engine) fn followers(&self, now: Instant) -> Option<(Vec<InstanceId>, Instant)> {
        let mut followers = self.followers.lock();
        followers.until.retain(|_, until| *until > now);
        let until = followers.until.values().min().copied();
        followers.told = until.is_some();
        Some((followers.until.keys().copied().collect(), until?))
    }

    /// Counts a reader for as long as the guard lives.
    pub(in crate::engine) fn reader(self: &Arc<Self>) -> Reading {
        self.readers.send_modify(|count| *count += 1);
        Reading { tail: Arc::clone(self) }
    }

    /// How many readers there are.
    pub(in crate::engine) fn readers(&self) -> watch::Receiver<usize> {
        self.readers.subscribe()
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock()
    }
}

/// One reader of a tail.
pub(in crate::engine) struct Reading {
    pub(in crate::engine) tail: Arc<Tail>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.tail.readers.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::super::window::{KEPT, KEPT_BYTES};
    use super::*;
    use crate::domain::event::Event;
    use crate::domain::id::Epoch;

    fn entries(seqs: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
        seqs.map(|n| Entry::encode(Seq(n), &Event::Delta { text: "x".into() })).collect()
    }

    fn seqs(behind: Behind) -> Option<Vec<u64>> {
        match behind {
            Behind::Entries(entries) => Some(entries.iter().map(|e| e.seq.0).collect()),
            Behind::Nothing => Some(vec![]),
            Behind::Log(_) => None,
        }
    }

    #[test]
    fn a_reader_gets_what_follows_its_cursor_or_is_sent_to_the_log() {
        let tail = Tail::new(Tenant::anonymous(), GenerationId(uuid::Uuid::nil()), Seq(4));
        assert_eq!(seqs(tail.after(Seq(4))), Some(vec![]));
        tail.publish(entries(5..=7));
        assert_eq!(seqs(tail.after(Seq(4))), Some(vec![5, 6, 7]));
        assert_eq!(seqs(tail.after(Seq(6))), Some(vec![7]));
        assert_eq!(seqs(tail.after(Seq(9))), Some(vec![]));
        assert_eq!(seqs(tail.after(Seq(3))), None);
        tail.publish(entries(8..=7 + KEPT as u64));
        assert_eq!(seqs(tail.after(Seq(6))), None, "the window has moved on");
        let middle = Seq(7 + KEPT as u64 / 2);
        assert!(matches!(tail.after(Seq(6)), Behind::Log(until) if until == middle));
        assert_eq!(seqs(tail.after(Seq(7))).map(|s| s.len()), Some(KEPT));
    }

    #[test]
    fn what_comes_by_two_ways_is_shown_once_and_never_behind_a_hole() {
        let tail = Tail::new(Tenant::anonymous(), GenerationId(uuid::Uuid::nil()), Seq(4));
        let by = |epoch, seqs| entries(seqs).into_iter().map(|e| e.by(Epoch(epoch))).collect();
        assert!(
            tail.extend(by(1, 5..=6)) && tail.extend(by(1, 5..=7)) && tail.extend(by(1, 6..=7))
        );
        assert_eq!(seqs(tail.after(Seq(4))), Some(vec![5, 6, 7]));
        assert!(!tail.extend(by(1, 9..=9)), "8 is missing");
        assert!(!tail.extend(by(2, 8..=8)), "another owner begins with how it goes on");
        assert_eq!(tail.head(), Seq(7));
    }

    #[test]
    fn a_tail_of_huge_entries_is_bounded_in_bytes() {
        let tail = Tail::new(Tenant::anonymous(), GenerationId(uuid::Uuid::nil()), Seq(0));
        let huge = Event::Delta { text: "x".repeat(KEPT_BYTES / 2) };
        for n in 1..=5 {
            tail.publish(vec![Entry::encode(Seq(n), &huge)]);
        }
        assert!(tail.window().bytes <= KEPT_BYTES);
        assert_eq!(tail.head(), Seq(5));
    }
}
