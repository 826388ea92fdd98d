//! A histogram of durations, counted by powers of two. It has no lock, so that every event can be
//! recorded. Two looks at it tell what happened in between.
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// How many were below 1 µs, 2 µs, 4 µs …; the last has all above 17 minutes.
pub type Counts = [u64; 32];

/// Prometheus gets one bucket for all below 64 µs, and one for all above a minute.
const FIRST: usize = 6;
const LAST: usize = 26;

#[derive(Clone, Debug, Default)]
pub(super) struct LatencyHistogram(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    counts: [AtomicU64; 32],
    /// Of all durations; microseconds.
    sum: AtomicU64,
}

impl LatencyHistogram {
    pub(super) fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let place = (u64::BITS - micros.leading_zeros()) as usize;
        let Inner { counts, sum } = &*self.0;
        if let Some(count) = counts.get(place.min(counts.len() - 1)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        sum.fetch_add(micros, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> Counts {
        self.0.counts.each_ref().map(|count| count.load(Ordering::Relaxed))
    }
}

impl EncodeMetric for LatencyHistogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = self.counts();
        let (small, rest) = counts.split_at(FIRST);
        let (middle, large) = rest.split_at(LAST + 1 - FIRST);
        let mut buckets: Vec<(f64, u64)> = middle
            .iter()
            .zip(FIRST..)
            .map(|(count, place)| (Duration::from_micros(1 << place).as_secs_f64(), *count))
            .collect();
        if let Some((_, first)) = buckets.first_mut() {
            *first += small.iter().sum::<u64>();
        }
        buckets.push((f64::INFINITY, large.iter().sum()));
        let sum = Duration::from_micros(self.0.sum.load(Ordering::Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// The duration that a share of what came between two looks did not exceed, at most twice too long;
/// `None` if nothing came.
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
        let spread = LatencyHistogram::default();
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

    #[test]
    fn prometheus_gets_it_as_a_histogram() {
        let spread = LatencyHistogram::default();
        for micros in [1, 63, 64, 127, 1_000_000, 100_000_000] {
            spread.observe(Duration::from_micros(micros));
        }
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register("lag", "it", spread);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "lag_sum 101.000255",
            "lag_count 6",
            "lag_bucket{le=\"0.000064\"} 2",
            "lag_bucket{le=\"0.000128\"} 4",
            "lag_bucket{le=\"0.524288\"} 4",
            "lag_bucket{le=\"1.048576\"} 5",
            "lag_bucket{le=\"67.108864\"} 5",
            "lag_bucket{le=\"+Inf\"} 6",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
