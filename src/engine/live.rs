//! The generations that run here, and the last durable entries of each for its readers.
//!
//! A tail is a window on the log, never the truth: a reader that is behind it reads the log.
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::starting::Starting;
use super::stops::Stop;
use crate::domain::entry::{Entry, Kind};
use crate::domain::id::{Epoch, GenerationId, InstanceId, Seq, Tenant};
use crate::ports::Address;

/// Entries that a tail keeps: about five seconds of a fast model.
const KEPT: usize = 256;
/// Bytes that a tail keeps, whichever is reached first.
const KEPT_BYTES: usize = 256 * 1024;

/// The generations that this process runs.
#[derive(Default)]
pub(super) struct Live {
    tails: RwLock<HashMap<GenerationId, Arc<Tail>>>,
    starting: Starting,
    /// Cancelled when generations shall move to other instances.
    leaving: CancellationToken,
}

impl Live {
    pub(super) fn insert(&self, tail: Arc<Tail>) {
        self.write().insert(tail.id, tail);
    }

    /// Generations that are about to be stored and run.
    pub(super) fn starting(&self) -> &Starting {
        &self.starting
    }

    /// What this process runs or is about to run: nobody needs to take it up.
    pub(super) fn attended(&self) -> HashSet<GenerationId> {
        // Those that start first: meanwhile one of them may have become a running one.
        let starting = self.starting.ids();
        starting.into_iter().chain(self.ids()).collect()
    }

    /// The tail of a generation of that tenant.
    pub(super) fn find(&self, tenant: &Tenant, id: GenerationId) -> Option<Arc<Tail>> {
        let tails = self.tails.read().unwrap_or_else(PoisonError::into_inner);
        tails.get(&id).filter(|tail| tail.tenant == *tenant).cloned()
    }

    /// The tail of a generation, for other instances, which know whose it is.
    pub(super) fn get(&self, id: GenerationId) -> Option<Arc<Tail>> {
        self.tails.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Cancels a generation if it runs here; says whether it does.
    pub(super) fn cancel(&self, id: GenerationId) -> bool {
        let tails = self.tails.read().unwrap_or_else(PoisonError::into_inner);
        let tail = tails.get(&id);
        tail.inspect(|tail| tail.stop(Stop::Cancelled)).is_some()
    }

    /// Cancelled when generations that can shall move to other instances.
    pub(super) fn leaving(&self) -> &CancellationToken {
        &self.leaving
    }

    /// Has every generation let go of its model, and leave the rest to the next owner.
    pub(super) fn let_go(&self) {
        let tails = self.tails.read().unwrap_or_else(PoisonError::into_inner);
        tails.values().for_each(|tail| tail.stop(Stop::LetGo));
    }

    /// Has every reader look whether it shall go on.
    pub(super) fn wake_readers(&self) {
        let tails = self.tails.read().unwrap_or_else(PoisonError::into_inner);
        tails.values().for_each(|tail| tail.wake_readers());
    }

    /// Removes this very tail; a later owner's stays.
    pub(super) fn remove(&self, tail: &Arc<Tail>) {
        let mut tails = self.write();
        if tails.get(&tail.id).is_some_and(|current| Arc::ptr_eq(current, tail)) {
            tails.remove(&tail.id);
        }
    }

    pub(super) fn ids(&self) -> Vec<GenerationId> {
        self.tails.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.tails.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<GenerationId, Arc<Tail>>> {
        self.tails.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last durable entries of one generation that runs here.
pub struct Tail {
    pub(super) id: GenerationId,
    pub(super) tenant: Tenant,
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
    head: watch::Sender<Seq>,
    readers: watch::Sender<usize>,
    followers: Mutex<Followers>,
    /// Whether another instance could go on as if nothing had happened.
    movable: AtomicBool,
}

/// Instances with readers, each until when it said so.
#[derive(Default)]
struct Followers {
    until: HashMap<InstanceId, Instant>,
    /// Whether a task tells them.
    told: bool,
}

struct Window {
    /// The seq before the first entry.
    before: Seq,
    entries: VecDeque<Entry>,
    bytes: usize,
    ended: bool,
}

/// What a tail has for a reader.
pub enum Behind {
    /// These come next.
    Entries(Vec<Entry>),
    /// The reader has all there is.
    Nothing,
    /// The window has moved on: read the log.
    Log,
}

impl Tail {
    /// An empty tail of a generation whose last durable event is `head`.
    pub fn new(tenant: Tenant, id: GenerationId, head: Seq) -> Arc<Self> {
        let window = Window { before: head, entries: VecDeque::new(), bytes: 0, ended: false };
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
            head: watch::Sender::new(head),
            readers: watch::Sender::new(0),
            followers: Mutex::default(),
            movable: AtomicBool::new(false),
        })
    }

    /// Gives the generation a reason to stop; the first one counts.
    pub(super) fn stop(&self, why: Stop) {
        self.stop.get_or_init(|| why);
        self.stopping.cancel();
    }

    /// The reason to stop, if there is one yet.
    pub(super) fn stop_reason(&self) -> Option<Stop> {
        self.stop.get().copied()
    }

    /// The reason to stop, when there is one.
    pub(super) async fn stopped(&self) -> Stop {
        self.stopping.cancelled().await;
        self.stop.get().copied().unwrap_or(Stop::LetGo)
    }

    /// This process is no longer the owner: the generation stops, and readers turn to the log.
    pub(super) fn detach(&self) {
        self.lost.store(true, Ordering::Release);
        self.detached.cancel();
        self.stop(Stop::LetGo);
        self.wake_readers();
    }

    /// Whether this process is no longer the owner.
    pub(super) fn is_detached(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Ends when this process is no longer the owner.
    pub(super) async fn detached(&self) {
        self.detached.cancelled().await;
    }

    /// Notes whether another instance could go on as if nothing had happened.
    pub(super) fn set_movable(&self, movable: bool) {
        self.movable.store(movable, Ordering::Relaxed);
    }

    /// Whether it could.
    pub(super) fn may_move(&self) -> bool {
        self.movable.load(Ordering::Relaxed)
    }

    /// Shows entries that have become durable.
    pub fn publish(&self, entries: Vec<Entry>) {
        let Some(last) = entries.last().map(|entry| entry.seq) else { return };
        let mut window = self.window();
        for entry in entries {
            window.bytes += entry.json().len();
            window.ended |= entry.kind == Kind::Done;
            window.entries.push_back(entry);
        }
        while window.entries.len() > KEPT || window.bytes > KEPT_BYTES {
            let Some(gone) = window.entries.pop_front() else { break };
            window.before = gone.seq;
            window.bytes -= gone.json().len();
        }
        drop(window);
        let age = u64::try_from(self.born.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.published.store(age, Ordering::Relaxed);
        self.head.send_replace(last);
    }

    /// How long ago the newest entries were published.
    pub(super) fn lag(&self) -> Duration {
        let published = Duration::from_micros(self.published.load(Ordering::Relaxed));
        self.born.elapsed().saturating_sub(published)
    }

    /// What comes after `cursor`.
    pub fn after(&self, cursor: Seq) -> Behind {
        let window = self.window();
        if cursor < window.before {
            return Behind::Log;
        }
        let known = usize::try_from(cursor.0 - window.before.0).unwrap_or(usize::MAX);
        if known >= window.entries.len() {
            return Behind::Nothing;
        }
        Behind::Entries(window.entries.range(known..).cloned().collect())
    }

    /// The seq of the last durable entry.
    pub(super) fn head(&self) -> Seq {
        *self.head.borrow()
    }

    /// Who wrote the last entry, while the tail has it.
    pub(super) fn last_epoch(&self) -> Option<Epoch> {
        self.window().entries.back().and_then(|entry| entry.epoch)
    }

    /// Whether `done` is durable.
    pub(super) fn ended(&self) -> bool {
        self.window().ended
    }

    /// Changes with every publication.
    pub(super) fn heads(&self) -> watch::Receiver<Seq> {
        self.head.subscribe()
    }

    /// Has every reader look whether it shall go on.
    pub(super) fn wake_readers(&self) {
        self.head.send_modify(|_| {});
    }

    pub(super) fn address(&self) -> Address {
        Address { tenant: self.tenant.clone(), id: self.id }
    }

    /// Notes that another instance has readers; true if a task has to begin to tell it.
    pub(super) fn followed_by(&self, reader: InstanceId, until: Instant) -> bool {
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        followers.until.insert(reader, until);
        !std::mem::replace(&mut followers.told, true)
    }

    /// The instances with readers now, and until when the first of them said so. `None` when there
    /// is none: the task that tells them must end then.
    pub(super) fn followers(&self, now: Instant) -> Option<(Vec<InstanceId>, Instant)> {
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        followers.until.retain(|_, until| *until > now);
        let until = followers.until.values().min().copied();
        followers.told = until.is_some();
        Some((followers.until.keys().copied().collect(), until?))
    }

    /// Counts a reader for as long as the guard lives.
    pub(super) fn reader(self: &Arc<Self>) -> Reading {
        self.readers.send_modify(|count| *count += 1);
        Reading { tail: Arc::clone(self) }
    }

    /// How many readers there are.
    pub(super) fn readers(&self) -> watch::Receiver<usize> {
        self.readers.subscribe()
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One reader of a tail.
pub(super) struct Reading {
    pub(super) tail: Arc<Tail>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.tail.readers.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Event;

    fn entries(seqs: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
        seqs.map(|n| Entry::encode(Seq(n), &Event::Delta { text: "x".into() })).collect()
    }

    fn seqs(behind: Behind) -> Option<Vec<u64>> {
        match behind {
            Behind::Entries(entries) => Some(entries.iter().map(|e| e.seq.0).collect()),
            Behind::Nothing => Some(vec![]),
            Behind::Log => None,
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
        assert_eq!(seqs(tail.after(Seq(7))).map(|s| s.len()), Some(KEPT));
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
