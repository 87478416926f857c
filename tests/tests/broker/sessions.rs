//! Relayed sessions: they end when what they stand on is taken away, by whom, and within which bounds (promise P2).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::bench::revoke;
use e2e::cast::speaker::Speaker;
use e2e::world::{ALICE, Engine, World};
use serde_json::Value;
use token_broker_client::{Admin, Options, v1};

/// How long an end may take here. What is promised is a second; a test does not depend on speed.
const PATIENCE: Duration = Duration::from_secs(60);
const WITHDRAWN: &str = "* BYE Access to this mailbox was withdrawn\r\n";

/// A client that is logged in.
async fn logged_in(world: &World, password: &str) -> Result<Speaker> {
    let mut speaker = world.speak("imap").await?.patient(PATIENCE);
    speaker.expect("* OK").await?;
    speaker.send(&format!("a LOGIN {ALICE} {password}")).await?;
    speaker.completed("a").await?;
    Ok(speaker)
}

async fn goes_on(speaker: &mut Speaker) -> Result<()> {
    speaker.send("n NOOP").await?;
    speaker.completed("n").await.map(drop)
}

async fn sessions(world: &World, arguments: &[&str]) -> Result<Vec<Value>> {
    let listed = world.operator.ctl(&[&["session", "list"], arguments].concat()).await?;
    Ok(listed["sessions"].as_array().context("no list")?.clone())
}

/// Waits until the broker has heard how a session ended.
async fn end_reason(world: &World, id: &str) -> Result<String> {
    let heard = async {
        loop {
            let seen = world.operator.ctl(&["session", "show", id]).await?;
            if let Some(reason) = seen["end_reason"].as_str() {
                return anyhow::Ok(reason.to_owned());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, heard).await?
}

#[tokio::test]
async fn a_revoked_credentials_sessions_end_and_no_others() -> Result<()> {
    for engine in Engine::each()? {
        let world = World::builder().engine(engine).start().await?;
        let account = world.connect(ALICE).await?;
        let (revoked, password) = world.operator.credential(&account.name, |_| {}).await?;
        let (_, other) = world.operator.credential(&account.name, |_| {}).await?;
        let mut ending = [logged_in(&world, &password).await?, logged_in(&world, &password).await?];
        let mut staying = logged_in(&world, &other).await?;
        let mut smtp = world.speak("smtp").await?.patient(PATIENCE);
        smtp.expect("220").await?;
        smtp.send("EHLO client.example").await?;
        smtp.until("250 ").await?;
        let plain = data_encoding::BASE64.encode(format!("\0{ALICE}\0{password}").as_bytes());
        smtp.send(&format!("AUTH PLAIN {plain}")).await?;
        smtp.expect("235").await?;
        goes_on(&mut ending[0]).await?;
        let live = sessions(&world, &["--live", "--credential", &revoked.name]).await?;
        assert_eq!(live.len(), 3);
        world.operator.revoke_credential(&revoked.name).await?;
        for session in &mut ending {
            assert_eq!(session.closed().await?, WITHDRAWN, "{engine:?}");
        }
        assert!(smtp.closed().await?.starts_with("421 4.7.0 "), "{engine:?}");
        goes_on(&mut staying).await?;
        for session in live {
            let id = session["id"].as_str().context("no id")?;
            assert_eq!(end_reason(&world, id).await?, "revoked");
        }
        assert_eq!(sessions(&world, &["--live"]).await?.len(), 1);
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn t38_whatever_a_session_stands_on_ends_it_when_it_is_taken_away() -> Result<()> {
    let world = World::start().await?;
    let account = world.connect(ALICE).await?;
    let taken: [(&[&str], &[&str], &str); 3] = [
        (&["account", "disable", ALICE], &["account", "enable", ALICE], WITHDRAWN),
        (
            &["app", "update", "fake", "--disable"],
            &["app", "update", "fake", "--enable"],
            "* BYE Access was closed, please ask your administrator\r\n",
        ),
        (&["account", "revoke", ALICE], &[], WITHDRAWN),
    ];
    for (take, give_back, words) in taken {
        let (credential, password) = world.operator.credential(&account.name, |_| {}).await?;
        let mut session = logged_in(&world, &password).await?;
        // What takes nothing away ends nothing.
        let id = credential.name.rsplit('/').next().context("no id")?;
        world.operator.ctl(&["credential", "rotate", id, "--overlap", "1h"]).await?;
        goes_on(&mut session).await?;
        world.operator.ctl(take).await?;
        assert_eq!(session.closed().await?, words, "{take:?}");
        if !give_back.is_empty() {
            world.operator.ctl(give_back).await?;
        }
    }
    world.end().await
}

#[tokio::test]
async fn a_credential_that_ends_takes_its_sessions_along() -> Result<()> {
    for engine in Engine::each()? {
        let world = World::builder().engine(engine).start().await?;
        let account = world.connect(ALICE).await?;
        let (credential, password) = world.operator.credential(&account.name, |_| {}).await?;
        let mut session = logged_in(&world, &password).await?;
        let id = credential.name.rsplit('/').next().context("no id")?;
        // The old one works for two seconds more: nothing is changed when they are over.
        world.operator.ctl(&["credential", "rotate", id, "--overlap", "2s"]).await?;
        goes_on(&mut session).await?;
        assert_eq!(session.closed().await?, WITHDRAWN, "{engine:?}");
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_adapter_that_is_revoked_ends_everything() -> Result<()> {
    let world = World::start().await?;
    let account = world.connect(ALICE).await?;
    let (_, password) = world.operator.credential(&account.name, |_| {}).await?;
    let mut session = logged_in(&world, &password).await?;
    world.operator.ctl(&["caller", "revoke", "imap"]).await?;
    assert_eq!(session.closed().await?, WITHDRAWN);
    world.end().await
}

#[tokio::test]
async fn an_adapter_that_is_cut_off_ends_its_sessions_after_its_orphan_ttl() -> Result<()> {
    let world = World::builder().adapter_cable().orphan_ttl(10).start().await?;
    let account = world.connect(ALICE).await?;
    let (_, password) = world.operator.credential(&account.name, |_| {}).await?;
    let mut session = logged_in(&world, &password).await?;
    world.house.adapter_cable()?.cut();
    goes_on(&mut session).await?;
    let said = session.closed().await?;
    assert_eq!(said, "* BYE Temporarily unavailable, please connect again\r\n");
    let id = sessions(&world, &[]).await?[0]["id"].as_str().context("no id")?.to_owned();
    world.house.adapter_cable()?.mend();
    assert_eq!(end_reason(&world, &id).await?, "cut_off");
    let again = async {
        while logged_in(&world, &password).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await?;
    world.end().await
}

#[tokio::test]
async fn what_was_removed_while_an_adapter_was_cut_off_is_ended_when_it_comes_back() -> Result<()> {
    for engine in Engine::each()? {
        let world = World::builder().engine(engine).adapter_cable().start().await?;
        let account = world.connect(ALICE).await?;
        let (credential, password) = world.operator.credential(&account.name, |_| {}).await?;
        let (_, other) = world.operator.credential(&account.name, |_| {}).await?;
        let mut ending = logged_in(&world, &password).await?;
        let mut staying = logged_in(&world, &other).await?;
        world.house.adapter_cable()?.cut();
        let id = credential.name.rsplit('/').next().context("no id")?;
        world.operator.revoke_credential(&credential.name).await?;
        world.operator.ctl(&["credential", "delete", id, "--yes"]).await?;
        goes_on(&mut ending).await?;
        world.house.adapter_cable()?.mend();
        assert_eq!(ending.closed().await?, WITHDRAWN, "{engine:?}");
        goes_on(&mut staying).await?;
        let gone = sessions(&world, &[]).await?;
        let named =
            |one: &&Value| one["credential"].as_str().is_some_and(|name| name.ends_with(id));
        assert_eq!(gone.iter().filter(named).count(), 1, "its name stays: {gone:?}");
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_operator_ends_one_session_or_all_and_the_client_may_come_again() -> Result<()> {
    for engine in Engine::each()? {
        let world = World::builder().engine(engine).start().await?;
        let account = world.connect(ALICE).await?;
        let (_, password) = world.operator.credential(&account.name, |_| {}).await?;
        let mut first = logged_in(&world, &password).await?;
        let id =
            sessions(&world, &["--live"]).await?[0]["id"].as_str().context("no id")?.to_owned();
        let mut rest = [logged_in(&world, &password).await?, logged_in(&world, &password).await?];
        let told = "* BYE Closed by an administrator, please connect again\r\n";
        world.operator.ctl(&["session", "end", &id]).await?;
        assert_eq!(first.closed().await?, told, "{engine:?}");
        assert_eq!(end_reason(&world, &id).await?, "operator");
        for session in &mut rest {
            goes_on(session).await?;
        }
        let ended = world.operator.ctl(&["session", "end", "--account", ALICE, "--yes"]).await?;
        assert_eq!(ended["ended"], 2);
        for session in &mut rest {
            assert_eq!(session.closed().await?, told);
        }
        goes_on(&mut logged_in(&world, &password).await?).await?;
        let records = world.operator.audit().await?;
        let ends = records.iter().filter(|record| record.event == "session.ended");
        let actors: Vec<_> = ends.map(|record| record.actor.as_str()).collect();
        assert_eq!(actors, ["projects/default/callers/admin"; 3]);
        let unknown = world.operator.try_ctl(&["session", "end", &id.replace('0', "1")]).await?;
        assert_eq!(unknown.code, Some(3), "{unknown}");
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_revocation_at_one_broker_ends_sessions_that_are_watched_at_another() -> Result<()> {
    if Engine::each()?.len() < 2 {
        return Ok(());
    }
    let world = World::builder().replicas(2).start().await?;
    let account = world.connect(ALICE).await?;
    let (credential, password) = world.operator.credential(&account.name, |_| {}).await?;
    let mut session = logged_in(&world, &password).await?;
    let other = world.house.replicas().get(1).context("no second broker")?.doors().admin;
    let options = Options::new(format!("http://{other}")).api_key_file(world.operator.key_file());
    let admin = Admin::connect(options).await?;
    let ask = v1::RevokeCredentialRequest { name: credential.name };
    admin.ask(admin.credentials().revoke_credential(ask)).await?;
    assert_eq!(session.closed().await?, WITHDRAWN);
    world.end().await
}

#[tokio::test]
async fn only_adapters_may_watch_and_only_operators_may_look() -> Result<()> {
    use token_broker_client::v1::mail_login_service_client::MailLoginServiceClient;
    let world = World::start().await?;
    let service = world.operator.service_key("crm").await?;
    let at = |address: std::net::SocketAddr, key: &str| {
        Options::new(format!("http://{address}")).api_key(key)
    };
    let doors = world.house.doors();
    let connection = token_broker_client::Connection::open(&at(doors.grpc, &service)).await?;
    let watch = MailLoginServiceClient::new(connection.door())
        .watch_revocations(v1::WatchRevocationsRequest::default())
        .await;
    let refused = watch.err().context("a service may watch")?;
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    let admin = Admin::connect(at(doors.admin, &service)).await?;
    let ask = v1::ListSessionsRequest::default();
    let listed = admin.ask(admin.sessions().list_sessions(ask)).await;
    assert!(matches!(listed, Err(token_broker_client::Error::NotPermitted { .. })), "{listed:?}");
    let key = std::fs::read_to_string(world.house.folder().join("imap.key"))?;
    let connection = token_broker_client::Connection::open(&at(doors.grpc, key.trim())).await?;
    let cursor = "x".repeat(65);
    let watch = MailLoginServiceClient::new(connection.door())
        .watch_revocations(v1::WatchRevocationsRequest { cursor })
        .await;
    let refused = watch.err().context("a cursor without bounds")?;
    ensure!(refused.code() == tonic::Code::InvalidArgument, "{refused:?}");
    world.end().await
}

/// The short form of `make revocation-sessions`.
#[tokio::test]
async fn many_sessions_of_one_credential_all_end_and_are_told_why() -> Result<()> {
    for engine in Engine::each()? {
        let seen = revoke::measure(engine, 50).await?;
        assert_eq!(seen["told"], 50, "{seen}");
    }
    Ok(())
}
