//! Other sessions on the database that do harm: listeners that do not listen, transactions that
//! never end.
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::Row;

use super::postgres::PgLog;
use super::rows::error;
use crate::ports::{Holder, LogError};

/// A listener of ours asks something every 5 s. One that is silent for so long belongs to a stopped
/// process, and its unread hints fill the queue of the whole cluster.
pub(super) const SILENT: Duration = Duration::from_secs(60);
/// A transaction that is open for so long is told of.
pub(super) const LONG: Duration = Duration::from_secs(300);
/// The same in transactions of others, where its age in seconds may not be seen.
const LONG_AGE: i64 = 100_000;

impl PgLog {
    /// Ends the connections of listeners that have said nothing for `silent`; how many. One that
    /// lives after all makes another.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn cut_listeners(&self, silent: Duration) -> Result<i64, LogError> {
        let sql = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                   where application_name = 'lastword listener' and datname = current_database() \
                   and usename = session_user and state = 'idle' \
                   and state_change < clock_timestamp() - make_interval(secs => $1)";
        let silent = silent.as_secs_f64();
        let cut = sqlx::query_scalar(sql).bind(silent).fetch_one(&self.watch).await;
        let cut: i64 = cut.map_err(error)?;
        if cut > 0 {
            tracing::warn!(cut, "listeners of processes that stand still were cut off");
        }
        Ok(cut)
    }

    /// The session whose transaction, open for `least`, keeps most from being cleaned up. Folds
    /// spare the rows of lanes while there is one.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn holder(&self, least: Duration) -> Result<Option<Holder>, LogError> {
        let row = sqlx::query(
            "select * from (select pid, coalesce(application_name, '') as application, \
               coalesce(usename::text, '') as role, \
               extract(epoch from clock_timestamp() - xact_start)::float8 as seconds, \
               greatest(age(backend_xmin), age(backend_xid))::bigint as age \
               from pg_stat_activity where datname = current_database() \
               and pid <> pg_backend_pid()) s \
             where age is not null and (seconds > $1 or seconds is null and age > $2) \
             order by age desc limit 1",
        )
        .bind(least.as_secs_f64())
        .bind(LONG_AGE)
        .fetch_optional(&self.watch)
        .await
        .map_err(error)?;
        self.horizon_held.store(row.is_some(), Ordering::Relaxed);
        let Some(row) = row else { return Ok(None) };
        let seconds: Option<f64> = row.try_get("seconds").map_err(error)?;
        Ok(Some(Holder {
            pid: row.try_get("pid").map_err(error)?,
            application: row.try_get("application").map_err(error)?,
            user: row.try_get("role").map_err(error)?,
            open_for: seconds.map(|s| Duration::from_secs_f64(s.max(0.0))),
            age: row.try_get("age").map_err(error)?,
        }))
    }
}
