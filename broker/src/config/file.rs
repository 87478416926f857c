//! What the TOML may say, and how it is checked.
//!
//! Never used outside `config`. Invariant: an unknown field is an error, and every check names the field's full name.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;
use url::Url;

use super::audit::Audit;
use super::issuers::Callers;
use super::{Config, Problem};
use crate::domain::ids::ResourceId;
use crate::domain::secret::Secret;
use crate::grpc::{GrpcSettings, TlsFiles};
use crate::http::HttpSettings;
use crate::providers::ProviderSettings;
use crate::seal::KeySource;
use crate::service::RefreshSettings;
use crate::store;
use crate::telemetry::LogSettings;

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    store: Spanned<Store>,
    keys: Keys,
    #[serde(default)]
    grpc: Door,
    #[serde(default)]
    admin: Door,
    #[serde(default)]
    http: Http,
    #[serde(default)]
    ops: Ops,
    #[serde(default)]
    providers: Providers,
    #[serde(default)]
    callers: Callers,
    #[serde(default)]
    refresh: Refresh,
    #[serde(default)]
    decision: Decision,
    #[serde(default)]
    audit: Audit,
    #[serde(default)]
    log: Log,
    replica: Option<Spanned<String>>,
    drain_seconds: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Store {
    sqlite: Option<PathBuf>,
    postgres: Option<Spanned<Place>>,
    max_connections: Option<Spanned<u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    kek: Spanned<Place>,
    next_kek: Option<Spanned<Place>>,
}

/// Where a secret is: never in the file itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    file: Option<PathBuf>,
    env: Option<String>,
    credential: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Door {
    address: Option<Spanned<String>>,
    tls: Option<Tls>,
    #[serde(default)]
    plaintext_off_loopback: bool,
    #[serde(default)]
    reflection: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Http {
    address: Option<Spanned<String>>,
    public_url: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ops {
    address: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Providers {
    #[serde(default)]
    allow_insecure_loopback: bool,
    ca_file: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Refresh {
    confirm_after_seconds: Option<Spanned<u64>>,
    rate_per_app: Option<Spanned<f64>>,
    rate_per_endpoint: Option<Spanned<f64>>,
    spill: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Decision {
    mode: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Log {
    filter: Option<String>,
    format: Option<Spanned<String>>,
}

/// Checks a [`File`] against the place it came from.
pub(super) struct Checker<'a> {
    pub(super) file: &'a Path,
    pub(super) text: &'a str,
    env: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(
        file: &'a Path,
        text: &'a str,
        env: &'a dyn Fn(&str) -> Option<String>,
    ) -> Self {
        Self { file, text, env }
    }

    pub(super) fn check(&self, raw: File) -> Result<Config, Problem> {
        let http = self.http(&raw.http)?;
        let store = self.store(raw.store)?;
        Ok(Config {
            spill: self.spill(raw.refresh.spill.as_deref(), &store),
            refresh: self.refresh(&raw.refresh)?,
            decisions: self.decisions(raw.decision.mode)?,
            issuers: self.issuers(raw.callers, raw.providers.allow_insecure_loopback)?,
            audit: self.audit(raw.audit)?,
            replica: self.replica(raw.replica.as_ref())?,
            store,
            kek: self.kek("keys.kek", &raw.keys.kek)?,
            next_kek: self.next_kek(&raw.keys)?,
            grpc: self.door("grpc", raw.grpc, 8640)?,
            admin: self.door("admin", raw.admin, 8641)?,
            ops: self.address("ops.address", raw.ops.address.as_ref(), 8643)?,
            http,
            providers: ProviderSettings {
                allow_insecure_loopback: raw.providers.allow_insecure_loopback,
                ca_file: raw.providers.ca_file.map(|path| self.path(&path)),
            },
            log: self.log(raw.log)?,
            drain: self.drain(raw.drain_seconds)?,
        })
    }

    fn store(&self, raw: Spanned<Store>) -> Result<store::Settings, Problem> {
        let span = raw.span();
        match raw.into_inner() {
            Store { sqlite: Some(path), postgres: None, max_connections: None } => {
                Ok(store::Settings::Sqlite { path: self.path(&path) })
            }
            Store { sqlite: None, postgres: Some(place), max_connections } => {
                let url = self.secret("store.postgres", &place)?;
                let most = max_connections.map_or(10, Spanned::into_inner);
                if !(4..=500).contains(&most) {
                    let what = "store.max_connections: use 4 to 500";
                    return Err(Problem::at(self.file, self.text, &span, what.to_owned()));
                }
                Ok(store::Settings::Postgres { url, max_connections: most })
            }
            _ => {
                let what = "store: say either sqlite = \"broker.db\" or postgres = { file = \"postgres.url\" }, \
                            max_connections only with the latter";
                Err(Problem::at(self.file, self.text, &span, what.to_owned()))
            }
        }
    }

    fn next_kek(&self, raw: &Keys) -> Result<Option<KeySource>, Problem> {
        let Some(place) = &raw.next_kek else { return Ok(None) };
        let next = self.kek("keys.next_kek", place)?;
        if next == self.kek("keys.kek", &raw.kek)? {
            let what = "keys.next_kek: name another place than keys.kek".to_owned();
            return Err(Problem::at(self.file, self.text, &place.span(), what));
        }
        Ok(Some(next))
    }

    fn kek(&self, field: &str, place: &Spanned<Place>) -> Result<KeySource, Problem> {
        match place.get_ref() {
            Place { file: Some(path), env: None, credential: None } => {
                Ok(KeySource::File(self.path(path)))
            }
            Place { file: None, env: Some(name), credential: None } => {
                Ok(KeySource::Environment(name.clone()))
            }
            Place { file: None, env: None, credential: Some(name) } => {
                Ok(KeySource::Systemd(name.clone()))
            }
            Place { .. } => {
                let what = format!("{field}: say exactly one of file, env or credential");
                Err(Problem::at(self.file, self.text, &place.span(), what))
            }
        }
    }

    fn secret(&self, field: &str, place: &Spanned<Place>) -> Result<Secret, Problem> {
        let wrong = |what: String| Problem::at(self.file, self.text, &place.span(), what);
        match place.get_ref() {
            Place { file: Some(path), env: None, credential: None } => {
                let path = self.path(path);
                let read = std::fs::read_to_string(&path);
                let text =
                    read.map_err(|error| wrong(format!("{field}: {}: {error}", path.display())))?;
                Ok(Secret::from(text.trim_end()))
            }
            Place { file: None, env: Some(name), credential: None } => {
                let value = (self.env)(name);
                value.map(Secret::new).ok_or_else(|| {
                    wrong(format!("{field}: the environment variable {name} is not set"))
                })
            }
            Place { .. } => Err(wrong(format!("{field}: say exactly one of file or env"))),
        }
    }

    fn door(&self, name: &str, raw: Door, port: u16) -> Result<GrpcSettings, Problem> {
        let field = format!("{name}.address");
        let address = self.address(&field, raw.address.as_ref(), port)?;
        let tls = raw.tls.map(|files| TlsFiles {
            certificate: self.path(&files.certificate),
            key: self.path(&files.key),
            client_ca: files.client_ca.as_deref().map(|path| self.path(path)),
        });
        if tls.is_none() && !address.ip().is_loopback() && !raw.plaintext_off_loopback {
            let what = format!(
                "{field}: {address} is not on loopback and there is no TLS. Add tls = {{ certificate = .., key = .. }}, \
                 or say plaintext_off_loopback = true if something else encrypts"
            );
            let span = raw.address.map_or(0..0, |address| address.span());
            return Err(Problem::at(self.file, self.text, &span, what));
        }
        Ok(GrpcSettings { address, tls, reflection: raw.reflection })
    }

    fn http(&self, raw: &Http) -> Result<HttpSettings, Problem> {
        let address = self.address("http.address", raw.address.as_ref(), 8642)?;
        let Some(given) = &raw.public_url else {
            let url = format!("http://localhost:{}", address.port());
            let what = "http.public_url: say how browsers reach this broker";
            let parsed = Url::parse(&url).map_err(|_| Problem::missing(self.file, what))?;
            return Ok(HttpSettings { address, public_url: parsed });
        };
        let parsed = Url::parse(given.get_ref()).ok().filter(acceptable_public_url);
        let public_url = parsed.ok_or_else(|| {
            let what = "http.public_url: use https://host, without path and query; http:// only for localhost";
            Problem::at(self.file, self.text, &given.span(), what.to_owned())
        })?;
        Ok(HttpSettings { address, public_url })
    }

    fn refresh(&self, raw: &Refresh) -> Result<RefreshSettings, Problem> {
        let usual = RefreshSettings::default();
        let wrong =
            |span, what: &str| Err(Problem::at(self.file, self.text, &span, what.to_owned()));
        let confirm_after = match &raw.confirm_after_seconds {
            Some(seconds) if *seconds.get_ref() > 3600 => {
                return wrong(seconds.span(), "refresh.confirm_after_seconds: use 0 to 3600");
            }
            Some(seconds) => Duration::from_secs(*seconds.get_ref()),
            None => usual.confirm_after,
        };
        let sane = |rate: f64| (0.1..=10_000.0).contains(&rate);
        let rate_per_app = match &raw.rate_per_app {
            Some(rate) if !sane(*rate.get_ref()) => {
                return wrong(rate.span(), "refresh.rate_per_app: use 0.1 to 10000 calls a second");
            }
            rate => rate.as_ref().map_or(usual.rate_per_app, |rate| *rate.get_ref()),
        };
        let rate_per_endpoint = match &raw.rate_per_endpoint {
            Some(rate) if !sane(*rate.get_ref()) => {
                return wrong(
                    rate.span(),
                    "refresh.rate_per_endpoint: use 0.1 to 10000 calls a second",
                );
            }
            rate => rate.as_ref().map_or(usual.rate_per_endpoint, |rate| *rate.get_ref()),
        };
        Ok(RefreshSettings { confirm_after, rate_per_app, rate_per_endpoint, ..usual })
    }

    /// Beside the database file; with a server, where systemd lets a service write, or beside the configuration.
    fn spill(&self, given: Option<&Path>, store: &store::Settings) -> PathBuf {
        match (given, store) {
            (Some(folder), _) => self.path(folder),
            (None, store::Settings::Sqlite { path }) => path.with_extension("spill"),
            (None, store::Settings::Postgres { .. }) => match (self.env)("STATE_DIRECTORY") {
                Some(state) => Path::new(&state).join("spill"),
                None => self.path(Path::new("spill")),
            },
        }
    }

    fn replica(&self, raw: Option<&Spanned<String>>) -> Result<Option<String>, Problem> {
        let Some(name) = raw else { return Ok(None) };
        let parsed = ResourceId::parse(name.get_ref()).map_err(|_| {
            let what = "replica: use 1 to 63 of a-z, 0-9 and -, a letter or digit at both ends";
            Problem::at(self.file, self.text, &name.span(), what.to_owned())
        })?;
        Ok(Some(parsed.to_string()))
    }

    fn log(&self, raw: Log) -> Result<LogSettings, Problem> {
        let json = match raw.format.as_ref().map(|format| format.get_ref().as_str()) {
            None | Some("text") => false,
            Some("json") => true,
            Some(_) => {
                let span = raw.format.map_or(0..0, |format| format.span());
                let what = "log.format: use \"text\" or \"json\"".to_owned();
                return Err(Problem::at(self.file, self.text, &span, what));
            }
        };
        Ok(LogSettings { filter: raw.filter.unwrap_or_else(|| "info".to_owned()), json })
    }

    fn drain(&self, raw: Option<Spanned<u64>>) -> Result<Duration, Problem> {
        let Some(seconds) = raw else { return Ok(Duration::from_secs(10)) };
        if *seconds.get_ref() > 300 {
            let what = "drain_seconds: use 0 to 300".to_owned();
            return Err(Problem::at(self.file, self.text, &seconds.span(), what));
        }
        Ok(Duration::from_secs(seconds.into_inner()))
    }

    fn address(
        &self,
        field: &str,
        raw: Option<&Spanned<String>>,
        port: u16,
    ) -> Result<SocketAddr, Problem> {
        let Some(given) = raw else { return Ok(SocketAddr::from(([127, 0, 0, 1], port))) };
        given.get_ref().parse().map_err(|_| {
            let what = format!("{field}: use an address and port such as \"127.0.0.1:{port}\"");
            Problem::at(self.file, self.text, &given.span(), what)
        })
    }

    pub(super) fn wrong(&self, span: &std::ops::Range<usize>, what: &str) -> Problem {
        Problem::at(self.file, self.text, span, what.to_owned())
    }

    pub(super) fn path_of_file(&self) -> &Path {
        self.file
    }

    pub(super) fn path(&self, path: &Path) -> PathBuf {
        let folder = self.file.parent().unwrap_or(Path::new("."));
        let joined = folder.join(path);
        std::path::absolute(&joined).unwrap_or(joined)
    }
}

fn acceptable_public_url(url: &Url) -> bool {
    let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let scheme_fits = url.scheme() == "https" || (url.scheme() == "http" && local);
    scheme_fits && url.path() == "/" && url.query().is_none() && url.fragment().is_none()
}
