//! From an app row to the provider it stands for, and to what the client shows there.
//!
//! Never calls anyone. Invariant: settings that do not make a provider are refused when they are given, so a failure here
//! is ours. Next: `refresh` and `receive_answer` call the provider with these.

use std::sync::Arc;

use crate::domain::account::Account;
use crate::domain::app::App;
use crate::domain::caller::{NotPermitted, UseAccount};
use crate::domain::mail::MailProtocol;
use crate::memory::{AppAtHand, Basis};
use crate::providers::client::ClientAuth;
use crate::providers::preset::Preset;
use crate::providers::resolved::Resolved;
use crate::service::{Error, Service};
use crate::store::Conn;

impl Service {
    /// The preset of an app.
    pub(super) fn preset(&self, app: &App) -> Result<&Preset, Error> {
        self.parts.presets.find(&app.preset).map_err(Error::ours)
    }

    /// The provider behind an app.
    pub(super) fn resolve(&self, app: &App) -> Result<Resolved, Error> {
        let preset = self.preset(app)?;
        preset.resolve(app, None, self.parts.providers.addresses()).map_err(Error::ours)
    }

    /// The provider behind an account: where sign-in told the tenant, pinned to it.
    pub(super) fn resolve_for(&self, app: &App, account: &Account) -> Result<Resolved, Error> {
        let pinned = Some(account.authority.as_str());
        let addresses = self.parts.providers.addresses();
        self.preset(app)?.resolve(app, pinned, addresses).map_err(Error::ours)
    }

    /// What the client shows at the token endpoint.
    pub(super) async fn client_auth(&self, app: &App) -> Result<ClientAuth, Error> {
        self.client_auth_on(&mut self.read().await?, app).await
    }

    /// The same over a connection that is at hand.
    pub(super) async fn client_auth_on(
        &self,
        conn: &mut Conn,
        app: &App,
    ) -> Result<ClientAuth, Error> {
        let secret = self.client_secret(conn, app.id).await?;
        Ok(ClientAuth { client_id: app.client_id.clone(), secret })
    }

    /// The provider behind an account of a remembered app.
    pub(super) fn known_provider(
        &self,
        app: &AppAtHand,
        account: &Account,
    ) -> Result<Arc<Resolved>, Error> {
        app.provider(&account.authority, || self.resolve_for(&app.app, account))
    }

    /// The target that grants all of `scopes`.
    pub(super) async fn audience_for(
        &self,
        account: &Account,
        scopes: &[String],
        basis: &mut Basis,
    ) -> Result<String, Error> {
        let app = self.known_app(account.app).await?;
        basis.see(&app);
        let provider = self.resolve(&app.app)?;
        let grants_all = |target: &[String]| scopes.iter().all(|scope| target.contains(scope));
        let mut targets = provider.targets.iter();
        let found = targets.find(|(_, target)| grants_all(&target.scopes));
        found.map(|(name, _)| name.clone()).ok_or_else(|| {
            Error::invalid("scopes", "no target of this account's provider grants all of them")
        })
    }

    /// Refuses a target with scopes beyond the permit, before a provider is asked for them. What a token really has is
    /// compared again when it is there.
    pub(super) async fn check_scopes(
        &self,
        permit: &UseAccount,
        account: &Account,
        basis: &mut Basis,
    ) -> Result<(), Error> {
        if !permit.scopes().is_limited() {
            return Ok(());
        }
        let app = self.known_app(account.app).await?;
        basis.see(&app);
        let provider = self.known_provider(&app, account)?;
        let known = provider.targets.get(permit.audience()).map(|target| target.scopes.as_slice());
        match known.unwrap_or_default() {
            [] => Ok(()),
            scopes if permit.scopes().allows(scopes) => Ok(()),
            _ => Err(NotPermitted.into()),
        }
    }

    /// Refuses a target that the provider does not have.
    pub(super) fn check_target(&self, provider: &Resolved, audience: &str) -> Result<(), Error> {
        if provider.targets.contains_key(audience) {
            return Ok(());
        }
        let remedy = format!("the provider of this account has no target {audience:?}");
        Err(Error::invalid("audience", remedy))
    }

    /// The target whose tokens log in over `protocol`.
    pub(super) fn audience_of(provider: &Resolved, protocol: MailProtocol) -> Option<String> {
        let mut targets = provider.targets.iter();
        let found = targets.find(|(_, target)| target.protocols.contains(&protocol));
        found.map(|(name, _)| name.clone())
    }
}
