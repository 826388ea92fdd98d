//! Connects the leaves, binds, wires, runs, drains.
mod check;
mod database;
mod files;
mod identity;
pub mod keys;
mod local;
mod models;
mod secrets;
mod server;
mod signals;
mod tls;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::engine::{Access, Engine, Leaves};
use crate::http::{InvalidAddress, InvalidOrigin, Origins, PublicAddress};
use crate::nats::NatsError;
use crate::ports::{Log, LogError, Signals, Storage};
use crate::tasks::Tasks;
pub use check::{Finding, check};
use database::{ConnectError, Database, EmbeddedError};
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
    /// The public address makes no sense.
    #[error(transparent)]
    Public(#[from] InvalidAddress),
    /// NATS cannot be used as configured.
    #[error(transparent)]
    Nats(#[from] NatsError),
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
    signals: Arc<dyn Signals>,
    storage: Arc<dyn Storage>,
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
        let (database, storage) = Database::open(config).await?;
        let origins = Origins::parse(&config.cors_origins)?;
        let url = config.public_url.as_deref();
        let public = PublicAddress::parse(url, &config.trusted_proxies, &config.frame_ancestors)?;
        keys::check(config, address, &*storage.keys()).await?;
        storage.reserve().await.map_err(AppError::Reserve)?;
        let identity = Identity::take(&config.data_dir)?;
        let mut local = Local::find(config).await;
        let (models, why) = local.models()?;
        let mut started = vec![
            ("listening", format!("{}://{address}", transport.scheme())),
            ("database", database.describe()),
        ];
        started.extend(keys::describe(config.anonymous).map(|line| ("access", line.into())));
        let tasks = Tasks::new();
        let key = secrets::signing_key(&*storage.keys()).await?;
        let (signals, way) = signals::of(config, &*storage, identity.id, &key)?;
        started.extend(way.map(|way| ("hints by", way)));
        let access = Access::new(storage.keys(), Arc::clone(&signals), config.anonymous);
        access.learn().await.map_err(AppError::Keys)?;
        let leaves = Leaves { log: around(storage.log()), signals: Arc::clone(&signals), models };
        let engine = Engine::new(leaves, config.limits.clone(), identity.id, tasks.clone());
        engine.secrets().sign_with(key);
        engine.secrets().seal_with(secrets::sealing_keys(&*storage.keys()).await?);
        let taken = engine.take_up().await.map_err(AppError::TakeUp)?;
        if taken > 0 {
            started.push(("took up", format!("{taken} that an earlier process left")));
        }
        started.extend(local.hints().into_iter().map(|line| ("hint", line)));
        started.extend(why.into_iter().map(|line| ("model", line)));
        let grace = config.shutdown_grace;
        let context = ServeContext { access, origins, public, transport };
        Ok(Self {
            listener,
            engine,
            context,
            tasks,
            signals,
            storage,
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
            signals,
            storage,
            mut database,
            grace,
            local,
            _identity,
            ..
        } = self;
        tasks.spawn_service(signals.run());
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
        storage.close().await;
        database.close().await;
        result.map_err(AppError::Server)
    }
}
