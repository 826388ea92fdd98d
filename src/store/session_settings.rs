//! The settings of a database session that our SQL depends on, the same on every connection.
//!
//! A role, a database, a cluster or a pool may have given a session any value, and a pool may drop
//! start-up options. So each connection sets what differs, and looks at its isolation level.
use std::sync::Arc;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use super::connect::ConnectError;

/// The level of every transaction. A take-over waits for appends and then reads the log. A snapshot
/// from before the wait would give out a seq that is taken.
const ISOLATION: &str = "read committed";

/// The settings of every session, each with what depends on it. A setting that a server does not
/// know is left out.
const SETTINGS: &[(&str, &str)] = &[
    // Each statement sees what was committed before it: the fence.
    ("default_transaction_isolation", ISOLATION),
    ("default_transaction_deferrable", "off"),
    // With `replica` no foreign key cascades: an erased conversation would leave its messages.
    ("session_replication_role", "origin"),
    // A policy that hides rows is an error, and not a log with holes.
    ("row_security", "off"),
    // No statement outlasts its client's patience; no lock is held by a client that has gone
    // silent.
    ("statement_timeout", "15s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "15s"),
    // Ours wait for work as long as they like.
    ("idle_session_timeout", "0"),
    ("transaction_timeout", "0"),
    // An error ends its statement, not the session.
    ("exit_on_error", "off"),
    // How strings in our SQL and in the functions of the migrations are read: `'\S'` has two
    // characters.
    ("standard_conforming_strings", "on"),
    ("array_nulls", "on"),
    ("transform_null_equals", "off"),
    // How values are written as text and read from it.
    ("client_encoding", "UTF8"),
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
    // A search by words finds all that match.
    ("gin_fuzzy_search_limit", "0"),
    // Tables of the migrations are ordinary ones, with row locks.
    ("default_table_access_method", "heap"),
    // Lookups by key are that: plans that take seconds would run into the time-outs.
    ("plan_cache_mode", "auto"),
    ("enable_indexscan", "on"),
    ("enable_indexonlyscan", "on"),
    ("enable_bitmapscan", "on"),
    ("enable_seqscan", "on"),
    ("enable_nestloop", "on"),
    ("enable_hashjoin", "on"),
    ("enable_mergejoin", "on"),
    ("enable_hashagg", "on"),
    ("enable_sort", "on"),
    ("enable_material", "on"),
    ("enable_partition_pruning", "on"),
];

/// The settings that all later connections of the process copy from the first. They are the schema
/// of the tables, and whether a commit waits for its flush.
const PINNED: [&str; 2] = ["search_path", "synchronous_commit"];

/// The settings that also go with the start-up of a connection, where no statement of ours has run
/// yet.
const AT_STARTUP: [&str; 4] = [
    "default_transaction_isolation",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
];

/// How this process connects, and what each of its sessions has.
#[derive(Clone, Debug)]
pub(super) struct Sessions {
    options: PgConnectOptions,
    settings: Arc<[(&'static str, String)]>,
}

impl Sessions {
    /// For the database of `options`; nothing is connected yet.
    pub(super) fn new(options: PgConnectOptions) -> Self {
        let early = SETTINGS.iter().filter(|(name, _)| AT_STARTUP.contains(name));
        let options = options.application_name("lastword").options(early.copied());
        let settings = SETTINGS.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { options, settings }
    }

    /// How to connect, for whoever looks at the server before it is trusted.
    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// The same with another value for some settings.
    pub(super) fn with(&self, more: &[(&'static str, &str)]) -> Self {
        let kept = self.settings.iter().filter(|(name, _)| more.iter().all(|(n, _)| n != name));
        let more_settings = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let settings = kept.cloned().chain(more_settings).collect();
        Self { options: self.options.clone().options(more.iter().copied()), settings }
    }

    /// The same under another name in `pg_stat_activity`.
    pub(super) fn named(&self, name: &str) -> Self {
        Self { options: self.options.clone().application_name(name), ..self.clone() }
    }

    /// Takes over what the first session has of [`PINNED`], sets the rest there, and looks at it
    /// again.
    ///
    /// # Errors
    /// A setting that cannot be set, a session that may not write, or no schema for the tables.
    pub(super) async fn begin(self, first: &mut PgConnection) -> Result<Self, ConnectError> {
        let mut pinned = Vec::new();
        for name in PINNED {
            let value = shown(first, name).await.map_err(ConnectError::Unreachable)?;
            pinned.push((name, value));
        }
        let settings = self.settings.iter().cloned().chain(pinned).collect();
        let sessions = Self { settings, ..self };
        sessions.set(first).await.map_err(refused)?;
        let odd = sqlx::raw_sql(AssertSqlSafe(sessions.differing("w.name, w.value")))
            .fetch_optional(&mut *first)
            .await
            .map_err(ConnectError::Unreachable)?;
        if let Some(row) = odd {
            return Err(ConnectError::Setting(format!("{} = {}", text(&row, 0), text(&row, 1))));
        }
        isolation(first).await.map_err(refused)?;
        writable(first).await?;
        Ok(sessions)
    }

    /// A connection with all of it.
    ///
    /// # Errors
    /// As connecting; or a setting was refused.
    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        self.settle(&mut connection).await?;
        Ok(connection)
    }

    /// A pool whose connections have all of it.
    pub(super) fn pool(&self, pool: PgPoolOptions) -> PgPool {
        let sessions = self.clone();
        pool.after_connect(move |connection, _| {
            let sessions = sessions.clone();
            Box::pin(async move { sessions.settle(connection).await })
        })
        .connect_lazy_with(self.options.clone())
    }

    /// Sets what differs on a connection that has just been made.
    async fn settle(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        self.set(connection).await?;
        isolation(connection).await
    }

    async fn set(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let set = self.differing("pg_catalog.set_config(w.name, w.value, false)");
        sqlx::raw_sql(AssertSqlSafe(set)).execute(connection).await.map(drop)
    }

    /// Selects `what` of the settings that the session has otherwise. By the simple protocol, in
    /// one go, and with literals that are read alike whatever `standard_conforming_strings` is.
    fn differing(&self, what: &str) -> String {
        let quoted = |word: &str| word.replace('\\', "\\\\").replace('\'', "\\'");
        let wanted = self.settings.iter();
        let rows = wanted.map(|(name, value)| format!("(E'{name}', E'{}')", quoted(value)));
        format!(
            "select {what} from (values {}) as w (name, value) \
             where pg_catalog.current_setting(w.name, true) <> w.value",
            rows.collect::<Vec<_>>().join(", ")
        )
    }
}

/// The isolation level of a transaction in this session.
async fn isolation(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let level = shown(connection, "transaction_isolation").await?;
    if level == ISOLATION {
        return Ok(());
    }
    let words = format!("transactions run at {level} although {ISOLATION} was set");
    Err(sqlx::Error::Configuration(words.into()))
}

/// An operator, or a provider whose disk is full, may have taken the writes away: that is
/// respected.
async fn writable(first: &mut PgConnection) -> Result<(), ConnectError> {
    let asked = "select pg_catalog.current_setting('transaction_read_only') = 'on', \
                 pg_catalog.pg_is_in_recovery(), pg_catalog.current_schema() is null";
    let row = sqlx::raw_sql(asked).fetch_one(first).await.map_err(ConnectError::Unreachable)?;
    if row.get(1) {
        Err(ConnectError::ReadOnly("it is a standby of another server: name the primary"))
    } else if row.get(0) {
        Err(ConnectError::ReadOnly(
            "default_transaction_read_only is on: see why, then \
             `alter role ... set default_transaction_read_only = off`",
        ))
    } else if row.get(2) {
        Err(ConnectError::NoSchema)
    } else {
        Ok(())
    }
}

async fn shown(connection: &mut PgConnection, name: &str) -> Result<String, sqlx::Error> {
    let show = AssertSqlSafe(format!("show {name}"));
    sqlx::raw_sql(show).fetch_one(connection).await.map(|row| text(&row, 0))
}

fn text(row: &sqlx::postgres::PgRow, column: usize) -> String {
    row.try_get(column).unwrap_or_default()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum, which may grow")]
fn refused(error: sqlx::Error) -> ConnectError {
    match error {
        sqlx::Error::Configuration(words) => ConnectError::Setting(words.to_string()),
        sqlx::Error::Database(refusal) => ConnectError::Setting(refusal.message().to_owned()),
        other => ConnectError::Unreachable(other),
    }
}
