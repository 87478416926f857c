//! Guessing at mail logins: who guesses waits, who knows the secret does not, and the audit stays readable (threats T11 and T30).

use std::time::Duration;

use anyhow::{Context, Result, bail};
use e2e::timing::with_other_secret;
use e2e::world::{ALICE, BOB, Engine, World};
use token_broker_client::v1::{CallerRole, Denial, DenialClass, MailProtocol};
use token_broker_client::{MailLogin, Options, Verdict, v1};
use tokio::task::JoinSet;

const PATIENCE: Duration = Duration::from_secs(30);

/// An adapter of its own, so that a test says what an adapter says.
async fn door(world: &World, id: &str) -> Result<MailLogin> {
    let imap = MailProtocol::Imap.into();
    let (_, key) =
        world.operator.caller(id, CallerRole::Adapter, |it| it.protocols = vec![imap]).await?;
    let options = Options::new(format!("http://{}", world.house.doors().grpc)).api_key(key);
    Ok(MailLogin::connect(options).await?)
}

async fn log_in(door: &MailLogin, secret: &str, address: &str) -> Result<Verdict> {
    log_in_as(door, ALICE, secret, address).await
}

async fn log_in_as(door: &MailLogin, name: &str, secret: &str, address: &str) -> Result<Verdict> {
    let login = v1::OpenSessionRequest {
        protocol: MailProtocol::Imap.into(),
        login_name: name.to_owned(),
        secret: secret.to_owned(),
        client_address: address.to_owned(),
        ..Default::default()
    };
    Ok(door.open_session(login, PATIENCE).await?)
}

async fn refused(door: &MailLogin, secret: &str, address: &str) -> Result<Denial> {
    match log_in(door, secret, address).await? {
        Verdict::Denied(denial) => Ok(denial),
        Verdict::Session(_) => bail!("it was let in"),
    }
}

fn seconds(denial: &Denial) -> i64 {
    denial.delay.map_or(0, |delay| delay.seconds)
}

/// The same credential with another secret of the right form.
fn wrong(password: &str, number: u32) -> Result<String> {
    with_other_secret(password, number.into())
}

#[tokio::test]
async fn t11_who_guesses_waits_longer_and_longer_and_the_owner_does_not() -> Result<()> {
    for engine in Engine::each()? {
        let world = World::builder().engine(engine).without_adapters().start().await?;
        let account = world.connect(ALICE).await?;
        let (_, password) = world.operator.credential(&account.name, |_| {}).await?;
        let door = door(&world, "relay").await?;
        let mut waits = Vec::new();
        for number in 0..20 {
            waits.push(seconds(&refused(&door, &wrong(&password, number)?, "192.0.2.7").await?));
        }
        assert_eq!(waits.first(), Some(&1));
        assert_eq!(waits.last(), Some(&15), "{waits:?}");
        assert!(waits.is_sorted(), "{waits:?}");
        let owner = log_in(&door, &password, "192.0.2.7").await?;
        assert!(matches!(owner, Verdict::Session(_)), "the credential is not locked: {owner:?}");
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn t11_a_forgotten_script_with_an_old_password_does_not_make_anybody_wait() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    let account = world.connect(ALICE).await?;
    let (_, password) = world.operator.credential(&account.name, |_| {}).await?;
    let door = door(&world, "relay").await?;
    let old = wrong(&password, 1)?;
    for _ in 0..80 {
        assert_eq!(seconds(&refused(&door, &old, "192.0.2.7").await?), 1);
    }
    assert_eq!(seconds(&refused(&door, "something else", "192.0.2.7").await?), 1);
    world.end().await
}

#[tokio::test]
async fn t12_every_refusal_looks_the_same_to_the_adapter() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    let (alice, bob) = (world.connect(ALICE).await?, world.connect(BOB).await?);
    let (_, password) = world.operator.credential(&alice.name, |_| {}).await?;
    let (_, of_bob) = world.operator.credential(&bob.name, |_| {}).await?;
    let smtp = |it: &mut v1::Credential| it.protocols = vec![MailProtocol::Smtp.into()];
    let (_, of_smtp) = world.operator.credential(&alice.name, smtp).await?;
    let elsewhere = |it: &mut v1::Credential| it.ip_ranges = vec!["198.51.100.0/24".to_owned()];
    let (_, of_elsewhere) = world.operator.credential(&alice.name, elsewhere).await?;
    let (ended, of_ended) = world.operator.credential(&alice.name, |_| {}).await?;
    world.operator.revoke_credential(&ended.name).await?;
    // A right password, of an account that is switched off.
    let carol = world.connect("carol@example.test").await?;
    let (_, of_carol) = world.operator.credential(&carol.name, |_| {}).await?;
    world.operator.ctl(&["account", "disable", &carol.mailbox]).await?;
    let door = door(&world, "relay").await?;
    let mut answers = Vec::new();
    let unknown = "tb_unknownunknown";
    for (number, secret) in
        [&wrong(&password, 7)?, &of_bob, &of_smtp, &of_elsewhere, &of_ended, unknown, ""]
            .into_iter()
            .enumerate()
    {
        // Each from a network of its own, so that none waits for what another did.
        answers.push(refused(&door, secret, &format!("192.0.{number}.7")).await?);
    }
    let of_account = log_in_as(&door, &carol.mailbox, &of_carol, "192.0.99.7").await?;
    let Verdict::Denied(of_account) = of_account else { bail!("a switched-off account opens") };
    answers.push(of_account);
    let first = answers.first().context("no answer")?.clone();
    assert_eq!(first.class(), DenialClass::BadCredential);
    assert!(answers.iter().all(|answer| *answer == first), "{answers:?}");
    world.end().await
}

#[tokio::test]
async fn t11_t30_an_attack_does_not_flood_the_audit_and_each_guess_is_counted() -> Result<()> {
    const GUESSES: u32 = 300;
    for engine in Engine::each()? {
        let mut world = World::builder().engine(engine).without_adapters().start().await?;
        let account = world.connect(ALICE).await?;
        let (credential, password) = world.operator.credential(&account.name, |_| {}).await?;
        let door = door(&world, "relay").await?;
        let mut guesses = JoinSet::new();
        for number in 0..GUESSES {
            let (door, secret) = (door.clone(), wrong(&password, number)?);
            guesses.spawn(async move { refused(&door, &secret, "192.0.2.7").await });
        }
        while let Some(ended) = guesses.join_next().await {
            ended??;
        }
        // What was not written yet is written when the broker stops.
        world.house.stop().await?;
        world.house.open().await?;
        let audit = world.operator.audit().await?;
        let alone = audit.iter().filter(|it| it.event == "session" && !it.granted).count();
        let sums: Vec<_> = audit.iter().filter(|it| it.event == "session.refusals").collect();
        let summed: u32 =
            sums.iter().filter_map(|it| it.detail.rsplit(' ').next()?.parse::<u32>().ok()).sum();
        assert_eq!(u32::try_from(alone)? + summed, GUESSES, "{sums:?}");
        assert!(alone + sums.len() < 200, "{alone} and {}", sums.len());
        let id = credential.name.rsplit('/').next().unwrap_or_default();
        let about = |it: &&&v1::AuditRecord| it.subject == id && it.address == "192.0.2.0/24";
        assert!(sums.iter().any(|it| about(&it)), "it says where and at what: {sums:?}");
        world.end().await?;
    }
    Ok(())
}
