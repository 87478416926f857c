//! Who consented, and whether that is who was meant to (promise P6).
//!
//! Never takes the e-mail claim for an identity: the subject is; the address only has to fit the one that is expected, and
//! `proof` shows that the token opens that mailbox. Invariant: whoever is refused here has the fresh grant given back.
//! Next: `finish_consent`.

use crate::domain::app::App;
use crate::domain::consent::Consent;
use crate::domain::ids::Mailbox;
use crate::domain::provider::{Identity, Issued};
use crate::domain::secret::Secret;
use crate::providers::client::TokenKind;
use crate::providers::id_token;
use crate::providers::resolved::Resolved;
use crate::service::finish_consent::Pending;
use crate::service::open_consent::consent_target;
use crate::service::{Error, Service, places};

impl Service {
    /// Turns the provider's answer into a grant that waits for its account, or gives it back.
    pub(super) async fn identify(
        &self,
        consent: &Consent,
        app: &App,
        provider: &Resolved,
        issued: Issued,
    ) -> Result<Pending, Error> {
        let (refresh_token, access_token) =
            (issued.refresh_token.clone(), issued.access_token.clone());
        let outcome = self.judge(consent, app, provider, issued).await;
        if outcome.is_err() {
            let token = refresh_token.map(|token| (token, TokenKind::Refresh));
            let token = token.or(access_token.map(|token| (token, TokenKind::Access)));
            self.give_back(app, provider, token).await;
        }
        outcome
    }

    async fn judge(
        &self,
        consent: &Consent,
        app: &App,
        provider: &Resolved,
        issued: Issued,
    ) -> Result<Pending, Error> {
        let preset = self.preset(app)?;
        let refuse = |words: String| Error::ConsentNotUsable(words);
        let (Some(access_token), Some(refresh_token)) =
            (issued.access_token.clone(), issued.refresh_token.clone())
        else {
            let words = "The provider gave no lasting permission. Nothing was stored. \
                         The operator has to check the app's scopes.";
            return Err(refuse(words.to_owned()));
        };
        let target = consent_target(provider);
        if let Some(missing) = missing_scope(provider, &target, &issued) {
            return Err(refuse(format!(
                "You did not allow everything that is needed: {missing} is missing."
            )));
        }
        let identity = self.identity(consent, provider, &issued, &access_token).await?;
        let mailbox = self.mailbox_of(consent, identity.as_ref())?;
        let named_by_provider = identity.as_ref().is_some_and(|it| it.mailbox.is_some());
        let pinned = identity.as_ref().and_then(|it| it.tenant.as_deref());
        Ok(Pending {
            mailbox,
            named_by_provider,
            subject: identity.as_ref().map(Identity::account_subject).unwrap_or_default(),
            authority: pinned.and_then(|tid| preset.pinned_authority(tid)).unwrap_or_default(),
            audience: target,
            access_token,
            refresh_token,
            issued,
        })
    }

    async fn identity(
        &self,
        consent: &Consent,
        provider: &Resolved,
        issued: &Issued,
        access_token: &Secret,
    ) -> Result<Option<Identity>, Error> {
        let refuse = |words: &str| Error::ConsentNotUsable(words.to_owned());
        // Who asks for an ID token and can check one must not do without: leaving it out would be the simplest forgery.
        let asked = provider.consent_scopes(&[]).iter().any(|scope| scope == "openid");
        let checkable = provider.urls.jwks.is_some();
        let id_token = match &issued.id_token {
            Some(id_token) if checkable => id_token,
            None if asked && checkable => {
                return Err(refuse(
                    "The provider does not say who you are. Nothing was stored; try again.",
                ));
            }
            _ => return Ok(None),
        };
        let sealed = consent.nonce.as_ref().ok_or_else(|| refuse("The request is incomplete."))?;
        let nonce = self.parts.sealer.open(&places::nonce(consent.id), sealed)?;
        let verified =
            self.parts.providers.verify_id_token(provider, id_token, nonce.expose()).await;
        let mut identity = verified.map_err(|error| {
            tracing::warn!(consent = %consent.name, %error, "an ID token was refused");
            refuse(
                "We could not verify who you are at the provider. Nothing was stored; try again.",
            )
        })?;
        if identity.mailbox.is_none() && provider.identity.userinfo_for_mailbox {
            identity.mailbox = self.mailbox_from_userinfo(provider, access_token, &identity).await;
        }
        Ok(Some(identity))
    }

    /// The mailbox the userinfo endpoint names, if it speaks of the same user (OpenID Connect Core section 5.3.2).
    async fn mailbox_from_userinfo(
        &self,
        provider: &Resolved,
        access_token: &Secret,
        identity: &Identity,
    ) -> Option<String> {
        let claims = self.parts.providers.userinfo(provider, access_token).await.ok()?;
        let same =
            claims.get("sub").and_then(|sub| sub.as_str()) == Some(identity.subject.as_str());
        if same { id_token::mailbox(&provider.identity, &claims) } else { None }
    }

    /// The mailbox this consent is for; refused if the provider names another.
    fn mailbox_of(&self, consent: &Consent, identity: Option<&Identity>) -> Result<Mailbox, Error> {
        let named = identity.and_then(|it| it.mailbox.as_deref());
        let named = named.and_then(|address| Mailbox::parse(address).ok());
        match (consent.expected_mailbox.clone(), named) {
            (Some(expected), Some(named)) if expected != named => {
                Err(Error::ConsentNotUsable(format!(
                    "You signed in as {named}, but this link is for {expected}. Nothing was stored. \
                     Sign out at the provider and open the link again."
                )))
            }
            (Some(expected), _) => Ok(expected),
            (None, Some(named)) => Ok(named),
            (None, None) => Err(Error::ConsentNotUsable(
                "The provider does not say which mailbox this is. Start again with the mailbox named."
                    .to_owned(),
            )),
        }
    }

    /// Gives a grant back that nobody will use. What cannot be given back ends by itself at the provider.
    pub(super) async fn give_back(
        &self,
        app: &App,
        provider: &Resolved,
        token: Option<(Secret, TokenKind)>,
    ) {
        let Some((token, kind)) = token else { return };
        let Ok(auth) = self.client_auth(app).await else { return };
        if let Err(refused) = self.parts.providers.revoke(provider, &auth, &token, kind).await {
            tracing::warn!(app = %app.name, code = %refused.code, "an unused grant could not be given back");
        }
    }
}

/// A scope of the target that was asked for and not granted. A provider that names no scopes granted them all; where the
/// preset knows no scopes for the target, the app's own are what it needs.
fn missing_scope(provider: &Resolved, target: &str, issued: &Issued) -> Option<String> {
    let granted = issued.scopes.as_ref()?;
    let known = &provider.targets.get(target)?.scopes;
    let wanted = if known.is_empty() { &provider.extra_scopes } else { known };
    wanted.iter().find(|scope| !granted.iter().any(|one| one.eq_ignore_ascii_case(scope))).cloned()
}
