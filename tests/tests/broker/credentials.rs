//! Generated passwords: what they open, from where, until when, and how they end.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use e2e::world::{ALICE, Engine, World};
use token_broker_client::v1::{CredentialState, MailProtocol};
use token_broker_client::{MailLogin, Options, Verdict, v1};

use crate::words::{imap_answer, smtp_answer};

/// A time that long after `since`.
fn later(since: SystemTime, span: Duration) -> Option<prost_types::Timestamp> {
    Some((since + span).into())
}

async fn get(world: &World, name: &str) -> Result<v1::Credential> {
    let admin = world.operator.admin();
    let ask = v1::GetCredentialRequest { name: name.to_owned() };
    Ok(admin.ask(admin.credentials().get_credential(ask)).await?)
}

#[tokio::test]
async fn a_credential_opens_only_its_protocols() -> Result<()> {
    let world = World::start().await?;
    let account = world.connect(ALICE).await?;
    for (protocol, imap, smtp) in
        [(MailProtocol::Imap, "a OK", "535 5.7.8"), (MailProtocol::Smtp, "a NO [AUTH", "235")]
    {
        let only = |it: &mut v1::Credential| it.protocols = vec![protocol.into()];
        let (_, password) = world.operator.credential(&account.name, only).await?;
        let answer = imap_answer(&world, ALICE, &password).await?;
        assert!(answer.starts_with(imap), "{protocol:?}: {answer}");
        let answer = smtp_answer(&world, ALICE, &password).await?;
        assert!(answer.starts_with(smtp), "{protocol:?}: {answer}");
    }
    world.end().await
}

#[tokio::test]
async fn a_credential_opens_only_from_its_networks() -> Result<()> {
    let world = World::start().await?;
    let account = world.connect(ALICE).await?;
    let near = ["127.0.0.0/8".to_owned(), "::1/128".to_owned()];
    for (ranges, welcome) in [(near.to_vec(), true), (vec!["192.0.2.0/24".to_owned()], false)] {
        let within = |it: &mut v1::Credential| it.ip_ranges.clone_from(&ranges);
        let (_, password) = world.operator.credential(&account.name, within).await?;
        let answer = imap_answer(&world, ALICE, &password).await?;
        assert_eq!(answer.starts_with("a OK"), welcome, "{ranges:?}: {answer}");
    }
    world.end().await
}

#[tokio::test]
async fn a_credential_ends_when_it_was_said_to() -> Result<()> {
    let world = World::start().await?;
    let account = world.connect(ALICE).await?;
    let made: SystemTime = account.create_time.context("no time")?.try_into()?;
    let soon = |it: &mut v1::Credential| {
        it.expire_time = later(made + made.elapsed().unwrap_or_default(), Duration::from_secs(5));
    };
    let (credential, password) = world.operator.credential(&account.name, soon).await?;
    assert!(imap_answer(&world, ALICE, &password).await?.starts_with("a OK"));
    let end: SystemTime = credential.expire_time.context("no end")?.try_into()?;
    while end.elapsed().is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let answer = imap_answer(&world, ALICE, &password).await?;
    assert!(answer.starts_with("a NO [AUTHENTICATIONFAILED]"), "{answer}");
    assert_eq!(get(&world, &credential.name).await?.state(), CredentialState::Expired);
    world.end().await
}

#[tokio::test]
async fn a_revoked_credential_cannot_log_in_from_the_moment_it_is_answered() -> Result<()> {
    for engine in Engine::each()? {
        let world = World::builder().engine(engine).start().await?;
        let account = world.connect(ALICE).await?;
        let (first, password) = world.operator.credential(&account.name, |_| {}).await?;
        let (_, other) = world.operator.credential(&account.name, |_| {}).await?;
        assert!(imap_answer(&world, ALICE, &password).await?.starts_with("a OK"));
        world.operator.revoke_credential(&first.name).await?;
        let answer = imap_answer(&world, ALICE, &password).await?;
        assert!(answer.starts_with("a NO [AUTHENTICATIONFAILED]"), "{answer}");
        let answer = smtp_answer(&world, ALICE, &password).await?;
        assert!(answer.starts_with("535 5.7.8"), "{answer}");
        assert!(imap_answer(&world, ALICE, &other).await?.starts_with("a OK"), "others go on");
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn rotation_lets_old_and_new_overlap_for_as_long_as_was_said() -> Result<()> {
    let world = World::start().await?;
    let account = world.connect(ALICE).await?;
    let (credential, old) = world.operator.credential(&account.name, |_| {}).await?;
    let admin = world.operator.admin();
    let rotate = async |name: &str, seconds: i64| {
        let overlap = Some(prost_types::Duration { seconds, nanos: 0 });
        let ask = v1::RotateCredentialRequest { name: name.to_owned(), overlap };
        admin.ask(admin.credentials().rotate_credential(ask)).await
    };
    let second = rotate(&credential.name, 3600).await?;
    for password in [&old, &second.secret] {
        assert!(imap_answer(&world, ALICE, password).await?.starts_with("a OK"));
    }
    assert_eq!(get(&world, &credential.name).await?.state(), CredentialState::Rotating);
    let successor = second.credential.context("no successor")?;
    let third = rotate(&successor.name, 0).await?;
    assert!(imap_answer(&world, ALICE, &third.secret).await?.starts_with("a OK"));
    let answer = imap_answer(&world, ALICE, &second.secret).await?;
    assert!(answer.starts_with("a NO [AUTHENTICATIONFAILED]"), "{answer}");
    world.end().await
}

#[tokio::test]
async fn the_last_use_is_remembered_and_the_secret_is_not() -> Result<()> {
    let world = World::start().await?;
    let account = world.connect(ALICE).await?;
    let (credential, password) = world.operator.credential(&account.name, |_| {}).await?;
    assert!(password.starts_with("tb_"), "{password}");
    assert!(credential.last_use_time.is_none());
    assert!(imap_answer(&world, ALICE, &password).await?.starts_with("a OK"));
    let seen = get(&world, &credential.name).await?;
    assert!(seen.last_use_time.is_some());
    assert_eq!(seen.last_use_address, "127.0.0.1");
    let listed = world.operator.ctl(&["credential", "list"]).await?.to_string();
    let secret = password.split('_').nth(2).context("no secret part")?;
    assert!(!listed.contains(secret) && !format!("{seen:?}").contains(secret));
    world.end().await
}

#[tokio::test]
async fn a_revoked_account_refuses_its_credentials_and_names_the_way_back() -> Result<()> {
    let world = World::start().await?;
    let account = world.connect(ALICE).await?;
    let (_, password) = world.operator.credential(&account.name, |_| {}).await?;
    world.operator.ctl(&["account", "revoke", ALICE]).await?;
    let answer = imap_answer(&world, ALICE, &password).await?;
    assert!(answer.starts_with("a NO [AUTHENTICATIONFAILED]"), "{answer}");
    let live = world.provider.truth().snapshot();
    assert!(live.tokens.iter().all(|token| !token.is_live(live.now_ms)), "given back");
    world.connect(ALICE).await?;
    assert!(imap_answer(&world, ALICE, &password).await?.starts_with("a OK"));
    world.end().await
}

#[tokio::test]
async fn of_two_rotations_at_once_one_wins() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    let account = world.connect(ALICE).await?;
    let admin = world.operator.admin();
    for _ in 0..5 {
        let (credential, _) = world.operator.credential(&account.name, |_| {}).await?;
        let rotate = async || {
            let ask = v1::RotateCredentialRequest { name: credential.name.clone(), overlap: None };
            admin.ask(admin.credentials().rotate_credential(ask)).await
        };
        let (one, two) = tokio::join!(rotate(), rotate());
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    }
    world.end().await
}

/// A login that holds its session open: nobody reports its end.
async fn open(door: &MailLogin, password: &str) -> Result<Verdict> {
    let login = v1::OpenSessionRequest {
        protocol: MailProtocol::Imap.into(),
        login_name: ALICE.to_owned(),
        secret: password.to_owned(),
        client_address: "192.0.2.7".to_owned(),
        ..Default::default()
    };
    Ok(door.open_session(login, Duration::from_secs(30)).await?)
}

async fn end(door: &MailLogin, session: String) -> Result<()> {
    let report = v1::SessionReport { session, ended: true, ..Default::default() };
    Ok(door.report_sessions(vec![report]).await?)
}

#[tokio::test]
async fn a_credential_has_as_many_sessions_and_logins_as_it_may_over_all_adapters() -> Result<()> {
    for engine in Engine::each()? {
        let world = World::builder().engine(engine).without_adapters().start().await?;
        let account = world.connect(ALICE).await?;
        let mut doors = Vec::new();
        for id in ["one", "two"] {
            let imap = MailProtocol::Imap.into();
            let (_, key) = world
                .operator
                .caller(id, v1::CallerRole::Adapter, |it| it.protocols = vec![imap])
                .await?;
            let options = Options::new(format!("http://{}", world.house.doors().grpc)).api_key(key);
            doors.push(MailLogin::connect(options).await?);
        }
        let (one, two) = (&doors[0], &doors[1]);
        let (_, few) = world.operator.credential(&account.name, |it| it.max_sessions = 2).await?;
        let Verdict::Session(first) = open(one, &few).await? else { bail!("the first") };
        let Verdict::Session(_) = open(two, &few).await? else { bail!("the second") };
        let Verdict::Denied(denial) = open(two, &few).await? else { bail!("the third") };
        assert_eq!(denial.class(), v1::DenialClass::Limit);
        end(one, first.session).await?;
        let Verdict::Session(_) = open(two, &few).await? else { bail!("one has ended") };

        let slow = |it: &mut v1::Credential| it.max_logins_per_minute = 3;
        let (_, slow) = world.operator.credential(&account.name, slow).await?;
        // All at once, so that a limit which is read before and not in the commit would let them in.
        let mut opening = tokio::task::JoinSet::new();
        for number in 0..8 {
            let (door, slow) = (doors[number % 2].clone(), slow.clone());
            opening.spawn(async move { open(&door, &slow).await });
        }
        let opened = opening.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
        let sessions = opened.iter().filter(|it| matches!(it, Verdict::Session(_))).count();
        assert_eq!(sessions, 3, "{opened:?}");
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_limit_that_is_no_number_of_sessions_is_refused_by_its_field() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    let account = world.connect(ALICE).await?;
    let made = world.operator.credential(&account.name, |it| it.max_sessions = 100_001).await;
    let words = format!("{:#}", made.err().context("it was taken")?);
    assert!(words.contains("credential.max_sessions"), "{words}");
    world.end().await
}
