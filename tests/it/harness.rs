//! The server in this process: its own port, its own database, its own directory. A check at the
//! end shows that it left nothing behind.
use std::net::SocketAddr;
use std::time::Duration;

use lastword::app::{App, AppError};
use lastword::config::{Config, ModelConfig, NatsConfig, ProviderEnvironment};
use lastword::engine::{Anonymous, Engine, Limits};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, PATIENCE};
use crate::database::TestDatabase;
use crate::eventually::eventually;
use crate::upstream::{Script, Upstream};

/// A running server.
pub(crate) struct TestApp {
    pub(crate) client: Client,
    pub(crate) engine: Engine,
    pub(crate) address: SocketAddr,
    pub(crate) database: TestDatabase,
    pub(crate) config: Config,
    dir: TempDir,
    stop: CancellationToken,
    task: JoinHandle<Result<(), AppError>>,
}

/// The configuration of a test, to be changed before the start.
pub(crate) fn config(database: &TestDatabase) -> Config {
    // The set-up of main: the first of many tests wins; all want the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // The first step of main; only the first of many tests has to do it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        anonymous: Anonymous::Here,
        cors_origins: Vec::new(),
        public_url: None,
        trusted_proxies: Vec::new(),
        frame_ancestors: Vec::new(),
        tls: None,
        h2c: false,
        data_dir: "set at the start".into(),
        database_url: Some(database.url.clone()),
        database_wait: Duration::ZERO,
        allow_unsafe_durability: false,
        postgres_bin: None,
        path: None,
        models: Vec::new(),
        default_model: None,
        openai: ProviderEnvironment::default(),
        anthropic: ProviderEnvironment::default(),
        detect: Vec::new(),
        detect_every: Duration::from_millis(50),
        limits: Limits {
            poll: Duration::from_millis(20),
            lease: Duration::from_secs(2),
            ..Limits::default()
        },
        notify: notify_by_environment(),
        nats: nats_by_environment(),
        shutdown_grace: Duration::from_secs(20),
    }
}

/// All tests hold with and without hints between instances: `LASTWORD_NOTIFY=off` runs them
/// without.
#[expect(clippy::disallowed_methods, reason = "a test is its own program")]
fn notify_by_environment() -> bool {
    !std::env::var("LASTWORD_NOTIFY").is_ok_and(|word| word == "off" || word == "false")
}

/// They hold over NATS, too: `LASTWORD_SIGNALS=nats://127.0.0.1:4222` runs them so, on a server that runs.
#[expect(clippy::disallowed_methods, reason = "a test is its own program")]
fn nats_by_environment() -> Option<NatsConfig> {
    std::env::var("LASTWORD_SIGNALS").ok().map(|servers| NatsConfig::of(&servers))
}

/// A model as the file describes it, without its `[[models]]`.
pub(crate) fn model_config(toml: &str) -> ModelConfig {
    toml::from_str(toml).unwrap_or_else(|e| panic!("{e}"))
}

/// The scripted upstream as a model.
pub(crate) fn model(upstream: &Upstream) -> ModelConfig {
    model_config(&format!(
        "name = 'scripted'\nprovider = 'openai'\nbase_url = '{}'\nmax_attempts = 1",
        upstream.base_url()
    ))
}

impl TestApp {
    /// With a scripted upstream as its default model.
    pub(crate) async fn scripted(
        script: impl Into<Script>,
        change: impl FnOnce(&mut Config),
    ) -> (Self, Upstream) {
        let upstream = Upstream::start(script).await;
        let app = Self::with(|config| {
            config.models.push(model(&upstream));
            change(config);
        });
        (app.await, upstream)
    }

    /// With the demo model.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With a configuration that `change` has changed.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let database = TestDatabase::create().await;
        let mut config = config(&database);
        change(&mut config);
        Self::on(database, config).await
    }

    pub(crate) async fn on(database: TestDatabase, config: Config) -> Self {
        Self::in_dir(database, config, TempDir::new().unwrap()).await
    }

    async fn in_dir(database: TestDatabase, mut config: Config, dir: TempDir) -> Self {
        config.data_dir = dir.path().into();
        let app = App::build(&config).await.unwrap();
        let address = app.address().unwrap();
        let engine = app.engine().clone();
        let stop = CancellationToken::new();
        #[expect(clippy::disallowed_methods, reason = "a test waits for it by itself")]
        let task = tokio::spawn(app.run(stop.clone(), CancellationToken::new()));
        let client = Client::new(address);
        Self { client, engine, address, database, config, dir, stop, task }
    }

    /// Drains and stops; nothing may be left running.
    pub(crate) async fn stop(self) -> (TestDatabase, Config, TempDir) {
        self.stop.cancel();
        let ended = timeout(PATIENCE, self.task).await.expect("the server stops");
        ended.unwrap().unwrap();
        assert_eq!(self.engine.running(), 0, "a generation is left running");
        (self.database, self.config, self.dir)
    }

    /// Waits until so many WebSockets are open.
    pub(crate) async fn until_sockets(&self, count: i64) {
        eventually("sockets", async || self.engine.metrics().sockets.get() == count).await;
    }

    /// Waits until it is noted that so many readers of answers to requests were cut.
    pub(crate) async fn until_cut(&self, count: u64) {
        eventually("cut readers", async || self.engine.metrics().readers_cut.get() == count).await;
    }

    /// Begins to drain without waiting for the end.
    pub(crate) fn begin_stop(&self) {
        self.stop.cancel();
    }
}
