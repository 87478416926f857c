//! Who is at the other end of a connection: its address, and the client certificate it showed.
//!
//! Never believes a certificate because the handshake did: it is verified again at the calls, at most once a second, against
//! the authorities of now, so one that expired or whose authority was taken away ends with its next call and not with its
//! connection. Invariant: names come out of a certificate that was just verified, or not at all. Next: `authenticate.rs`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};

use super::tls::ClientAuthorities;
use crate::clock::Time;
use crate::domain::caller_identity::CertificateNames;

/// How long a verification stands.
const STANDS: Duration = Duration::from_secs(1);

/// The other end of a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    /// Its address.
    pub(super) address: Option<SocketAddr>,
    /// What it showed in the handshake.
    pub(super) certificate: Option<Arc<ClientCertificate>>,
}

/// A chain that the handshake took, with the names in its first certificate.
#[derive(Debug)]
pub(super) struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    names: CertificateNames,
    authorities: ClientAuthorities,
    verified_at: AtomicI64,
}

impl ClientCertificate {
    /// The certificate of a handshake; `None` if there is none in it that can be read.
    pub(super) fn read(
        chain: Vec<CertificateDer<'static>>,
        authorities: ClientAuthorities,
    ) -> Option<Self> {
        let names = names(chain.first()?)?;
        Some(Self { chain, names, authorities, verified_at: AtomicI64::new(i64::MIN) })
    }

    /// The names, if the certificate is good at `now`.
    pub(super) fn names_at(&self, now: Time) -> Option<&CertificateNames> {
        let before = self.verified_at.load(Ordering::Relaxed);
        let verified = before..before.saturating_add(STANDS.as_millis() as i64);
        if before == i64::MIN || !verified.contains(&now.millis()) {
            let (first, others) = self.chain.split_first()?;
            let moment = Duration::from_millis(now.millis().try_into().ok()?);
            let moment = UnixTime::since_unix_epoch(moment);
            self.authorities.verify(first, others, moment).ok()?;
            self.verified_at.store(now.millis(), Ordering::Relaxed);
        }
        Some(&self.names)
    }
}

fn names(certificate: &CertificateDer<'_>) -> Option<CertificateNames> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    let dns = certificate.valid_dns_names().map(str::to_ascii_lowercase).collect();
    let uris = certificate.valid_uri_names().map(str::to_owned).collect();
    Some(CertificateNames { dns, uris })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa,
        KeyPair, SanType,
    };

    use super::*;

    struct Authority(CertifiedIssuer<'static, KeyPair>);

    impl Authority {
        fn new() -> Self {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
        }

        fn write(&self, path: &Path) {
            std::fs::write(path, self.0.pem()).unwrap();
        }

        fn issue(&self, uris: &[&str], usage: ExtendedKeyUsagePurpose) -> CertificateDer<'static> {
            let mut params = CertificateParams::new(vec!["CRM.example.test".into()]).unwrap();
            let uris = uris.iter().map(|&uri| SanType::URI(uri.try_into().unwrap()));
            params.subject_alt_names.extend(uris);
            params.extended_key_usages = vec![usage];
            params.not_before = rcgen::date_time_ymd(2030, 1, 1);
            params.not_after = rcgen::date_time_ymd(2030, 1, 2);
            params.signed_by(&KeyPair::generate().unwrap(), &self.0).unwrap().der().clone()
        }
    }

    /// Noon of 1 January 2030.
    const NOON: Time = Time::from_millis(1_893_499_200_000);

    #[test]
    fn t10_a_certificate_that_expired_or_lost_its_authority_is_nobodys_on_an_open_connection() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("clients.pem");
        let (one, two) = (Authority::new(), Authority::new());
        one.write(&file);
        let authorities = ClientAuthorities::read(&file).unwrap();
        let certificate =
            one.issue(&["spiffe://example.test/crm"], ExtendedKeyUsagePurpose::ClientAuth);
        let shown = ClientCertificate::read(vec![certificate], authorities.clone()).unwrap();
        let names = shown.names_at(NOON).unwrap();
        assert_eq!(names.dns, ["crm.example.test"]);
        assert_eq!(names.uris, ["spiffe://example.test/crm"]);
        let day = Duration::from_secs(86_400);
        assert!(shown.names_at(NOON.after(day)).is_none(), "expired");
        assert!(shown.names_at(NOON.before(day)).is_none(), "not valid yet");
        two.write(&file);
        authorities.reload().unwrap();
        assert!(shown.names_at(NOON.after(STANDS)).is_none(), "its authority is gone");
        one.write(&file);
        authorities.reload().unwrap();
        assert!(shown.names_at(NOON).is_some());
    }

    #[test]
    fn a_servers_certificate_is_no_clients() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("clients.pem");
        let authority = Authority::new();
        authority.write(&file);
        let authorities = ClientAuthorities::read(&file).unwrap();
        let certificate = authority.issue(&[], ExtendedKeyUsagePurpose::ServerAuth);
        let shown = ClientCertificate::read(vec![certificate], authorities).unwrap();
        assert!(shown.names_at(NOON).is_none());
    }
}
