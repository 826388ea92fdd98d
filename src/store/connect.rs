//! Reaches the database, checks that it keeps what it is given, and brings its tables up to date.
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, Row};

use super::postgres::PgLog;
use super::unfolded::Unfolded;

/// The oldest PostgreSQL that the SQL here runs on.
const OLDEST: i32 = 140_000;
/// How long a request waits for a free connection: longer, and its client gives up first.
const ACQUIRE: Duration = Duration::from_secs(3);
/// A connection that was used so recently is not asked whether it still works: that would double
/// the time of most queries, and those that lose theirs to a restart are tried again.
const UNTESTED: Duration = Duration::from_millis(500);
/// Connections for readers, so that they never wait for writers or the other way round.
const READERS: u32 = 10;
/// Connections for starts, cancels, leases and take-overs.
const WORKERS: u32 = 10;

/// Why the server does not start on this database.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No answer, or no access.
    #[error("cannot reach the database: {0}")]
    Unreachable(#[source] sqlx::Error),
    /// A pool that hands connections on between transactions.
    #[error(
        "the database is behind a pool that changes the connection between transactions \
         (PgBouncer's transaction mode), which loses listening and locks; give lastword the server \
         itself, or a pool in session mode with ignore_startup_parameters = \
         extra_float_digits, options: its own pools are small"
    )]
    Pooled,
    /// Older than 14.
    #[error("this is PostgreSQL {0}; lastword needs 14 or later")]
    TooOld(String),
    /// A crash of this database may lose what it acknowledged.
    #[error(
        "the database setting {0} is off, so a crash could lose events that readers have seen; \
         turn it on, or start with --allow-unsafe-durability"
    )]
    Unsafe(&'static str),
    /// The tables could not be brought up to date.
    #[error("cannot migrate the database: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

/// Whether a database that may lose acknowledged events is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Refuse to start.
    Required,
    /// The operator said that it is all right.
    UnsafeAllowed,
}

/// Connects, checks and migrates.
///
/// # Errors
/// See [`ConnectError`].
pub async fn connect(
    options: PgConnectOptions,
    durability: Durability,
) -> Result<PgLog, ConnectError> {
    let options = options.application_name("lastword").options([
        ("statement_timeout", "15s"),
        ("lock_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "15s"),
    ]);
    let mut first = PgConnection::connect_with(&options).await.map_err(unreachable)?;
    refuse_pool(&mut first, &options).await?;
    check(&mut first, durability).await?;
    migrate(&mut first).await?;
    super::partitions::ensure(&mut first).await.map_err(ConnectError::Unreachable)?;
    // A polite goodbye is not worth failing for.
    let _ = first.close().await;
    let pool = |most| {
        let pool = PgPoolOptions::new().max_connections(most).acquire_timeout(ACQUIRE);
        pool.test_before_acquire(false).before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > UNTESTED {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
    };
    Ok(PgLog {
        readers: pool(READERS).connect_lazy_with(options.clone()),
        workers: pool(WORKERS).connect_lazy_with(options.clone()),
        options,
        unfolded: Unfolded::default(),
        process: crate::domain::id::InstanceId::random().0,
    })
}

/// Applies what is missing. What a newer version has added beside it does not keep this one from
/// starting: during a deploy an instance of the old version may have to start again.
async fn migrate(first: &mut PgConnection) -> Result<(), ConnectError> {
    let mut ours = sqlx::migrate!();
    ours.set_ignore_missing(true).run(&mut *first).await?;
    let program = ours.iter().map(|migration| migration.version).max().unwrap_or_default();
    let newest = "select max(version) from _sqlx_migrations";
    let database: Option<i64> =
        sqlx::query_scalar(newest).fetch_one(first).await.map_err(ConnectError::Unreachable)?;
    if let Some(database) = database.filter(|database| *database > program) {
        tracing::warn!(
            database,
            program,
            "the database is newer than this program, which goes on beside the next minor version only"
        );
    }
    Ok(())
}

/// What a refused connection means.
fn unreachable(error: sqlx::Error) -> ConnectError {
    // PgBouncer's words for what it would have to pass on.
    let pooled = error.to_string().contains("unsupported startup parameter");
    if pooled { ConnectError::Pooled } else { ConnectError::Unreachable(error) }
}

/// Two connections that are both open have a server process each; behind a pool in transaction
/// mode the second is given the idle one of the first.
async fn refuse_pool(
    first: &mut PgConnection,
    options: &PgConnectOptions,
) -> Result<(), ConnectError> {
    // By the simple protocol: a prepared statement may be what such a pool has lost already.
    let pid = "select pg_backend_pid()";
    let one: i32 = sqlx::raw_sql(pid).fetch_one(first).await.map_err(unreachable)?.get(0);
    let mut second = PgConnection::connect_with(options).await.map_err(unreachable)?;
    let other: i32 = sqlx::raw_sql(pid).fetch_one(&mut second).await.map_err(unreachable)?.get(0);
    let _ = second.close().await;
    if one == other { Err(ConnectError::Pooled) } else { Ok(()) }
}

async fn check(connection: &mut PgConnection, durability: Durability) -> Result<(), ConnectError> {
    let row = sqlx::query(
        "select current_setting('server_version_num')::int, current_setting('server_version'), \
         current_setting('fsync'), current_setting('full_page_writes'), \
         current_setting('synchronous_commit')",
    )
    .fetch_one(connection)
    .await
    .map_err(ConnectError::Unreachable)?;
    if row.get::<i32, _>(0) < OLDEST {
        return Err(ConnectError::TooOld(row.get(1)));
    }
    if durability == Durability::UnsafeAllowed {
        return Ok(());
    }
    let names = ["fsync", "full_page_writes", "synchronous_commit"];
    for (n, name) in names.into_iter().enumerate() {
        if row.get::<String, _>(n + 2) == "off" {
            return Err(ConnectError::Unsafe(name));
        }
    }
    Ok(())
}
