//! How requests are formed: by the `oauth2` crate where it has words for them, else by us.
//!
//! Never sends anything. Invariant: a secret is sent only to a provider that takes one, by the method it takes.
//! Next: [`wire`](super::wire).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use oauth2::basic::BasicClient;
use oauth2::{
    AuthType, AuthUrl, ClientId, ClientSecret, EndpointNotSet, EndpointSet, HttpRequest,
    RedirectUrl, RequestTokenError, TokenUrl,
};
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use crate::domain::app::ClientAuthMethod;
use crate::domain::refusal::{Reached, RefusalClass, Refused};
use crate::domain::secret::Secret;
use crate::providers::client::ClientAuth;
use crate::providers::resolved::Resolved;
use crate::providers::wire::{Answer, Taken, WireError};

/// The shape of `oauth2`'s client that we use, as one name.
pub(super) type Asker =
    BasicClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

/// The `oauth2` client for one app: it forms the requests that RFC 6749 and RFC 7636 describe.
pub(super) fn asker(provider: &Resolved, auth: &ClientAuth) -> Asker {
    let method = method(provider, auth);
    let kind = match method {
        ClientAuthMethod::Basic => AuthType::BasicAuth,
        ClientAuthMethod::Post | ClientAuthMethod::None => AuthType::RequestBody,
    };
    let client = BasicClient::new(ClientId::new(auth.client_id.clone()))
        .set_auth_uri(AuthUrl::from_url(provider.urls.authorization.clone()))
        .set_token_uri(TokenUrl::from_url(provider.urls.token.clone()))
        .set_auth_type(kind);
    match &auth.secret {
        Some(secret) if method != ClientAuthMethod::None => {
            client.set_client_secret(ClientSecret::new(secret.expose().to_owned()))
        }
        _ => client,
    }
}

/// What [`Wire`](super::wire::Wire) brought; the crate adds errors of its own only where it cannot form the request.
pub(super) fn taken<T, E: oauth2::ErrorResponse>(
    result: Result<T, RequestTokenError<Taken, E>>,
) -> Result<Answer, WireError> {
    match result {
        Err(RequestTokenError::Request(Taken(answer))) => answer,
        _ => Err(WireError::Malformed),
    }
}

/// The scopes of one target and, of the base scopes, which belong to no resource, those `wanted`.
pub(super) fn target_scopes(
    provider: &Resolved,
    name: &str,
    wanted: fn(&str) -> bool,
) -> Result<String, Refused> {
    let target = provider.targets.get(name).ok_or_else(|| {
        let words = "the app has no target of that name";
        Refused::ours(RefusalClass::AppBroken, "unknown_target", words, Reached::Never)
    })?;
    let base = provider.authorize.base_scopes.iter().filter(|scope| wanted(scope));
    let scopes: Vec<&str> = target.scopes.iter().chain(base).map(String::as_str).collect();
    Ok(scopes.join(&provider.scope_separator))
}

pub(super) fn redirect(uri: &str) -> Result<RedirectUrl, Refused> {
    RedirectUrl::new(uri.to_owned()).map_err(|_| {
        Refused::ours(
            RefusalClass::AppBroken,
            "bad_redirect_uri",
            "the redirect URI is not a URL",
            Reached::Never,
        )
    })
}

/// The refusal of a verb that the provider does not have.
pub(super) fn no_endpoint(which: &str) -> Refused {
    let words = format!("the provider has no {which} endpoint");
    Refused::ours(RefusalClass::AppBroken, "no_endpoint", &words, Reached::Never)
}

/// The first method of the provider that fits: without a secret only the public one.
pub(super) fn method(provider: &Resolved, auth: &ClientAuth) -> ClientAuthMethod {
    let wants =
        |method: &&ClientAuthMethod| auth.secret.is_some() == (**method != ClientAuthMethod::None);
    // A public-only provider refuses a secret, so it stays at home.
    provider.client_auth.iter().find(wants).copied().unwrap_or(ClientAuthMethod::None)
}

/// A form post with client authentication, for what `oauth2` cannot say.
pub(super) fn form(
    url: &Url,
    provider: &Resolved,
    auth: &ClientAuth,
    pairs: &[(&str, &str)],
) -> Result<HttpRequest, WireError> {
    let mut body = Serializer::new(String::new());
    body.extend_pairs(pairs);
    let mut request = http::Request::post(url.as_str())
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    match (method(provider, auth), &auth.secret) {
        (ClientAuthMethod::Basic, Some(secret)) => {
            request = request.header(AUTHORIZATION, basic(&auth.client_id, secret));
        }
        (ClientAuthMethod::Post, Some(secret)) => {
            body.append_pair("client_id", &auth.client_id)
                .append_pair("client_secret", secret.expose());
        }
        _ => {
            body.append_pair("client_id", &auth.client_id);
        }
    }
    request.body(body.finish().into_bytes()).map_err(|_| WireError::Malformed)
}

/// HTTP Basic with both parts form-encoded first (RFC 6749 section 2.3.1).
fn basic(client_id: &str, secret: &Secret) -> String {
    let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(client_id), encode(secret.expose()));
    format!("Basic {}", STANDARD.encode(pair))
}

/// A plain read, with a bearer token where one is given.
pub(super) fn get(url: &Url, bearer: Option<&Secret>) -> Result<HttpRequest, WireError> {
    let mut request = http::Request::get(url.as_str()).header(ACCEPT, "application/json");
    if let Some(token) = bearer {
        request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose()));
    }
    request.body(Vec::new()).map_err(|_| WireError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_and_secret_are_form_encoded_before_they_are_joined() {
        let secret = Secret::from("p:ss w\u{f6}rd%+");
        let header = basic("client id:1", &secret);
        let decoded = STANDARD.decode(header.strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(decoded, b"client+id%3A1:p%3Ass+w%C3%B6rd%25%2B");
    }
}
