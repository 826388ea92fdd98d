//! Harm to the database by others: listeners that do not listen, transactions that never end,
//! replication slots that nobody reads.
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::Row;

use super::postgres::PgLog;
use super::rows::error;
use crate::ports::{Holder, HolderKind, LogError};

/// A listener of ours asks something every 5 s. One that is silent for so long belongs to a stopped
/// process, and its unread hints fill the queue of the whole cluster.
pub(super) const SILENT: Duration = Duration::from_secs(60);
/// A transaction that is open for so long is told of.
pub(super) const LONG: Duration = Duration::from_secs(300);
/// The same in transactions of others, where its age in seconds is not known.
const LONG_AGE: i64 = 100_000;
/// All that holds the horizon of our database. Standbys and slots hold that of every database.
const HOLDERS: &str = "select * from ( \
      select 'session' as kind, pid, coalesce(application_name, '') as name, \
             coalesce(usename::text, '') as role, \
             extract(epoch from clock_timestamp() - xact_start)::float8 as seconds, \
             greatest(age(backend_xmin), age(backend_xid))::bigint as age \
      from pg_stat_activity \
      where (datname = current_database() or backend_type = 'walsender') \
        and pid <> pg_backend_pid() \
    union all \
      select 'prepared', 0, gid, owner::text, \
             extract(epoch from clock_timestamp() - prepared)::float8, age(transaction)::bigint \
      from pg_prepared_xacts where database = current_database() \
    union all \
      select 'slot', coalesce(active_pid, 0), slot_name::text, '', null, age(xmin)::bigint \
      from pg_replication_slots) holders \
    where age is not null and (seconds > $1 or seconds is null and age > $2) \
    order by age desc limit 1";

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

    /// The one that keeps most from being cleaned up. A session or a prepared transaction is open
    /// for `least`, a replication slot is far behind. Folds spare the rows of lanes meanwhile.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn holder(&self, least: Duration) -> Result<Option<Holder>, LogError> {
        self.holder_behind(least, LONG_AGE).await
    }

    /// The same, with the number of transactions that is far behind where no time is known.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn holder_behind(
        &self,
        least: Duration,
        far: i64,
    ) -> Result<Option<Holder>, LogError> {
        let row = sqlx::query(HOLDERS)
            .bind(least.as_secs_f64())
            .bind(far)
            .fetch_optional(&self.watch)
            .await
            .map_err(error)?;
        self.horizon_held.store(row.is_some(), Ordering::Relaxed);
        let Some(row) = row else { return Ok(None) };
        let kind: String = row.try_get("kind").map_err(error)?;
        let seconds: Option<f64> = row.try_get("seconds").map_err(error)?;
        Ok(Some(Holder {
            kind: match kind.as_str() {
                "prepared" => HolderKind::Prepared,
                "slot" => HolderKind::Slot,
                _ => HolderKind::Session,
            },
            pid: row.try_get("pid").map_err(error)?,
            name: row.try_get("name").map_err(error)?,
            user: row.try_get("role").map_err(error)?,
            open_for: seconds.map(|s| Duration::from_secs_f64(s.max(0.0))),
            age: row.try_get("age").map_err(error)?,
        }))
    }
}
