//! The certificate a gRPC door shows and the authorities of its clients', and how both are renewed without a restart.
//!
//! Never drops a connection over a renewal: who connects later sees the new one. Invariant: files that do not make a pair
//! are refused and the old pair stays in use. Next: `listen.rs` shakes hands with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use super::listen::DoorTls;

/// A certificate chain and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// The authorities of client certificates; without it none are asked for.
    pub client_ca: Option<PathBuf>,
}

/// A certificate and its key, replaceable while in use.
#[derive(Clone, Debug)]
pub struct Identity {
    files: TlsFiles,
    crypto: Arc<CryptoProvider>,
    current: Arc<ArcSwap<CertifiedKey>>,
    clients: Option<ClientAuthorities>,
}

/// Who signs client certificates, replaceable while in use. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct ClientAuthorities {
    file: PathBuf,
    current: Arc<ArcSwap<Judge>>,
}

/// Verifies client certificates against the authorities of one reading.
#[derive(Debug)]
struct Judge(Arc<dyn ClientCertVerifier>);

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
    /// The authorities of client certificates cannot be used.
    #[error("client_ca: {file}: {why}. Name a PEM file with the authorities that sign your clients' certificates",
        file = .file.display())]
    Clients {
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
        files: Box<TlsFiles>,
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
        let clients = files.client_ca.as_deref().map(ClientAuthorities::read).transpose()?;
        Ok(Self { files: files.clone(), crypto, current, clients })
    }

    /// Reads the files again; what was read before stays in use if that fails.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn reload(&self) -> Result<(), TlsProblem> {
        let pair = pair(&self.files, &self.crypto)?;
        if let Some(clients) = &self.clients {
            clients.reload()?;
        }
        self.current.store(Arc::new(pair));
        Ok(())
    }

    /// How a gRPC door shakes hands with it.
    ///
    /// # Errors
    /// If the crypto provider lacks the default versions.
    pub fn door(&self) -> Result<DoorTls, rustls::Error> {
        Ok(DoorTls { config: self.server_config()?, clients: self.clients.clone() })
    }

    /// How a TLS server shakes hands with it.
    ///
    /// # Errors
    /// If the crypto provider lacks the default versions.
    fn server_config(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.crypto));
        let builder = builder.with_safe_default_protocol_versions()?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(Arc::new(clients.clone())),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Shown(Arc::clone(&self.current))));
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ClientAuthorities {
    /// Reads the authorities.
    pub(super) fn read(file: &Path) -> Result<Self, TlsProblem> {
        let current = Arc::new(ArcSwap::from_pointee(judge(file)?));
        Ok(Self { file: file.to_owned(), current })
    }

    /// Reads them again; those read before stay if that fails.
    pub(super) fn reload(&self) -> Result<(), TlsProblem> {
        self.current.store(Arc::new(judge(&self.file)?));
        Ok(())
    }

    /// Verifies a chain against the authorities of now.
    pub(super) fn verify(
        &self,
        first: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        self.current.load().0.verify_client_cert(first, others, now).map(drop)
    }
}

/// A client may come without a certificate: then it has to show something else at each call.
impl ClientCertVerifier for ClientAuthorities {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Strangers need not learn whom we trust.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.current.load().0.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.current.load().0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.current.load().0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.current.load().0.supported_verify_schemes()
    }
}

fn judge(file: &Path) -> Result<Judge, TlsProblem> {
    let problem = |why: String| TlsProblem::Clients { file: file.to_owned(), why };
    let pem = CertificateDer::pem_file_iter(file).map_err(|error| problem(error.to_string()))?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in pem {
        let certificate = certificate.map_err(|error| problem(error.to_string()))?;
        roots.add(certificate).map_err(|error| problem(error.to_string()))?;
    }
    let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crypto);
    verifier.build().map(Judge).map_err(|error| problem(error.to_string()))
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
        .map_err(|why| TlsProblem::Pair { files: Box::new(files.clone()), why })
}
