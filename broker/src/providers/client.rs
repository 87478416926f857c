//! The verbs of a provider: discover, ask for consent, exchange, refresh, revoke, look, verify.
//!
//! Never retries and keeps nothing but key sets. Invariant: one call is at most one request (discovery: two), and every
//! failure comes out classified. Next: `service` decides what to do about it; [`id_token`](super::id_token) checks who consented.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oauth2::{
    AuthorizationCode, CsrfToken, HttpRequest, PkceCodeChallenge, PkceCodeVerifier, RefreshToken,
    Scope,
};
use serde_json::{Map, Value};
use url::Url;

use crate::clock::Clock;
use crate::domain::app::ClientAuthMethod;
use crate::domain::provider::Issued;
use crate::domain::refusal::{ErrorTables, Reached, RefusalClass, Refused};
use crate::domain::secret::Secret;
use crate::entropy::Entropy;
use crate::providers::address::AddressRule;
use crate::providers::answer::Reading;
use crate::providers::discovery::{self, Discovered, DiscoveryError};
use crate::providers::keys::KeyCache;
use crate::providers::request::{
    asker, form, get, method, no_endpoint, redirect, taken, target_scopes,
};
use crate::providers::resolved::Resolved;
use crate::providers::wire::{Answer, Wire, WireError};

/// A consent request.
#[derive(Clone, Copy, Debug)]
pub struct AuthorizeRequest<'a> {
    /// Where the browser comes back, exactly as registered.
    pub redirect_uri: &'a str,
    /// One-use value bound to the browser.
    pub state: &'a str,
    /// Comes back inside the ID token.
    pub nonce: &'a str,
    /// The verifier whose S256 challenge is sent; see [`pkce`](super::pkce).
    pub verifier: &'a Secret,
    /// Names of the targets to be served.
    pub targets: &'a [String],
    /// The mailbox expected to consent.
    pub login_hint: Option<&'a str>,
    /// Wins over the preset's `prompt`.
    pub prompt: Option<&'a str>,
}

/// An app's proof of itself. One client id may have several secrets; one is tried at a time.
#[derive(Clone, Debug)]
pub struct ClientAuth {
    /// The client id.
    pub client_id: String,
    /// The secret; absent for a public client.
    pub secret: Option<Secret>,
}

/// A code that came back to the callback.
#[derive(Clone, Copy, Debug)]
pub struct CodeGrant<'a> {
    /// The code.
    pub code: &'a Secret,
    /// The verifier of the request.
    pub verifier: &'a Secret,
    /// The redirect URI of the request, the same bytes.
    pub redirect_uri: &'a str,
    /// The target whose token is redeemed first.
    pub target: &'a str,
}

/// What kind of token is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A refresh token; its access tokens should die with it.
    Refresh,
    /// An access token.
    Access,
}

impl TokenKind {
    const fn hint(self) -> &'static str {
        match self {
            Self::Refresh => "refresh_token",
            Self::Access => "access_token",
        }
    }
}

/// What a harmless request told about an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientVerdict {
    /// The provider accepted id and secret.
    Accepted,
    /// The provider refuses the client.
    Rejected(Refused),
    /// It cannot be told from this answer.
    Unclear(Refused),
}

/// Speaks to providers. Clones share connections and key sets.
#[derive(Clone, Debug)]
pub struct ProviderClient {
    pub(super) wire: Wire,
    pub(super) clock: Clock,
    pub(super) keys: Arc<KeyCache>,
}

impl ProviderClient {
    /// A client over this wire.
    pub fn new(wire: Wire, clock: Clock) -> Self {
        Self { wire, clock, keys: Arc::default() }
    }

    /// Which addresses it calls.
    pub fn addresses(&self) -> AddressRule {
        self.wire.addresses()
    }

    /// Asks an issuer for its metadata: RFC 8414 first, then OpenID Connect.
    ///
    /// # Errors
    /// Neither place has metadata of exactly this issuer with endpoints we may call.
    pub async fn discover(&self, issuer: &str) -> Result<Discovered, DiscoveryError> {
        let [oauth, openid] = discovery::locations(issuer)?;
        // The second place has more to tell; the first one's fault is forgotten unless it is the only one.
        match self.metadata(issuer, &oauth).await {
            Ok(found) if !found.endpoints.jwks.is_empty() => Ok(found),
            Ok(found) => Ok(self.metadata(issuer, &openid).await.unwrap_or(found)),
            Err(_) => self.metadata(issuer, &openid).await,
        }
    }

    async fn metadata(&self, issuer: &str, at: &Url) -> Result<Discovered, DiscoveryError> {
        let tables = ErrorTables::default();
        let reading = Reading::of(&tables, &[]);
        let answer = self.ask(get(at, None)).await;
        let document = reading.document(answer).map_err(DiscoveryError::Unreachable)?;
        let found = discovery::read(issuer, &document)?;
        for (field, text) in discovery::each(&found.endpoints) {
            let url = Url::parse(text).map_err(|_| DiscoveryError::NotUrl(field))?;
            let checked = self.wire.addresses().check(&url);
            checked.map_err(|why| DiscoveryError::Refused { field, why })?;
        }
        Ok(found)
    }

    async fn ask(&self, request: Result<HttpRequest, WireError>) -> Result<Answer, WireError> {
        self.wire.send(request?).await
    }

    /// The URL to send the browser to. Pure.
    ///
    /// # Errors
    /// `redirect_uri` is not a URL, as [`RefusalClass::AppBroken`].
    pub fn authorize_url(
        &self,
        provider: &Resolved,
        request: &AuthorizeRequest<'_>,
    ) -> Result<Url, Refused> {
        let client =
            asker(provider, &ClientAuth { client_id: provider.client_id.clone(), secret: None })
                .set_redirect_uri(redirect(request.redirect_uri)?);
        let verifier = PkceCodeVerifier::new(request.verifier.expose().to_owned());
        let scopes = provider.consent_scopes(request.targets).join(&provider.scope_separator);
        let mut ask = client
            .authorize_url(|| CsrfToken::new(request.state.to_owned()))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .add_extra_param("nonce", request.nonce);
        if !scopes.is_empty() {
            ask = ask.add_scope(Scope::new(scopes));
        }
        let hint_instead =
            provider.authorize.login_hint_replaces_prompt && request.login_hint.is_some();
        for (name, value) in &provider.authorize.params {
            let prompt = name == "prompt" && (request.prompt.is_some() || hint_instead);
            if !prompt {
                ask = ask.add_extra_param(name, value);
            }
        }
        for (name, value) in [("prompt", request.prompt), ("login_hint", request.login_hint)] {
            if let Some(value) = value {
                ask = ask.add_extra_param(name, value);
            }
        }
        Ok(ask.url().0)
    }

    /// Redeems a code (RFC 6749 section 4.1.3, RFC 7636 section 4.5). A code works once: never repeat this.
    ///
    /// # Errors
    /// The refusal, classified.
    pub async fn exchange_code(
        &self,
        provider: &Resolved,
        auth: &ClientAuth,
        grant: &CodeGrant<'_>,
    ) -> Result<Issued, Refused> {
        let client = asker(provider, auth).set_redirect_uri(redirect(grant.redirect_uri)?);
        let mut ask = client
            .exchange_code(AuthorizationCode::new(grant.code.expose().to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(grant.verifier.expose().to_owned()));
        if provider.refresh.send_scope {
            ask = ask.add_extra_param("scope", target_scopes(provider, grant.target, |_| true)?);
        }
        let answer = taken(ask.request_async(&self.wire).await);
        issued(provider, answer, &[grant.code, grant.verifier], auth)
    }

    /// Spends a refresh token (RFC 6749 section 6) for a token of `target`.
    ///
    /// # Errors
    /// The refusal, classified; [`Refused::reached`] says whether the token can have been spent.
    pub async fn refresh(
        &self,
        provider: &Resolved,
        auth: &ClientAuth,
        refresh_token: &Secret,
        target: &str,
    ) -> Result<Issued, Refused> {
        let client = asker(provider, auth);
        let token = RefreshToken::new(refresh_token.expose().to_owned());
        let mut ask = client.exchange_refresh_token(&token);
        if provider.refresh.send_scope {
            ask = ask.add_scope(Scope::new(target_scopes(provider, target, |base| {
                base == "offline_access"
            })?));
        }
        // Without HTTP Basic it stands in the form already.
        if provider.refresh.client_id_in_form && method(provider, auth) == ClientAuthMethod::Basic {
            ask = ask.add_extra_param("client_id", &auth.client_id);
        }
        let answer = taken(ask.request_async(&self.wire).await);
        issued(provider, answer, &[refresh_token], auth)
    }

    /// Revokes a token at the provider (RFC 7009). An unknown token is a success there.
    ///
    /// # Errors
    /// The refusal; `no_endpoint` where the provider has no revocation.
    pub async fn revoke(
        &self,
        provider: &Resolved,
        auth: &ClientAuth,
        token: &Secret,
        kind: TokenKind,
    ) -> Result<(), Refused> {
        let url = provider.urls.revocation.as_ref().ok_or_else(|| no_endpoint("revocation"))?;
        let pairs = [("token", token.expose()), ("token_type_hint", kind.hint())];
        let answer = self.ask(form(url, provider, auth, &pairs)).await;
        let sent: Vec<&Secret> = auth.secret.iter().chain([token]).collect();
        reading(provider, &sent).accepted(answer)
    }

    /// Asks who an access token belongs to (OpenID Connect Core section 5.3). The claims are the provider's, unsigned.
    ///
    /// # Errors
    /// The refusal; `no_endpoint` where there is none.
    pub async fn userinfo(
        &self,
        provider: &Resolved,
        access_token: &Secret,
    ) -> Result<Map<String, Value>, Refused> {
        let url = provider.urls.userinfo.as_ref().ok_or_else(|| no_endpoint("userinfo"))?;
        let answer = self.ask(get(url, Some(access_token))).await;
        reading(provider, &[access_token]).document(answer)
    }

    /// Tells a bad client from a good one by spending a made-up refresh token: a good client gets `invalid_grant`.
    pub async fn verify_client(
        &self,
        provider: &Resolved,
        auth: &ClientAuth,
        entropy: &Entropy,
    ) -> ClientVerdict {
        let made_up = Secret::new(URL_SAFE_NO_PAD.encode(entropy.bytes::<32>()));
        let target = provider.targets.keys().next().cloned().unwrap_or_default();
        let Err(refused) = self.refresh(provider, auth, &made_up, &target).await else {
            return ClientVerdict::Accepted;
        };
        match (refused.class, refused.code.as_str()) {
            (class, _) if class.concerns_account() => ClientVerdict::Accepted,
            // The complaint may be about the made-up token itself, before the client was looked at.
            (RefusalClass::AppBroken, code)
                if !["invalid_request", "invalid_grant"].contains(&code)
                    && refused.reached == Reached::Answered =>
            {
                ClientVerdict::Rejected(refused)
            }
            _ => ClientVerdict::Unclear(refused),
        }
    }
}

fn issued(
    provider: &Resolved,
    answer: Result<Answer, WireError>,
    sent: &[&Secret],
    auth: &ClientAuth,
) -> Result<Issued, Refused> {
    let sent: Vec<&Secret> = auth.secret.iter().chain(sent.iter().copied()).collect();
    reading(provider, &sent).issued(answer)
}

fn reading<'a>(provider: &'a Resolved, sent: &'a [&'a Secret]) -> Reading<'a> {
    Reading {
        separator: &provider.scope_separator,
        ends_together: provider.refresh.ends_with_access_token,
        ..Reading::of(&provider.errors, sent)
    }
}
