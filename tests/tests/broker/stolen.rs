//! The way back after the key and the database were stolen together (threat T3): one command gives every grant back.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::cast::provider::Truth;
use e2e::cast::provider::faults::{Endpoint, Fault, Rule};
use e2e::cast::provider::record::Kind;
use e2e::world::crowd::{connect, until};
use e2e::world::{ALICE, APP, BOB, Engine, World};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const CROWD: usize = 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// Refresh tokens that would work for whoever has them.
fn worth_stealing(truth: &Truth) -> usize {
    let tokens = truth.snapshot().tokens;
    let live = tokens.iter().filter(|it| it.revoked_ms.is_none() && it.superseded_ms.is_none());
    live.filter(|it| it.kind == Kind::Refresh).count()
}

/// What `account revoke-all` says, and its exit code.
async fn revoke_all(world: &World) -> Result<(i32, Value)> {
    let run = world.operator.try_ctl(&["account", "revoke-all", "--yes"]).await?;
    Ok((run.code.context("killed")?, run.json()?))
}

#[tokio::test]
async fn t3_one_command_makes_every_stolen_refresh_token_worthless() -> Result<()> {
    for engine in Engine::each()? {
        let world = World::builder().engine(engine).without_adapters().start().await?;
        let mailboxes = connect(&world.operator, APP, CROWD).await?;
        let service = world.service("crm").await?;
        service.access_token(&mailboxes[0]).await?;
        let truth = world.provider.truth();
        assert_eq!(worth_stealing(&truth), CROWD, "whoever has key and database has these");
        let (code, said) = revoke_all(&world).await?;
        assert_eq!(code, 0, "{said:#}");
        assert_eq!(
            said,
            json!({ "revoked": CROWD, "pending": [], "not_confirmed": [], "failed": [] })
        );
        assert_eq!(worth_stealing(&truth), 0);
        for mailbox in &mailboxes {
            assert!(service.access_token(mailbox).await.is_err(), "{mailbox}");
        }
        let (code, said) = revoke_all(&world).await?;
        assert_eq!((code, &said["revoked"]), (0, &json!(0)), "nothing is left to do");
        world.end().await?;
    }
    Ok(())
}

/// No call that revokes ends as it should.
fn deaf(fault: Fault) -> Rule {
    Rule { endpoint: Some(Endpoint::Revoke), ..Rule::token(fault) }
}

/// How often the audit says that a provider has confirmed.
async fn confirmed(world: &World) -> Result<usize> {
    let audit = world.operator.audit().await?;
    Ok(audit.iter().filter(|record| record.event == "grant.revoked" && record.granted).count())
}

#[tokio::test]
async fn t3_a_grant_that_the_provider_did_not_confirm_is_named_and_asked_about_again() -> Result<()>
{
    for engine in Engine::each()? {
        let world = World::builder().engine(engine).without_adapters().start().await?;
        let alice = world.connect(ALICE).await?;
        connect(&world.operator, APP, 2).await?;
        world.provider.fault(deaf(Fault::Status { status: 503, retry_after: None }).login(ALICE));
        for revoked in [3, 1] {
            let (code, said) = revoke_all(&world).await?;
            assert_eq!(code, 7, "{said:#}");
            let expected = json!({ "revoked": revoked, "pending": [alice.name], "not_confirmed": [], "failed": [] });
            assert_eq!(said, expected);
        }
        assert_eq!(worth_stealing(&world.provider.truth()), 1, "hers alone");
        assert!(world.service("crm").await?.access_token(ALICE).await.is_err());
        assert!(world.operator.account(ALICE).await?.revocation_pending);
        world.provider.clear_faults();
        let (code, said) = revoke_all(&world).await?;
        assert_eq!((code, &said["revoked"]), (0, &json!(1)), "{said:#}");
        assert_eq!(worth_stealing(&world.provider.truth()), 0);
        assert_eq!(confirmed(&world).await?, 3);
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn t3_where_the_provider_cannot_be_told_that_is_said() -> Result<()> {
    let world = World::builder()
        .without_adapters()
        .provider(|provider| provider.without_revocation = true)
        .start()
        .await?;
    let alice = world.connect(ALICE).await?;
    let (code, said) = revoke_all(&world).await?;
    assert_eq!(code, 7, "{said:#}");
    let expected =
        json!({ "revoked": 1, "pending": [], "not_confirmed": [alice.name], "failed": [] });
    assert_eq!(said, expected);
    assert!(!world.operator.account(ALICE).await?.revocation_pending);
    world.end().await
}

#[tokio::test]
async fn t3_a_broker_that_dies_over_it_goes_on_where_it_was_and_the_others_are_named() -> Result<()>
{
    for engine in Engine::each()? {
        let mut world = World::builder().engine(engine).without_adapters().start().await?;
        connect(&world.operator, APP, CROWD).await?;
        world.provider.fault(deaf(Fault::Hang));
        let truth = world.provider.truth();
        let tool = world.operator.clone();
        let mut running = JoinSet::new();
        running.spawn(async move { tool.try_ctl(&["account", "revoke-all", "--yes"]).await });
        until("some are revoked", PATIENCE, async || {
            let audit = world.operator.audit().await?;
            Ok(audit.iter().any(|record| record.event == "account.revoked"))
        })
        .await?;
        world.house.replica(0)?.process()?.kill();
        let run = running.join_next().await.context("it was started")???;
        let failed = run.json()?["failed"].as_array().context("no list")?.len();
        assert_eq!((run.code, failed), (Some(7), CROWD), "nobody knows of any");
        assert_eq!(worth_stealing(&truth), CROWD);

        world.provider.clear_faults();
        world.house.replica(0)?.open().await?;
        let audit = world.operator.audit().await?;
        let begun = audit.iter().filter(|record| record.event == "account.revoked").count();
        assert!((1..CROWD).contains(&begun), "{begun}");
        let told = async || Ok(confirmed(&world).await? == begun);
        until("the providers of those are told, though nobody asks", PATIENCE, told).await?;
        assert_eq!(worth_stealing(&truth), CROWD - begun);
        let (code, said) = revoke_all(&world).await?;
        assert_eq!((code, &said["revoked"]), (0, &json!(CROWD - begun)), "{said:#}");
        assert_eq!(worth_stealing(&truth), 0);
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_new_consent_is_not_given_back_with_the_old_one() -> Result<()> {
    for engine in Engine::each()? {
        let mut world = World::builder().engine(engine).without_adapters().start().await?;
        for mailbox in [ALICE, BOB] {
            world.connect(mailbox).await?;
        }
        world.provider.fault(deaf(Fault::Status { status: 503, retry_after: None }));
        let (code, said) = revoke_all(&world).await?;
        assert_eq!((code, said["pending"].as_array().map(Vec::len)), (7, Some(2)), "{said:#}");
        world.connect(ALICE).await?;
        world.provider.clear_faults();
        world.house.replica(0)?.crash().await?;
        let told = async || Ok(!world.operator.account(BOB).await?.revocation_pending);
        until("his is given back", PATIENCE, told).await?;
        assert!(!world.operator.account(ALICE).await?.revocation_pending);
        let token = world.service("crm").await?.access_token(ALICE).await?;
        assert!(world.provider.truth().is_live(token.expose()));
        assert_eq!(confirmed(&world).await?, 1);
        world.end().await?;
    }
    Ok(())
}
