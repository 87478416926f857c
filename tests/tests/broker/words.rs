//! What these tests say again and again.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::cast::provider::faults::Fault;
use e2e::world::{Operator, World};
use token_broker_client::v1::{ErrorReason, GetAccessTokenRequest, access_token_outcome::Outcome};
use token_broker_client::{AccessToken, Error, TokenBroker, v1};

/// Why a call was refused.
pub(crate) fn reason(answer: Result<AccessToken, Error>) -> Option<ErrorReason> {
    answer.err().and_then(|error| error.reason())
}

/// One question without the SDK's retries and cache: a token or a refusal.
pub(crate) async fn ask_once(
    tokens: &TokenBroker,
    ask: GetAccessTokenRequest,
) -> Result<Result<v1::GetAccessTokenResponse, v1::Refusal>> {
    let mut outcomes = tokens.batch(vec![ask]).await?.outcomes;
    let outcome = outcomes.pop().and_then(|one| one.outcome).context("no outcome")?;
    Ok(match outcome {
        Outcome::Token(token) => Ok(token),
        Outcome::Refusal(refusal) => Err(refusal),
    })
}

/// One plain question for the mail token of `account`.
pub(crate) async fn token_of(
    tokens: &TokenBroker,
    account: &str,
) -> Result<Result<v1::GetAccessTokenResponse, v1::Refusal>> {
    let ask = GetAccessTokenRequest { account: account.to_owned(), ..Default::default() };
    ask_once(tokens, ask).await
}

/// Waits until the token that the broker holds for `account` has ended.
pub(crate) async fn outlive(operator: &Operator, account: &str) -> Result<()> {
    let end = operator.account(account).await?.token_expire_time.context("no token")?;
    let end = std::time::SystemTime::try_from(end)?;
    // The broker's clock and ours are the system's.
    while end.elapsed().is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Has the broker fetch a new token now.
pub(crate) async fn refresh_now(operator: &Operator, account: &str) -> Result<v1::Account, Error> {
    let admin = operator.admin();
    let ask = v1::RefreshAccountRequest { name: account.to_owned(), audience: String::new() };
    admin.ask(admin.accounts().refresh_account(ask)).await
}

/// How the IMAP adapter answers a LOGIN.
pub(crate) async fn imap_answer(world: &World, login: &str, password: &str) -> Result<String> {
    let mut speaker = world.speak("imap").await?;
    speaker.expect("* OK").await?;
    speaker.send(&format!("a LOGIN {login} {password}")).await?;
    let lines = speaker.until("a ").await?;
    lines.last().cloned().context("no answer")
}

/// How the SMTP adapter answers an AUTH PLAIN.
pub(crate) async fn smtp_answer(world: &World, login: &str, password: &str) -> Result<String> {
    let mut speaker = world.speak("smtp").await?;
    speaker.until("220 ").await?;
    speaker.send("EHLO client.example.test").await?;
    speaker.until("250 ").await?;
    let response = data_encoding::BASE64.encode(format!("\0{login}\0{password}").as_bytes());
    speaker.ask(&format!("AUTH PLAIN {response}")).await
}

/// An OAuth error as a provider says it.
pub(crate) fn oauth(error: &str, status: Option<u16>) -> Fault {
    let (description, subtype, suberror) = (None, None, None);
    Fault::Oauth { error: error.to_owned(), description, subtype, suberror, status }
}

/// A bare status.
pub(crate) fn status(status: u16) -> Fault {
    Fault::Status { status, retry_after: None }
}
