//! Brings the tables up to date: one instance at a time, without the time-outs of ordinary
//! statements.
//!
//! An instance that waits says for what. Long changes are made in portions (`portions`), which a
//! kill does not undo.
mod files;
mod portions;

use std::convert::Infallible;
use std::time::Duration;

use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::{AssertSqlSafe, PgConnection, Row};
use tokio::time::sleep;

use super::connect::ConnectError;
use super::session_settings::Sessions;

/// Before the first line about what is waited for: most migrations are over by then.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// Between two such lines.
const LOOK: Duration = Duration::from_secs(10);
/// How long a migration waits for a table that is in use: whoever comes after it waits as long.
const TABLE_LOCK: &str = "2s";
/// Tries to get such a table, with a pause of a second between them.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_secs(1);
/// SQLSTATE of a lock that did not come in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";
/// SQLSTATE of a transaction that PostgreSQL aborts because two wait for each other.
const DEADLOCK_DETECTED: &str = "40P01";

/// Applies what is missing. Additions of a newer version do not keep this one from starting. During
/// a deploy an instance of the old version may have to start again.
///
/// `first` has no time-out for statements afterwards, and holds the lock of migrations until it is
/// closed.
pub(super) async fn migrate(
    first: &mut PgConnection,
    sessions: &Sessions,
) -> Result<(), ConnectError> {
    let mut ours = files::migrator();
    ours.set_ignore_missing(true).set_locking(false);
    set(first, "set statement_timeout = 0; set lock_timeout = 0").await?;
    lock(first, sessions).await?;
    for step in &portions::STEPS {
        if !is_applied(first, step.version()).await? {
            run(&ours, Some(step.version() - 1), first).await?;
            step.prepare(first, &mut ours).await?;
        }
    }
    run(&ours, None, first).await?;
    name(first, "lastword").await?;
    warn_of_newer(&ours, first).await
}

/// Waits for its turn. Instances of earlier versions wait for the same lock.
async fn lock(first: &mut PgConnection, sessions: &Sessions) -> Result<(), ConnectError> {
    let pid = "select pg_catalog.pg_backend_pid()";
    let pid: i32 =
        sqlx::raw_sql(pid).fetch_one(&mut *first).await.map_err(ConnectError::Unreachable)?.get(0);
    tokio::select! {
        biased;
        locked = first.lock() => Ok(locked?),
        never = say_what_is_waited_for(pid, sessions) => match never {},
    }
}

async fn say_what_is_waited_for(pid: i32, sessions: &Sessions) -> Infallible {
    let mut pause = FIRST_LOOK;
    loop {
        sleep(pause).await;
        pause = LOOK;
        match holder(pid, sessions).await {
            Ok(Some((process, what))) => {
                tracing::info!(process, what, "waits for another instance to migrate the database");
            }
            // It has just ended.
            Ok(None) => {}
            Err(error) => {
                tracing::info!(%error, "waits for another instance to migrate the database")
            }
        }
    }
}

/// Which process of the database server has what `pid` waits for, and what it says that it does.
async fn holder(pid: i32, sessions: &Sessions) -> Result<Option<(i32, String)>, sqlx::Error> {
    let mut connection = sessions.named("lastword waiting").connect().await?;
    sqlx::query_as(
        "select pid, application_name from pg_catalog.pg_stat_activity \
         where pid = any(pg_catalog.pg_blocking_pids($1)) limit 1",
    )
    .bind(pid)
    .fetch_optional(&mut connection)
    .await
}

/// Runs the missing migrations of `ours` as a start does, beside instances that are at work.
///
/// # Errors
/// [`ConnectError::Migrate`] for one that fails, also after a minute of tries for a table in use.
pub async fn apply(ours: &Migrator, connection: &mut PgConnection) -> Result<(), ConnectError> {
    run(ours, None, connection).await
}

/// Runs what is missing up to `target`; tries again if a table is in use.
async fn run(
    ours: &Migrator,
    target: Option<i64>,
    first: &mut PgConnection,
) -> Result<(), ConnectError> {
    set(first, &format!("set lock_timeout = '{TABLE_LOCK}'")).await?;
    let mut tries = 0;
    loop {
        let ran = match target {
            Some(target) => ours.run_to(target, &mut *first).await,
            None => ours.run(&mut *first).await,
        };
        match ran {
            Err(error) if tries < TRIES && may_be_tried_again(&error) => {}
            other => {
                other?;
                return set(first, "set lock_timeout = 0").await;
            }
        }
        tries += 1;
        sleep(PAUSE).await;
    }
}

/// Whether the migration only met other instances at work; its transaction is rolled back then.
fn may_be_tried_again(error: &MigrateError) -> bool {
    let MigrateError::ExecuteMigration(sqlx::Error::Database(said), version) = error else {
        return false;
    };
    match said.code().as_deref() {
        Some(LOCK_NOT_AVAILABLE) => {
            tracing::info!(version, "a migration waits for a table that is in use");
        }
        Some(DEADLOCK_DETECTED) => {
            tracing::info!(version, "a migration lost a deadlock to another instance: once more");
        }
        _ => return false,
    }
    true
}

async fn is_applied(first: &mut PgConnection, version: i64) -> Result<bool, ConnectError> {
    let known = "select to_regclass('_sqlx_migrations') is not null";
    let known: bool = number(first, known).await?;
    let applied = format!("select exists (select from _sqlx_migrations where version = {version})");
    Ok(known && number(first, &applied).await?)
}

async fn warn_of_newer(ours: &Migrator, first: &mut PgConnection) -> Result<(), ConnectError> {
    let program = ours.iter().map(|migration| migration.version).max().unwrap_or_default();
    let newest = "select max(version) from _sqlx_migrations";
    let database: Option<i64> = number(first, newest).await?;
    if let Some(database) = database.filter(|database| *database > program) {
        tracing::warn!(
            database,
            program,
            "the database is newer than this program, which goes on beside the next minor version only"
        );
    }
    Ok(())
}

/// Says in `pg_stat_activity` what this connection does, for those who wait for it.
async fn name(first: &mut PgConnection, doing: &str) -> Result<(), ConnectError> {
    set(first, &format!("set application_name = '{doing}'")).await
}

async fn set(first: &mut PgConnection, sql: &str) -> Result<(), ConnectError> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(first).await;
    done.map(drop).map_err(ConnectError::Unreachable)
}

/// The one value that `sql` selects.
async fn number<T>(first: &mut PgConnection, sql: &str) -> Result<T, ConnectError>
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    let value = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(first).await;
    value.map_err(ConnectError::Unreachable)
}
