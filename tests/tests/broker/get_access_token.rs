//! `GetAccessToken`: always valid, of the right mailbox, recorded, refreshed once.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::cast::provider::faults::{Fault, Rule};
use e2e::world::{ALICE, BOB, Engine, World};
use sha2::{Digest, Sha256};
use token_broker_client::v1::{ErrorReason, GetAccessTokenRequest};
use token_broker_client::{Error, v1};

use crate::words::{ask_once, outlive, reason, token_of};

#[tokio::test]
async fn a_mailbox_that_consented_gives_a_living_token_of_its_own() -> Result<()> {
    for engine in Engine::each()? {
        let world = World::builder().engine(engine).without_adapters().start().await?;
        let account = world.connect(ALICE).await?;
        world.connect(BOB).await?;
        let service = world.service("crm").await?;
        for name in [ALICE, &account.name] {
            let token = service.access_token(name).await?;
            let truth = world.provider.truth().token(token.expose()).context("never issued")?;
            assert_eq!((truth.user.as_str(), token.user()), (ALICE, ALICE));
            assert!(world.provider.truth().is_live(token.expose()));
            assert_eq!((token.token_type(), token.provider()), ("Bearer", "generic-oidc"));
            assert_eq!(token.account(), account.name);
            assert!(token.scopes().iter().any(|scope| scope == "mail"), "{token:?}");
            assert!(token.expires_in() > Duration::from_secs(3000), "{token:?}");
        }
        assert_eq!(world.refreshes(), 0, "the token of the consent is good for a while");
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_token_that_ends_is_replaced_and_the_call_still_works() -> Result<()> {
    let world =
        World::builder().without_adapters().provider(|it| it.access_life_s = 2).start().await?;
    let account = world.connect(ALICE).await?;
    let service = world.service("crm").await?;
    let first = service.access_token(ALICE).await?;
    outlive(&world.operator, &account.name).await?;
    let second = service.access_token(ALICE).await?;
    assert_ne!(first.expose(), second.expose());
    assert!(second.generation() > first.generation());
    assert!(world.provider.truth().is_live(second.expose()));
    assert!(!second.is_stale());
    world.end().await
}

#[tokio::test]
async fn a_hundred_callers_cause_one_refresh() -> Result<()> {
    let world =
        World::builder().without_adapters().provider(|it| it.access_life_s = 1).start().await?;
    world.connect(ALICE).await?;
    let service = world.service("crm").await?;
    outlive(&world.operator, ALICE).await?;
    world.provider.change(|settings| settings.access_life_s = 3600);
    world.provider.fault(Rule::refresh(Fault::Delay { ms: 500 }));
    let asks = vec![GetAccessTokenRequest { account: ALICE.to_owned(), ..Default::default() }; 50];
    let (one, two) = tokio::join!(service.batch(asks.clone()), service.batch(asks));
    let outcomes = [one?.outcomes, two?.outcomes].concat();
    let tokens: std::collections::BTreeSet<String> = outcomes
        .into_iter()
        .filter_map(|outcome| match outcome.outcome {
            Some(v1::access_token_outcome::Outcome::Token(token)) => Some(token.access_token),
            _ => None,
        })
        .collect();
    assert_eq!(tokens.len(), 1, "all get the same token");
    assert_eq!(world.refreshes(), 1);
    assert_eq!(world.provider.truth().stats().max_concurrent_by_user[ALICE], 1);
    world.end().await
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_lose_the_refresh() -> Result<()> {
    let world =
        World::builder().without_adapters().provider(|it| it.access_life_s = 1).start().await?;
    world.connect(ALICE).await?;
    let service = world.service("crm").await?;
    outlive(&world.operator, ALICE).await?;
    world.provider.change(|settings| settings.access_life_s = 3600);
    world.provider.fault(Rule::refresh(Fault::Delay { ms: 1500 }).times(1));
    let impatient = service.access_token(ALICE).deadline(Duration::from_millis(300)).await;
    assert!(impatient.is_err(), "the answer takes longer than that");
    let token = service.access_token(ALICE).await?;
    assert!(world.provider.truth().is_live(token.expose()));
    assert_eq!(world.refreshes(), 1, "the refresh of the one that left served the next");
    world.end().await
}

#[tokio::test]
async fn more_life_than_tokens_have_is_refused_with_the_life_they_have() -> Result<()> {
    let world =
        World::builder().without_adapters().provider(|it| it.access_life_s = 600).start().await?;
    world.connect(ALICE).await?;
    let service = world.service("crm").await?;
    let asked = service.access_token(ALICE).min_ttl(Duration::from_secs(3600)).await;
    let Err(Error::MinTtlUnattainable { max_ttl, .. }) = asked else { panic!("{asked:?}") };
    assert_eq!(max_ttl, Some(Duration::from_secs(600)));
    assert!(service.access_token(ALICE).min_ttl(Duration::from_secs(300)).await.is_ok());
    world.end().await
}

#[tokio::test]
async fn a_rejected_token_is_never_handed_out_again() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    world.connect(ALICE).await?;
    let service = world.service("crm").await?;
    let first = service.access_token(ALICE).await?;
    let ask = || GetAccessTokenRequest {
        account: ALICE.to_owned(),
        reject_token_hash: Sha256::digest(first.expose()).to_vec(),
        ..Default::default()
    };
    // A brand-new token that is refused is somebody else's fault: the broker waits a little.
    let second = loop {
        match ask_once(&service, ask()).await? {
            Ok(token) => break token,
            Err(refusal) => {
                assert_eq!(refusal.reason(), ErrorReason::ProviderUnavailable, "{refusal:?}");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    };
    assert_ne!(second.access_token, first.expose());
    assert_eq!(world.refreshes(), 1);
    let third = token_of(&service, ALICE).await?;
    assert_eq!(third.map(|token| token.access_token), Ok(second.access_token));
    world.end().await
}

#[tokio::test]
async fn a_batch_answers_each_request_for_itself() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    world.connect(ALICE).await?;
    let service = world.service("crm").await?;
    let ask =
        |account: &str| GetAccessTokenRequest { account: account.to_owned(), ..Default::default() };
    let asks = vec![ask(ALICE), ask("nobody@example.test"), ask(ALICE)];
    let outcomes = service.batch(asks).await?.outcomes;
    let seen: Vec<bool> = outcomes
        .iter()
        .map(|one| matches!(one.outcome, Some(v1::access_token_outcome::Outcome::Token(_))))
        .collect();
    assert_eq!(seen, [true, false, true]);
    let Some(v1::access_token_outcome::Outcome::Refusal(refusal)) = &outcomes[1].outcome else {
        panic!("{outcomes:?}")
    };
    assert_eq!(refusal.reason(), ErrorReason::NotPermitted);
    world.end().await
}

#[tokio::test]
async fn the_status_of_a_token_hands_nothing_out_and_asks_nobody() -> Result<()> {
    let world =
        World::builder().without_adapters().provider(|it| it.access_life_s = 1).start().await?;
    world.connect(ALICE).await?;
    let service = world.service("crm").await?;
    outlive(&world.operator, ALICE).await?;
    let status = service.token_status(ALICE, "").await?;
    assert!(!status.available, "{status:?}");
    assert_eq!(world.refreshes(), 0);
    world.end().await
}

#[tokio::test]
async fn every_token_handed_out_and_every_refusal_has_one_record() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    let account = world.connect(ALICE).await?;
    let service = world.service("crm").await?;
    let before = world.operator.audit().await?.len();
    for _ in 0..7 {
        service.access_token(ALICE).await?;
    }
    assert_eq!(reason(service.access_token("nobody").await), Some(ErrorReason::NotPermitted));
    let records = world.operator.audit().await?;
    assert_eq!(records.len() - before, 8);
    let by_crm: Vec<_> = records.iter().filter(|one| one.actor.ends_with("callers/crm")).collect();
    assert_eq!(by_crm.iter().filter(|one| one.granted).count(), 7);
    assert!(
        by_crm.iter().filter(|one| one.granted).all(|one| account.name.ends_with(&one.account))
    );
    assert_eq!(by_crm.iter().filter(|one| !one.granted).count(), 1);
    world.end().await
}
