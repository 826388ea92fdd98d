//! A reader that the server cut may come back: until then its generation is not abandoned.

use parking_lot::{Mutex, MutexGuard};
use tokio::time::{Duration, Instant};

/// Until when the last reader that was cut may come back.
#[derive(Default)]
pub(in crate::engine) struct CutReader(Mutex<Option<Instant>>);

impl CutReader {
    /// The server cuts a reader, which may come back within `window`.
    pub(in crate::engine) fn begin(&self, window: Duration) {
        *self.lock() = Some(Instant::now() + window);
    }

    /// It is back.
    pub(in crate::engine) fn end(&self) {
        *self.lock() = None;
    }

    /// How long it may still take; zero if there is none.
    pub(in crate::engine) fn left(&self) -> Duration {
        self.lock().map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock()
    }
}
