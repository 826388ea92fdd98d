//! TLS: a certificate and its key from two files, read again at SIGHUP.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::TlsFiles;

/// Why TLS cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that is not what it should be.
    #[error("{}: {why}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// The certificate is another key's.
    #[error("{} is not the key of the certificate in {}", .key.display(), .cert.display())]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// SIGHUP cannot be listened to.
    #[error("cannot listen to SIGHUP: {0}")]
    Signal(std::io::Error),
}

/// The keys that connections are opened with; the certificate can change under it.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    files: TlsFiles,
    current: Arc<Current>,
}

#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().clone())
    }
}

impl Tls {
    /// Reads both files.
    pub(super) fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let current = Arc::new(Current(RwLock::new(read(files)?)));
        Ok(Self { files: files.clone(), current })
    }

    /// TLS 1.3 and 1.2, and HTTP/2 rather than HTTP/1.1.
    pub(super) fn config(&self) -> ServerConfig {
        let config = ServerConfig::builder().with_no_client_auth();
        let mut config = config.with_cert_resolver(self.current.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }

    /// Reads the files again whenever the process gets SIGHUP. An invalid certificate changes
    /// nothing: the old one goes on.
    pub(super) async fn watch(&self) -> Result<std::convert::Infallible, TlsError> {
        let mut hangup = signal(SignalKind::hangup()).map_err(TlsError::Signal)?;
        loop {
            hangup.recv().await;
            match read(&self.files) {
                Ok(fresh) => {
                    *self.current.0.write() = fresh;
                    tracing::info!("the certificate was read again");
                }
                Err(error) => {
                    tracing::error!(%error, "the certificate was not read again: the old one stays");
                }
            }
        }
    }
}

fn read(files: &TlsFiles) -> Result<Arc<CertifiedKey>, TlsError> {
    let wrong = |path: &Path, why: String| TlsError::File { path: path.to_owned(), why };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .map_err(|e| wrong(&files.cert, e.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(&files.cert, "there is no certificate in it".into()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|e| wrong(&files.key, format!("no private key can be read: {e}")))?;
    let key = any_supported_type(&key).map_err(|e| wrong(&files.key, e.to_string()))?;
    let certified = CertifiedKey::new(chain, key);
    // A pair that cannot be compared is tried: clients will tell.
    match certified.keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            Err(TlsError::Mismatch { cert: files.cert.clone(), key: files.key.clone() })
        }
        Err(rustls::Error::InvalidCertificate(why)) => {
            Err(wrong(&files.cert, format!("the certificate makes no sense: {why:?}")))
        }
        Ok(()) | Err(_) => Ok(Arc::new(certified)),
    }
}
