//! Who can write to the database but has no key: what they can break, and what they cannot grant themselves (promise P7).

use anyhow::Result;
use e2e::world::{ALICE, BOB, World};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use token_broker_client::v1::{CallerRole, MailProtocol, Right};
use token_broker_client::{TokenBroker, v1};

use crate::words::{imap_answer, reason, refresh_now, smtp_answer};

/// Cuts the broker's power, changes its database behind its back and starts it again.
async fn tamper(world: &mut World, sql: &str) -> Result<()> {
    world.house.broker()?.kill();
    let file = world.house.folder().join("broker.db");
    let mut database = SqliteConnectOptions::new().filename(file).connect().await?;
    let done = sqlx::query(AssertSqlSafe(sql)).execute(&mut database).await?;
    anyhow::ensure!(done.rows_affected() > 0, "nothing to tamper with: {sql}");
    database.close().await?;
    world.house.open().await
}

/// The last part of a resource name.
fn id_of(name: &str) -> String {
    name.rsplit('/').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn t5_a_credential_that_was_widened_opens_nothing_until_it_is_as_it_was() -> Result<()> {
    let mut world = World::start().await?;
    let account = world.connect(ALICE).await?;
    let imap_only = |it: &mut v1::Credential| it.protocols = vec![MailProtocol::Imap.into()];
    let (credential, password) = world.operator.credential(&account.name, imap_only).await?;
    let key = id_of(&credential.name);
    let set =
        |to: &str| format!("update credentials set protocols = '{to}' where key_id = '{key}'");
    tamper(&mut world, &set(r#"["imap","smtp"]"#)).await?;
    let answer = smtp_answer(&world, ALICE, &password).await?;
    assert!(answer.starts_with("454"), "it is our fault, not the password's: {answer}");
    assert!(imap_answer(&world, ALICE, &password).await?.starts_with("a NO [UNAVAILABLE]"));
    tamper(&mut world, &set(r#"["imap"]"#)).await?;
    assert!(imap_answer(&world, ALICE, &password).await?.starts_with("a OK"));
    world.end().await
}

#[tokio::test]
async fn t5_a_revocation_cannot_be_taken_back_in_the_database() -> Result<()> {
    let mut world = World::start().await?;
    let account = world.connect(ALICE).await?;
    let (credential, password) = world.operator.credential(&account.name, |_| {}).await?;
    world.operator.revoke_credential(&credential.name).await?;
    let key = id_of(&credential.name);
    let undo = format!("update credentials set revoked_at = null where key_id = '{key}'");
    tamper(&mut world, &undo).await?;
    assert!(imap_answer(&world, ALICE, &password).await?.starts_with("a NO"));
    world.end().await
}

#[tokio::test]
async fn t5_an_app_whose_token_endpoint_was_moved_sends_no_token_there() -> Result<()> {
    let mut world = World::builder().without_adapters().start().await?;
    world.connect(ALICE).await?;
    let refreshes = world.refreshes();
    let evil = "update apps set endpoints = replace(endpoints, '/token', '/elsewhere')";
    tamper(&mut world, evil).await?;
    let refused = refresh_now(&world.operator, ALICE).await;
    assert_eq!(refused.err().and_then(|it| it.reason()), Some(v1::ErrorReason::Internal));
    assert_eq!(world.provider.truth().stats().calls.get("elsewhere"), None);
    assert_eq!(world.refreshes(), refreshes);
    let back = "update apps set endpoints = replace(endpoints, '/elsewhere', '/token')";
    tamper(&mut world, back).await?;
    refresh_now(&world.operator, ALICE).await?;
    world.end().await
}

#[tokio::test]
async fn t5_a_service_cannot_be_made_an_administrator_in_the_database() -> Result<()> {
    let mut world = World::builder().without_adapters().start().await?;
    world.connect(ALICE).await?;
    let (_, key) = world.operator.caller("poor", CallerRole::Service, |_| {}).await?;
    let ask = async |world: &World| -> Result<_> {
        let poor: TokenBroker = world.tokens(&key).await?;
        Ok(reason(poor.access_token(ALICE).await))
    };
    assert_eq!(ask(&world).await?, Some(v1::ErrorReason::NotPermitted));
    tamper(&mut world, "update callers set role = 'admin' where name = 'poor'").await?;
    assert_eq!(ask(&world).await?, Some(v1::ErrorReason::Internal));
    tamper(&mut world, "update callers set role = 'service' where name = 'poor'").await?;
    assert_eq!(ask(&world).await?, Some(v1::ErrorReason::NotPermitted));
    world.end().await
}

#[tokio::test]
async fn t5_a_strangers_tokens_cannot_be_hung_on_an_account_of_ones_own() -> Result<()> {
    let mut world = World::builder().without_adapters().start().await?;
    world.connect(ALICE).await?;
    world.connect(BOB).await?;
    let (alice, bob) = (world.operator.account(ALICE).await?, world.operator.account(BOB).await?);
    let only = v1::AccountSelector { accounts: vec![id_of(&bob.name)], ..Default::default() };
    let right =
        Right { accounts: Some(only), audiences: vec!["mail".to_owned()], ..Default::default() };
    let bobs = |caller: &mut v1::Caller| caller.rights = vec![right];
    let (_, key) = world.operator.caller("bobs", CallerRole::Service, bobs).await?;
    let row = |name: &str| format!("(select id from accounts where name = '{}')", id_of(name));
    let (alice, bob) = (row(&alice.name), row(&bob.name));
    for table in ["access_tokens", "grants"] {
        tamper(&mut world, &format!("delete from {table} where account = {bob}")).await?;
        let hang = format!("update {table} set account = {bob} where account = {alice}");
        tamper(&mut world, &hang).await?;
    }
    let refreshes = world.refreshes();
    let got = world.tokens(&key).await?.access_token(BOB).await;
    assert_eq!(reason(got), Some(v1::ErrorReason::Internal), "alice's token under bob's name");
    let got = refresh_now(&world.operator, BOB).await.err().and_then(|error| error.reason());
    assert_eq!(got, Some(v1::ErrorReason::Internal), "alice's grant under bob's name");
    assert_eq!(world.refreshes(), refreshes);
    world.end().await
}
