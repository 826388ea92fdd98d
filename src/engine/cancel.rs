//! A cancel is a receipt: it answers when it is true.
use super::{Engine, EngineError};
use crate::domain::event::Status;
use crate::domain::generation::View;
use crate::ports::{Address, LogError};
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
        let row = self.inner.log.generation(at).await?.ok_or(EngineError::NotFound)?;
        if !row.status.is_ended() {
            // In the log first: whoever owns it, now or after a crash, will see it.
            self.inner.log.request_cancel(at).await?;
            self.inner.live.cancel(at.id);
            // Past the limit the answer is what there is: `cancelling`.
            let _ = timeout(self.inner.limits.cancel_wait, self.ended(at)).await;
        }
        let view = self.view(at).await?;
        let cancelled = view.status == Status::Cancelled;
        Ok(Receipt { view, cancelled })
    }

    /// Waits until the generation has its ending.
    async fn ended(&self, at: &Address) {
        loop {
            if let Some(tail) = self.inner.live.find(&at.tenant, at.id) {
                let mut heads = tail.heads();
                while !tail.ended() {
                    tokio::select! {
                        () = tail.detached() => break,
                        changed = heads.changed() => if changed.is_err() { break },
                    }
                }
            }
            match self.inner.log.generation(at).await {
                Ok(None) => return,
                Ok(Some(row)) if row.status.is_ended() => return,
                Ok(Some(_)) | Err(LogError::Unavailable(_)) => {
                    sleep(self.inner.limits.poll).await;
                }
                Err(LogError::Conflict | LogError::Broken(_)) => return,
            }
        }
    }
}
