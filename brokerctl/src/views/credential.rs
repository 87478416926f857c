//! Proxy credentials as they are shown.

use serde::Serialize;
use token_broker_client::v1;

use super::{protocols, some, word};
use crate::names;
use crate::output::{Screen, View};
use crate::when::iso;

/// A credential, without its secret.
#[derive(Serialize)]
pub(crate) struct CredentialView {
    pub(crate) name: String,
    id: String,
    account: String,
    description: Option<String>,
    protocols: Vec<String>,
    ip_ranges: Vec<String>,
    /// 0: no limit.
    max_sessions: u32,
    /// 0: no limit.
    max_logins_per_minute: u32,
    login_names: Vec<String>,
    /// `active`, `rotating`, `expired`, `revoked`.
    state: Option<String>,
    expire_time: Option<String>,
    last_use_time: Option<String>,
    last_use_address: Option<String>,
    successor: Option<String>,
    create_time: Option<String>,
    etag: String,
}

impl From<v1::Credential> for CredentialView {
    fn from(credential: v1::Credential) -> Self {
        let account = credential.name.split("/credentials/").next().unwrap_or_default();
        Self {
            id: names::id(&credential.name).into(),
            account: account.into(),
            protocols: protocols(credential.protocols()),
            state: word(credential.state().as_str_name(), "CREDENTIAL_STATE_"),
            name: credential.name,
            description: some(credential.description),
            ip_ranges: credential.ip_ranges,
            max_sessions: credential.max_sessions,
            max_logins_per_minute: credential.max_logins_per_minute,
            login_names: credential.login_names,
            expire_time: iso(credential.expire_time),
            last_use_time: iso(credential.last_use_time),
            last_use_address: some(credential.last_use_address),
            successor: some(credential.successor),
            create_time: iso(credential.create_time),
            etag: credential.etag,
        }
    }
}

impl CredentialView {
    fn limits(&self) -> String {
        let part = |count: u32, what: &str| (count > 0).then(|| format!("{count} {what}"));
        let parts = [
            part(self.max_sessions, "sessions"),
            part(self.max_logins_per_minute, "logins a minute"),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    fn last_use(&self, screen: &Screen) -> String {
        let when = screen.time(&self.last_use_time);
        match &self.last_use_address {
            Some(address) => format!("{when} from {address}"),
            None => when,
        }
    }
}

impl View for CredentialView {
    fn draw(&self, screen: &Screen) -> String {
        screen.record(&[
            ("Credential", self.id.clone()),
            ("Account", names::id(&self.account).into()),
            ("Description", self.description.clone().unwrap_or_default()),
            ("Login name", self.login_names.join("\n")),
            ("Protocols", self.protocols.join(" ")),
            ("From", self.ip_ranges.join(" ")),
            ("Limits", self.limits()),
            ("State", self.state.clone().unwrap_or_default()),
            ("Ends", screen.time(&self.expire_time)),
            ("Last use", self.last_use(screen)),
            ("Successor", self.successor.as_deref().map(names::id).unwrap_or_default().into()),
            ("Made", screen.time(&self.create_time)),
        ])
    }
}

/// All credentials.
#[derive(Serialize)]
pub(crate) struct CredentialsView {
    credentials: Vec<CredentialView>,
}

impl From<Vec<v1::Credential>> for CredentialsView {
    fn from(credentials: Vec<v1::Credential>) -> Self {
        Self { credentials: credentials.into_iter().map(Into::into).collect() }
    }
}

impl View for CredentialsView {
    fn draw(&self, screen: &Screen) -> String {
        let rows = self.credentials.iter().map(|one| {
            vec![
                one.id.clone(),
                names::id(&one.account).into(),
                one.description.clone().unwrap_or_default(),
                one.protocols.join(" "),
                one.state.clone().unwrap_or_default(),
                screen.time(&one.expire_time),
                one.last_use(screen),
            ]
        });
        let heading =
            ["CREDENTIAL", "ACCOUNT", "DESCRIPTION", "PROTOCOLS", "STATE", "ENDS", "LAST USE"];
        let none = "No credentials. Make one: brokerctl credential create ACCOUNT";
        screen.table(&heading, rows.collect(), none)
    }
}

/// A credential after rotation: the successor, and what it replaces.
#[derive(Serialize)]
pub(crate) struct RotatedView {
    #[serde(flatten)]
    pub(crate) credential: CredentialView,
    pub(crate) previous: Option<CredentialView>,
}

impl View for RotatedView {
    fn draw(&self, screen: &Screen) -> String {
        let new = self.credential.draw(screen);
        match &self.previous {
            Some(old) => {
                let ends = screen.time(&old.expire_time);
                let ends =
                    if ends.is_empty() { "works no more".into() } else { format!("ends {ends}") };
                format!("{new}\n\nThe old one, {}, {ends}.", old.id)
            }
            None => new,
        }
    }
}
