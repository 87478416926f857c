//! What a user may say about the broker to call, checked before anything is called.
//!
//! Never dials. Invariant: a key never travels in clear off this machine unless that was said. Next: `transport`
//! dials.

use std::path::PathBuf;
use std::time::Duration;

use tonic::codegen::http::Uri;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::errors::{Error, OptionName};
use crate::key::{Bearer, KeySource, Secret, TokenProvider, private_key};

/// The environment variable [`Options::api_key_env`] is usually given.
pub const API_KEY_ENV: &str = "TOKEN_BROKER_API_KEY";

/// How to reach brokers and who we are. Made with [`Options::new`], changed by its methods, checked when connecting.
#[derive(Clone, Debug)]
pub struct Options {
    endpoints: Vec<String>,
    key: KeySource,
    ca_file: Option<PathBuf>,
    certificate: Option<[PathBuf; 2]>,
    allow_plaintext: bool,
    pub(crate) deadline: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) connections: usize,
    pub(crate) cache_entries: usize,
}

impl Options {
    /// The broker at `endpoint`, such as `https://broker.example.net:8640`. Plain `http` is taken for loopback hosts
    /// only.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoints: vec![endpoint.into()],
            key: KeySource::Missing,
            ca_file: None,
            certificate: None,
            allow_plaintext: false,
            deadline: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(3),
            connections: 1,
            cache_entries: 10_000,
        }
    }

    /// Another equal broker, to go to when those before it cannot be reached.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoints.push(endpoint.into());
        self
    }

    /// The API key `tbk_..` itself.
    #[must_use]
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.key = KeySource::Value(Secret::new(key));
        self
    }

    /// The file with the API key; refused if its group or others may read it.
    #[must_use]
    pub fn api_key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.key = KeySource::File(path.into());
        self
    }

    /// The environment variable with the API key, such as `TOKEN_BROKER_API_KEY`.
    #[must_use]
    pub fn api_key_env(mut self, name: impl Into<String>) -> Self {
        self.key = KeySource::Environment(name.into());
        self
    }

    /// The file with a token that says who we are, such as a projected service account token of Kubernetes. Read again
    /// every few seconds, so whoever renews it need not tell us.
    #[must_use]
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.key = KeySource::TokenFile(path.into());
        self
    }

    /// Who gives the token that says who we are. Asked at every call, so it has to keep one at hand and must not wait;
    /// an error is a refusal of the call, in its words.
    #[must_use]
    pub fn token_provider(
        mut self,
        give: impl Fn() -> Result<String, String> + Send + Sync + 'static,
    ) -> Self {
        self.key = KeySource::Provider(TokenProvider::new(give));
        self
    }

    /// The client certificate (PEM, first the leaf) and its key that say who we are; with them no API key is needed. Both
    /// are read again when the certificate's file changes, for connections made from then on.
    #[must_use]
    pub fn client_certificate(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.certificate = Some([certificate.into(), key.into()]);
        self
    }

    /// The file of the client certificate, if there is one.
    pub(crate) fn certificate_file(&self) -> Option<&std::path::Path> {
        self.certificate.as_ref().map(|[certificate, _]| certificate.as_path())
    }

    /// The PEM file with the only authorities to trust. Without it the system's are trusted.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// How long a call may take in all, retries included. Default 10 seconds.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long dialling one endpoint may take, TLS included. Default 3 seconds.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How many HTTP/2 connections to keep to an endpoint, 1 to 64. Default 1, which carries thousands of calls a
    /// second.
    #[must_use]
    pub fn connections(mut self, count: usize) -> Self {
        self.connections = count;
        self
    }

    /// How many tokens to keep at most. Default 10 000; 0 keeps none.
    #[must_use]
    pub fn cache_entries(mut self, count: usize) -> Self {
        self.cache_entries = count;
        self
    }

    /// Takes plain `http` to hosts off loopback too: keys and tokens then cross the network in clear. For networks
    /// that encrypt by themselves.
    #[must_use]
    pub fn allow_plaintext(mut self) -> Self {
        self.allow_plaintext = true;
        self
    }

    /// Checks all that can be checked without dialling, as connecting does: for programs that want to name a mistake
    /// where their own configuration has it. Reads the key and CA files.
    ///
    /// # Errors
    /// [`Error::Options`] with the first option that cannot be used, what is wrong and what to do.
    pub fn check(&self) -> Result<(), Error> {
        self.checked().map(drop)
    }

    /// Everything a connection needs, or what is wrong with these options.
    pub(crate) fn checked(&self) -> Result<Checked, Error> {
        if !(1..=64).contains(&self.connections) {
            return Err(Error::options("connections must be 1 to 64", "leave it at 1"));
        }
        if self.deadline.is_zero() || self.connect_timeout.is_zero() {
            return Err(Error::options("a deadline of zero ends every call", "say 10 seconds"));
        }
        let endpoints = self.dialables()?;
        let bearer = self.key.bearer(self.certificate.is_some());
        let bearer = bearer.map_err(|error| error.about(OptionName::ApiKey))?;
        Ok(Checked { endpoints, bearer })
    }

    /// The endpoints with the certificate and the authorities as their files are now.
    pub(crate) fn dialables(&self) -> Result<Vec<Endpoint>, Error> {
        let authorities = self.authorities().map_err(|error| error.about(OptionName::CaFile))?;
        let identity = self.identity().map_err(|error| error.about(OptionName::Certificate))?;
        let tls = ClientTlsConfig::new();
        let tls = match authorities {
            Some(ca) => tls.ca_certificate(ca),
            None => tls.with_native_roots(),
        };
        let tls = match identity {
            Some(identity) => tls.identity(identity),
            None => tls,
        };
        let endpoint = |(at, text): (usize, &String)| {
            self.dialable(text, &tls).map_err(|error| error.about(OptionName::Endpoint(at)))
        };
        self.endpoints.iter().enumerate().map(endpoint).collect()
    }

    fn identity(&self) -> Result<Option<Identity>, Error> {
        let Some([certificate, key]) = &self.certificate else { return Ok(None) };
        let chain = self.pem(certificate, "the client certificate")?;
        Ok(Some(Identity::from_pem(chain, private_key(key)?)))
    }

    fn authorities(&self) -> Result<Option<Certificate>, Error> {
        let Some(path) = &self.ca_file else { return Ok(None) };
        Ok(Some(Certificate::from_pem(self.pem(path, "the CA file")?)))
    }

    fn pem(&self, path: &std::path::Path, what: &str) -> Result<Vec<u8>, Error> {
        let shown = path.display();
        let pem = std::fs::read(path).map_err(|error| {
            Error::options(
                format!("{what} {shown} cannot be read: {error}"),
                "name a PEM file: the authority that signed the broker's certificate, or your own chain",
            )
        })?;
        if pem.windows(27).any(|part| part == b"-----BEGIN CERTIFICATE-----") {
            return Ok(pem);
        }
        Err(Error::options(
            format!("{what} {shown} holds no certificate"),
            "it must be PEM: lines between BEGIN CERTIFICATE and END CERTIFICATE",
        ))
    }

    fn dialable(&self, text: &str, tls: &ClientTlsConfig) -> Result<Endpoint, Error> {
        let bad = |what: &str| {
            Error::options(
                format!("the endpoint {text:?} {what}"),
                "write it as https://HOST:PORT, or http://127.0.0.1:PORT on this machine",
            )
        };
        let uri: Uri = text.parse().map_err(|_| bad("is not a URL"))?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| bad("has no host"))?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(Error::options(
                "an endpoint carries a user name or password",
                "leave them out; the API key says who calls",
            ));
        }
        let endpoint = Endpoint::from(uri.clone())
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true)
            .user_agent(concat!("token-broker-rust/", env!("CARGO_PKG_VERSION")))
            .map_err(|_| bad("cannot be used"))?;
        match uri.scheme_str() {
            Some("https") => endpoint
                .tls_config(tls.clone())
                .map_err(|_| bad("cannot be used with this CA file or client certificate")),
            Some("http") if self.certificate.is_some() => {
                Err(bad("has no TLS, so there is nobody to show the client certificate to"))
            }
            Some("http") if self.allow_plaintext || is_loopback(host) => Ok(endpoint),
            Some("http") => Err(Error::options(
                format!("{text} would send the API key and tokens over the network in clear"),
                "use https, or allow plaintext if the network encrypts by itself",
            )),
            _ => Err(bad("is neither https nor http")),
        }
    }
}

/// What passed [`Options::checked`].
pub(crate) struct Checked {
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) bearer: Bearer,
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(endpoint: &str) -> Result<(), Error> {
        Options::new(endpoint).api_key("tbk_x").check()
    }

    #[test]
    fn plaintext_is_for_loopback_unless_it_is_allowed() {
        for near in ["http://localhost:1", "http://127.0.0.9:1", "http://[::1]:1"] {
            assert!(check(near).is_ok(), "{near}");
        }
        for far in ["http://192.0.2.1:1", "http://localhost.example:1", "http://[2001:db8::1]:1"] {
            let Err(Error::Options { what, remedy, .. }) = check(far) else { panic!("{far}") };
            assert!(what.contains("in clear") && remedy.contains("https"), "{what}: {remedy}");
            assert!(Options::new(far).api_key("tbk_x").allow_plaintext().check().is_ok());
        }
    }

    #[test]
    fn an_endpoint_that_is_no_endpoint_is_named() {
        for bad in ["", "broker", "ftp://h:1", "https://", "https://u:p@h:1"] {
            assert!(matches!(check(bad), Err(Error::Options { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_call_without_a_key_is_refused_before_it_is_made() {
        assert!(Options::new("http://localhost:1").check().is_err());
    }

    #[test]
    fn the_option_that_cannot_be_used_is_told() {
        let good = Options::new("http://localhost:1").api_key("tbk_x");
        let second = good.clone().endpoint("http://localhost:2").endpoint("ftp://localhost:3");
        for (options, name) in [
            (second, OptionName::Endpoint(2)),
            (good.clone().api_key(""), OptionName::ApiKey),
            (good.clone().api_key_file("/nowhere/key"), OptionName::ApiKey),
            (good.clone().token_file("/nowhere/token"), OptionName::ApiKey),
            (good.clone().client_certificate("/nowhere/a", "/nowhere/b"), OptionName::Certificate),
            (good.clone().ca_file("/nowhere/ca.pem"), OptionName::CaFile),
        ] {
            let Err(Error::Options { option, .. }) = options.check() else { panic!("{name:?}") };
            assert_eq!(option, Some(name));
        }
        assert!(good.check().is_ok());
    }
}
