//! TLS towards clients and towards providers, on one crypto provider that is handed in.
//!
//! Never accepts an invalid certificate: there is no switch for it, only a file of further roots. Invariant: a certificate that
//! cannot be used does not replace one that can. Next: `stream` shakes hands with these.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Where the server's certificate lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM, the server's certificate first, then the intermediate ones.
    pub certificate: PathBuf,
    /// PEM, the private key.
    pub key: PathBuf,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file is missing or holds nothing of the kind.
    #[error("{setting}: {}: {problem}. Name a PEM file", .file.display())]
    File {
        /// The field that names it.
        setting: &'static str,
        /// Which one.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Certificate and key do not fit, or rustls cannot use them.
    #[error("tls.certificate: the certificate in {} cannot be used: {problem}", .file.display())]
    Unusable {
        /// Which one.
        file: PathBuf,
        /// What rustls says.
        problem: String,
    },
    /// No root is known at all, so no provider could be trusted.
    #[error("no trusted roots on this system; name a file with upstream.ca_file")]
    NoRoots,
}

/// The server's side; clones share a reload.
#[derive(Clone)]
pub struct ServerTls {
    files: CertificateFiles,
    current: Arc<ArcSwap<ServerConfig>>,
}

impl ServerTls {
    /// Reads the certificate.
    ///
    /// # Errors
    /// [`TlsError::File`] and [`TlsError::Unusable`].
    pub fn load(files: CertificateFiles) -> Result<Self, TlsError> {
        let config = server_config(&files)?;
        Ok(Self { files, current: Arc::new(ArcSwap::from_pointee(config)) })
    }

    /// Reads the files again; connections made from now on see the new certificate.
    ///
    /// # Errors
    /// As [`load`](Self::load); the old certificate stays in use then.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.current.store(Arc::new(server_config(&self.files)?));
        Ok(())
    }

    /// For one handshake.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }
}

/// TLS towards providers: the system's roots and those in `ca_file`.
///
/// # Errors
/// [`TlsError::File`] for the file, [`TlsError::NoRoots`] if nothing is left to trust.
pub fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = ca_file {
        const SETTING: &str = "upstream.ca_file";
        for certificate in certificates(SETTING, file)? {
            roots.add(certificate).map_err(|error| wrong(SETTING, file, &error))?;
        }
    }
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|_| TlsError::NoRoots)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn server_config(files: &CertificateFiles) -> Result<ServerConfig, TlsError> {
    let chain = certificates("tls.certificate", &files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| wrong("tls.key", &files.key, &error))?;
    let unusable = |error: rustls::Error| TlsError::Unusable {
        file: files.certificate.clone(),
        problem: error.to_string(),
    };
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unusable)
}

fn certificates(
    setting: &'static str,
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |error| wrong(setting, file, &error);
    let read = CertificateDer::pem_file_iter(file).map_err(unreadable)?;
    let certificates: Vec<_> = read.collect::<Result<_, _>>().map_err(unreadable)?;
    if certificates.is_empty() {
        return Err(wrong(setting, file, &"holds no certificate"));
    }
    Ok(certificates)
}

fn wrong(setting: &'static str, file: &Path, problem: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { setting, file: file.to_owned(), problem: problem.to_string() }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str) -> CertificateFiles {
        let pair = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let files =
            CertificateFiles { certificate: folder.join("cert.pem"), key: folder.join("key.pem") };
        std::fs::write(&files.certificate, pair.cert.pem()).unwrap();
        std::fs::write(&files.key, pair.signing_key.serialize_pem()).unwrap();
        files
    }

    #[test]
    fn a_certificate_that_cannot_be_used_does_not_replace_one_that_can() {
        let folder = tempfile::tempdir().unwrap();
        let files = write(folder.path(), "localhost");
        let tls = ServerTls::load(files.clone()).unwrap();
        let before = tls.current.load_full();
        std::fs::write(&files.certificate, "nonsense").unwrap();
        assert!(tls.reload().is_err());
        assert!(Arc::ptr_eq(&before, &tls.current.load_full()));
        write(folder.path(), "localhost");
        tls.reload().unwrap();
        assert!(!Arc::ptr_eq(&before, &tls.current.load_full()));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = connector(Some(Path::new("/nowhere/ca.pem"))).err().unwrap();
        assert!(error.to_string().starts_with("upstream.ca_file: /nowhere/ca.pem: "));
    }
}
