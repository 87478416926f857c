//! `fixture`: makes the database of a fixture with the present code; `tests/fixtures/README.md` says when.
//!
//! A world lives for a while, the broker's power is cut in the middle of a refresh, and what it left is written down as
//! text. Never writes over a fixture that is there. Next: `e2e::world::fixture`, which restores it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use e2e::cast::provider::faults::{Fault, Rule};
use e2e::world::command::Program;
use e2e::world::fixture::{self, DUMP, FILES, KEPT, Kept, Record, SERVICE, folder_of};
use e2e::world::{ALICE, APP, BOB, Engine, World};
use token_broker_client::{MailLogin, Options, Verdict, v1};

/// How often alice's token is refreshed: more generations than the broker keeps.
const REFRESHES: usize = 5;
const POLL: Duration = Duration::from_millis(20);

/// Makes the database of a fixture with the present code.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where the database is kept
    #[arg(value_enum)]
    engine: Kind,
    /// A folder such as `tests/fixtures/schema-1`; the engine's own folder is made in it
    folder: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Sqlite,
    Postgres,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let engine = match arguments.engine {
        Kind::Sqlite => Engine::Sqlite,
        Kind::Postgres => Engine::Postgres,
    };
    Box::pin(make(engine, &arguments.folder.join(folder_of(engine)))).await
}

async fn make(engine: Engine, folder: &Path) -> Result<()> {
    ensure!(!folder.exists(), "{} is there already", folder.display());
    fixture::ports_are_free().await?;
    let mut world = World::builder()
        .engine(engine)
        .without_adapters()
        .provider(|settings| *settings = fixture::provider())
        .mailbox(|settings| *settings = fixture::mailbox())
        .app(|app| app.rotation = v1::Rotation::Strict.into())
        .start()
        .await?;
    let (service_key, password) = live(&world).await?;
    let mut audit: Vec<Record> = world.operator.audit().await?.iter().map(Record::from).collect();
    audit.sort_by_key(|record| record.sequence);
    cut_in_the_middle_of_a_refresh(&mut world).await?;
    let ledger = world.provider.truth().snapshot().tokens;
    let kept = Kept { service_key, password, audit, ledger };
    let dump = match world.house.postgres_url() {
        None => dump_sqlite(&world.house.folder().join("broker.db")).await?,
        Some(url) => dump_postgres(url).await?,
    };
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join(DUMP), dump)?;
    std::fs::write(folder.join(KEPT), serde_json::to_string_pretty(&kept)? + "\n")?;
    for file in FILES {
        let text = std::fs::read_to_string(world.house.folder().join(file))?;
        std::fs::write(folder.join(file), text)?;
    }
    world.provider.clear_faults();
    world.house.open().await?;
    world.end().await
}

/// Everything that leaves a row behind. The service's key and alice's password.
async fn live(world: &World) -> Result<(String, String)> {
    let alice = world.connect(ALICE).await?;
    world.connect(BOB).await?;
    world.operator.invite(APP, "carol@example.test").await?;
    let (_, password) = world.operator.credential(&alice.name, |_| {}).await?;
    let mail = v1::Right {
        accounts: Some(v1::AccountSelector { all: true, ..Default::default() }),
        audiences: vec!["mail".to_owned()],
        ..Default::default()
    };
    let role = v1::CallerRole::Service;
    let (_, service_key) =
        world.operator.caller(SERVICE, role, |caller| caller.rights = vec![mail]).await?;
    let service = world.tokens(&service_key).await?;
    service.access_token(BOB).await?;
    open_session(world, &password).await?;
    for _ in 0..REFRESHES {
        refresh(world, ALICE).await?;
        service.access_token(ALICE).await?;
    }
    refresh(world, BOB).await?;
    ensure!(service.access_token("nobody@example.test").await.is_err(), "nobody has a token");
    Ok((service_key, password))
}

/// A login that an adapter lets in and of whose end nobody hears.
async fn open_session(world: &World, password: &str) -> Result<()> {
    let imap = v1::MailProtocol::Imap.into();
    let role = v1::CallerRole::Adapter;
    let (_, key) =
        world.operator.caller("relay", role, |caller| caller.protocols = vec![imap]).await?;
    let options = Options::new(format!("http://{}", world.house.doors().grpc)).api_key(key);
    let login = v1::OpenSessionRequest {
        protocol: imap,
        login_name: ALICE.to_owned(),
        secret: password.to_owned(),
        client_address: "127.0.0.1".to_owned(),
        client_tls: Some(v1::ClientTls { encrypted: true, version: "TLSv1.3".to_owned() }),
    };
    let mail = MailLogin::connect(options).await?;
    match mail.open_session(login, Duration::from_secs(30)).await? {
        Verdict::Session(_) => Ok(()),
        Verdict::Denied(denial) => bail!("the login is refused: {denial:?}"),
    }
}

async fn refresh(world: &World, account: &str) -> Result<()> {
    let admin = world.operator.admin();
    let ask = v1::RefreshAccountRequest { name: account.to_owned(), audience: String::new() };
    admin.ask(admin.accounts().refresh_account(ask)).await?;
    Ok(())
}

/// The provider hangs on a refresh of bob's token, without having spent it; then the broker is killed.
async fn cut_in_the_middle_of_a_refresh(world: &mut World) -> Result<()> {
    world.provider.fault(Rule::refresh(Fault::Hang).login(BOB));
    let before = world.refreshes();
    let arrived = async {
        while world.refreshes() == before {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::select! {
        answer = refresh(world, BOB) => bail!("the provider does not hang: {answer:?}"),
        () = arrived => {}
    }
    world.house.broker()?.kill();
    Ok(())
}

async fn dump_sqlite(file: &Path) -> Result<String> {
    Ok(Program::new("sqlite3").arg(file).arg(".dump").run().await?.ok()?.stdout)
}

/// Without comments, which name versions, and without the commands of `psql`.
async fn dump_postgres(url: &str) -> Result<String> {
    let mut versions = std::fs::read_dir("/usr/lib/postgresql")?.flatten();
    let tool = versions
        .find_map(|version| Some(version.path().join("bin/pg_dump")).filter(|path| path.is_file()));
    let tool = Program::new(tool.context("no pg_dump")?).arg(url);
    let tool = tool.args(["--no-owner", "--no-privileges", "--inserts"]);
    let dump = tool.run().await?.ok()?.stdout;
    let sql = dump.lines().filter(|line| !line.is_empty() && !line.starts_with(['\\', '-']));
    Ok(sql.fold(String::new(), |text, line| text + line + "\n"))
}
