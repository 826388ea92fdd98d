//! Everything that ends a generation other than its model.
use std::future::{Future, pending, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::live::Tail;
use crate::domain::generation::{OnDisconnect, Request};
use crate::domain::id::InstanceId;
use crate::engine::readers::request_reads::{FIRST_READER, WINDOW};
use crate::ports::{Log, LogError};

/// Why a generation stops before its model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Stop {
    /// Somebody asked for it.
    Cancelled,
    /// Nobody reads it, and its start said what then.
    Abandoned,
    /// The wall-clock limit.
    TimeLimit,
    /// This process stops, and another one goes on at once.
    HandOver,
    /// This process stops, or another owner has taken over: somebody else goes on.
    LetGo,
}

/// Waits for the first reason to stop.
pub(super) struct StopConditions {
    pub(in crate::engine) tail: Arc<Tail>,
    pub(super) deadline: Instant,
    pub(super) on_disconnect: OnDisconnect,
    /// How long readers that were cut with an earlier owner may take to come back; zero if there
    /// were none.
    pub(super) coming_back: Duration,
    /// Cancelled when what can move shall move.
    pub(in crate::engine) leaving: CancellationToken,
    /// This one.
    pub(in crate::engine) instance: InstanceId,
    /// The requested model: the next owner asks it again.
    pub(in crate::engine) model: String,
    /// Knows of readers on other instances, and of their models.
    pub(in crate::engine) log: Log,
}

/// Between two questions to a log that is out of reach.
const AGAIN: Duration = Duration::from_secs(1);

impl StopConditions {
    pub(in crate::engine) async fn wait(&self) -> Stop {
        tokio::select! {
            biased;
            stop = self.tail.stopped() => stop,
            () = sleep_until(self.deadline) => Stop::TimeLimit,
            () = self.abandoned() => {
                // So that no retry takes over what is about to end.
                self.tail.stop(Stop::Abandoned);
                self.tail.stopped().await
            }
            () = self.hand_over() => {
                self.tail.stop(Stop::HandOver);
                self.tail.stopped().await
            }
        }
    }

    /// The same beside what happens often: whatever has not woken its task is not asked again.
    pub(in crate::engine) fn beside(&self) -> impl Future<Output = Stop> + Unpin {
        let mut wait = FuturesUnordered::from_iter([self.wait()]);
        poll_fn(move |cx| match wait.poll_next_unpin(cx) {
            Poll::Ready(Some(stop)) => Poll::Ready(stop),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        })
    }

    /// Ends when the generation shall move to another instance, and can: one that has its model.
    async fn hand_over(&self) {
        self.leaving.cancelled().await;
        let offered = self.log.leases.is_offered_elsewhere(self.instance, &self.model);
        if !self.tail.may_move() || !offered.await.unwrap_or(false) {
            pending::<()>().await;
        }
    }

    /// Ends when there was no reader, here or elsewhere, for the time that the start allowed.
    async fn abandoned(&self) {
        let OnDisconnect::CancelAfter(seconds) = self.on_disconnect else {
            return pending().await;
        };
        let at = self.tail.address();
        let elsewhere = || self.log.ownership.unread_elsewhere(&at);
        let patience = Duration::from_secs(seconds.into());
        let first = patience.max(self.coming_back);
        let cut = || self.tail.cut_reader.left();
        unread(self.tail.readers(), [first, patience], elsewhere, cut).await;
    }
}

/// How long a reader is on its way to its answer: one of a request, or one that gets no grace when
/// it leaves.
pub(super) fn coming_back(taken_over: bool, request: &Request) -> Duration {
    let has_reader = request.source.is_some();
    match (taken_over, has_reader || request.on_disconnect == OnDisconnect::CancelAfter(0)) {
        (true, true) => WINDOW,
        (false, true) => FIRST_READER,
        (_, false) => Duration::ZERO,
    }
}

/// Ends when there was no reader for `patience`, or for `first` before the first one. Readers
/// elsewhere count, too: `elsewhere` says how long ago the last one was. `cut` says how long a
/// reader may still take to come back that the server cut: that was no going away.
async fn unread<'a>(
    mut readers: watch::Receiver<usize>,
    [first, patience]: [Duration; 2],
    elsewhere: impl Fn() -> BoxFuture<'a, Result<Option<Duration>, LogError>>,
    cut: impl Fn() -> Duration,
) {
    let mut wait = first;
    loop {
        let unread = *readers.borrow_and_update() == 0;
        tokio::select! {
            () = sleep(wait), if unread => {
                let answered = elsewhere().await;
                // Somebody came while it was asked.
                if *readers.borrow() > 0 {
                    continue;
                }
                wait = match answered {
                    Ok(Some(unread)) if unread < patience => patience - unread,
                    Ok(_) => match cut() {
                        Duration::ZERO => return,
                        left => left,
                    },
                    Err(_) => AGAIN,
                };
            }
            changed = readers.changed() => {
                if changed.is_err() {
                    return pending().await;
                }
                wait = patience;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::time::timeout;

    use super::super::cut_reader::CutReader;
    use super::*;

    /// The grace of a plain client of chat completions.
    const GRACE: Duration = Duration::from_secs(10);

    fn never_cut() -> Duration {
        Duration::ZERO
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_of_ours_is_no_going_away() {
        let (readers, seen) = watch::channel(1);
        let nobody = || async { Ok(None) }.boxed();
        let cut = CutReader::default();
        // A front end that stops by closing: no grace at all.
        let mut ends = Box::pin(unread(seen, [Duration::ZERO; 2], nobody, || cut.left()));
        cut.begin(12 * GRACE);
        readers.send_replace(0);
        assert!(timeout(11 * GRACE, &mut ends).await.is_err(), "it may come back");
        readers.send_replace(1);
        cut.end();
        assert!(timeout(10 * GRACE, &mut ends).await.is_err(), "it is back");
        readers.send_replace(0);
        let left = Instant::now();
        ends.await;
        assert!(left.elapsed() < AGAIN, "and has gone by itself");
    }

    #[test]
    fn a_reader_that_gets_no_grace_has_time_to_come() {
        // A chat of the AI SDK has no body in another protocol.
        let mut request = Request::unreadable("m".into());
        request.on_disconnect = OnDisconnect::CancelAfter(0);
        assert_eq!(coming_back(false, &request), FIRST_READER);
        assert_eq!(coming_back(true, &request), WINDOW);
        request.on_disconnect = OnDisconnect::CancelAfter(5);
        assert_eq!(coming_back(false, &request), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_while_the_others_are_asked_is_not_abandoned() {
        let (readers, seen) = watch::channel(0);
        let comes = || {
            readers.send_replace(1);
            async { Ok(None) }.boxed()
        };
        let ends = unread(seen, [Duration::ZERO; 2], comes, never_cut);
        assert!(timeout(GRACE, ends).await.is_err());
    }

    fn after(seconds: f64) -> Instant {
        Instant::now() + Duration::from_secs_f64(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn the_grace_is_whole_for_each_who_leaves() {
        let (readers, seen) = watch::channel(1);
        let nobody = || async { Ok(None) }.boxed();
        let mut ends = Box::pin(unread(seen, [GRACE; 2], nobody, never_cut));
        assert!(timeout(10 * GRACE, &mut ends).await.is_err(), "it is read");
        readers.send_replace(0);
        assert!(timeout(GRACE - AGAIN, &mut ends).await.is_err(), "a retry may find it");
        readers.send_replace(1);
        assert!(timeout(10 * GRACE, &mut ends).await.is_err(), "it is read again");
        readers.send_replace(0);
        let left = Instant::now();
        ends.await;
        assert_eq!(left.elapsed(), GRACE);
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_cut_with_the_owner_before_has_longer_to_come_back() {
        let (readers, seen) = watch::channel(0);
        let nobody = || async { Ok(None) }.boxed();
        let mut ends = Box::pin(unread(seen, [12 * GRACE, GRACE], nobody, never_cut));
        assert!(timeout(11 * GRACE, &mut ends).await.is_err(), "it may come back");
        readers.send_replace(1);
        assert!(timeout(GRACE, &mut ends).await.is_err(), "it is back");
        readers.send_replace(0);
        let left = Instant::now();
        ends.await;
        assert_eq!(left.elapsed(), GRACE);
    }

    #[tokio::test(start_paused = true)]
    async fn readers_elsewhere_count_and_an_unknown_answer_is_no_leave_to_end() {
        let (_readers, seen) = watch::channel(0);
        let there_until = after(23.0);
        let log_back_at = after(27.0);
        let elsewhere = || {
            let now = Instant::now();
            let away = now >= there_until && now < log_back_at;
            let since = now.saturating_duration_since(there_until);
            let answer =
                if away { Err(LogError::Unavailable("away".into())) } else { Ok(Some(since)) };
            async { answer }.boxed()
        };
        unread(seen, [GRACE; 2], elsewhere, never_cut).await;
        let took = Instant::now().duration_since(there_until);
        assert!((GRACE..GRACE + AGAIN).contains(&took), "{took:?} behind the last reader");
    }
}
