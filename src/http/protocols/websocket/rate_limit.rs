//! How much a client may ask, and how often it may be wrong.
use std::time::Duration;

use tokio::time::Instant;

/// Frames that may come at once, in seconds of the allowed rate: a page that reopens hundreds of
/// generations does it in one go.
const BURST_S: u32 = 10;
/// A large message counts as one more frame for each of these bytes.
const BYTES: usize = 4096;
/// Malformed frames are forgiven after this time.
const FORGIVEN: Duration = Duration::from_secs(60);

/// A bucket that fills at a steady rate and is emptied by frames.
#[derive(Debug)]
pub(super) struct Rate {
    per_s: f64,
    left: f64,
    at: Instant,
}

impl Rate {
    pub(super) fn new(per_s: u32, now: Instant) -> Self {
        let per_s = f64::from(per_s);
        Self { per_s, left: per_s * f64::from(BURST_S), at: now }
    }

    /// Whether a frame of `bytes` may come now.
    pub(super) fn allows(&mut self, bytes: usize, now: Instant) -> bool {
        let filled = now.duration_since(self.at).as_secs_f64() * self.per_s;
        self.left = (self.left + filled).min(self.per_s * f64::from(BURST_S));
        self.at = now;
        self.left -= 1.0 + f64::from(u32::try_from(bytes / BYTES).unwrap_or(u32::MAX));
        self.left >= 0.0
    }
}

/// Counts malformed frames.
#[derive(Debug)]
pub(super) struct Mistakes {
    allowed: u32,
    count: u32,
    since: Instant,
}

impl Mistakes {
    pub(super) fn new(allowed: u32, now: Instant) -> Self {
        Self { allowed, count: 0, since: now }
    }

    /// One more; whether it is one too many.
    pub(super) fn one_more(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since) >= FORGIVEN {
            (self.count, self.since) = (0, now);
        }
        self.count += 1;
        self.count >= self.allowed
    }
}
