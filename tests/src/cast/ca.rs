//! A certificate authority for one test run.
//!
//! Makes its root and the servers' certificates at start; nothing is written but what [`TestCa::write_pem`] is told to.
//! Every TLS configuration names aws-lc-rs itself. Next: [`super::mailbox`].

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::PrivateKeyDer;

/// A root certificate with its key.
#[derive(Debug)]
pub struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl TestCa {
    /// Makes a fresh root.
    ///
    /// # Errors
    /// The machine gives no randomness.
    pub fn generate() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "Token Broker test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// The root certificate as PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Writes the root certificate for clients that want a file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_pem(&self, path: &Path) -> Result<()> {
        std::fs::write(path, self.pem()).with_context(|| format!("write {}", path.display()))
    }

    /// A certificate and its key, both PEM, for these names or addresses.
    ///
    /// # Errors
    /// A name is no name.
    pub fn certificate(&self, names: &[&str]) -> Result<(String, String)> {
        let (certificate, key) = self.issue(names)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    /// A client's certificate and its key, both PEM, for these names and URIs.
    ///
    /// # Errors
    /// A name is no name, or a URI is no ASCII.
    pub fn client_certificate(&self, names: &[&str], uris: &[&str]) -> Result<(String, String)> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        for &uri in uris {
            params.subject_alt_names.push(SanType::URI(uri.try_into()?));
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        Ok((params.signed_by(&key, &self.issuer)?.pem(), key.serialize_pem()))
    }

    /// A server's TLS settings for `localhost`, `127.0.0.1` and `::1`.
    ///
    /// # Errors
    /// No certificate can be made.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>> {
        let (certificate, key) = self.issue(&["localhost", "127.0.0.1", "::1"])?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        let config = ServerConfig::builder_with_provider(crypto())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        Ok(Arc::new(config))
    }

    /// A client's TLS settings that trust this root alone.
    ///
    /// # Errors
    /// The root is not understood.
    pub fn client_config(&self) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone())?;
        client_config(roots)
    }

    fn issue(&self, names: &[&str]) -> Result<(rcgen::Certificate, KeyPair)> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate()?;
        Ok((CertificateParams::new(names)?.signed_by(&key, &self.issuer)?, key))
    }
}

/// A client's TLS settings that trust `roots`.
///
/// # Errors
/// The crypto provider has no usable protocol version.
pub fn client_config(roots: RootCertStore) -> Result<ClientConfig> {
    Ok(ClientConfig::builder_with_provider(crypto())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn crypto() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
