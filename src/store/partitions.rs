//! One table of events a day, made ahead; old ones are dropped whole.
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use super::rows::error;
use crate::ports::LogError;

/// Days that have their table before they begin.
const AHEAD: i32 = 2;
/// One instance at a time changes the tables.
const LOCK: i64 = 0x6c61_7374_776f_7264; // "lastword"

/// Makes the partitions of today and the next days.
pub(super) async fn ensure(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let days: Vec<(String, String, String)> = sqlx::query_as(
        "select to_char(day, 'YYYYMMDD'), first_uuid_of_day(day)::text, \
                first_uuid_of_day(day + 1)::text \
         from (select (now() at time zone 'utc')::date + n as day \
               from generate_series(0, $1) n) days \
         where to_regclass('segments_' || to_char(day, 'YYYYMMDD')) is null",
    )
    .bind(AHEAD)
    .fetch_all(&mut *connection)
    .await?;
    for (day, from, to) in days {
        let made = format!(
            "begin; set local lock_timeout = '2s'; select pg_advisory_xact_lock({LOCK}); \
             create table if not exists segments_{day} partition of segments \
             for values from ('{from}') to ('{to}'); commit"
        );
        if let Err(error) = sqlx::raw_sql(AssertSqlSafe(made)).execute(&mut *connection).await {
            tracing::warn!(%error, day, "no partition for this day yet; its events go to segments_other");
            sqlx::raw_sql("rollback").execute(&mut *connection).await?;
        }
    }
    Ok(())
}

/// Drops the partitions whose last day is more than `days` ago; returns how many.
pub(super) async fn expire(connection: &mut PgConnection, days: u32) -> Result<u64, sqlx::Error> {
    let old: Vec<(String,)> = sqlx::query_as(
        "select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid \
         where i.inhparent = 'segments'::regclass and c.relname ~ '^segments_[0-9]{8}$' \
         and to_date(right(c.relname, 8), 'YYYYMMDD') < (now() at time zone 'utc')::date - $1 \
         order by 1",
    )
    .bind(i32::try_from(days).unwrap_or(i32::MAX))
    .fetch_all(&mut *connection)
    .await?;
    let count = old.len() as u64;
    for (table,) in old {
        let drop = format!("drop table if exists {table}");
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut *connection).await?;
    }
    Ok(count)
}

/// Bytes of all events, in the journal and in all partitions, with their indexes.
pub(super) async fn bytes(pool: &PgPool) -> Result<i64, LogError> {
    sqlx::query_scalar(
        "select coalesce(sum(pg_total_relation_size(relid)), 0)::bigint + pg_total_relation_size('journal') \
         from pg_partition_tree('segments') where isleaf",
    )
    .fetch_one(pool)
    .await
    .map_err(error)
}
