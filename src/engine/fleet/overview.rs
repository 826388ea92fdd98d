//! The operator's view, made once a second at most for any number of viewers.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use strum::IntoEnumIterator as _;
use time::OffsetDateTime;
use tokio::time::{Instant, timeout};

use crate::domain::event::Status;
use crate::domain::fleet::{Fleet, Moment};
use crate::domain::id::{GenerationId, InstanceId, Seq};
use crate::engine::{Engine, EngineError};
use crate::metrics::{Counts, quantile};
use crate::ports::Address;

/// A picture that is younger serves the next who asks, too.
const FRESH: Duration = Duration::from_millis(900);
/// A picture that is older says nothing of what goes on now: rates begin anew.
const STALE: Duration = Duration::from_secs(5);
/// How long the log may take, before the rest is told without it.
const PATIENCE: Duration = Duration::from_secs(2);
/// Generations that are told of; the counts are of all.
const SHOWN: u32 = 200;
/// Events of one answer about a timeline.
pub const MOMENTS: u32 = 2000;

/// All instances by the log, and this process by its own counts.
#[derive(Clone, Debug, Serialize)]
pub struct Overview {
    /// When it was made, by this process's clock.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// The version that runs here.
    pub version: &'static str,
    /// The instance that answers.
    pub instance: InstanceId,
    /// The work of that process.
    pub here: Here,
    /// All instances and generations; `None` while the log does not answer.
    pub fleet: Option<Fleet>,
}

/// One process.
#[derive(Clone, Debug, Serialize)]
pub struct Here {
    /// Generations that it runs.
    pub running: usize,
    /// Open streams, by SSE and on sockets.
    pub readers: i64,
    /// Open WebSocket connections.
    pub sockets: i64,
    /// Events stored a second: nearly all of them are tokens.
    pub appended_per_s: f64,
    /// Events handed to readers a second.
    pub delivered_per_s: f64,
    /// From an event's commit until a live reader had it, in milliseconds: half were not slower.
    pub lag_p50_ms: Option<f64>,
    /// The same for 99 of 100.
    pub lag_p99_ms: Option<f64>,
    /// Generations that ended here since its start, by status.
    pub ended: BTreeMap<&'static str, u64>,
}

/// A picture, and what it was made from.
#[derive(Debug)]
pub(in crate::engine) struct Picture {
    at: Instant,
    appended: u64,
    delivered: u64,
    lags: Counts,
    shown: Arc<Overview>,
}

impl Engine {
    /// The state of things, at most a second old.
    pub async fn overview(&self) -> Arc<Overview> {
        let mut picture = self.inner.fleet.picture.lock().await;
        let fresh = picture.as_ref().filter(|picture| picture.at.elapsed() < FRESH);
        if let Some(fresh) = fresh {
            return Arc::clone(&fresh.shown);
        }
        let operations = &self.inner.log.operations;
        let fleet = timeout(PATIENCE, operations.fleet(SHOWN)).await.ok().and_then(Result::ok);
        let before = picture.take().filter(|before| before.at.elapsed() < STALE);
        let made = self.picture(before.as_ref(), fleet);
        let shown = Arc::clone(&made.shown);
        *picture = Some(made);
        shown
    }

    fn picture(&self, before: Option<&Picture>, fleet: Option<Fleet>) -> Picture {
        let metrics = self.metrics();
        let (at, lags) = (Instant::now(), metrics.lags());
        let (appended, delivered) = (metrics.appended.get(), metrics.delivered());
        let seconds = before.map(|before| at.duration_since(before.at).as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a rate is no exact thing")]
        let rate = |now: u64, then: Option<u64>| {
            seconds.zip(then).map_or(0.0, |(s, then)| now.saturating_sub(then) as f64 / s)
        };
        let lag = |share| {
            let lag = quantile(&before?.lags, &lags, share)?;
            Some(lag.as_secs_f64() * 1000.0)
        };
        let ends = Status::iter().filter(|status| status.is_ended());
        let here = Here {
            running: self.running(),
            readers: metrics.readers(),
            sockets: metrics.sockets.get(),
            appended_per_s: rate(appended, before.map(|b| b.appended)),
            delivered_per_s: rate(delivered, before.map(|b| b.delivered)),
            lag_p50_ms: lag(0.5),
            lag_p99_ms: lag(0.99),
            ended: ends.map(|status| (status.as_str(), metrics.ending(status).get())).collect(),
        };
        let shown = Overview {
            at: OffsetDateTime::now_utc(),
            version: env!("CARGO_PKG_VERSION"),
            instance: self.inner.instance,
            here,
            fleet,
        };
        Picture { at, appended, delivered, lags, shown: Arc::new(shown) }
    }

    /// Where any tenant's generation is, for who may see them all.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn anywhere(&self, id: GenerationId) -> Result<Address, EngineError> {
        let tenant = self.inner.log.operations.tenant_of(id).await?;
        Ok(Address { tenant: tenant.ok_or(EngineError::NotFound)?, id })
    }

    /// When the events of a generation were stored: the next [`MOMENTS`] behind `after`, or the
    /// last without it.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn moments(
        &self,
        at: &Address,
        after: Option<Seq>,
    ) -> Result<Vec<Moment>, EngineError> {
        Ok(self.inner.log.operations.moments(at, after, MOMENTS).await?)
    }
}
