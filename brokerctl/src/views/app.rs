//! Apps as they are shown.

use serde::Serialize;
use token_broker_client::v1;

use super::{some, word};
use crate::names;
use crate::output::{Screen, View};
use crate::when::iso;

/// An app.
#[derive(Serialize)]
pub(crate) struct AppView {
    name: String,
    id: String,
    display_name: Option<String>,
    preset: String,
    authority: Option<String>,
    client_id: String,
    client_auth_method: Option<String>,
    endpoints: Option<EndpointsView>,
    base_scopes: Vec<String>,
    extra_scopes: Vec<String>,
    skip_scopes: Vec<String>,
    mail_hosts: Vec<String>,
    return_uris: Vec<String>,
    rotation: Option<String>,
    disabled: bool,
    redirect_uri: String,
    secrets: Vec<SecretView>,
    /// `ok`, `rejected` or null if not tried yet.
    health: Option<String>,
    create_time: Option<String>,
    update_time: Option<String>,
    etag: String,
    health_time: Option<String>,
    health_code: Option<String>,
    /// Until when all brokers leave the app alone.
    retry_time: Option<String>,
    refusals: u32,
    /// Until when the broker that answers leaves the token endpoint alone.
    endpoint_retry_time: Option<String>,
    endpoint_failures: u32,
}

#[derive(Serialize)]
struct EndpointsView {
    issuer: Option<String>,
    authorization: Option<String>,
    token: Option<String>,
    revocation: Option<String>,
    userinfo: Option<String>,
    jwks: Option<String>,
}

#[derive(Serialize)]
struct SecretView {
    secret_id: String,
    active: bool,
    create_time: Option<String>,
    expire_time: Option<String>,
}

impl From<v1::App> for AppView {
    fn from(app: v1::App) -> Self {
        Self {
            id: names::id(&app.name).into(),
            client_auth_method: word(app.client_auth_method().as_str_name(), "CLIENT_AUTH_METHOD_"),
            rotation: word(app.rotation().as_str_name(), "ROTATION_"),
            health: word(app.health().as_str_name(), "APP_HEALTH_"),
            mail_hosts: app.mail_hosts.iter().map(mail_host).collect(),
            name: app.name,
            display_name: some(app.display_name),
            preset: app.preset,
            authority: some(app.authority),
            client_id: app.client_id,
            endpoints: app.endpoints.map(Into::into),
            base_scopes: app.base_scopes,
            extra_scopes: app.extra_scopes,
            skip_scopes: app.skip_scopes,
            return_uris: app.return_uris,
            disabled: app.disabled,
            redirect_uri: app.redirect_uri,
            secrets: app.secrets.into_iter().map(Into::into).collect(),
            create_time: iso(app.create_time),
            update_time: iso(app.update_time),
            etag: app.etag,
            health_time: iso(app.health_time),
            health_code: some(app.health_code),
            retry_time: iso(app.retry_time),
            refusals: app.refusals,
            endpoint_retry_time: iso(app.endpoint_retry_time),
            endpoint_failures: app.endpoint_failures,
        }
    }
}

impl From<v1::AppEndpoints> for EndpointsView {
    fn from(all: v1::AppEndpoints) -> Self {
        Self {
            issuer: some(all.issuer),
            authorization: some(all.authorization),
            token: some(all.token),
            revocation: some(all.revocation),
            userinfo: some(all.userinfo),
            jwks: some(all.jwks),
        }
    }
}

impl From<v1::AppSecret> for SecretView {
    fn from(secret: v1::AppSecret) -> Self {
        Self {
            secret_id: secret.secret_id,
            active: secret.active,
            create_time: iso(secret.create_time),
            expire_time: iso(secret.expire_time),
        }
    }
}

/// A mail server as `--mail-host` takes it.
fn mail_host(host: &v1::MailHost) -> String {
    let protocol = word(host.protocol().as_str_name(), "MAIL_PROTOCOL_").unwrap_or_default();
    let suffix = match host.tls() {
        v1::TlsMode::Implicit => "s",
        v1::TlsMode::PlainLoopback => "+plain",
        v1::TlsMode::Starttls | v1::TlsMode::Unspecified => "",
    };
    format!("{protocol}{suffix}://{}:{}", host.host, host.port)
}

impl AppView {
    fn stands(&self) -> String {
        if self.disabled { "disabled".into() } else { self.health.clone().unwrap_or_default() }
    }

    /// Since when and why its provider refuses it.
    fn refused(&self, screen: &Screen) -> String {
        let Some(since) = &self.health_time else { return String::new() };
        let code = self.health_code.clone().unwrap_or_default();
        let times = self.refusals;
        let since = screen.time(&Some(since.clone()));
        format!("{code}, {times} in a row, first {since}; a new secret: app add-secret {}", self.id)
    }

    /// Until when nobody asks, and why.
    fn paused(&self, screen: &Screen) -> String {
        let Some(_) = &self.retry_time else { return String::new() };
        let why = if self.refusals > 0 { "refused" } else { "the provider asked for silence" };
        format!("{why}; asked again {}", screen.time(&self.retry_time))
    }

    /// How its token endpoint answers, if not well.
    fn endpoint(&self, screen: &Screen) -> String {
        match (self.endpoint_failures, &self.endpoint_retry_time) {
            (0, None) => String::new(),
            (times, None) => format!("failed {times} times in a row"),
            (times, retry) => {
                format!("away, {times} failures in a row; asked again {}", screen.time(retry))
            }
        }
    }
}

impl View for AppView {
    fn draw(&self, screen: &Screen) -> String {
        let secrets = self.secrets.iter().map(|secret| {
            let use_ = if secret.active { "in use" } else { "kept" };
            let ends = secret.expire_time.as_ref().map(|_| screen.time(&secret.expire_time));
            let ends = ends.map_or_else(String::new, |ends| match ends.strip_suffix(" ago") {
                Some(ago) => format!(", ENDED {ago} ago"),
                None => format!(", ends {ends}"),
            });
            format!("{} ({use_}{ends})", secret.secret_id)
        });
        let mut scopes = self.base_scopes.clone();
        scopes.extend(self.extra_scopes.iter().map(|scope| format!("+{scope}")));
        scopes.extend(self.skip_scopes.iter().map(|scope| format!("-{scope}")));
        screen.record(&[
            ("App", self.id.clone()),
            ("Name", self.display_name.clone().unwrap_or_default()),
            ("Preset", self.preset.clone()),
            ("Authority", self.authority.clone().unwrap_or_default()),
            ("Client id", self.client_id.clone()),
            ("Health", self.stands()),
            ("Refused", self.refused(screen)),
            ("Left alone", self.paused(screen)),
            ("Token endpoint", self.endpoint(screen)),
            ("Redirect URI", self.redirect_uri.clone()),
            ("Scopes", scopes.join(" ")),
            ("Mail servers", self.mail_hosts.join("\n")),
            ("Return URIs", self.return_uris.join("\n")),
            ("Secrets", secrets.collect::<Vec<_>>().join("\n")),
            ("Made", screen.time(&self.create_time)),
            ("Changed", screen.time(&self.update_time)),
        ])
    }
}

/// All apps.
#[derive(Serialize)]
pub(crate) struct AppsView {
    apps: Vec<AppView>,
}

impl From<Vec<v1::App>> for AppsView {
    fn from(apps: Vec<v1::App>) -> Self {
        Self { apps: apps.into_iter().map(Into::into).collect() }
    }
}

impl View for AppsView {
    fn draw(&self, screen: &Screen) -> String {
        let rows = self.apps.iter().map(|app| {
            vec![app.id.clone(), app.preset.clone(), app.client_id.clone(), app.stands()]
        });
        let none = "No apps yet. Register one: brokerctl app create --help";
        screen.table(&["APP", "PRESET", "CLIENT ID", "HEALTH"], rows.collect(), none)
    }
}

/// What the provider said of an app.
#[derive(Serialize)]
pub(crate) struct VerifiedView {
    pub(crate) accepted: bool,
    pub(crate) findings: Vec<String>,
}

impl View for VerifiedView {
    fn draw(&self, _: &Screen) -> String {
        let verdict =
            if self.accepted { "The provider takes it." } else { "The provider refuses it." };
        let findings =
            self.findings.iter().map(|line| format!("\n  {}", crate::output::plain(line)));
        format!("{verdict}{}", findings.collect::<String>())
    }
}

/// The presets the broker knows.
#[derive(Serialize)]
pub(crate) struct PresetsView {
    presets: Vec<PresetView>,
}

#[derive(Serialize)]
struct PresetView {
    preset: String,
    display_name: String,
    audiences: Vec<String>,
}

impl From<Vec<v1::Preset>> for PresetsView {
    fn from(presets: Vec<v1::Preset>) -> Self {
        let view = |preset: v1::Preset| PresetView {
            preset: preset.preset,
            display_name: preset.display_name,
            audiences: preset.audiences,
        };
        Self { presets: presets.into_iter().map(view).collect() }
    }
}

impl View for PresetsView {
    fn draw(&self, screen: &Screen) -> String {
        let rows = self.presets.iter().map(|preset| {
            vec![preset.preset.clone(), preset.display_name.clone(), preset.audiences.join(" ")]
        });
        screen.table(&["PRESET", "NAME", "AUDIENCES"], rows.collect(), "No presets.")
    }
}
