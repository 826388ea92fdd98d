//! Everything that ends a generation other than its model.
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::live::Tail;
use crate::domain::generation::OnDisconnect;
use crate::ports::Log;

/// Why a generation stops before its model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
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
pub(super) struct Stops {
    pub(super) tail: Arc<Tail>,
    pub(super) deadline: Instant,
    pub(super) on_disconnect: OnDisconnect,
    /// Cancelled when what can move shall move.
    pub(super) leaving: CancellationToken,
    /// Knows of readers on other instances.
    pub(super) log: Arc<dyn Log>,
}

/// Between two questions to a log that is out of reach.
const AGAIN: Duration = Duration::from_secs(1);

impl Stops {
    pub(super) async fn wait(&self) -> Stop {
        tokio::select! {
            biased;
            stop = self.tail.stopped() => stop,
            () = sleep_until(self.deadline) => Stop::TimeLimit,
            () = self.abandoned() => Stop::Abandoned,
            () = self.hand_over() => {
                self.tail.stop(Stop::HandOver);
                self.tail.stopped().await
            }
        }
    }

    /// Ends when the generation shall move to another instance, and can.
    async fn hand_over(&self) {
        self.leaving.cancelled().await;
        if !self.tail.may_move() {
            pending::<()>().await;
        }
    }

    /// Ends when there was no reader, here or elsewhere, for the time that the start allowed.
    async fn abandoned(&self) {
        let OnDisconnect::CancelAfter(seconds) = self.on_disconnect else {
            return pending().await;
        };
        let patience = Duration::from_secs(seconds.into());
        let mut readers = self.tail.readers();
        let mut wait = patience;
        loop {
            let unread = *readers.borrow_and_update() == 0;
            tokio::select! {
                () = sleep(wait), if unread => {
                    wait = match self.log.unread_elsewhere(&self.tail.address()).await {
                        Ok(Some(unread)) if unread < patience => patience - unread,
                        Ok(_) => return,
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
}
