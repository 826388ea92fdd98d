//! Readers leave a stopping instance one after the other, so that the others, which get them all,
//! are not asked by all at once.
use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::engine::Engine;

/// The time that a reader adds to the whole: a thousand a second open anew with ease.
const EACH: Duration = Duration::from_millis(1);
/// The longest that all readers together may take: a supervisor waits, and the connections have
/// their own limit behind it.
const MOST: Duration = Duration::from_secs(2);

/// When the readers of a stopping instance leave.
#[derive(Debug, Default)]
pub(in crate::engine) struct Closing {
    begun: OnceLock<(Instant, Duration)>,
}

impl Closing {
    /// The stop begins with so many readers.
    pub(in crate::engine) fn begin(&self, readers: u32) {
        self.begun.get_or_init(|| (Instant::now(), EACH.saturating_mul(readers).min(MOST)));
    }

    /// The turn of one reader; `chance` in 0..1 tells it from the others.
    pub(in crate::engine) fn turn(&self, chance: f64) -> Instant {
        let (begun, all) = self.begun.get().copied().unwrap_or((Instant::now(), Duration::ZERO));
        begun + all.mul_f64(chance)
    }
}

impl Engine {
    /// When a reader that asks now is to leave, once the server is about to stop.
    #[must_use]
    pub(super) fn turn_to_leave(&self) -> Instant {
        self.inner.readers.closing.turn(fastrand::f64())
    }

    /// Ends when it is one connection's turn to leave a server that is about to stop.
    pub fn leave(&self) -> impl Future<Output = ()> + Send + use<> {
        let (soft, engine) = (self.closing(), self.clone());
        async move {
            soft.cancelled().await;
            sleep_until(engine.turn_to_leave()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_readers_leave_one_after_the_other_and_few_at_once() {
        let begun = Instant::now();
        for (readers, all) in [(0, 0), (3, 3), (1500, 1500), (15_000, 2000)] {
            let closing = Closing::default();
            closing.begin(readers);
            assert_eq!(closing.turn(0.0), begun);
            let half = Duration::from_millis(all).mul_f64(0.5);
            assert_eq!(closing.turn(0.5), begun + half, "{readers}");
            closing.begin(1);
            assert!(
                closing.turn(1.0) <= begun + Duration::from_millis(all),
                "the first one counts"
            );
        }
        assert!(Closing::default().turn(0.9) <= Instant::now(), "no stop that was not told waits");
    }
}
