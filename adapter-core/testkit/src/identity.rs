//! A certificate for localhost, as files, as a server and as a client see it.
//!
//! Never trusted by anybody else. Invariant: the files hold the pair that is shown. Next: `client` shakes hands with it.

use std::path::PathBuf;
use std::sync::Arc;

use adapter_core::tls::CertificateFiles;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A certificate for localhost and the folder it lies in.
pub struct Identity {
    folder: tempfile::TempDir,
    /// Certificate and key.
    pub pair: CertifiedKey<KeyPair>,
}

impl Default for Identity {
    fn default() -> Self {
        Self::new()
    }
}

impl Identity {
    /// Self-signed.
    pub fn new() -> Self {
        let identity = Self { folder: tempfile::tempdir().unwrap(), pair: pair() };
        identity.write();
        identity
    }

    /// Another certificate takes the place of the first.
    pub fn renew(&mut self) {
        self.pair = pair();
        self.write();
    }

    fn write(&self) {
        std::fs::write(self.file("cert.pem"), self.pair.cert.pem()).unwrap();
        std::fs::write(self.file("key.pem"), self.pair.signing_key.serialize_pem()).unwrap();
    }

    /// Where `cert.pem` and `key.pem` lie.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// As settings name them.
    pub fn files(&self) -> CertificateFiles {
        CertificateFiles { certificate: self.file("cert.pem"), key: self.file("key.pem") }
    }

    /// As a server that shows this certificate.
    pub fn acceptor(&self) -> TlsAcceptor {
        let key = PrivatePkcs8KeyDer::from(self.pair.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.pair.cert.der().clone()], key.into())
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// As a client that trusts this certificate and no other.
    pub fn connector(&self) -> TlsConnector {
        adapter_core::tls::connector(Some(&self.file("cert.pem"))).unwrap()
    }
}

fn pair() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap()
}
