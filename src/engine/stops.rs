//! Everything that ends a generation other than its model.
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::live::Tail;
use crate::domain::generation::OnDisconnect;

/// Why a generation stops before its model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Somebody asked for it.
    Cancelled,
    /// Nobody reads it, and its start said what then.
    Abandoned,
    /// The wall-clock limit.
    TimeLimit,
    /// This process stops, or another owner has taken over: somebody else goes on.
    LetGo,
}

/// Waits for the first reason to stop.
pub(super) struct Stops {
    pub(super) tail: Arc<Tail>,
    pub(super) deadline: Instant,
    pub(super) on_disconnect: OnDisconnect,
}

impl Stops {
    pub(super) async fn wait(&self) -> Stop {
        tokio::select! {
            biased;
            stop = self.tail.stopped() => stop,
            () = sleep_until(self.deadline) => Stop::TimeLimit,
            () = abandoned(self.on_disconnect, self.tail.readers()) => Stop::Abandoned,
        }
    }
}

/// Ends when there was no reader for the time that the start allowed.
async fn abandoned(on_disconnect: OnDisconnect, mut readers: watch::Receiver<usize>) {
    let OnDisconnect::CancelAfter(seconds) = on_disconnect else {
        return pending().await;
    };
    loop {
        let unread = *readers.borrow_and_update() == 0;
        tokio::select! {
            () = sleep(Duration::from_secs(seconds.into())), if unread => return,
            changed = readers.changed() => if changed.is_err() { return pending().await },
        }
    }
}
