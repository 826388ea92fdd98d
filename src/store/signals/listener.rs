//! The connection that listens. sqlx's listener loses notifications while it reconnects. It reports
//! some losses as `Ok(None)`, some as errors, and a silent connection never. Each loss ends it
//! here: a new one listens first, then its users are told to catch up.
use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::{PAYLOAD, Shared, channel};
use crate::ports::{Received, To, envelope};

/// Pauses before another connection.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
];

pub(super) struct Listener<'a> {
    pub(super) shared: &'a Shared,
}

/// Why a connection is given up.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("{0}")]
    Database(#[from] sqlx::Error),
    #[error("the connection was closed")]
    Closed,
    #[error("a notification to ourselves did not come back")]
    Silent,
}

impl Listener<'_> {
    pub(super) async fn run(&self) -> Infallible {
        let mut failures = 0;
        loop {
            let Err(lost) = self.session(&mut failures).await;
            let worked = self.shared.works.swap(false, Ordering::Relaxed);
            // Once an outage; and once where it never works, as behind a pooler.
            if worked || failures == 0 {
                tracing::warn!(%lost, "hints between instances are lost: the log is polled");
            } else {
                tracing::debug!(%lost, "still no hints between instances");
            }
            let pause = PAUSES.get(failures).or(PAUSES.last()).copied().unwrap_or_default();
            failures += 1;
            sleep(pause).await;
        }
    }

    /// One connection, until it is lost.
    async fn session(&self, failures: &mut usize) -> Result<Infallible, Lost> {
        let Shared { me, supply, pace, heard, works, .. } = self.shared;
        let answer = pace.beat;
        // It may have been refused a place.
        let urgent = (*failures > 0).then(|| supply.urgent());
        if urgent.is_some() {
            supply.give_back(true).await;
        }
        // sqlx listens only on a pool's connection: a pool of one, for this session only.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .acquire_timeout(answer);
        let pool = supply.sessions().named("lastword listener").pool(pool);
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.ignore_pool_close_event(true);
        let own = channel(supply.space(), To::One(*me));
        let all = channel(supply.space(), To::All);
        let listening = listener.listen_all([all.as_str(), own.as_str()]);
        timeout(answer, listening).await.map_err(|_| Lost::Silent)??;
        drop(urgent);
        // Nobody receives yet, or all have gone: neither is a fault.
        let _ = heard.send(Received::Gap);
        let mut beats = interval(pace.beat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut awaiting = false;
        loop {
            tokio::select! {
                got = listener.try_recv() => {
                    let got = got?.ok_or(Lost::Closed)?;
                    let Some((from, signals)) = envelope::unpack(got.payload().as_bytes()) else { continue };
                    if from == *me {
                        awaiting = false;
                        *failures = 0;
                        works.store(true, Ordering::Relaxed);
                        continue;
                    }
                    for signal in signals {
                        let _ = heard.send(Received::Signal(signal));
                    }
                }
                _ = beats.tick() => {
                    if awaiting {
                        return Err(Lost::Silent);
                    }
                    awaiting = true;
                    let beat = envelope::pack(*me, &[], PAYLOAD).concat();
                    let notify = sqlx::query("select pg_notify($1, $2)").bind(&own).bind(beat);
                    let sent = timeout(answer, notify.execute(&mut listener)).await;
                    sent.map_err(|_| Lost::Silent)??;
                }
            }
        }
    }
}
