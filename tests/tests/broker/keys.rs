//! The keys: both layers are changed while calls go on, what was tampered with stays refused, and no step can be left half done.
//!
//! Names begin with the threats of SECURITY.md they are about.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::world::binaries::binary;
use e2e::world::command::Program;
use e2e::world::crowd::{connect, insist, until};
use e2e::world::{ALICE, APP, BOB, Engine, World};
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use token_broker_client::v1::{CallerRole, ErrorReason};
use token_broker_client::{TokenBroker, v1};
use tokio::task::JoinSet;

use crate::words::{imap_answer, reason, refresh_now, token_of};

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs SQL on the world's database, whichever it is.
async fn sql(world: &World, sql: &str) -> Result<()> {
    let text = AssertSqlSafe(sql.to_owned());
    let rows = match world.house.postgres_url() {
        Some(url) => {
            let mut database = PgConnection::connect(url).await?;
            sqlx::query(text).execute(&mut database).await?.rows_affected()
        }
        None => {
            let file = world.house.folder().join("broker.db");
            let mut database = SqliteConnectOptions::new().filename(file).connect().await?;
            let rows = sqlx::query(text).execute(&mut database).await?.rows_affected();
            database.close().await?;
            rows
        }
    };
    ensure!(rows > 0, "nothing to tamper with: {sql}");
    Ok(())
}

/// While the broker is down: a stranger's token, another label for an account, another role for a caller.
async fn tamper(world: &mut World) -> Result<()> {
    world.house.broker()?.kill();
    let id = |mailbox: &str| format!("(select id from accounts where mailbox = '{mailbox}')");
    let (alice, bob) = (id(ALICE), id(BOB));
    for change in [
        format!("delete from access_tokens where account = {bob}"),
        format!("update access_tokens set account = {bob} where account = {alice}"),
        format!("update accounts set labels = '{{\"vip\":\"yes\"}}' where mailbox = '{ALICE}'"),
        "update callers set role = 'admin' where name = 'poor'".to_owned(),
    ] {
        sql(world, &change).await?;
    }
    world.house.open().await?;
    until("the broker names the rows by itself", PATIENCE, async || {
        let status = world.operator.ctl(&["status"]).await?;
        let rows = status["refused_rows"].as_array().into_iter().flatten();
        let named: Vec<&str> = rows.filter_map(|row| row["table"].as_str()).collect();
        Ok(named == ["accounts", "callers"])
    })
    .await
}

/// Everything that is sealed or signed, as text.
async fn cells(world: &World) -> Result<Vec<String>> {
    let hex =
        if world.house.postgres_url().is_some() { "encode(X, 'hex')" } else { "lower(hex(X))" };
    let of = |table: &str, column: &str| {
        format!("select {} from {table} order by id", hex.replace('X', column))
    };
    let all = [
        of("grants", "refresh_token"),
        of("access_tokens", "sealed"),
        of("app_secrets", "sealed"),
        of("accounts", "mac"),
        of("apps", "mac"),
        of("callers", "mac"),
        of("credentials", "mac"),
        of("caller_keys", "secret_hash"),
    ];
    let mut cells = Vec::new();
    for text in all {
        let text = AssertSqlSafe(text);
        let rows: Vec<(Option<String>,)> = match world.house.postgres_url() {
            Some(url) => {
                let mut database = PgConnection::connect(url).await?;
                sqlx::query_as(text).fetch_all(&mut database).await?
            }
            None => {
                let file = world.house.folder().join("broker.db");
                let options = SqliteConnectOptions::new().filename(file).read_only(true);
                sqlx::query_as(text).fetch_all(&mut options.connect().await?).await?
            }
        };
        cells.extend(rows.into_iter().filter_map(|(cell,)| cell));
    }
    Ok(cells)
}

/// Puts a new key where `next_kek` says.
async fn new_key(world: &World, name: &str) -> Result<()> {
    let file = world.house.folder().join(name);
    Program::new(binary("token-broker")?).arg("new-key").arg(&file).run().await?.ok()?;
    Ok(())
}

/// Removes a term, as soon as the broker has certainly written all that it sealed under it.
async fn removed(world: &World, term: &str) -> Result<()> {
    until("the term goes", PATIENCE, async || {
        Ok(world.operator.try_ctl(&["key", "remove", term, "--yes"]).await?.code == Some(0))
    })
    .await
}

/// How many values are under a term, of those that a re-seal moves, and of the others.
fn under(status: &Value, term: u64) -> (i64, i64) {
    let terms = status["terms"].as_array().into_iter().flatten();
    let uses = terms.filter(|it| it["term"] == term).flat_map(|it| it["uses"].as_array());
    uses.flatten().fold((0, 0), |(moves, stays), one| {
        let count = one["count"].as_i64().unwrap_or_default();
        if one["resealable"] == true { (moves + count, stays) } else { (moves, stays + count) }
    })
}

/// Somebody who asks for tokens all the time and counts what goes wrong.
struct Asking {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    task: JoinSet<Vec<String>>,
}

impl Asking {
    fn start(tokens: TokenBroker) -> Self {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&asked));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut failed = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                match token_of(&tokens, ALICE).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(refusal)) => failed.push(format!("{refusal:?}")),
                    Err(error) => failed.push(error.to_string()),
                }
                counted.fetch_add(1, Ordering::Relaxed);
            }
            failed
        });
        Self { stop, asked, task }
    }

    /// How often, after checking that nothing went wrong.
    async fn end(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let failed = self.task.join_all().await.concat();
        ensure!(failed.is_empty(), "{} calls failed, first {}", failed.len(), failed[0]);
        Ok(self.asked.load(Ordering::Relaxed))
    }
}

#[tokio::test]
async fn t7_a_change_of_term_moves_everything_while_calls_are_served_and_the_old_one_can_go()
-> Result<()> {
    for engine in Engine::each()? {
        let mut world = World::builder().engine(engine).without_adapters().start().await?;
        let account = world.connect(ALICE).await?;
        let many = connect(&world.operator, APP, 20).await?;
        let (credential, _) = world.operator.credential(&account.name, |_| {}).await?;
        let service = world.service("crm").await?;
        let before = insist(&service, &many).await?;
        let asking = Asking::start(service.clone());

        world.operator.ctl(&["key", "rotate"]).await?;
        let done = world.operator.ctl(&["key", "reseal"]).await?;
        assert_eq!(
            (&done["active_term"], &done["reseal"]["refused"]),
            (&2.into(), &0.into()),
            "{done}"
        );
        // Of each account its row, its grant and its token.
        assert!(done["reseal"]["total"].as_i64() >= Some(3 * 21), "{done}");
        assert_eq!(under(&done, 1).0, 0, "nothing that moves is left: {done}");
        assert_eq!(insist(&service, &many).await?, before, "and everything opens");

        // Keys that are used move by themselves; a password that is not used is named, and gone with its revocation.
        let status = async |world: &World| world.operator.ctl(&["key", "status"]).await;
        until("used keys are hashed anew", PATIENCE, async || {
            insist(&service, &many[..1]).await?;
            Ok(under(&status(&world).await?, 1).1 == 1)
        })
        .await?;
        let refused = world.operator.try_ctl(&["key", "remove", "1", "--yes"]).await?;
        let id = credential.name.rsplit('/').next().unwrap_or_default();
        assert!(refused.stderr.contains(id), "names the password: {}", refused.stderr);
        assert!(asking.end().await? > 0);
        world.operator.revoke_credential(&credential.name).await?;
        world.operator.ctl(&["key", "reseal"]).await?;
        removed(&world, "1").await?;
        let rest = status(&world).await?;
        assert_eq!(rest["terms"].as_array().map(Vec::len), Some(1), "{rest}");

        world.house.crash().await?;
        assert_eq!(insist(&service, &many).await?, before, "also after a restart");
        let audit = world.operator.audit().await?;
        for event in
            ["key.term_created", "key.term_activated", "key.reseal_ended", "key.term_removed"]
        {
            assert!(audit.iter().any(|record| record.event == event), "no {event}");
        }
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn t7_a_broker_killed_in_the_middle_of_a_reseal_goes_on_with_it_when_it_is_back() -> Result<()>
{
    for engine in Engine::each()? {
        let mut world = World::builder().engine(engine).without_adapters().start().await?;
        let many = connect(&world.operator, APP, 5).await?;
        let service = world.service("crm").await?;
        let before = insist(&service, &many).await?;
        world
            .house
            .set_environment(vec![("TOKEN_BROKER_FAILPOINT", "reseal.page=kill@2".to_owned())]);
        world.house.crash().await?;
        world.operator.ctl(&["key", "rotate"]).await?;
        // The answer may not come: it dies.
        world.operator.try_ctl(&["key", "reseal", "--no-wait"]).await?;
        until("it died", PATIENCE, async || Ok(world.house.broker()?.ended().is_some())).await?;
        world.house.set_environment(Vec::new());
        world.house.open().await?;
        until("it is done without being asked", PATIENCE, async || {
            let status = world.operator.ctl(&["key", "status"]).await?;
            Ok(status["reseal"]["state"] == "done" && under(&status, 1).0 == 0)
        })
        .await?;
        assert_eq!(insist(&service, &many).await?, before);
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn t4_t5_what_was_moved_or_widened_is_named_and_never_made_genuine_by_a_reseal() -> Result<()>
{
    for engine in Engine::each()? {
        let mut world = World::builder().engine(engine).without_adapters().start().await?;
        world.connect(ALICE).await?;
        world.connect(BOB).await?;
        let third = connect(&world.operator, APP, 1).await?;
        let (_, key) = world.operator.caller("poor", CallerRole::Service, |_| {}).await?;
        let poor = world.tokens(&key).await?;
        let service = world.service("crm").await?;
        let before = insist(&service, &third).await?;
        tamper(&mut world).await?;

        world.operator.ctl(&["key", "rotate"]).await?;
        let run = world.operator.try_ctl(&["key", "reseal"]).await?;
        assert_eq!(run.code, Some(7), "somebody has to look: {}", run.stderr);
        let done = run.json()?;
        let rows = done["reseal"]["refused_rows"].as_array().cloned().unwrap_or_default();
        let named: Vec<&str> = rows.iter().filter_map(|row| row["table"].as_str()).collect();
        assert_eq!(named, ["access_tokens", "accounts", "callers"], "{done}");
        assert_eq!(under(&done, 1).0, 3, "they stay where they are: {done}");
        let status = world.operator.ctl(&["status"]).await?;
        assert!(status["refused_rows"].as_array().is_some_and(|rows| rows.len() >= 3), "{status}");

        assert_eq!(reason(service.access_token(BOB).await), Some(ErrorReason::Internal));
        assert_eq!(reason(service.access_token(ALICE).await), Some(ErrorReason::Internal));
        assert_eq!(reason(poor.access_token(ALICE).await), Some(ErrorReason::Internal));
        assert_eq!(insist(&service, &third).await?, before, "the others were moved");
        let refused = world.operator.try_ctl(&["key", "remove", "1", "--yes"]).await?;
        assert!(refused.stderr.contains("accounts.mac"), "{}", refused.stderr);

        // As it was, it fits, and the next re-seal takes it along.
        world.house.broker()?.kill();
        sql(&world, &format!("update accounts set labels = '{{}}' where mailbox = '{ALICE}'"))
            .await?;
        sql(&world, "update callers set role = 'service' where name = 'poor'").await?;
        world.house.open().await?;
        let done = world.operator.try_ctl(&["key", "reseal"]).await?.json()?;
        assert_eq!(done["reseal"]["refused"], 1, "{done}");
        assert_eq!(reason(poor.access_token(ALICE).await), Some(ErrorReason::NotPermitted));
        refresh_now(&world.operator, ALICE).await?;
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn t1_t7_a_change_of_the_key_encryption_key_writes_the_keyring_and_nothing_else() -> Result<()>
{
    for engine in Engine::each()? {
        let mut world = World::builder().engine(engine).without_adapters().start().await?;
        world.connect(ALICE).await?;
        let service = world.service("crm").await?;
        let token = service.access_token(ALICE).await?;
        let early = world.operator.try_ctl(&["key", "rotate-kek"]).await?;
        assert!(early.stderr.contains("next_kek"), "there is no next key yet: {}", early.stderr);
        new_key(&world, "kek.next").await?;
        let before = (world.operator.ctl(&["key", "status"]).await?, cells(&world).await?);
        let after = world.operator.ctl(&["key", "rotate-kek"]).await?;
        assert_eq!(after["key_encryption_key"], before.0["next_key_encryption_key"], "{after}");
        assert_eq!(cells(&world).await?, before.1, "no sealed value, MAC or hash was written");
        let again = world.operator.try_ctl(&["key", "rotate-kek"]).await?;
        assert!(again.stderr.contains("already"), "{}", again.stderr);
        assert_eq!(service.access_token(ALICE).await?.expose(), token.expose());

        // The next key opens it where it is; the old one alone does not, and a stranger's neither.
        world.house.crash().await?;
        assert_eq!(service.access_token(ALICE).await?.expose(), token.expose());
        world.house.broker()?.kill();
        let (kek, next) = (world.house.folder().join("kek"), world.house.folder().join("kek.next"));
        let aside = world.house.folder().join("aside");
        std::fs::rename(&next, &aside)?;
        let needed = after["key_encryption_key"].as_str().unwrap_or_default();
        for old in [true, false] {
            if !old {
                std::fs::remove_file(&kek)?;
                new_key(&world, "kek").await?;
            }
            let mut process = world.house.serve()?;
            until("it refuses to start", PATIENCE, async || Ok(process.ended().is_some())).await?;
            assert_ne!(process.ended().and_then(|status| status.code()), Some(0));
            assert!(process.log().contains(needed), "says which key it wants: {}", process.tail());
        }
        std::fs::rename(&aside, &kek)?;
        world.house.open().await?;
        assert_eq!(service.access_token(ALICE).await?.expose(), token.expose());
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_password_moves_to_the_new_term_when_it_is_used_and_works_on_after_the_old_one_is_gone()
-> Result<()> {
    let world = World::start().await?;
    let account = world.connect(ALICE).await?;
    let (_, password) = world.operator.credential(&account.name, |_| {}).await?;
    world.operator.ctl(&["key", "rotate"]).await?;
    world.operator.ctl(&["key", "reseal"]).await?;
    until("nothing needs the old term", PATIENCE, async || {
        // The adapters' keys are used by these logins, the operator's by the question.
        ensure!(imap_answer(&world, ALICE, &password).await?.starts_with("a OK"));
        crate::words::smtp_answer(&world, ALICE, &password).await?;
        let status = world.operator.ctl(&["key", "status"]).await?;
        Ok(under(&status, 1) == (0, 0))
    })
    .await?;
    removed(&world, "1").await?;
    assert!(imap_answer(&world, ALICE, &password).await?.starts_with("a OK"));
    assert!(imap_answer(&world, ALICE, &format!("{password}x")).await?.starts_with("a NO"));
    world.end().await
}

#[tokio::test]
async fn t9_only_administrators_may_look_after_the_keys() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    for role in [CallerRole::Operator, CallerRole::Service] {
        let id = format!("{role:?}").to_lowercase();
        let (_, key) = world.operator.caller(&id, role, |_| {}).await?;
        let options = token_broker_client::Options::new(world.operator.server()).api_key(key);
        let admin = token_broker_client::Admin::connect(options).await?;
        let asked = [
            admin.ask(admin.keys().get_key_status(v1::GetKeyStatusRequest::default())).await,
            admin.ask(admin.keys().create_key_term(v1::CreateKeyTermRequest {})).await,
            admin.ask(admin.keys().start_reseal(v1::StartResealRequest {})).await,
            admin.ask(admin.keys().remove_key_term(v1::RemoveKeyTermRequest { term: 1 })).await,
            admin
                .ask(admin.keys().rotate_key_encryption_key(v1::RotateKeyEncryptionKeyRequest {}))
                .await,
        ];
        for answer in asked {
            let told = answer.err().and_then(|error| error.reason());
            assert_eq!(told, Some(ErrorReason::NotPermitted), "{role:?}");
        }
    }
    let status = world.operator.ctl(&["key", "status"]).await?;
    assert_eq!((&status["active_term"], &status["reseal"]), (&1.into(), &Value::Null), "{status}");
    let last = world.operator.try_ctl(&["key", "remove", "1", "--yes"]).await?;
    assert_eq!(last.code, Some(1), "the active one stays: {}", last.stderr);
    world.end().await
}

#[tokio::test]
async fn a_drained_broker_refuses_services_and_answers_operators_until_it_is_resumed() -> Result<()>
{
    let world = World::builder().without_adapters().start().await?;
    world.connect(ALICE).await?;
    let service = world.service("crm").await?;
    token_of(&service, ALICE).await?.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
    let doors = world.house.doors();
    assert!(doors.is_ready().await);
    let stands = world.operator.ctl(&["drain", "--wait"]).await?;
    assert_eq!((&stands["draining"], &stands["calls_in_flight"]), (&true.into(), &0.into()));
    assert!(!doors.is_ready().await);
    let options = token_broker_client::Options::new(format!("http://{}", world.house.doors().grpc))
        .api_key(world.operator.service_key("other").await?)
        .deadline(Duration::from_secs(1))
        .cache_entries(0);
    let refused = TokenBroker::connect(options).await?.access_token(ALICE).await.err();
    assert!(refused.as_ref().is_some_and(token_broker_client::Error::is_retryable), "{refused:?}");
    let status = world.operator.ctl(&["status"]).await?;
    assert_eq!(
        (&status["serving"]["draining"], &status["replicas"][0]["live"]),
        (&true.into(), &true.into())
    );
    world.operator.ctl(&["resume"]).await?;
    assert!(doors.is_ready().await);
    assert!(token_of(&service, ALICE).await?.is_ok());
    let audit = world.operator.audit().await?;
    assert!(
        ["broker.drained", "broker.resumed"]
            .iter()
            .all(|event| audit.iter().any(|it| it.event == *event))
    );
    world.end().await
}

#[tokio::test]
async fn an_app_that_is_left_alone_is_asked_again_at_once_after_a_reset() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    world.connect(ALICE).await?;
    world.provider.change(|provider| provider.clients[0].secrets[0].expired = true);
    let refused = refresh_now(&world.operator, ALICE).await.err().and_then(|error| error.reason());
    assert_eq!(refused, Some(ErrorReason::AppRejected));
    let paused = async || -> Result<i64> {
        let status = world.operator.ctl(&["status"]).await?;
        Ok(status["paused_apps"][0]["refusals"].as_i64().unwrap_or_default())
    };
    assert_eq!(paused().await?, 1);
    let reset = world.operator.ctl(&["app", "reset-breaker", APP]).await?;
    assert_eq!(reset["pause_lifted"], true, "{reset}");
    assert_eq!(paused().await?, 0);
    assert!(world.operator.audit().await?.iter().any(|record| record.event == "breaker.reset"));
    let nothing = world.operator.try_ctl(&["app", "reset-breaker", "none"]).await?;
    assert_eq!(nothing.code, Some(3), "{}", nothing.stderr);
    world.end().await
}
