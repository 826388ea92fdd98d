//! How quickly a model answers: the first token, and the gaps between tokens.
use tokio::time::{Duration, Instant};

use crate::metrics::Metrics;

/// The clock of one generation's content.
pub(in crate::engine) struct Pace {
    /// When it was started or taken over here.
    begun: Instant,
    /// The same until the first token; `None` for one taken over, whose first token may be past.
    accepted: Option<Instant>,
    last: Option<Instant>,
}

impl Pace {
    pub(in crate::engine) fn new(taken_over: bool) -> Self {
        let begun = Instant::now();
        Self { begun, accepted: (!taken_over).then_some(begun), last: None }
    }

    /// How long it has run here.
    pub(in crate::engine) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The same in milliseconds.
    pub(in crate::engine) fn milliseconds(&self) -> u64 {
        u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The model said something.
    pub(in crate::engine) fn said(&mut self, metrics: &Metrics) {
        let now = Instant::now();
        if let Some(accepted) = self.accepted.take() {
            metrics.first_token(now - accepted);
        }
        if let Some(last) = self.last.replace(now) {
            metrics.token_gap(now - last);
        }
    }

    /// Another attempt begins: the gap until it speaks is the upstream's loss, not its pace.
    pub(in crate::engine) fn interrupted(&mut self) {
        self.last = None;
    }
}
