//! Looks again and again whether those who are in still may be.
use std::collections::HashMap;
use std::future::pending;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Access;
use super::caller::{Caller, Ended};
use crate::domain::key::{Digest, SigningKey};
use crate::engine::Engine;
use crate::ports::{LogError, Received, Signal};

/// With a query that takes its time, an ended key is noticed within 5 s, also when no signal came.
const LOOK: Duration = Duration::from_secs(2);
/// How long callers stay while the log cannot confirm their credentials: as long as a reader is
/// kept while the log is away.
const UNSURE: Duration = Duration::from_secs(60);
/// How often uses are noted and what is over is swept away.
const SWEEP: Duration = Duration::from_secs(60);

pub(super) async fn keep_up((access, engine): (Access, Engine), stop: CancellationToken) {
    let mut received = access.inner.signals.receive();
    let mut sure = Instant::now();
    let mut swept = Instant::now();
    loop {
        match access.look().await {
            Ok(()) => sure = Instant::now(),
            Err(error) if sure.elapsed() > UNSURE => {
                tracing::warn!(%error, "keys cannot be checked: all callers with keys are let go");
                access.let_go();
            }
            Err(error) => tracing::debug!(%error, "keys could not be checked"),
        }
        if swept.elapsed() > SWEEP {
            swept = Instant::now();
            if let Err(error) = access.sweep().await {
                tracing::debug!(%error, "what is over was not swept away");
            }
            if let Err(error) = access.renew_sealing_keys(&engine).await {
                tracing::warn!(%error, "sealing keys were not renewed");
            }
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            () = changed(&mut received) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Ends when a key may have changed.
async fn changed(received: &mut BoxStream<'static, Received>) {
    while let Some(received) = received.next().await {
        if matches!(received, Received::Signal(Signal::KeyChanged) | Received::Gap) {
            return;
        }
    }
    // Nothing is told any more: looking now and then must do.
    pending().await
}

impl Access {
    /// Ends whoever is in with a credential that is no longer good.
    async fn look(&self) -> Result<(), LogError> {
        self.learn().await?;
        let mut known: HashMap<Digest, Caller> = self.remembered().clone();
        if known.is_empty() {
            return Ok(());
        }
        let credentials: Vec<Digest> = known.keys().copied().collect();
        for found in self.inner.keys.look_up(&credentials).await? {
            let ended = match (found.revoked, found.left) {
                (true, _) => Some(Ended::Revoked),
                (false, Some(Duration::ZERO)) => Some(Ended::Expired),
                (false, _) => None,
            };
            if ended.is_none() {
                known.remove(&found.credential);
            } else if let (Some(caller), Some(why)) = (known.get(&found.credential), ended) {
                caller.end(why);
            }
        }
        // The remaining callers have ended, or are not known any more.
        let mut remembered = self.remembered();
        for (credential, caller) in known {
            if !caller.is_over() {
                caller.end(Ended::Revoked);
            }
            remembered.remove(&credential);
        }
        Ok(())
    }

    /// Notes who was used, forgets who was not, and drops what is over.
    async fn sweep(&self) -> Result<(), LogError> {
        let mut used = Vec::new();
        self.remembered().retain(|_, caller| {
            let fresh = caller.was_used();
            if fresh || caller.is_elsewhere() {
                used.extend(caller.key());
                return true;
            }
            false
        });
        if !used.is_empty() {
            self.inner.keys.used(&used).await?;
        }
        self.inner.keys.sweep().await
    }

    /// Makes the next sealing key when it is due, and learns those that others have made.
    async fn renew_sealing_keys(&self, engine: &Engine) -> Result<(), LogError> {
        let new = SigningKey::random().map_err(|e| LogError::Broken(e.to_string()))?;
        engine.secrets().seal_with(self.inner.keys.sealing_keys(new).await?);
        Ok(())
    }

    /// Lets all go who came with a credential.
    fn let_go(&self) {
        for (_, caller) in self.remembered().drain() {
            caller.end(Ended::Revoked);
        }
    }
}
