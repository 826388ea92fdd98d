//! Connects the leaves, binds, wires, runs, drains.
mod check;
mod database;
mod files;
mod identity;
pub mod keys;
mod local;
mod models;
mod server;
mod tls;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::domain::key::SigningKey;
use crate::engine::{Access, Engine, Leaves};
use crate::http::{InvalidOrigin, Origins};
use crate::ports::{Keys, Log, LogError, Signals, Silence};
use crate::store::embedded::EmbeddedError;
use crate::store::{ConnectError, Pace, PgLog, PgSignals};
use crate::tasks::Tasks;
pub use check::{Finding, check};
use database::Database;
use identity::Identity;
pub use identity::IdentityError;
use local::Local;
pub use models::ModelsError;
use server::{ServeContext, Transport};
use tls::Tls;
pub use tls::TlsError;

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
    /// The generations of an earlier process cannot be read.
    #[error("cannot take up what an earlier process left: {0}")]
    TakeUp(LogError),
    /// The database cannot be asked what it has.
    #[error("cannot ask the database for its limits: {0}")]
    Reserve(LogError),
    /// Others could come in, and nobody has a key.
    #[error(
        "{listen} needs keys, and there is none yet: make one with\n  {create}\nor listen on \
         127.0.0.1, or say --insecure-no-auth to serve everybody who can reach it"
    )]
    NoKey {
        /// Where it would listen.
        listen: SocketAddr,
        /// The command.
        create: String,
    },
    /// A page's origin is not one.
    #[error(transparent)]
    Origins(#[from] InvalidOrigin),
    /// No TLS.
    #[error("no TLS: {0}")]
    Tls(#[from] TlsError),
    /// The keys cannot be read.
    #[error("cannot look for keys: {0}")]
    Keys(LogError),
    /// The HTTP server ended by a fault.
    #[error("the HTTP server ended: {0}")]
    Server(std::io::Error),
}

/// A server that has its place, its database and its models, and can run.
pub struct App {
    listener: TcpListener,
    engine: Engine,
    context: ServeContext,
    tasks: Tasks,
    hints: Option<PgSignals>,
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
        Self::build_around(config, |log| log).await
    }

    /// The same with a log that is made of the real one: for measurements and tests only.
    ///
    /// # Errors
    /// See [`AppError`]; nothing runs any more then.
    pub async fn build_around(
        config: &Config,
        around: impl FnOnce(Log) -> Log,
    ) -> Result<Self, AppError> {
        let listener =
            server::listen(config.listen).map_err(|e| AppError::Listen(config.listen, e))?;
        let address = listener.local_addr().map_err(|e| AppError::Listen(config.listen, e))?;
        let transport = match (&config.tls, config.h2c) {
            (Some(files), _) => Transport::Tls(Tls::load(files)?),
            (None, true) => Transport::PlainOrH2,
            (None, false) => Transport::Plain,
        };
        let (database, log) = Database::open(config).await?;
        let origins = Origins::parse(&config.cors_origins)?;
        keys::check(config, address, &log).await?;
        log.reserve().await.map_err(AppError::Reserve)?;
        let identity = Identity::take(&config.data_dir)?;
        let mut local = Local::find(config).await;
        let (models, why) = local.models()?;
        let mut started = vec![
            ("listening", format!("{}://{address}", transport.scheme())),
            ("database", database.describe()),
        ];
        started.extend(keys::describe(config.anonymous).map(|line| ("access", line.into())));
        let tasks = Tasks::new();
        let hints = config.notify.then(|| PgSignals::new(&log, identity.id, Pace::default()));
        let signals: Arc<dyn Signals> = match &hints {
            Some(hints) => Arc::new(hints.clone()),
            None => Arc::new(Silence),
        };
        let access = Access::new(Arc::new(log.clone()), Arc::clone(&signals), config.anonymous);
        access.learn().await.map_err(AppError::Keys)?;
        let leaves = Leaves { log: around(log.log()), signals, models };
        let engine = Engine::new(leaves, config.limits.clone(), identity.id, tasks.clone());
        let signing = SigningKey::random().map_err(|e| LogError::Broken(e.to_string()));
        let signing = Keys::signing_key(&log, signing.map_err(AppError::Keys)?);
        engine.sign_with(signing.await.map_err(AppError::Keys)?);
        let sealing = SigningKey::random().map_err(|e| LogError::Broken(e.to_string()));
        let sealing = Keys::sealing_keys(&log, sealing.map_err(AppError::Keys)?);
        engine.seal_with(sealing.await.map_err(AppError::Keys)?);
        let taken = engine.take_up().await.map_err(AppError::TakeUp)?;
        if taken > 0 {
            started.push(("took up", format!("{taken} that an earlier process left")));
        }
        started.extend(local.hints().into_iter().map(|line| ("hint", line)));
        started.extend(why.into_iter().map(|line| ("model", line)));
        let grace = config.shutdown_grace;
        let context = ServeContext { access, origins, transport };
        Ok(Self {
            listener,
            engine,
            context,
            tasks,
            hints,
            log,
            database,
            grace,
            started,
            local,
            _identity: identity,
        })
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

    /// The facts about the start: a name and a value a line.
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
        let Self {
            listener,
            engine,
            context,
            tasks,
            hints,
            log,
            mut database,
            grace,
            local,
            _identity,
            ..
        } = self;
        if let Some(hints) = hints {
            tasks.spawn_service(hints.listen());
            tasks.spawn_service(hints.deliver());
        }
        engine.keep_up();
        context.access.keep_up(&tasks, &engine);
        let result = tokio::select! {
            result = server::serve(listener, &engine, &context, &stop) => result,
            never = local.watch(&engine) => match never {},
            never = database.watch() => match never {},
            ended = context.transport.watch() => match ended {
                Ok(never) => match never {},
                Err(error) => Err(std::io::Error::other(error)),
            },
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
