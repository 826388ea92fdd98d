//! The waiters of a tail and their wake-ups: one wake-up for all tails that a commit has entries
//! for.
//!
//! To wake a task of another thread is a system call, and a commit has something for a hundred
//! readers. A thread that serves readers has a worker: whoever publishes leaves the wakers there
//! and wakes once, and the thread wakes its own.
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::Instant;

thread_local! {
    static WORKER: RefCell<Option<Arc<Worker>>> = const { RefCell::new(None) };
}

/// The worker of one thread.
#[derive(Debug, Default)]
struct Worker {
    to_wake: Mutex<Vec<Waker>>,
    notify: Notify,
}

/// Answers the worker of this thread, as a task that stays on it, for as long as it is there.
pub async fn drive_wakes() {
    let worker = Arc::new(Worker::default());
    let _hung_up = Detach;
    WORKER.set(Some(Arc::clone(&worker)));
    let mut to_wake = Vec::new();
    loop {
        worker.notify.notified().await;
        std::mem::swap(&mut *lock(&worker.to_wake), &mut to_wake);
        to_wake.drain(..).for_each(Waker::wake);
    }
}

/// While nobody answers, there is no worker.
struct Detach;

impl Drop for Detach {
    fn drop(&mut self) {
        let worker = WORKER.take();
        // A task in the queue looks for itself.
        let left = worker.map(|worker| std::mem::take(&mut *lock(&worker.to_wake)));
        left.into_iter().flatten().for_each(Waker::wake);
    }
}

/// Wakers on their way; wakes when it is dropped.
pub(in crate::engine) struct WakeBatch {
    /// When what they are woken for came; one look at the clock for all.
    pub(in crate::engine) at: Instant,
    workers: Vec<(Arc<Worker>, Vec<Waker>)>,
}

impl Default for WakeBatch {
    fn default() -> Self {
        Self { at: Instant::now(), workers: Vec::new() }
    }
}

impl WakeBatch {
    fn add(&mut self, waiting: Waiting) {
        let Waiting { worker, waker } = waiting;
        let Some(worker) = worker else { return waker.wake() };
        match self.workers.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &worker)) {
            Some((_, wakers)) => wakers.push(waker),
            None => self.workers.push((worker, vec![waker])),
        }
    }
}

impl Drop for WakeBatch {
    fn drop(&mut self) {
        for (worker, mut wakers) in self.workers.drain(..) {
            lock(&worker.to_wake).append(&mut wakers);
            worker.notify.notify_one();
        }
    }
}

/// The waiters for one change.
#[derive(Debug, Default)]
pub(in crate::engine) struct Waiters {
    changes: AtomicU64,
    list: Mutex<Vec<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    worker: Option<Arc<Worker>>,
    waker: Waker,
}

impl Waiters {
    /// How many changes there were.
    pub(in crate::engine) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// It has changed: whoever waits is woken when `wakes` is dropped.
    pub(in crate::engine) fn change(&self, wakes: &mut WakeBatch) {
        let mut list = lock(&self.list);
        self.changes.fetch_add(1, Ordering::Release);
        list.drain(..).for_each(|waiting| wakes.add(waiting));
    }

    /// Waits until there are more changes than `seen`, and notes how many. Cancel safe.
    pub(in crate::engine) async fn changed(&self, seen: &mut u64) {
        *seen = Changed { waiters: self, seen: *seen, place: None }.await;
    }

    /// How many changes there were once they are more than `seen`. `place` is the caller's in the
    /// list: it must [`Waiters::leave`] the list with it.
    pub(in crate::engine) fn poll_changed(
        &self,
        seen: u64,
        place: &mut Option<Waker>,
        cx: &mut Context<'_>,
    ) -> Poll<u64> {
        if place.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) && self.changes() == seen
        {
            return Poll::Pending;
        }
        let mut list = lock(&self.list);
        let former = place.take();
        // Under the lock, so that no change comes between the look and the place in the list.
        let changes = self.changes();
        if changes != seen {
            return Poll::Ready(changes);
        }
        if let Some(former) = former {
            list.retain(|waiting| !waiting.waker.will_wake(&former));
        }
        let worker = WORKER.with_borrow(Clone::clone);
        list.push(Waiting { worker, waker: cx.waker().clone() });
        *place = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Gives the place of one that has seen `seen` changes up.
    pub(in crate::engine) fn leave(&self, seen: u64, place: &mut Option<Waker>) {
        let Some(waker) = place.take() else { return };
        let mut list = lock(&self.list);
        // A change takes everybody out of the list.
        if self.changes() == seen {
            list.retain(|waiting| !waiting.waker.will_wake(&waker));
        }
    }
}

/// Waits for a change.
struct Changed<'a> {
    waiters: &'a Waiters,
    seen: u64,
    place: Option<Waker>,
}

impl Future for Changed<'_> {
    type Output = u64;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u64> {
        let Self { waiters, seen, place } = self.get_mut();
        waiters.poll_changed(*seen, place, cx)
    }
}

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        self.waiters.leave(self.seen, &mut self.place);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::task::LocalSet;

    use super::*;

    fn waiting(waiters: &Waiters) -> usize {
        lock(&waiters.list).len()
    }

    #[tokio::test]
    async fn who_waits_is_woken_once_for_all_changes_and_nobody_stays_in_the_list() {
        let waiters = Waiters::default();
        let mut seen = waiters.changes();
        assert!(waiters.changed(&mut seen).now_or_never().is_none());
        assert_eq!(waiting(&waiters), 0, "who goes away is taken out");
        waiters.change(&mut WakeBatch::default());
        waiters.change(&mut WakeBatch::default());
        waiters.changed(&mut seen).await;
        assert_eq!(seen, 2);
        assert!(waiters.changed(&mut seen).now_or_never().is_none(), "they are seen");
    }

    #[tokio::test]
    async fn a_thread_with_a_bell_wakes_its_own() {
        let local = LocalSet::new();
        let waiters = Arc::new(Waiters::default());
        let readers = local.run_until(async {
            let answering = tokio::task::spawn_local(drive_wakes());
            tokio::task::yield_now().await;
            let readers: Vec<_> = (0..100)
                .map(|_| {
                    let waiters = Arc::clone(&waiters);
                    tokio::task::spawn_local(async move { waiters.changed(&mut 0).await })
                })
                .collect();
            while waiting(&waiters) < readers.len() {
                tokio::task::yield_now().await;
            }
            let worker = WORKER.with_borrow(Clone::clone).unwrap();
            let mut wakes = WakeBatch::default();
            waiters.change(&mut wakes);
            assert_eq!(
                (wakes.workers.len(), wakes.workers[0].1.len()),
                (1, 100),
                "one wake-up for all"
            );
            drop(wakes);
            for reader in readers {
                reader.await.unwrap();
            }
            answering.abort();
            let _ = answering.await;
            assert!(WORKER.with_borrow(Option::is_none), "nobody answers, nobody wakes");
            Arc::strong_count(&worker)
        });
        assert_eq!(readers.await, 1);
    }
}
