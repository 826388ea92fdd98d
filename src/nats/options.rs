//! Where the NATS servers are, and how one connects to them.
use std::path::PathBuf;
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};

use super::access;

/// Pauses before another connection, for each failure in a row.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
];
/// Messages that a subscription may be behind; one that is further behind loses some, and has a
/// gap.
const BEHIND: usize = 4096;

/// An operator's words about NATS.
#[derive(Clone, Debug, Default)]
pub struct NatsOptions {
    /// Addresses (`nats://` or `tls://`, with user and password or token if need be), with commas
    /// between them.
    pub servers: String,
    /// How the subjects begin.
    pub subject: String,
    /// A file with a user's JWT and seed, or with the seed of its key alone.
    pub credentials: Option<PathBuf>,
    /// Certificates that the servers' ones lead to, in PEM; else those of the system.
    pub root_certificates: Option<PathBuf>,
    /// A certificate and its key for servers that ask for one, in PEM.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
}

/// Why these options make no sense.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// Not an address. It may hold a password, so it is not said again.
    #[error("signals names a NATS server as nats://host:4222 or tls://user:password@host: {0}")]
    Address(String),
    /// Not the beginning of a subject.
    #[error("the subject `{0}` of [nats] must be letters, digits, `-`, `_` and `.` between them")]
    Subject(String),
    /// A file that cannot be used.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
}

impl NatsOptions {
    /// The servers, in the order given.
    pub(super) fn servers(&self) -> Result<Vec<ServerAddr>, NatsError> {
        let addresses = self.servers.split(',').map(str::trim).map(|text| {
            let address: ServerAddr =
                text.parse().map_err(|e: std::io::Error| NatsError::Address(e.to_string()))?;
            match address.scheme() {
                _ if address.host().is_empty() => Err(NatsError::Address("no host".into())),
                "nats" | "tls" => Ok(address),
                other => Err(NatsError::Address(format!("`{other}` is not spoken"))),
            }
        });
        addresses.collect()
    }

    /// The beginning of all subjects of a deployment.
    pub(super) fn prefix(&self, deployment: &str) -> Result<String, NatsError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        let good = |token: &str| !token.is_empty() && token.chars().all(plain);
        if !self.subject.split('.').all(good) {
            return Err(NatsError::Subject(self.subject.clone()));
        }
        Ok(format!("{}.{deployment}", self.subject))
    }

    /// How one connects; `beat` is how soon a silent server is given up, three times over.
    pub(super) fn connection(&self, beat: Duration) -> Result<ConnectOptions, NatsError> {
        let mut options = ConnectOptions::new()
            .name("lastword")
            .retry_on_initial_connect()
            .max_reconnects(None)
            .ping_interval(beat)
            .subscription_capacity(BEHIND)
            .reconnect_delay_callback(|failures| {
                PAUSES.get(failures).or(PAUSES.last()).copied().unwrap_or_default()
            });
        options = access::add(options, &self.servers()?, self.credentials.as_deref())?;
        let (certificate, key) = self.client_certificate.clone().unzip();
        let files = [&self.root_certificates, &certificate, &key];
        access::readable(files.into_iter().flatten().map(PathBuf::as_path))?;
        if let Some(path) = &self.root_certificates {
            options = options.add_root_certificates(path.clone());
        }
        if let (Some(certificate), Some(key)) = (certificate, key) {
            options = options.add_client_certificate(certificate, key);
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(servers: &str, subject: &str) -> NatsOptions {
        let (servers, subject) = (servers.to_owned(), subject.to_owned());
        NatsOptions { servers, subject, ..NatsOptions::default() }
    }

    #[test]
    fn servers_are_read_and_what_is_none_is_refused_without_its_password() {
        let servers = options("nats://a:1, tls://user:secret@b", "lastword").servers().unwrap();
        assert_eq!(servers.len(), 2);
        assert_eq!((servers[0].port(), servers[1].host(), servers[1].port()), (1, "b", 4222));
        for bad in ["", "http://a", "nats://", "ws://a", "nats://a,", "tls://u:secret@a:x"] {
            let error = options(bad, "lastword").servers().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_subject_has_no_wildcards_and_no_holes() {
        assert_eq!(options("", "a.b-1").prefix("x").unwrap(), "a.b-1.x");
        for bad in ["", ".", "a..b", "a.*", ">", "a b", "a."] {
            assert!(options("", bad).prefix("x").is_err(), "{bad}");
        }
    }

    #[test]
    fn files_that_are_not_there_are_named() {
        let credentials = Some(PathBuf::from("no-such.creds"));
        let error = NatsOptions { credentials, ..options("nats://a", "a") };
        let error = error.connection(Duration::from_secs(1)).unwrap_err().to_string();
        assert!(error.contains("no-such.creds"), "{error}");
    }
}
