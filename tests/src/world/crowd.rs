//! Many mailboxes at once: their consents, their tokens, and how the provider saw them.
//!
//! Consents are real ones; a few at a time, so that nobody runs out of patience. Next: the tests of several brokers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use token_broker_client::v1::access_token_outcome::Outcome;
use token_broker_client::v1::{
    ErrorReason, GetAccessTokenRequest, GetAccessTokenResponse, Refusal,
};
use token_broker_client::{TokenBroker, v1};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::operator::Operator;
use super::owner::Owner;
use crate::cast::provider::sim::numbered_user;

/// Consents under way at once.
const ABREAST: usize = 12;
/// Accounts asked about in one call.
const BATCH: usize = 20;
/// How long somebody asks again who is told "not now".
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

/// Connects `count` made-up mailboxes to `app`, and gives their addresses.
///
/// # Errors
/// Somebody refuses.
pub async fn connect(operator: &Operator, app: &str, count: usize) -> Result<Vec<String>> {
    let room = Arc::new(Semaphore::new(ABREAST));
    let mut under_way = JoinSet::new();
    for mailbox in (0..count).map(numbered_user) {
        let (room, operator, app) = (Arc::clone(&room), operator.clone(), app.to_owned());
        under_way.spawn(async move {
            let _room = room.acquire().await?;
            let invitation = operator.invite(&app, &mailbox).await?;
            let page = Owner::of(&mailbox)?.accept(&invitation.uri).await?;
            let state = operator.consent(&invitation.name).await?.state();
            ensure!(state == v1::ConsentState::Finished, "{mailbox}: {state:?}: {}", page.text);
            anyhow::Ok(mailbox)
        });
    }
    let mut mailboxes = under_way.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
    mailboxes.sort();
    Ok(mailboxes)
}

/// One plain question for the mail token of each account, in order; whom the broker itself turns away, because it has too much
/// to do, asks again.
///
/// # Errors
/// The call as a whole is refused.
pub async fn ask(
    tokens: &TokenBroker,
    accounts: &[String],
) -> Result<Vec<Result<GetAccessTokenResponse, Refusal>>> {
    let began = Instant::now();
    let mut answers = Vec::new();
    for some in accounts.chunks(BATCH) {
        loop {
            let some = ask_once(tokens, some).await?;
            let turned_away = some.iter().any(|answer| {
                answer.as_ref().is_err_and(|it| it.reason() == ErrorReason::BrokerUnavailable)
            });
            if !turned_away || began.elapsed() > PATIENCE {
                answers.extend(some);
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(answers)
}

async fn ask_once(
    tokens: &TokenBroker,
    accounts: &[String],
) -> Result<Vec<Result<GetAccessTokenResponse, Refusal>>> {
    let one =
        |account: &String| GetAccessTokenRequest { account: account.clone(), ..Default::default() };
    let outcomes = tokens.batch(accounts.iter().map(one).collect()).await?.outcomes;
    let told = outcomes.into_iter().map(|outcome| {
        Ok(match outcome.outcome.context("no outcome")? {
            Outcome::Token(token) => Ok(token),
            Outcome::Refusal(refusal) => Err(refusal),
        })
    });
    told.collect()
}

/// The same, asking again those who are told that it is only a matter of time; the tokens, in order.
///
/// # Errors
/// One is refused for good, or for a minute.
pub async fn insist(tokens: &TokenBroker, accounts: &[String]) -> Result<Vec<String>> {
    let began = Instant::now();
    let mut have = vec![String::new(); accounts.len()];
    let mut open: Vec<usize> = (0..accounts.len()).collect();
    while !open.is_empty() {
        let names: Vec<String> = open.iter().map(|&at| accounts[at].clone()).collect();
        let mut still = Vec::new();
        for (&at, answer) in open.iter().zip(ask(tokens, &names).await?) {
            match answer {
                Ok(token) => have[at] = token.access_token,
                Err(refusal) => {
                    let passes = matches!(
                        refusal.reason(),
                        ErrorReason::BrokerUnavailable
                            | ErrorReason::RefreshInProgress
                            | ErrorReason::ProviderThrottled
                    );
                    let late = began.elapsed() > PATIENCE;
                    ensure!(passes && !late, "{}: {refusal:?}", accounts[at]);
                    still.push(at);
                }
            }
        }
        open = still;
        if !open.is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(have)
}

/// The same at each of `all` side by side; the tokens of each.
///
/// # Errors
/// As [`insist`].
pub async fn insist_at(all: &[TokenBroker], accounts: &[String]) -> Result<Vec<Vec<String>>> {
    let mut asking = JoinSet::new();
    for tokens in all {
        let (tokens, accounts) = (tokens.clone(), accounts.to_vec());
        asking.spawn(async move { insist(&tokens, &accounts).await });
    }
    asking.join_all().await.into_iter().collect()
}

/// Waits until `done` says so.
///
/// # Errors
/// It does not within `at_most`; `what` is for people.
pub async fn until(
    what: &str,
    at_most: Duration,
    mut done: impl AsyncFnMut() -> Result<bool>,
) -> Result<()> {
    let began = Instant::now();
    while !done().await? {
        ensure!(began.elapsed() < at_most, "not within {at_most:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
