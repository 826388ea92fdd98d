//! Access: who needs a key, and how it is kept secret.
use std::net::SocketAddr;
use std::path::PathBuf;

use super::ConfigError;
use crate::engine::Anonymous;

/// A certificate with its chain, and its key, as PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate first, then those that lead to a root.
    pub cert: PathBuf,
    /// PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// The callers that need no key.
pub(super) fn anonymous(
    listen: SocketAddr,
    insecure_no_auth: bool,
    require_key: bool,
) -> Result<Anonymous, ConfigError> {
    match (insecure_no_auth, require_key) {
        (true, true) => {
            Err(ConfigError("--insecure-no-auth and --require-key exclude each other".into()))
        }
        (true, false) => Ok(Anonymous::Everywhere),
        (false, false) if listen.ip().is_loopback() => Ok(Anonymous::Here),
        (false, _) => Ok(Anonymous::Refused),
    }
}

/// Both files, or none.
pub(super) fn tls_files(
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<Option<TlsFiles>, ConfigError> {
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(ConfigError("--tls-cert needs --tls-key".into())),
        (None, Some(_)) => Err(ConfigError("--tls-key needs --tls-cert".into())),
    }
}
