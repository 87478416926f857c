//! What `app create` and `app update` both take, and which fields of the contract they fill.
//!
//! Invariant: a field is changed only if its flag was given or `--clear` names it.

use clap::{Args, ValueEnum};
use token_broker_client::v1::{App, AppEndpoints, ClientAuthMethod, MailHost, Rotation};

use super::words::mail_host;

/// The fields of an app that may change.
#[derive(Args, Debug, Default)]
pub(crate) struct AppFields {
    /// A name for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) display_name: Option<String>,
    /// How the client shows its secret; the preset knows
    #[arg(long, value_enum, value_name = "HOW")]
    pub(crate) client_auth: Option<ClientAuth>,
    /// A scope instead of the preset's; repeat for more
    #[arg(long = "scope", value_name = "SCOPE")]
    base_scopes: Vec<String>,
    /// A scope on top of the preset's; repeat for more
    #[arg(long = "extra-scope", value_name = "SCOPE")]
    extra_scopes: Vec<String>,
    /// A scope of the preset to leave out; repeat for more
    #[arg(long = "skip-scope", value_name = "SCOPE")]
    skip_scopes: Vec<String>,
    /// A mail server instead of the preset's, such as imaps://HOST:993 (TLS) or smtp://HOST:587 (STARTTLS); repeat
    /// for more
    #[arg(long = "mail-host", value_name = "URL", value_parser = mail_host)]
    mail_hosts: Vec<MailHost>,
    /// Where browsers may be sent after a consent an application started, exactly; repeat for more
    #[arg(long = "return-uri", value_name = "URL")]
    return_uris: Vec<String>,
    /// What a refresh does to the refresh token; the preset knows
    #[arg(long, value_enum, value_name = "WHAT")]
    rotation: Option<RotationWord>,
    #[command(flatten)]
    endpoints: Endpoints,
}

/// A `custom` provider's endpoints.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "For the preset `custom`")]
struct Endpoints {
    /// The issuer
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// Where the owner consents
    #[arg(long, value_name = "URL")]
    authorization_endpoint: Option<String>,
    /// Where tokens come from
    #[arg(long, value_name = "URL")]
    token_endpoint: Option<String>,
    /// Where tokens are given back
    #[arg(long, value_name = "URL")]
    revocation_endpoint: Option<String>,
    /// Who the owner is
    #[arg(long, value_name = "URL")]
    userinfo_endpoint: Option<String>,
    /// The keys of ID tokens
    #[arg(long, value_name = "URL")]
    jwks_endpoint: Option<String>,
}

/// As the contract's ClientAuthMethod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClientAuth {
    /// HTTP Basic
    Basic,
    /// In the form
    Post,
    /// A public client without secret
    None,
}

/// As the contract's Rotation.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum RotationWord {
    /// No new one comes
    None,
    /// A new one comes, the old one stays valid
    Replace,
    /// A new one comes, the old one stays valid for a short time
    Grace,
    /// A new one comes, the old one is dead at once
    Strict,
}

/// A list that can be emptied.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Clearable {
    /// The name for people
    DisplayName,
    /// Back to the preset's scopes
    Scopes,
    /// No scopes on top
    ExtraScopes,
    /// No scopes left out
    SkipScopes,
    /// Back to the preset's mail servers
    MailHosts,
    /// No applications
    ReturnUris,
}

impl Clearable {
    /// The contract's field.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::DisplayName => "display_name",
            Self::Scopes => "base_scopes",
            Self::ExtraScopes => "extra_scopes",
            Self::SkipScopes => "skip_scopes",
            Self::MailHosts => "mail_hosts",
            Self::ReturnUris => "return_uris",
        }
    }
}

impl AppFields {
    /// Puts what was given into `app`. Returns the contract's names of these fields.
    pub(crate) fn fill(self, app: &mut App) -> Vec<&'static str> {
        let mut filled = Vec::new();
        if let Some(name) = self.display_name {
            app.display_name = name;
            filled.push("display_name");
        }
        if let Some(how) = self.client_auth {
            app.client_auth_method = ClientAuthMethod::from(how).into();
            filled.push("client_auth_method");
        }
        if let Some(rotation) = self.rotation {
            app.rotation = Rotation::from(rotation).into();
            filled.push("rotation");
        }
        put(&mut app.base_scopes, self.base_scopes, "base_scopes", &mut filled);
        put(&mut app.extra_scopes, self.extra_scopes, "extra_scopes", &mut filled);
        put(&mut app.skip_scopes, self.skip_scopes, "skip_scopes", &mut filled);
        put(&mut app.mail_hosts, self.mail_hosts, "mail_hosts", &mut filled);
        put(&mut app.return_uris, self.return_uris, "return_uris", &mut filled);
        if self.endpoints.fill(&mut app.endpoints) {
            filled.push("endpoints");
        }
        filled
    }
}

impl Endpoints {
    /// Lays what was given over `into`. False if nothing was given.
    fn fill(self, into: &mut Option<AppEndpoints>) -> bool {
        let mut any = false;
        let mut all = into.take().unwrap_or_default();
        for (slot, given) in [
            (&mut all.issuer, self.issuer),
            (&mut all.authorization, self.authorization_endpoint),
            (&mut all.token, self.token_endpoint),
            (&mut all.revocation, self.revocation_endpoint),
            (&mut all.userinfo, self.userinfo_endpoint),
            (&mut all.jwks, self.jwks_endpoint),
        ] {
            if let Some(url) = given {
                *slot = url;
                any = true;
            }
        }
        *into = any.then_some(all);
        any
    }
}

fn put<T>(slot: &mut Vec<T>, given: Vec<T>, path: &'static str, filled: &mut Vec<&'static str>) {
    if !given.is_empty() {
        *slot = given;
        filled.push(path);
    }
}

impl From<ClientAuth> for ClientAuthMethod {
    fn from(how: ClientAuth) -> Self {
        match how {
            ClientAuth::Basic => Self::Basic,
            ClientAuth::Post => Self::Post,
            ClientAuth::None => Self::None,
        }
    }
}

impl From<RotationWord> for Rotation {
    fn from(word: RotationWord) -> Self {
        match word {
            RotationWord::None => Self::None,
            RotationWord::Replace => Self::Replace,
            RotationWord::Grace => Self::Grace,
            RotationWord::Strict => Self::Strict,
        }
    }
}
