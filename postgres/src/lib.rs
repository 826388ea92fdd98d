//! The private PostgreSQL: a cluster in the data directory, run from the installed binaries. Its
//! socket is open to its owner only, and it ends with this process.
mod account;
mod binaries;
mod cluster;
mod error;
mod layout;
mod leftovers;
mod lock;
mod server;

use std::path::Path;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::time::Instant;

use self::account::Account;
use self::binaries::Binaries;
pub use self::binaries::Search;
pub use self::error::EmbeddedError;
use self::layout::Layout;
use self::lock::DirLock;
use self::server::Server;

/// The database that lastword keeps everything in.
const DATABASE: &str = "lastword";
/// The superuser of the private cluster.
const USER: &str = "lastword";
/// `invalid_catalog_name`: the database does not exist.
const NO_DATABASE: &str = "3D000";

/// A running private PostgreSQL. Dropping it stops the server and blocks until it is gone
/// (usually below 0.1 s); [`Embedded::stop`] does the same without blocking.
#[derive(Debug)]
pub struct Embedded {
    // Fields drop in this order: the lock must outlive the server.
    server: Server,
    layout: Layout,
    account: Account,
    bin: Binaries,
    started_in: Duration,
    _lock: DirLock,
}

impl Embedded {
    /// Starts the cluster of `data_dir`, which is made if it is absent, with its database.
    ///
    /// Waits up to 20 s for the server of a predecessor that was killed, and up to 60 s for ours.
    ///
    /// # Errors
    /// Each of [`EmbeddedError`]; nothing runs any more when it returns one.
    pub async fn start(data_dir: &Path, search: &Search) -> Result<Self, EmbeddedError> {
        let begun = Instant::now();
        let (dir, search) = (data_dir.to_owned(), search.clone());
        let mut embedded = tokio::task::spawn_blocking(move || Self::launch(&dir, &search))
            .await
            .map_err(|e| EmbeddedError::io("start PostgreSQL", e.into()))??;
        embedded.ensure_database().await?;
        embedded.started_in = begun.elapsed();
        Ok(embedded)
    }

    /// How to connect to the private cluster that another process runs in `data_dir`, if one does
    /// and this user may.
    #[must_use]
    pub fn attach(data_dir: &Path) -> Option<PgConnectOptions> {
        let layout = Layout::of(data_dir).ok()?;
        layout.answers().then(|| connect_options(&layout, DATABASE))
    }

    /// How to connect to it.
    #[must_use]
    pub fn options(&self) -> PgConnectOptions {
        connect_options(&self.layout, DATABASE)
    }

    /// How long [`Embedded::start`] took.
    #[must_use]
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// The version of the PostgreSQL binaries, such as `15.18`.
    #[must_use]
    pub fn bin_version(&self) -> &str {
        &self.bin.version
    }

    /// The server's process id, for messages.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Whether the server has ended by itself, which it never does unless something killed it.
    pub fn has_exited(&mut self) -> bool {
        self.server.has_exited()
    }

    /// Starts the server again if it has ended by itself; says whether it had. Everything committed
    /// is there again.
    ///
    /// # Errors
    /// See [`EmbeddedError`]; calling again tries again.
    pub async fn revive(&mut self) -> Result<bool, EmbeddedError> {
        if !self.has_exited() {
            return Ok(false);
        }
        let (layout, account, bin) = (self.layout.clone(), self.account.clone(), self.bin.clone());
        self.server = tokio::task::spawn_blocking(move || {
            leftovers::clear(&layout.data)?;
            Server::start(&layout, &account, &bin)
        })
        .await
        .map_err(|e| EmbeddedError::io("start PostgreSQL", e.into()))??;
        Ok(true)
    }

    /// Ends the server: asks for a fast shutdown, then gets rougher; takes at most 30 s.
    pub async fn stop(self) {
        // Dropping is the stop; it only must not block an async thread.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }

    /// The blocking part of [`Embedded::start`].
    fn launch(data_dir: &Path, search: &Search) -> Result<Self, EmbeddedError> {
        // Before anything is made on disk: without binaries nothing can come of it.
        binaries::candidates(search)?;
        let account = Account::choose(&data_dir.join(layout::DATA))?;
        let layout = Layout::make(data_dir, &account)?;
        let lock = DirLock::acquire(&layout.root)?;
        leftovers::clear(&layout.data)?;
        let found = cluster::version(&layout)?;
        let bin = Binaries::choose(search, found, &layout)?;
        account.check_reaches(&layout.base, &bin)?;
        layout.own(&account)?;
        if found.is_none() {
            cluster::initialise(&layout, &account, &bin)?;
        }
        let server = Server::start(&layout, &account, &bin)?;
        Ok(Self { server, layout, account, bin, started_in: Duration::ZERO, _lock: lock })
    }

    /// Connects once, and makes the database if there is none.
    async fn ensure_database(&self) -> Result<(), EmbeddedError> {
        match PgConnection::connect_with(&self.options()).await {
            Ok(connection) => return Ok(connection.close().await?),
            Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some(NO_DATABASE) => {}
            Err(e) => return Err(e.into()),
        }
        let mut connection = connect_options(&self.layout, "postgres").connect().await?;
        sqlx::query("CREATE DATABASE lastword").execute(&mut connection).await?;
        Ok(connection.close().await?)
    }
}

fn connect_options(layout: &Layout, database: &str) -> PgConnectOptions {
    // Each of these is set, because sqlx takes what is not from the PG* environment variables.
    PgConnectOptions::new_without_pgpass()
        .socket(&layout.run)
        .port(layout::PORT)
        .username(USER)
        .database(database)
        .ssl_mode(PgSslMode::Disable)
        .application_name("lastword")
}
