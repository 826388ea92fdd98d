//! The database: the private one, which we look after, or somebody else's. The only file of the app
//! that knows of which kind it is.
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::time::{Instant, sleep};

use super::AppError;
use crate::config::Config;
use crate::ports::Storage;
pub(super) use crate::store::ConnectError;
use crate::store::{Durability, PgLog, connect};
pub(super) use lastword_postgres::EmbeddedError;
use lastword_postgres::{Embedded, Search};

/// How often we look whether the private server is still there.
const LOOK: Duration = Duration::from_millis(200);

/// Between two tries to reach a database that is not there yet.
const AGAIN: Duration = Duration::from_millis(250);

/// Where the log is.
pub(super) enum Database {
    /// Ours, for as long as this process lives.
    Private(Box<Embedded>, String),
    /// Not ours.
    Given(String),
}

impl Database {
    /// Starts the private one unless another is configured; connects and migrates.
    pub(super) async fn open(config: &Config) -> Result<(Self, Arc<dyn Storage>), AppError> {
        let durability = if config.allow_unsafe_durability {
            Durability::UnsafeAllowed
        } else {
            Durability::Required
        };
        if let Some(url) = &config.database_url {
            one_place(url)?;
            let options: PgConnectOptions = with_a_host(url)
                .parse()
                .map_err(|e: sqlx::Error| AppError::DatabaseUrl(e.to_string()))?;
            // Not the URL: it may hold a password.
            let place =
                format!("{} on {}", options.get_database().unwrap_or("?"), options.get_host());
            let log = patiently(&options, durability, config.database_wait).await?;
            return Ok((Self::Given(place), Arc::new(log)));
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
        Ok((Self::Private(Box::new(embedded), place), Arc::new(log)))
    }

    /// As [`Database::open`] without waiting, or beside a `serve` that runs the private one.
    pub(super) async fn reach(config: &Config) -> Result<(Self, Arc<dyn Storage>), AppError> {
        let config = &Config { database_wait: Duration::ZERO, ..config.clone() };
        match Self::open(config).await {
            Err(AppError::Embedded(EmbeddedError::InUse { dir, pid })) => {
                let Some(options) = Embedded::attach(&config.data_dir) else {
                    return Err(EmbeddedError::InUse { dir, pid }.into());
                };
                let log = connect(options, Durability::Required).await?;
                let shown = dir.display();
                let place = format!("private PostgreSQL in {shown}, run by process {pid}");
                Ok((Self::Given(place), Arc::new(log)))
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

/// Connects; waits for a database that is not there yet, as after a power cut, for `patience` at
/// most.
async fn patiently(
    options: &PgConnectOptions,
    durability: Durability,
    patience: Duration,
) -> Result<PgLog, ConnectError> {
    let give_up = Instant::now() + patience;
    let mut said = false;
    loop {
        match connect(options.clone(), durability).await {
            Err(error) if error.may_pass() && Instant::now() < give_up => {
                if !said {
                    let wait_s = patience.as_secs();
                    tracing::warn!(%error, wait_s, "the database is not there yet: waiting for it");
                    said = true;
                }
                sleep(AGAIN).await;
            }
            outcome => return outcome,
        }
    }
}

/// Refuses what libpq would try one after the other: we connect to one place.
fn one_place(url: &str) -> Result<(), AppError> {
    let (before, parameters) = url.split_once('?').unwrap_or((url, ""));
    let authority = before.split_once("://").map_or(before, |(_, rest)| rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.split_once('/').map_or(host, |(host, _)| host);
    let several = |text: &str| text.contains(',') || text.to_ascii_lowercase().contains("%2c");
    let mut parameters = parameters.split('&').filter_map(|one| one.split_once('='));
    let lists = several(host)
        || parameters
            .clone()
            .any(|(name, value)| matches!(name, "host" | "port") && several(value));
    let other = parameters.any(|(name, value)| {
        name == "target_session_attrs" && !matches!(value, "any" | "read-write" | "primary")
    });
    if lists || other {
        let why = "lastword connects to one host, and needs the one that takes writes: name a virtual \
                   address or a TCP proxy that leads there, in place of several hosts or \
                   target_session_attrs";
        return Err(AppError::DatabaseUrl(why.into()));
    }
    Ok(())
}

/// The same with a host, where a user is named without one: `postgres://me@/db?host=/run`. libpq
/// takes that, and the parser does not.
fn with_a_host(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = if authority.ends_with('@') { "localhost" } else { "" };
    format!("{scheme}://{authority}{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_may_be_named_without_a_host() {
        let options: PgConnectOptions =
            with_a_host("postgres://me:pw@/db?host=/run/postgres").parse().unwrap();
        assert_eq!(options.get_socket().unwrap().to_str(), Some("/run/postgres"));
        assert_eq!((options.get_username(), options.get_database()), ("me", Some("db")));
        for url in ["postgres:///db?host=/run", "postgres://me@there:5/db", "no url"] {
            assert_eq!(with_a_host(url), url);
        }
    }

    #[test]
    fn several_hosts_are_refused_in_words() {
        for url in [
            "postgres://u:p@a,b/d",
            "postgres://a:1,b:2/d?sslmode=disable",
            "postgres:///d?host=a,b",
            "postgres:///d?host=a%2Cb",
            "postgres://a/d?target_session_attrs=standby",
        ] {
            let error = one_place(url).unwrap_err().to_string();
            assert!(error.contains("one host"), "{url}: {error}");
        }
        for url in [
            "postgres://u:p,q@a/d",
            "postgres://a/d,e?application_name=x,y",
            "postgres://a/d?target_session_attrs=read-write",
        ] {
            assert!(one_place(url).is_ok(), "{url}");
        }
    }
}
