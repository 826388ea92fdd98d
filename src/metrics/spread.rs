//! Durations counted by powers of two, so that who looks twice can say what happened in between.
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How many were below 1 µs, 2 µs, 4 µs …; the last has all above 17 minutes.
pub type Counts = [u64; 32];

#[derive(Debug, Default)]
pub(super) struct Spread([AtomicU64; 32]);

impl Spread {
    pub(super) fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let place = (u64::BITS - micros.leading_zeros()) as usize;
        let last = self.0.len() - 1;
        if let Some(count) = self.0.get(place.min(last)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.0.each_ref().map(|count| count.load(Ordering::Relaxed))
    }
}

/// The duration that a share of what came between two looks did not exceed, at most twice too long; `None` if
/// nothing came.
#[must_use]
pub fn quantile(before: &Counts, now: &Counts, share: f64) -> Option<Duration> {
    let counts: Vec<u64> =
        now.iter().zip(before).map(|(now, before)| now.saturating_sub(*before)).collect();
    let all: u64 = counts.iter().sum();
    #[expect(clippy::cast_precision_loss, reason = "a share of a count is no exact thing")]
    let wanted = all as f64 * share;
    let mut seen = 0;
    let place = counts.iter().position(|count| {
        seen += count;
        #[expect(clippy::cast_precision_loss, reason = "a share of a count is no exact thing")]
        let enough = seen > 0 && seen as f64 >= wanted;
        enough
    })?;
    Some(Duration::from_micros(1 << place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_between_two_looks() {
        let spread = Spread::default();
        spread.observe(Duration::from_secs(9));
        let before = spread.counts();
        assert_eq!(quantile(&before, &before, 0.5), None);
        for millis in 0..100 {
            spread.observe(Duration::from_millis(millis));
        }
        spread.observe(Duration::MAX);
        let now = spread.counts();
        let of = |share| quantile(&before, &now, share).unwrap().as_micros();
        assert_eq!(of(0.0), 1);
        assert!((50_000..=100_000).contains(&of(0.5)), "{}", of(0.5));
        assert_eq!(of(0.9), 131_072);
        assert_eq!(of(1.0), 1 << 31);
    }
}
