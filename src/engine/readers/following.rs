//! A reader at a tail.
use std::task::{Context, Poll, Waker, ready};

use crate::engine::run::live::Reading;

/// The tail that a reader follows.
pub(in crate::engine) struct Following {
    pub(in crate::engine) reading: Reading,
    /// Changes of the tail that were looked at.
    pub(in crate::engine) seen: u64,
    /// Whether the generation runs on another instance.
    pub(in crate::engine) remote: bool,
    /// Its place among those that wait for a change.
    place: Option<Waker>,
}

impl Following {
    pub(in crate::engine) fn new(reading: Reading, remote: bool) -> Self {
        let seen = reading.tail.waiters().changes();
        Self { reading, seen, remote, place: None }
    }

    /// Ready when the tail has changed since the last look.
    pub(in crate::engine) fn poll_changed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let waiters = self.reading.tail.waiters();
        self.seen = ready!(waiters.poll_changed(self.seen, &mut self.place, cx));
        Poll::Ready(())
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.reading.tail.waiters().leave(self.seen, &mut self.place);
    }
}
