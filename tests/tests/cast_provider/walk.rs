//! A small OAuth client for these tests: consent by browser, exchange, refresh.
//!
//! As naive as a client can be; it retries nothing.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use data_encoding::BASE64URL_NOPAD;
use e2e::cast::browser::{Browser, Page};
use e2e::cast::provider::Provider;
use e2e::cast::provider::settings::{Consent, ProviderSettings};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const ALICE: &str = "alice@example.test";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
// Nobody listens there; the walk ends with the provider's redirect.
pub(crate) const RETURN: &str = "http://127.0.0.1:9/callback";

/// What came back from an endpoint.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("{self:?}"))
    }

    pub(crate) fn text(&self, member: &str) -> Result<String> {
        let value = self.json()?;
        Ok(value[member].as_str().with_context(|| format!("no {member} in {value}"))?.to_owned())
    }
}

pub(crate) async fn automatic() -> Result<Provider> {
    Provider::start(ProviderSettings { consent: Consent::Auto, ..ProviderSettings::default() })
        .await
}

/// The authorization URL, with `extra` members put over the usual ones.
pub(crate) fn authorize_url(provider: &Provider, extra: &[(&str, &str)]) -> Result<String> {
    let client = provider.client_id();
    let challenge = BASE64URL_NOPAD.encode(&Sha256::digest(VERIFIER));
    let mut members: HashMap<&str, &str> = HashMap::from([
        ("response_type", "code"),
        ("client_id", &client),
        ("redirect_uri", RETURN),
        ("scope", "openid email mail"),
        ("state", "st"),
        ("nonce", "no"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ]);
    members.extend(extra.iter().copied());
    Ok(url::Url::parse_with_params(&format!("{}/authorize", provider.issuer()), members)?.into())
}

/// Asks without following anything; returns the redirect's members.
pub(crate) async fn consent(
    provider: &Provider,
    extra: &[(&str, &str)],
) -> Result<HashMap<String, String>> {
    let url = url::Url::parse(&authorize_url(provider, extra)?)?;
    let target = format!("{}?{}", url.path(), url.query().unwrap_or_default());
    let reply =
        raw(provider, &format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
            .await?;
    let location = reply.head.lines().find_map(|line| line.strip_prefix("location: "));
    let location = url::Url::parse(location.with_context(|| format!("{reply:?}"))?)?;
    Ok(location.query_pairs().into_owned().collect())
}

/// Consents and exchanges the code.
pub(crate) async fn connect(provider: &Provider) -> Result<Reply> {
    let code = consent(provider, &[]).await?.remove("code").context("no code")?;
    exchange(provider, &code, VERIFIER).await
}

pub(crate) async fn exchange(provider: &Provider, code: &str, verifier: &str) -> Result<Reply> {
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", RETURN),
        ("code_verifier", verifier),
    ];
    post(provider, "/token", &form).await
}

pub(crate) async fn refresh(provider: &Provider, token: &str) -> Result<Reply> {
    post(provider, "/token", &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
}

/// Posts a form with the first app's id and secret in it, unless the form names its own.
pub(crate) async fn post(provider: &Provider, path: &str, form: &[(&str, &str)]) -> Result<Reply> {
    let mut form: HashMap<&str, &str> = form.iter().copied().collect();
    let (id, secret) = (provider.client_id(), provider.client_secret());
    form.entry("client_id").or_insert(&id);
    form.entry("client_secret").or_insert(&secret);
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    raw(
        provider,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    )
    .await
}

/// One HTTP request by hand, so that a broken answer is seen as it is. Reads at most 128 MiB.
pub(crate) async fn raw(provider: &Provider, request: &str) -> Result<Reply> {
    let mut stream = TcpStream::connect(provider.address()).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.take(128 * 1024 * 1024).read_to_end(&mut bytes).await?;
    ensure!(!bytes.is_empty(), "closed without an answer");
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").context("no header")?;
    let status = head.get(9..12).and_then(|status| status.parse().ok()).context("no status")?;
    Ok(Reply { status, head: head.to_owned(), body: body.to_owned() })
}

/// Opens the consent page.
pub(crate) async fn page(provider: &Provider, browser: &mut Browser) -> Result<Page> {
    browser.open(&authorize_url(provider, &[])?).await
}
