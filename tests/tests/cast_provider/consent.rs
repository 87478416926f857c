//! Consent: the page, the settings that answer it, PKCE, codes and id_tokens.

use anyhow::{Context, Result};
use data_encoding::BASE64URL_NOPAD;
use e2e::cast::browser::Browser;
use e2e::cast::provider::Provider;
use e2e::cast::provider::settings::{ClientSecret, Consent, IdToken, Iss, ProviderSettings};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

use crate::walk::{
    ALICE, VERIFIER, authorize_url, automatic, connect, consent, exchange, page, post, raw,
};

#[tokio::test]
async fn a_person_consents_on_the_page_and_the_browser_carries_code_state_and_iss_back()
-> Result<()> {
    let provider = Provider::start(ProviderSettings::default()).await?;
    let back = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let home = format!("http://{}/callback", back.local_addr()?);
    let app =
        axum::Router::new().route("/callback", axum::routing::get(|| async { "welcome back" }));
    let background = e2e::cast::background::Background::default();
    background.spawn(async move { drop(axum::serve(back, app).await) });
    let mut browser = Browser::new()?;
    let form = browser.open(&authorize_url(&provider, &[("redirect_uri", &home)])?).await?;
    assert!(form.text.contains("viewport") && !form.text.contains("<script"), "{}", form.text);
    let end = browser.submit(&form, &[("mailbox", ALICE), ("decision", "allow")]).await?;
    assert_eq!(end.text, "welcome back");
    assert!(end.query("code").is_some());
    assert_eq!(end.query("state").as_deref(), Some("st"));
    assert_eq!(end.query("iss").as_deref(), Some(provider.issuer()));
    Ok(())
}

#[tokio::test]
async fn a_typed_mailbox_wins_and_no_mailbox_is_asked_for_again() -> Result<()> {
    let provider = Provider::start(ProviderSettings::default()).await?;
    let mut browser = Browser::new()?;
    let form = page(&provider, &mut browser).await?;
    let none = browser.submit(&form, &[("decision", "allow")]).await?;
    assert_eq!(none.status.as_u16(), 400);
    assert!(none.text.contains("Choose a mailbox"));
    // Nobody listens at the redirect URI: getting that far shows that the form was taken.
    let typed =
        browser.submit(&form, &[("other", "carol@example.test"), ("decision", "allow")]).await;
    assert!(format!("{:?}", typed.err().context("nobody listens")?).contains("callback"));
    Ok(())
}

#[tokio::test]
async fn a_refusal_and_a_denying_setting_come_back_as_errors() -> Result<()> {
    let provider = automatic().await?;
    provider
        .change(|settings| settings.consent = Consent::Deny { error: "access_denied".to_owned() });
    let back = consent(&provider, &[]).await?;
    assert_eq!(back["error"], "access_denied");
    assert_eq!(back["state"], "st");
    Ok(())
}

#[tokio::test]
async fn auto_consent_follows_the_hint_and_as_ignores_it() -> Result<()> {
    let provider = automatic().await?;
    let hint = [("login_hint", "bob@example.test")];
    let code = consent(&provider, &hint).await?["code"].clone();
    exchange(&provider, &code, VERIFIER).await?;
    provider.change(|settings| {
        settings.consent = Consent::As { user: "mallory@example.test".to_owned() }
    });
    let code = consent(&provider, &hint).await?["code"].clone();
    exchange(&provider, &code, VERIFIER).await?;
    let users: Vec<String> =
        provider.truth().snapshot().tokens.into_iter().map(|token| token.user).collect();
    assert_eq!(
        users,
        ["bob@example.test", "bob@example.test", "mallory@example.test", "mallory@example.test"]
    );
    Ok(())
}

#[tokio::test]
async fn pkce_is_demanded_and_checked() -> Result<()> {
    let provider = automatic().await?;
    assert_eq!(
        consent(&provider, &[("code_challenge_method", "plain")]).await?["error"],
        "invalid_request"
    );
    let code = consent(&provider, &[]).await?["code"].clone();
    let refused = exchange(&provider, &code, "another-verifier").await?;
    assert_eq!((refused.status, refused.text("error")?.as_str()), (400, "invalid_grant"));
    assert_eq!(exchange(&provider, &code, VERIFIER).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_code_works_once_and_its_second_use_kills_what_it_bought() -> Result<()> {
    let provider = automatic().await?;
    let code = consent(&provider, &[]).await?["code"].clone();
    let first = exchange(&provider, &code, VERIFIER).await?;
    let token = first.text("access_token")?;
    assert!(provider.truth().is_live(&token));
    assert_eq!(exchange(&provider, &code, VERIFIER).await?.text("error")?, "invalid_grant");
    assert!(!provider.truth().is_live(&token));
    Ok(())
}

#[tokio::test]
async fn an_unregistered_redirect_uri_is_not_followed() -> Result<()> {
    let provider = automatic().await?;
    let mut browser = Browser::new()?;
    let foreign = authorize_url(&provider, &[("redirect_uri", "https://attacker.invalid/")])?;
    assert_eq!(browser.open(&foreign).await?.status.as_u16(), 400);
    provider.change(|settings| {
        settings.clients[0].redirect_uris = vec!["http://127.0.0.1:9/other".to_owned()];
    });
    assert_eq!(page(&provider, &mut browser).await?.status.as_u16(), 400);
    Ok(())
}

#[tokio::test]
async fn iss_can_be_missing_or_forged() -> Result<()> {
    let provider = automatic().await?;
    assert_eq!(consent(&provider, &[]).await?["iss"], provider.issuer());
    provider.change(|settings| settings.iss = Iss::Missing);
    assert!(!consent(&provider, &[]).await?.contains_key("iss"));
    provider
        .change(|settings| settings.iss = Iss::Other { value: "https://evil.invalid".to_owned() });
    assert_eq!(consent(&provider, &[]).await?["iss"], "https://evil.invalid");
    Ok(())
}

async fn checked(provider: &Provider) -> Result<jsonwebtoken::errors::Result<Value>> {
    let keys = raw(provider, "GET /jwks HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
    let keys: JwkSet = serde_json::from_str(&keys.body)?;
    let token = connect(provider).await?.text("id_token")?;
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[provider.client_id()]);
    validation.set_issuer(&[provider.issuer()]);
    let key = DecodingKey::from_jwk(&keys.keys[0])?;
    Ok(jsonwebtoken::decode::<Value>(&token, &key, &validation).map(|data| data.claims))
}

#[tokio::test]
async fn id_tokens_verify_against_the_jwks_unless_bent() -> Result<()> {
    let provider = automatic().await?;
    let claims = checked(&provider).await??;
    assert_eq!((claims["email"].as_str(), claims["nonce"].as_str()), (Some(ALICE), Some("no")));
    let bent = [
        IdToken::WrongAudience,
        IdToken::WrongIssuer,
        IdToken::Expired,
        IdToken::Unsigned,
        IdToken::ForeignKey,
    ];
    for bend in bent {
        provider.change(|settings| settings.id_token = bend);
        assert!(checked(&provider).await?.is_err(), "{bend:?}");
    }
    provider.change(|settings| settings.id_token = IdToken::WrongNonce);
    assert_ne!(checked(&provider).await??["nonce"], "no");
    provider.change(|settings| settings.id_token = IdToken::Missing);
    assert!(connect(&provider).await?.json()?.get("id_token").is_none());
    Ok(())
}

#[tokio::test]
async fn the_metadata_names_every_endpoint_under_the_issuer() -> Result<()> {
    let provider = automatic().await?;
    for path in ["openid-configuration", "oauth-authorization-server"] {
        let request =
            format!("GET /.well-known/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let metadata = raw(&provider, &request).await?.json()?;
        assert_eq!(metadata["issuer"], provider.issuer());
        assert_eq!(metadata["token_endpoint"], format!("{}/token", provider.issuer()));
        assert_eq!(metadata["authorization_response_iss_parameter_supported"], true);
    }
    Ok(())
}

#[tokio::test]
async fn several_client_secrets_work_side_by_side_until_they_expire() -> Result<()> {
    let provider = automatic().await?;
    let token = provider.issue(ALICE, "mail").refresh.context("no refresh token")?.token;
    let asked = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
    let with = |secret| [&asked[..], &[("client_secret", secret)]].concat();
    assert_eq!(post(&provider, "/token", &with("cs-new")).await?.text("error")?, "invalid_client");
    provider.change(|settings| settings.clients[0].secrets.push(ClientSecret::valid("cs-new")));
    assert_eq!(post(&provider, "/token", &with("cs-new")).await?.status, 200);
    assert_eq!(post(&provider, "/token", &with("cs-test-client")).await?.status, 200);
    provider.change(|settings| settings.clients[0].secrets[0].expired = true);
    let expired = post(&provider, "/token", &with("cs-test-client")).await?;
    assert_eq!((expired.status, expired.text("error")?.as_str()), (401, "invalid_client"));
    Ok(())
}

#[tokio::test]
async fn basic_authentication_is_form_decoded_and_challenged() -> Result<()> {
    let provider = automatic().await?;
    provider.change(|settings| settings.clients[0].secrets = vec![ClientSecret::valid("a b:c%")]);
    let token = provider.issue(ALICE, "mail").refresh.context("no refresh token")?.token;
    let ask = async |credentials: &str| {
        let basic = data_encoding::BASE64.encode(credentials.as_bytes());
        let body = format!("grant_type=refresh_token&refresh_token={token}");
        let length = body.len();
        let head = format!(
            "POST /token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic {basic}"
        );
        raw(&provider, &format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}")).await
    };
    assert_eq!(ask("test-client:a+b%3Ac%25").await?.status, 200);
    let refused = ask("test-client:wrong").await?;
    assert_eq!(refused.status, 401);
    assert!(refused.head.contains("www-authenticate: Basic"), "{}", refused.head);
    Ok(())
}

#[test]
fn the_verifier_is_that_of_rfc_7636() {
    let digest = <sha2::Sha256 as sha2::Digest>::digest(VERIFIER);
    assert_eq!(BASE64URL_NOPAD.encode(&digest), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
}
