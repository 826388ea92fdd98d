//! `signals` and `[nats]`: how instances wake each other.
use std::path::PathBuf;

use serde::Deserialize;

use super::ConfigError;

/// `[nats]` of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileNats {
    subject: Option<String>,
    credentials: Option<PathBuf>,
    root_certificates: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_key: Option<PathBuf>,
}

/// NATS servers, and how one connects to them.
#[derive(Clone)]
pub struct NatsConfig {
    /// Their addresses, with commas between them.
    pub servers: String,
    /// How the subjects begin.
    pub subject: String,
    /// A file with a user's JWT and seed, or with the seed of its key alone.
    pub credentials: Option<PathBuf>,
    /// Certificates that the servers' ones lead to, in PEM; else those of the system.
    pub root_certificates: Option<PathBuf>,
    /// A certificate and its key, in PEM, for servers that ask for one.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
}

impl NatsConfig {
    /// These servers, and nothing else.
    #[must_use]
    pub fn of(servers: &str) -> Self {
        Self {
            servers: servers.into(),
            subject: "lastword".into(),
            credentials: None,
            root_certificates: None,
            client_certificate: None,
        }
    }
}

impl std::fmt::Debug for NatsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The addresses may hold a password.
        f.debug_struct("NatsConfig").field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// Whether `NOTIFY` is used, and the NATS servers that are used in place of it.
pub(super) fn merge(
    word: Option<String>,
    notify: bool,
    file: FileNats,
) -> Result<(bool, Option<NatsConfig>), ConfigError> {
    let word = word.filter(|word| !word.is_empty());
    let servers = match word.as_deref() {
        None => return Ok((notify, None)),
        Some("notify") => return Ok((true, None)),
        Some("off") => return Ok((false, None)),
        Some(servers) if servers.starts_with("nats://") || servers.starts_with("tls://") => servers,
        // Not said again: it may hold a password.
        Some(_) => {
            let how = "signals is `notify`, `off`, or addresses of NATS servers that begin with \
                       nats:// or tls://, with commas between them";
            return Err(ConfigError(how.into()));
        }
    };
    let client_certificate = match (file.client_certificate, file.client_key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            let how = "[nats] needs client_certificate and client_key, or neither";
            return Err(ConfigError(how.into()));
        }
    };
    let of = NatsConfig::of(servers);
    let nats = NatsConfig {
        subject: file.subject.unwrap_or(of.subject),
        credentials: file.credentials,
        root_certificates: file.root_certificates,
        client_certificate,
        servers: of.servers,
    };
    Ok((notify, Some(nats)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(word: Option<&str>, notify: bool) -> Result<(bool, Option<String>), ConfigError> {
        let (notify, nats) = merge(word.map(str::to_owned), notify, FileNats::default())?;
        Ok((notify, nats.map(|nats| nats.servers)))
    }

    #[test]
    fn a_word_or_addresses_say_how_instances_wake_each_other() {
        for notify in [true, false] {
            assert_eq!(merged(None, notify).unwrap(), (notify, None));
            assert_eq!(merged(Some(""), notify).unwrap(), (notify, None));
            assert_eq!(merged(Some("notify"), notify).unwrap(), (true, None));
            assert_eq!(merged(Some("off"), notify).unwrap(), (false, None));
        }
        let servers = "nats://a:1,tls://u:p@b";
        assert_eq!(merged(Some(servers), true).unwrap(), (true, Some(servers.into())));
        let error = merged(Some("redis://:secret@a"), true).unwrap_err().to_string();
        assert!(error.contains("nats://") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn a_certificate_needs_its_key_and_a_password_is_not_shown() {
        let file: FileNats = toml::from_str("client_certificate = 'a.pem'").unwrap();
        assert!(merge(Some("nats://a".into()), true, file).is_err());
        let nats = NatsConfig::of("nats://u:secret@a");
        assert!(!format!("{nats:?}").contains("secret"));
    }
}
