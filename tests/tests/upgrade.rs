//! A database made by an older state of the code, with data in it, is migrated and served from: nothing in it is lost.
//!
//! The databases are in `tests/fixtures`; their broker was killed in the middle of a refresh. Tables are read only before
//! the upgrade, since what becomes of them is the migrations' affair; afterwards everything is asked as users ask it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use e2e::cast::ca::TestCa;
use e2e::cast::provider::record::{Kind, TokenRecord};
use e2e::world::binaries::tests_folder;
use e2e::world::fixture::Record;
use e2e::world::{ALICE, BOB, Client, Engine, Fixture, House, Plan, World, letter};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use token_broker_client::v1;
use tokio::sync::{Mutex, MutexGuard};

/// All fixtures name the same ports: one world at a time.
static PORTS: Mutex<()> = Mutex::const_new(());

/// The right to the ports, and what to restore.
async fn each() -> Result<(MutexGuard<'static, ()>, Vec<Fixture>)> {
    let turn = PORTS.lock().await;
    let mut fixtures = Vec::new();
    for engine in Engine::each()? {
        fixtures.extend(Fixture::each(engine)?);
    }
    Ok((turn, fixtures))
}

async fn refresh_now(world: &World, account: &str) -> Result<v1::Account> {
    let admin = world.operator.admin();
    let ask = v1::RefreshAccountRequest { name: account.to_owned(), audience: String::new() };
    Ok(admin.ask(admin.accounts().refresh_account(ask)).await?)
}

/// The refresh token of `user` that the provider issued last, before the upgrade.
fn newest(ledger: &[TokenRecord], user: &str) -> Result<TokenRecord> {
    let of_user = |token: &&TokenRecord| token.kind == Kind::Refresh && token.user == user;
    let tokens = ledger.iter().filter(of_user);
    tokens.max_by_key(|token| token.generation).cloned().context("no refresh token")
}

/// The numbers of the migrations that a restored database has seen, and how many of its attempts are open.
async fn look_into(house: &House) -> Result<(Vec<i64>, i64)> {
    const SEEN: &str = "select version from _sqlx_migrations order by version";
    const OPEN: &str = "select count(*) from refresh_attempts where ended_at is null";
    if let Some(url) = house.postgres_url() {
        let mut database = PgConnection::connect(url).await?;
        let seen = sqlx::query_scalar(SEEN).fetch_all(&mut database).await?;
        return Ok((seen, sqlx::query_scalar(OPEN).fetch_one(&mut database).await?));
    }
    let file = SqliteConnectOptions::new().filename(house.folder().join("broker.db"));
    let mut database = file.connect().await?;
    let seen = sqlx::query_scalar(SEEN).fetch_all(&mut database).await?;
    Ok((seen, sqlx::query_scalar(OPEN).fetch_one(&mut database).await?))
}

/// The number of the newest migration in the repository.
fn newest_migration(engine: Engine) -> Result<i64> {
    let folder = match engine {
        Engine::Sqlite => "../migrations/sqlite",
        Engine::Postgres => "../migrations/postgres",
    };
    let mut numbers = BTreeSet::new();
    for entry in std::fs::read_dir(tests_folder().join(folder))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        numbers.insert(name.split('_').next().unwrap_or_default().parse().context(name.clone())?);
    }
    numbers.last().copied().context("no migrations")
}

#[tokio::test]
async fn a_fixture_is_a_database_of_its_schema_with_an_attempt_that_never_ended() -> Result<()> {
    let (_turn, fixtures) = each().await?;
    for fixture in fixtures {
        let plan = Plan { engine: fixture.engine(), ..Plan::default() };
        let house = House::found(plan, &TestCa::generate()?).await?;
        fixture.restore(&house).await?;
        let (seen, open) = look_into(&house).await?;
        assert_eq!(seen, (1..=fixture.schema()).collect::<Vec<_>>());
        assert_eq!(open, 1, "{fixture:?}");
        let kept = fixture.kept()?;
        assert!(newest(&kept.ledger, ALICE)?.generation > 3, "several generations");
        assert!(kept.audit.len() > 20);
    }
    Ok(())
}

#[tokio::test]
async fn accounts_apps_consents_and_the_audit_are_there_after_an_upgrade() -> Result<()> {
    let (_turn, fixtures) = each().await?;
    for fixture in fixtures {
        let world = World::builder().fixture(fixture.clone()).without_adapters().start().await?;
        let status = world.operator.ctl(&["status"]).await?;
        assert_eq!(status["schema_version"], newest_migration(fixture.engine())?, "{status}");
        assert_eq!(status["accounts"]["active"], 2, "{status}");
        for mailbox in [ALICE, BOB] {
            assert_eq!(world.operator.account(mailbox).await?.state(), v1::AccountState::Active);
        }
        let listed = world.operator.ctl(&["account", "list"]).await?.to_string();
        assert!(listed.contains(ALICE) && listed.contains(BOB), "{listed}");
        let apps = world.operator.ctl(&["app", "list"]).await?.to_string();
        assert!(apps.contains(world.provider.issuer()), "{apps}");
        // Consents are forgotten after a month, so those of the fixture may be gone; new ones can be made.
        world.operator.ctl(&["consent", "list"]).await?;
        world.connect("carol@example.test").await?;
        let records = world.operator.audit().await?;
        let mut numbers: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
        for record in &records {
            let new = numbers.entry(record.chain.clone()).or_default().insert(record.sequence);
            assert!(new, "{record:?} is there twice");
        }
        for (chain, numbers) in numbers {
            let all = (1..=numbers.len() as i64).collect();
            assert_eq!(numbers, all, "the chain {chain:?} has no gap");
        }
        let records: Vec<Record> = records.iter().map(Record::from).collect();
        for old in &fixture.kept()?.audit {
            assert!(records.contains(old), "{fixture:?} lost {old:?}");
        }
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn tokens_are_served_and_the_newest_generation_is_spent_after_an_upgrade() -> Result<()> {
    let (_turn, fixtures) = each().await?;
    for fixture in fixtures {
        let world = World::builder().fixture(fixture.clone()).without_adapters().start().await?;
        let (kept, truth) = (fixture.kept()?, world.provider.truth());
        let service = world.tokens(&kept.service_key).await?;
        let token = service.access_token(ALICE).await?;
        assert!(truth.is_live(token.expose()), "{fixture:?}");
        assert_eq!(truth.token(token.expose()).context("never issued")?.user, ALICE);
        let before = world.operator.account(ALICE).await?.generation;
        let after = refresh_now(&world, ALICE).await?.generation;
        assert!(after > before, "{fixture:?}");
        let token = service.access_token(ALICE).await?;
        assert!(truth.is_live(token.expose()), "{fixture:?}");
        let newest = newest(&kept.ledger, ALICE)?;
        for old in kept.ledger.iter().filter(|old| old.kind == Kind::Refresh && old.user == ALICE) {
            let spent = truth.token(&old.token).context("not adopted")?.presented;
            assert_eq!(spent, u32::from(old.token == newest.token), "{fixture:?} {old:?}");
        }
        assert_eq!(truth.stats().reuse, 0, "{fixture:?}");
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_attempt_that_never_ended_loses_no_token_in_an_upgrade() -> Result<()> {
    let (_turn, fixtures) = each().await?;
    for fixture in fixtures {
        let mut world =
            World::builder().fixture(fixture.clone()).without_adapters().start().await?;
        let (kept, truth) = (fixture.kept()?, world.provider.truth());
        let service = world.tokens(&kept.service_key).await?;
        let token = service.access_token(BOB).await?;
        assert!(truth.is_live(token.expose()), "{fixture:?}");
        refresh_now(&world, BOB).await?;
        world.house.crash().await?;
        refresh_now(&world, BOB).await?;
        let token = service.access_token(BOB).await?;
        let token = truth.token(token.expose()).context("never issued")?;
        assert_eq!((token.user.as_str(), token.revoked_ms), (BOB, None), "{fixture:?}");
        let doubtful = newest(&kept.ledger, BOB)?;
        assert_eq!(truth.token(&doubtful.token).context("not adopted")?.accepted, 1);
        assert_eq!(truth.stats().reuse, 0, "{fixture:?}");
        assert_eq!(world.operator.account(BOB).await?.state(), v1::AccountState::Active);
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_password_made_before_an_upgrade_opens_the_mailbox() -> Result<()> {
    let (_turn, fixtures) = each().await?;
    for fixture in fixtures {
        let world = World::builder().fixture(fixture.clone()).start().await?;
        world.mailbox.deliver(ALICE, &letter(BOB, ALICE, "after the upgrade"))?;
        let password = fixture.kept()?.password;
        let client = Client::new(&world.house, ALICE, &password)?;
        let read = client.curl_imap("INBOX;MAILINDEX=1").await?.ok()?;
        assert!(read.stdout.contains("after the upgrade"), "{fixture:?}: {read}");
        client.curl_smtp(BOB, &letter(ALICE, BOB, "sent")).await?.ok()?;
        assert_eq!(world.mailbox.store().mails(BOB, "INBOX").len(), 1, "{fixture:?}");
        let wrong = Client::new(&world.house, ALICE, &format!("{password}x"))?;
        assert_ne!(wrong.curl_imap("").await?.code, Some(0), "{fixture:?}");
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn without_its_own_key_a_database_is_not_served() -> Result<()> {
    let (_turn, fixtures) = each().await?;
    for fixture in fixtures {
        let plan = Plan { engine: fixture.engine(), ..Plan::default() };
        let mut house = House::found(plan, &TestCa::generate()?).await?;
        fixture.restore(&house).await?;
        let kek = house.folder().join("kek");
        let text = std::fs::read_to_string(&kek)?;
        let other = if text.starts_with("tbkek1_A") { "tbkek1_B" } else { "tbkek1_A" };
        std::fs::write(&kek, format!("{other}{}", text.get(other.len()..).context("no key")?))?;
        assert!(house.open().await.is_err(), "{fixture:?}");
        std::fs::write(&kek, text)?;
        house.open().await?;
        house.stop().await?;
    }
    Ok(())
}
