//! What the broker remembers is never handed out against a revocation that was acknowledged, and each answer has its record.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use e2e::crash_loop::built_with_failpoints;
use e2e::world::{ALICE, Engine, World};
use token_broker_client::v1::{CallerRole, ErrorReason, MailProtocol};
use token_broker_client::{MailLogin, Options, TokenBroker, Verdict, v1};

use crate::words::{imap_answer, reason};

/// The switch that leaves out the look at the rights epoch.
const BLIND: (&str, &str) = ("TOKEN_BROKER_FAILPOINT", "decision.epoch=skip");

fn all_mail(caller: &mut v1::Caller) {
    let accounts = Some(v1::AccountSelector { all: true, ..Default::default() });
    caller.rights =
        vec![v1::Right { accounts, audiences: vec!["mail".to_owned()], ..Default::default() }];
}

/// Has every row that decides remembered.
async fn warm(tokens: &[TokenBroker]) -> Result<()> {
    for broker in tokens {
        for _ in 0..3 {
            broker.access_token(ALICE).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn rights_that_are_remembered_are_refused_as_soon_as_their_end_is_acknowledged() -> Result<()>
{
    let world = World::builder().without_adapters().start().await?;
    world.connect(ALICE).await?;
    let service = [world.service("crm").await?];
    for _ in 0..20 {
        warm(&service).await?;
        world.operator.ctl(&["account", "disable", ALICE]).await?;
        let asked = service[0].access_token(ALICE).await;
        assert_eq!(reason(asked), Some(ErrorReason::AccountDisabled));
        world.operator.ctl(&["account", "enable", ALICE]).await?;
    }
    warm(&service).await?;
    world.operator.ctl(&["caller", "revoke", "crm"]).await?;
    let asked = service[0].access_token(ALICE).await;
    assert_eq!(reason(asked), Some(ErrorReason::Unauthenticated));
    world.end().await
}

#[tokio::test]
async fn a_broker_that_does_not_look_at_the_epoch_goes_on_handing_out() -> Result<()> {
    if !built_with_failpoints()? {
        ensure!(std::env::var_os("CI").is_none(), "the broker was built without failpoints");
        eprintln!("skipped: the broker was built without failpoints");
        return Ok(());
    }
    let mut world = World::builder().without_adapters().start().await?;
    world.connect(ALICE).await?;
    world.house.set_environment(vec![(BLIND.0, BLIND.1.to_owned())]);
    world.house.crash().await?;
    let service = [world.service("crm").await?];
    warm(&service).await?;
    world.operator.ctl(&["account", "disable", ALICE]).await?;
    assert!(service[0].access_token(ALICE).await.is_ok(), "that is what the look is for");
    world.end().await
}

#[tokio::test]
async fn a_revocation_at_one_broker_is_heeded_by_all_that_remember() -> Result<()> {
    if !Engine::each()?.contains(&Engine::Postgres) {
        return Ok(());
    }
    let world = World::builder().without_adapters().replicas(2).start().await?;
    world.connect(ALICE).await?;
    let everywhere = world.service_everywhere("crm").await?;
    for _ in 0..10 {
        warm(&everywhere).await?;
        world.operator.ctl(&["account", "disable", ALICE]).await?;
        for broker in &everywhere {
            let asked = broker.access_token(ALICE).await;
            assert_eq!(reason(asked), Some(ErrorReason::AccountDisabled));
        }
        world.operator.ctl(&["account", "enable", ALICE]).await?;
    }
    let records = world.operator.audit().await?;
    let mut chains: Vec<_> = records.iter().map(|record| record.chain.as_str()).collect();
    chains.sort_unstable();
    chains.dedup();
    assert_eq!(chains.len(), 3, "changes, and a chain of each broker: {chains:?}");
    world.end().await
}

#[tokio::test]
async fn a_password_that_is_remembered_opens_nothing_once_it_is_revoked() -> Result<()> {
    let world = World::start().await?;
    let account = world.connect(ALICE).await?;
    for _ in 0..3 {
        let (credential, password) = world.operator.credential(&account.name, |_| {}).await?;
        assert!(imap_answer(&world, ALICE, &password).await?.starts_with("a OK"));
        world.operator.revoke_credential(&credential.name).await?;
        assert!(imap_answer(&world, ALICE, &password).await?.starts_with("a NO"));
    }
    world.end().await
}

const PATIENCE: Duration = Duration::from_secs(30);

/// An adapter of its own, by hand.
async fn an_adapter(world: &World, id: &str) -> Result<MailLogin> {
    let both = |caller: &mut v1::Caller| {
        caller.protocols = vec![MailProtocol::Imap.into(), MailProtocol::Smtp.into()];
    };
    let (_, key) = world.operator.caller(id, CallerRole::Adapter, both).await?;
    let options = Options::new(format!("http://{}", world.house.doors().grpc)).api_key(&key);
    Ok(MailLogin::connect(options).await?)
}

async fn open(adapter: &MailLogin, protocol: MailProtocol, password: &str) -> Result<String> {
    let login = v1::OpenSessionRequest {
        protocol: protocol.into(),
        login_name: ALICE.to_owned(),
        secret: password.to_owned(),
        client_address: "192.0.2.7".to_owned(),
        ..Default::default()
    };
    match adapter.open_session(login, PATIENCE).await? {
        Verdict::Session(session) => Ok(session.session),
        Verdict::Denied(denial) => bail!("{denial:?}"),
    }
}

#[tokio::test]
async fn a_session_that_was_ended_or_whose_protocol_was_taken_gets_no_other_token() -> Result<()> {
    for engine in Engine::each()? {
        let world = World::builder().engine(engine).without_adapters().start().await?;
        let account = world.connect(ALICE).await?;
        let (_, password) = world.operator.credential(&account.name, |_| {}).await?;
        let adapter = an_adapter(&world, "door").await?;
        let ended = open(&adapter, MailProtocol::Smtp, &password).await?;
        let narrowed = open(&adapter, MailProtocol::Imap, &password).await?;
        let kept = open(&adapter, MailProtocol::Smtp, &password).await?;
        world.operator.ctl(&["session", "end", &ended]).await?;
        world.operator.ctl(&["caller", "update", "door", "--protocol", "smtp"]).await?;
        for session in [&ended, &narrowed] {
            let renewed = adapter.renew_session(session, [0; 32], PATIENCE).await;
            let why = renewed.err().and_then(|error| error.reason());
            assert_eq!(why, Some(ErrorReason::SessionNotUsable), "{engine:?}");
        }
        let renewed = adapter.renew_session(&kept, [0; 32], PATIENCE).await?;
        assert!(matches!(renewed, Verdict::Session(_)), "{engine:?}");
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_relaxed_mode_is_named_where_an_operator_looks() -> Result<()> {
    let world = World::builder().without_adapters().relaxed().start().await?;
    world.connect(ALICE).await?;
    let (_, key) = world.operator.caller("crm", CallerRole::Service, all_mail).await?;
    let service = [world.tokens(&key).await?];
    warm(&service).await?;
    let status = world.operator.ctl(&["status"]).await?;
    assert_eq!(status["decisions"]["relaxed"], true, "{status}");
    let logs = world.house.logs();
    assert!(logs.iter().any(|(_, log)| log.contains("decision.mode is relaxed")), "{logs:?}");
    world.end().await
}
