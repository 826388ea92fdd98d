//! One table of events a day, made ahead; old ones are dropped whole.
use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};
use tokio::time::sleep;

use super::pool::Pool;
use super::rows::error;
use crate::ports::LogError;

/// Days that have their table before they begin.
const AHEAD: i32 = 2;
/// One instance at a time changes the tables.
const LOCK: i64 = 0x6c61_7374_776f_7264; // "lastword"
/// How long a change of the tables waits for its lock, in milliseconds.
const LOCK_WAIT_MS: u32 = 50;
/// How often it is tried; the next look tries again.
const TRIES: u32 = 5;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of `segments_other` that are moved to their day's table at the most: starts wait
/// meanwhile.
const MOVED: i64 = 64 * 1024 * 1024;
/// Rows of `segments_other` that expire in one statement.
const PORTION: i64 = 10_000;
/// `lock_not_available`, and `duplicate_table`.
const LOCKED: &str = "55P03";
const DUPLICATE: &str = "42P07";

/// Makes the partitions of today and the next days. Returns how many could not be made now: their
/// tables are in use.
pub(super) async fn ensure(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let days: Vec<(String, String, String, i64)> = sqlx::query_as(
        "select to_char(day, 'YYYYMMDD'), first_uuid_of_day(day)::text, \
                first_uuid_of_day(day + 1)::text, pg_relation_size('segments_other') \
         from (select (now() at time zone 'utc')::date + n as day \
               from generate_series(0, $1) n) days \
         where to_regclass('segments_' || to_char(day, 'YYYYMMDD')) is null",
    )
    .bind(AHEAD)
    .fetch_all(&mut *connection)
    .await?;
    let mut missing = 0;
    for (day, from, to, other) in days {
        let made = if other > MOVED {
            // Its events stay where they are, and go when their time is over.
            format!(
                "create table if not exists segments_{day} partition of segments \
                 for values from ('{from}') to ('{to}')"
            )
        } else {
            format!(
                "lock table segments_other in access exclusive mode; \
                 create table segments_{day} (like segments including all); \
                 with gone as (delete from segments_other where generation_id >= '{from}' \
                   and generation_id < '{to}' returning *) insert into segments_{day} select * from gone; \
                 alter table segments attach partition segments_{day} for values from ('{from}') to ('{to}')"
            )
        };
        match briefly(connection, &made).await {
            Ok(true) => {}
            Ok(false) => {
                missing += 1;
                tracing::warn!(
                    day,
                    "no partition for this day yet: its tables are in use; its events go to segments_other"
                );
            }
            // Another instance may have made it meanwhile.
            Err(error)
                if error
                    .as_database_error()
                    .is_some_and(|e| e.code().as_deref() == Some(DUPLICATE)) => {}
            Err(error) => {
                tracing::warn!(%error, day, "no partition for this day yet; its events go to segments_other");
            }
        }
    }
    Ok(missing)
}

/// Drops the partitions whose last day is more than `days` ago, and other rows of that age. Returns
/// how many were dropped, and how many are in use and stay for now.
pub(super) async fn expire(
    connection: &mut PgConnection,
    days: u32,
) -> Result<(u64, u64), sqlx::Error> {
    let days = i32::try_from(days).unwrap_or(i32::MAX);
    let old: Vec<(String,)> = sqlx::query_as(
        "select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid \
         where i.inhparent = 'segments'::regclass and c.relname ~ '^segments_[0-9]{8}$' \
         and to_date(right(c.relname, 8), 'YYYYMMDD') < (now() at time zone 'utc')::date - $1 \
         order by 1",
    )
    .bind(days)
    .fetch_all(&mut *connection)
    .await?;
    let (mut dropped, mut in_use) = (0, 0);
    for (table,) in old {
        match briefly(connection, &format!("drop table if exists {table}")).await? {
            true => dropped += 1,
            false => in_use += 1,
        }
    }
    let portion = "delete from segments_other where ctid = any(array( \
           select ctid from segments_other \
           where generation_id < first_uuid_of_day((now() at time zone 'utc')::date - $1) limit $2))";
    let gone = sqlx::query(portion).bind(days).bind(PORTION).execute(connection).await?;
    if gone.rows_affected() > 0 {
        tracing::info!(segments = gone.rows_affected(), "expired from segments_other");
    }
    Ok((dropped, in_use))
}

/// Changes tables in one transaction, if nobody uses them for long; whether it was done. Statements
/// queue behind a change that waits for its lock. The change therefore waits for milliseconds only,
/// and tries again.
async fn briefly(connection: &mut PgConnection, change: &str) -> Result<bool, sqlx::Error> {
    for n in 0..TRIES {
        if n > 0 {
            sleep(PAUSE).await;
        }
        let sql = format!(
            "begin; set local lock_timeout = '{LOCK_WAIT_MS}ms'; \
             select pg_advisory_xact_lock({LOCK} # case current_schema() when 'public' then 0 \
               else hashtextextended(current_schema(), 0) end); {change}; commit"
        );
        let Err(error) = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await else {
            return Ok(true);
        };
        sqlx::raw_sql("rollback").execute(&mut *connection).await?;
        if error.as_database_error().is_none_or(|e| e.code().as_deref() != Some(LOCKED)) {
            return Err(error);
        }
    }
    Ok(false)
}

/// Bytes of all events, in the journal and in all partitions, with their indexes.
pub(super) async fn bytes(pool: &Pool) -> Result<i64, LogError> {
    sqlx::query_scalar(
        "select coalesce(sum(pg_total_relation_size(relid)), 0)::bigint + pg_total_relation_size('journal') \
         from pg_partition_tree('segments') where isleaf",
    )
    .fetch_one(pool)
    .await
    .map_err(error)
}

/// Bytes of the events that have no table for their day.
pub(super) async fn unsorted_bytes(pool: &Pool) -> Result<i64, LogError> {
    sqlx::query_scalar("select pg_total_relation_size('segments_other')")
        .fetch_one(pool)
        .await
        .map_err(error)
}
