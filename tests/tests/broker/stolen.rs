//! The way back after the key and the database were stolen together (threat T3): one command gives every grant back.

use anyhow::{Context, Result};
use e2e::cast::provider::Truth;
use e2e::cast::provider::faults::{Endpoint, Fault, Rule};
use e2e::cast::provider::record::Kind;
use e2e::world::crowd::connect;
use e2e::world::{ALICE, APP, Engine, World};
use serde_json::{Value, json};

const CROWD: usize = 20;

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
        assert_eq!(said, json!({ "revoked": CROWD, "not_confirmed": [], "failed": [] }));
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

#[tokio::test]
async fn t3_a_grant_that_the_provider_did_not_confirm_is_named_and_the_others_are_revoked()
-> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    let alice = world.connect(ALICE).await?;
    connect(&world.operator, APP, 2).await?;
    let deaf = Rule {
        endpoint: Some(Endpoint::Revoke),
        ..Rule::token(Fault::Status { status: 503, retry_after: None })
    };
    world.provider.fault(deaf.login(ALICE));
    let (code, said) = revoke_all(&world).await?;
    assert_eq!(code, 7, "{said:#}");
    assert_eq!(said, json!({ "revoked": 3, "not_confirmed": [alice.name], "failed": [] }));
    assert_eq!(worth_stealing(&world.provider.truth()), 1, "hers alone");
    assert!(world.service("crm").await?.access_token(ALICE).await.is_err());
    world.end().await
}
