//! Whether the database can serve, asked over an existing connection. One question runs at a time,
//! and all that ask meanwhile share its answer.
use std::sync::Arc;
use std::time::Duration;

use sqlx::{Error, Row};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::pool::Pool;
use super::supply::{Supply, is_too_many};
use crate::ports::{Condition, LogError};

/// A database that takes longer is away, as far as a load balancer is concerned.
const ANSWER: Duration = Duration::from_secs(2);
/// A commit that waits for a standby for so long is worth telling.
const SLOW: f64 = 2.0;

/// When a question began, and what was found.
type Look = (Instant, Result<Condition, String>);

/// The last result.
#[derive(Clone, Debug, Default)]
pub(super) struct Probe {
    last: Arc<Mutex<Option<Look>>>,
}

impl Probe {
    /// How the database is now.
    pub(super) async fn look(&self, watch: &Pool, supply: &Supply) -> Result<Condition, LogError> {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        let found = match &*last {
            Some((begun, found)) if *begun >= asked => found.clone(),
            Some(_) | None => {
                let begun = Instant::now();
                let found = ask(watch, supply).await;
                *last = Some((begun, found.clone()));
                found
            }
        };
        found.map_err(LogError::Unavailable)
    }
}

async fn ask(watch: &Pool, supply: &Supply) -> Result<Condition, String> {
    let found = match timeout(ANSWER, condition(watch)).await {
        Ok(Ok(found)) => Ok(found),
        // It is there and full, and what we need of it we have.
        Ok(Err(error)) if is_too_many(&error) && supply.is_full_and_works() => {
            Ok(Condition::default())
        }
        Err(_) if supply.is_full_and_works() => Ok(Condition::default()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer in 2 s".into()),
    };
    if found.as_ref().is_ok_and(|found| found.read_only) {
        // The next connections may lead to the server that took its place.
        supply.turn();
    }
    found
}

async fn condition(watch: &Pool) -> Result<Condition, Error> {
    let row = sqlx::query(
        "select pg_is_in_recovery() or current_setting('transaction_read_only') = 'on' as read_only, \
           (select extract(epoch from max(clock_timestamp() - query_start))::float8 \
             from pg_stat_activity where wait_event = 'SyncRep' \
             and datname = current_database() and usename = session_user) as waits \
         from (select from generations limit 0) needed right join (select) always on true",
    )
    .fetch_one(watch)
    .await?;
    let waits: Option<f64> = row.try_get("waits")?;
    let unacknowledged = waits.filter(|s| *s >= SLOW).map(Duration::from_secs_f64);
    Ok(Condition { read_only: row.try_get("read_only")?, unacknowledged })
}
