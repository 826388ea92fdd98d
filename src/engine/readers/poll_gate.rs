//! A rare future beside a frequent one: it is polled only after its own waker was called.
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::time::{Instant, Sleep, sleep_until};

/// A future that wakes whom it has once been asked by. To ask it again with every event would cost
/// more than the event.
pub struct PollGate<F: ?Sized> {
    future: Pin<Box<F>>,
    /// The waker of the last poll.
    asked_by: Option<Waker>,
}

impl<F: Future + ?Sized> PollGate<F> {
    /// Not asked yet.
    pub fn new(future: Pin<Box<F>>) -> Self {
        Self { future, asked_by: None }
    }

    /// Asks it, if it may be `due` or does not know yet who waits.
    pub fn poll(&mut self, due: bool, cx: &mut Context<'_>) -> Poll<F::Output> {
        if !due && self.asked_by.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        self.asked_by = Some(cx.waker().clone());
        self.future.as_mut().poll(cx)
    }
}

/// A timer beside events. Whether it may have rung is told by the clock: that is nearer than the
/// timer.
pub struct Alarm {
    when: Instant,
    sleep: PollGate<Sleep>,
}

impl Alarm {
    /// Rings at `when`.
    #[must_use]
    pub fn at(when: Instant) -> Self {
        Self { when, sleep: PollGate::new(Box::pin(sleep_until(when))) }
    }

    /// Rings at `when` instead.
    pub fn reset(&mut self, when: Instant) {
        self.when = when;
        self.sleep.future.as_mut().reset(when);
        self.sleep.asked_by = None;
    }

    /// Ready when it has rung.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sleep.poll(self.when <= Instant::now(), cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::task::Wake;
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    struct Nobody;

    impl Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_rings_for_whoever_asked_last_and_again_after_a_reset() {
        let begun = Instant::now();
        let mut alarm = Alarm::at(begun + Duration::from_secs(1));
        assert!(poll_fn(|cx| alarm.poll(cx)).now_or_never().is_none(), "asked by nobody who waits");
        poll_fn(|cx| alarm.poll(cx)).await;
        alarm.reset(begun + Duration::from_secs(3));
        poll_fn(|cx| alarm.poll(cx)).await;
        assert_eq!(begun.elapsed().as_secs(), 3);
    }

    #[tokio::test]
    async fn what_is_not_due_is_asked_once() {
        let mut asked = 0;
        let mut seldom = PollGate::new(Box::pin(poll_fn(|_| {
            asked += 1;
            Poll::<()>::Pending
        })));
        // Without optimisation `Waker::noop` is not always the same waker as itself.
        let waker = Waker::from(Arc::new(Nobody));
        let mut cx = Context::from_waker(&waker);
        assert!(
            seldom.poll(false, &mut cx).is_pending() && seldom.poll(false, &mut cx).is_pending()
        );
        assert!(seldom.poll(true, &mut cx).is_pending());
        drop(seldom);
        assert_eq!(asked, 2);
    }
}
