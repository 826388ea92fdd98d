//! A cancel is a receipt: it answers when it is true.
use crate::domain::event::Status;
use crate::domain::generation::View;
use crate::domain::id::Seq;
use crate::engine::readers::following::Following;
use crate::engine::{Engine, EngineError};
use crate::ports::{Address, LogError, Signal, To};
use serde::Serialize;
use tokio::time::{sleep, timeout};

/// The answer to a cancel.
#[derive(Clone, Debug, Serialize)]
pub struct Receipt {
    /// The generation as it stands: ended, or `cancelling` if that takes too long.
    #[serde(flatten)]
    pub view: View,
    /// False when it had already ended otherwise, or has not ended yet.
    pub cancelled: bool,
}

impl Engine {
    /// Asks for a generation's end and waits, within a limit, until it is durable and its
    /// upstream is closed. Repeating it gives the same receipt.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn cancel(&self, at: &Address) -> Result<Receipt, EngineError> {
        let row = self.inner.log.generations.standing(at).await?.ok_or(EngineError::NotFound)?;
        if !row.status.is_ended() {
            // In the log first: whoever owns it, now or after a crash, will see it.
            let owner = self.inner.log.generations.request_cancel(at).await?;
            if !self.inner.runs.live.cancel(at.id)
                && let Some(owner) = owner
            {
                self.inner.fleet.signals.send(To::One(owner), Signal::Cancel { generation: at.id });
            }
            // Past the limit the answer is what there is: `cancelling`.
            let _ = timeout(self.inner.limits.cancel_wait, self.ended(at, row.last_seq)).await;
        }
        let view = self.view(at).await?;
        let cancelled = view.status == Status::Cancelled;
        Ok(Receipt { view, cancelled })
    }

    /// Waits until the generation, whose log has reached `last`, has its ending: as a reader does,
    /// wherever it runs.
    async fn ended(&self, at: &Address, last: Seq) {
        loop {
            if let Some(mut following) = self.tail_of(at).or_else(|| self.join(at, last)) {
                let Following { reading, seen, .. } = &mut following;
                let tail = &reading.tail;
                while !tail.ended() {
                    tokio::select! {
                        () = tail.detached() => break,
                        () = tail.waiters().changed(seen) => {}
                    }
                }
                if tail.ended() {
                    return;
                }
            }
            match self.inner.log.generations.standing(at).await {
                Ok(None) => return,
                Ok(Some(row)) if row.status.is_ended() => return,
                Ok(Some(_)) | Err(LogError::Unavailable(_)) => {
                    sleep(self.inner.limits.poll).await;
                }
                Err(LogError::Conflict | LogError::Broken(_) | LogError::Doubled(_)) => return,
            }
        }
    }
}
