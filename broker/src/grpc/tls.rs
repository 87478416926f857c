//! The certificate a gRPC door shows, and how it is renewed without a restart.
//!
//! Never drops a connection over a renewal: who connects later sees the new one. Invariant: files that do not make a pair
//! are refused and the old pair stays in use. Next: `listen.rs` shakes hands with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate chain and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// A certificate and its key, replaceable while in use.
#[derive(Clone, Debug)]
pub struct Identity {
    files: TlsFiles,
    crypto: Arc<CryptoProvider>,
    current: Arc<ArcSwap<CertifiedKey>>,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsProblem {
    /// A file cannot be read, or is no PEM.
    #[error("{file}: {why}", file = .file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// The key does not belong to the certificate, or is of an unknown kind.
    #[error("{certificate} and {key} do not belong together: {why}",
        certificate = .files.certificate.display(), key = .files.key.display())]
    Pair {
        /// The pair.
        files: TlsFiles,
        /// Why.
        why: rustls::Error,
    },
}

impl Identity {
    /// Reads a pair.
    ///
    /// # Errors
    /// [`TlsProblem`] names the file.
    pub fn read(files: &TlsFiles, crypto: Arc<CryptoProvider>) -> Result<Self, TlsProblem> {
        let current = Arc::new(ArcSwap::from_pointee(pair(files, &crypto)?));
        Ok(Self { files: files.clone(), crypto, current })
    }

    /// Reads the pair again; the old one stays in use if that fails.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn reload(&self) -> Result<(), TlsProblem> {
        self.current.store(Arc::new(pair(&self.files, &self.crypto)?));
        Ok(())
    }

    /// How a gRPC server shakes hands with it.
    ///
    /// # Errors
    /// If the crypto provider lacks the default versions.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.crypto));
        let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
        let mut config = builder.with_cert_resolver(Arc::new(Shown(Arc::clone(&self.current))));
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}

#[derive(Debug)]
struct Shown(Arc<ArcSwap<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

fn pair(files: &TlsFiles, crypto: &CryptoProvider) -> Result<CertifiedKey, TlsProblem> {
    let problem = |file: &Path, why: String| TlsProblem::File { file: file.to_owned(), why };
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .map_err(|error| problem(&files.certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(problem(&files.certificate, "there is no certificate in it".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| problem(&files.key, error.to_string()))?;
    CertifiedKey::from_der(chain, key, crypto)
        .map_err(|why| TlsProblem::Pair { files: files.clone(), why })
}
