//! Connects the leaves, binds, wires, runs, drains.
mod check;
mod database;
mod identity;
mod local;
mod models;
mod server;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::engine::Engine;
use crate::ports::LogError;
use crate::store::embedded::EmbeddedError;
use crate::store::{ConnectError, PgLog};
use crate::tasks::Tasks;
pub use check::{Finding, check};
use database::Database;
use identity::Identity;
pub use identity::IdentityError;
use local::Local;
pub use models::ModelsError;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The address cannot be had.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// The private PostgreSQL does not start.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// The database is not one that we can use.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// `DATABASE_URL` is not one.
    #[error("the database URL makes no sense: {0}")]
    DatabaseUrl(String),
    /// No identity for this instance.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A model of the configuration cannot be served.
    #[error(transparent)]
    Models(#[from] ModelsError),
    /// What an earlier process left cannot be read.
    #[error("cannot take up what an earlier process left: {0}")]
    TakeUp(LogError),
    /// The HTTP server ended by a fault.
    #[error("the HTTP server ended: {0}")]
    Server(std::io::Error),
}

/// A server that has its place, its database and its models, and can run.
pub struct App {
    listener: TcpListener,
    engine: Engine,
    log: PgLog,
    database: Database,
    grace: Duration,
    started: Vec<(&'static str, String)>,
    local: Local,
    // Held as long as this process is that instance.
    _identity: Identity,
}

impl App {
    /// Binds first, so that a taken address costs nothing; then the leaves; then takes up what
    /// an earlier process left.
    ///
    /// # Errors
    /// See [`AppError`]; nothing runs any more then.
    pub async fn build(config: &Config) -> Result<Self, AppError> {
        let listener =
            TcpListener::bind(config.listen).map_err(|e| AppError::Listen(config.listen, e))?;
        let address = listener.local_addr().map_err(|e| AppError::Listen(config.listen, e))?;
        let (database, log) = Database::open(config).await?;
        let identity = Identity::take(&config.data_dir)?;
        let mut local = Local::find(config).await;
        let (models, why) = local.models()?;
        let mut started =
            vec![("listening", format!("http://{address}")), ("database", database.describe())];
        let engine = Engine::new(
            Arc::new(log.clone()),
            models,
            config.limits.clone(),
            identity.id,
            Tasks::new(),
        );
        let taken = engine.take_up().await.map_err(AppError::TakeUp)?;
        if taken > 0 {
            started.push(("took up", format!("{taken} that an earlier process left")));
        }
        started.extend(local.hints().into_iter().map(|line| ("hint", line)));
        started.extend(why.into_iter().map(|line| ("model", line)));
        let grace = config.shutdown_grace;
        Ok(Self { listener, engine, log, database, grace, started, local, _identity: identity })
    }

    /// Where it listens; the port is a real one, also where 0 was asked for.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The engine, for tests that look inside.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What there is to say about the start: a name and a value a line.
    pub fn started(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.started.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// Serves until `stop` is cancelled, then drains; a cancelled `hurry` cuts that short.
    ///
    /// # Errors
    /// The HTTP server ended by a fault.
    pub async fn run(
        self,
        stop: CancellationToken,
        hurry: CancellationToken,
    ) -> Result<(), AppError> {
        let Self { listener, engine, log, mut database, grace, local, _identity, .. } = self;
        engine.keep_up();
        let result = tokio::select! {
            result = server::serve(listener, &engine, &stop) => result,
            never = local.watch(&engine) => match never {},
            never = database.watch() => match never {},
        };
        tokio::select! {
            () = engine.drain(grace, &hurry) => {}
            never = database.watch() => match never {},
        }
        log.close().await;
        database.close().await;
        result.map_err(AppError::Server)
    }
}
