//! The database: the private one, which we look after, or somebody else's.
use std::convert::Infallible;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::time::sleep;

use super::AppError;
use crate::config::Config;
use crate::store::embedded::{Embedded, EmbeddedError, Search};
use crate::store::{Durability, PgLog, connect};

/// How often we look whether the private server is still there.
const LOOK: Duration = Duration::from_millis(200);

/// Where the log is.
pub(super) enum Database {
    /// Ours, for as long as this process lives.
    Private(Box<Embedded>, String),
    /// Not ours.
    Given(String),
}

impl Database {
    /// Starts the private one unless another is configured; connects and migrates.
    pub(super) async fn open(config: &Config) -> Result<(Self, PgLog), AppError> {
        let durability = if config.allow_unsafe_durability {
            Durability::UnsafeAllowed
        } else {
            Durability::Required
        };
        if let Some(url) = &config.database_url {
            let options: PgConnectOptions =
                url.parse().map_err(|e: sqlx::Error| AppError::DatabaseUrl(e.to_string()))?;
            // Not the URL: it may hold a password.
            let place =
                format!("{} on {}", options.get_database().unwrap_or("?"), options.get_host());
            let log = connect(options, durability).await?;
            return Ok((Self::Given(place), log));
        }
        let search = Search { bin_dir: config.postgres_bin.clone(), path: config.path.clone() };
        let embedded = Embedded::start(&config.data_dir, &search).await?;
        let log = connect(embedded.options(), durability).await?;
        let place = format!(
            "private PostgreSQL {} in {}, started in {:.2} s",
            embedded.bin_version(),
            config.data_dir.display(),
            embedded.started_in().as_secs_f64()
        );
        Ok((Self::Private(Box::new(embedded), place), log))
    }

    /// As [`Database::open`], or beside a `serve` that runs the private one.
    pub(super) async fn reach(config: &Config) -> Result<(Self, PgLog), AppError> {
        match Self::open(config).await {
            Err(AppError::Embedded(EmbeddedError::InUse { dir, pid })) => {
                let Some(options) = Embedded::attach(&config.data_dir) else {
                    return Err(EmbeddedError::InUse { dir, pid }.into());
                };
                let log = connect(options, Durability::Required).await?;
                let shown = dir.display();
                let place = format!("private PostgreSQL in {shown}, run by process {pid}");
                Ok((Self::Given(place), log))
            }
            reached => reached,
        }
    }

    /// For the start-up lines.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Private(_, place) | Self::Given(place) => place.clone(),
        }
    }

    /// Starts the private server again when something has killed it.
    pub(super) async fn watch(&mut self) -> Infallible {
        let Self::Private(embedded, _) = self else { return std::future::pending().await };
        loop {
            sleep(LOOK).await;
            match embedded.revive().await {
                Ok(false) => {}
                Ok(true) => tracing::warn!("the private PostgreSQL had ended; it runs again"),
                Err(error) => tracing::error!(%error, "the private PostgreSQL does not start"),
            }
        }
    }

    /// Stops the private one.
    pub(super) async fn close(self) {
        match self {
            Self::Private(embedded, _) => embedded.stop().await,
            Self::Given(_) => {}
        }
    }
}
