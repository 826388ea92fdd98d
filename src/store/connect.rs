//! Reaches the database, checks that it keeps what it is given, and brings its tables up to date.
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, Row};

use super::postgres::PgLog;
use super::session_settings::Sessions;
use super::supply::{is_starting, is_too_many};

/// How pools refuse start-up options: PgBouncer and what is made of it, and Amazon RDS Proxy.
const REFUSALS: [&str; 2] = ["unsupported startup parameter", "support command-line options"];
/// The oldest PostgreSQL that the SQL here runs on.
const OLDEST: i32 = 140_000;

/// Why the server does not start on this database.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No answer, or no access.
    #[error("cannot reach the database: {}", words(.0))]
    Unreachable(sqlx::Error),
    /// A pool that hands connections on between transactions.
    #[error(
        "the database is behind something that has one connection for several (a pool in transaction \
         mode such as PgBouncer's, or PGlite's socket server), which loses listening and locks; give \
         lastword the server itself, or a pool in session mode with ignore_startup_parameters = \
         extra_float_digits, options: its own pools are small"
    )]
    Pooled,
    /// A second connection was cut off while the first one works.
    #[error(
        "the database takes one connection and cuts off the second ({}): PGlite's socket server is \
         such a one. lastword needs ten at a time, each with a session of its own: give it a PostgreSQL server",
        words(.0)
    )]
    OneConnection(sqlx::Error),
    /// A pool that takes no settings with a connection.
    #[error(
        "the database is behind a pool that refuses start-up options; give lastword the server itself \
         (managed databases have an address for direct connections), or PgBouncer in session mode with \
         ignore_startup_parameters = extra_float_digits, options"
    )]
    Options,
    /// Older than 14.
    #[error("this is PostgreSQL {0}; lastword needs 14 or later")]
    TooOld(String),
    /// A text that its encoding does not have could not be stored.
    #[error(
        "the encoding of this database is {0}; lastword needs UTF8: \
         create database ... encoding 'UTF8' template template0"
    )]
    NotUtf8(String),
    /// The session cannot be made what the SQL depends on.
    #[error("the database does not let a session have the settings that the log depends on: {0}")]
    Setting(String),
    /// The session may not write.
    #[error("the database takes no writes from this role: {0}")]
    ReadOnly(&'static str),
    /// There is no place for the tables.
    #[error(
        "search_path names no schema that exists: \
         create one, or `alter role ... set search_path = ...`"
    )]
    NoSchema,
    /// A crash of this database may lose what it acknowledged.
    #[error(
        "the database setting {0} is off, so a crash could lose events that readers have seen; \
         turn it on, or start with --allow-unsafe-durability"
    )]
    Unsafe(&'static str),
    /// A migration that rewrites all events found somebody who writes.
    #[error(
        "cannot migrate the database: instances of an earlier version still run: stop them all; \
         one that was killed counts until its lease ends"
    )]
    OthersRun,
    /// The tables could not be brought up to date.
    #[error("cannot migrate the database: {}", migration_words(.0))]
    Migrate(sqlx::migrate::MigrateError),
}

impl From<sqlx::migrate::MigrateError> for ConnectError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::Migrate(error)
    }
}

impl ConnectError {
    /// Whether the database may just not be there yet.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        // One that takes a single connection may also be a server that just stops.
        let (Self::Unreachable(error) | Self::OneConnection(error)) = self else { return false };
        is_starting(error)
            || is_too_many(error)
            || matches!(error, sqlx::Error::Io(_) | sqlx::Error::Protocol(_))
    }
}

/// The server's message, without the line of its own sources.
fn words(error: &sqlx::Error) -> String {
    match error.as_database_error() {
        Some(said) => match said.code() {
            Some(code) => format!("{} (SQLSTATE {code})", said.message()),
            None => said.message().to_owned(),
        },
        None => error.to_string(),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum, which may grow")]
fn migration_words(error: &sqlx::migrate::MigrateError) -> String {
    use sqlx::migrate::MigrateError::{Execute, ExecuteMigration};
    match error {
        Execute(error) => words(error),
        ExecuteMigration(error, version) => format!("migration {version}: {}", words(error)),
        other => other.to_string(),
    }
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
    let sessions = Sessions::new(options);
    let mut first = PgConnection::connect_with(sessions.options()).await.map_err(unreachable)?;
    refuse_pool(&mut first, sessions.options()).await?;
    check(&mut first, durability).await?;
    let sessions = sessions.begin(&mut first).await?;
    super::migrate::migrate(&mut first, &sessions).await?;
    super::partitions::ensure(&mut first).await.map_err(ConnectError::Unreachable)?;
    let space = space(&mut first).await?;
    // A polite goodbye is not worth failing for.
    let _ = first.close().await;
    Ok(PgLog::on(sessions, space))
}

/// The suffix that keeps this deployment's channels apart from others in the same database: its
/// schema.
async fn space(first: &mut PgConnection) -> Result<String, ConnectError> {
    let sql = "select case when current_schema() = 'public' then '' \
               else '_' || to_hex(hashtext(current_schema())) end";
    sqlx::query_scalar(sql).fetch_one(first).await.map_err(ConnectError::Unreachable)
}

/// The meaning of a refused connection.
fn unreachable(error: sqlx::Error) -> ConnectError {
    let said = error.to_string();
    if REFUSALS.iter().any(|words| said.contains(words)) {
        ConnectError::Options
    } else {
        ConnectError::Unreachable(error)
    }
}

/// The meaning of a connection that is refused beside one that works.
fn second_refused(error: sqlx::Error) -> ConnectError {
    if error.as_database_error().is_none() {
        ConnectError::OneConnection(error)
    } else {
        unreachable(error)
    }
}

/// Two open connections have a server process each. Behind a pool in transaction mode, the second
/// gets the idle process of the first.
async fn refuse_pool(
    first: &mut PgConnection,
    options: &PgConnectOptions,
) -> Result<(), ConnectError> {
    // By the simple protocol: a prepared statement may be what such a pool has lost already.
    let pid = "select pg_backend_pid()";
    let one: i32 = sqlx::raw_sql(pid).fetch_one(first).await.map_err(unreachable)?.get(0);
    let mut second = PgConnection::connect_with(options).await.map_err(second_refused)?;
    let other: i32 = sqlx::raw_sql(pid).fetch_one(&mut second).await.map_err(unreachable)?.get(0);
    let _ = second.close().await;
    if one == other { Err(ConnectError::Pooled) } else { Ok(()) }
}

async fn check(connection: &mut PgConnection, durability: Durability) -> Result<(), ConnectError> {
    let row = sqlx::query(
        "select current_setting('server_version_num')::int, current_setting('server_version'), \
         current_setting('fsync'), current_setting('full_page_writes'), \
         current_setting('synchronous_commit'), current_setting('server_encoding'), \
         to_regclass('generations') is not null",
    )
    .fetch_one(connection)
    .await
    .map_err(ConnectError::Unreachable)?;
    if row.get::<i32, _>(0) < OLDEST {
        return Err(ConnectError::TooOld(row.get(1)));
    }
    match row.get::<String, _>(5).as_str() {
        "UTF8" => {}
        // Earlier versions began on such databases, and nothing in them is lost: they go on.
        "SQL_ASCII" if row.get(6) => tracing::warn!(
            "this database is SQL_ASCII and checks no text: move it to an UTF8 one by pg_dump"
        ),
        other => return Err(ConnectError::NotUtf8(other.to_owned())),
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
