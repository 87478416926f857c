//! The audit as evidence: a hand in the database is found and named, by the broker, by the tool alone, and by the second place.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::world::evidence::entry;
use e2e::world::{ALICE, Engine, World};
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use token_broker::domain::chain::Entry;
use token_broker::domain::checkpoint::hex;
use token_broker_client::v1;

const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// Cuts the broker's power, runs `sql` on its database and starts it again.
async fn by_hand(world: &mut World, sql: &[String]) -> Result<()> {
    world.house.broker()?.kill();
    let text = AssertSqlSafe(sql.join(";"));
    match world.house.postgres_url() {
        Some(url) => {
            let mut database = PgConnection::connect(url).await?;
            sqlx::raw_sql(text).execute(&mut database).await?;
            database.close().await?;
        }
        None => {
            let file = world.house.folder().join("broker.db");
            let mut database = SqliteConnectOptions::new().filename(file).connect().await?;
            sqlx::raw_sql(text).execute(&mut database).await?;
            database.close().await?;
        }
    }
    world.house.open().await
}

/// Bytes as the engine writes them in SQL.
fn blob(engine: Engine, bytes: &[u8]) -> String {
    match engine {
        Engine::Sqlite => format!("x'{}'", hex(bytes)),
        Engine::Postgres => format!("'\\x{}'::bytea", hex(bytes)),
    }
}

/// The chain of what this broker hands out.
fn own(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "broker",
        Engine::Postgres => "only",
    }
}

/// What the broker, and the tool on an export of now, say of a chain: the first bad record and its flaw.
async fn verdicts(world: &World, chain: &str) -> Result<[Option<(i64, String)>; 2]> {
    let by_broker = world.operator.try_ctl(&["audit", "verify"]).await?;
    let file = world.house.folder().join("now.jsonl");
    let _ = std::fs::remove_file(&file);
    let shown = file.display().to_string();
    world.operator.ctl(&["audit", "export", &shown]).await?;
    let alone = world.operator.tool(&["audit", "verify", "--file", &shown]);
    let alone = alone.env("BROKERCTL_KEY_FILE", "/nowhere").run().await?;
    let mut found = [None, None];
    for (place, run) in found.iter_mut().zip([by_broker, alone]) {
        let told = run.json()?;
        let one = of_chain(&told, chain)?;
        *place = one["bad_sequence"].as_i64().zip(one["flaw"].as_str().map(str::to_owned));
        let bad = told["intact"] == false;
        ensure!(run.code == Some(i32::from(bad)), "the exit code says it: {run}");
        let named = place.as_ref().map(|(number, _)| format!("record {number}"));
        ensure!(named.is_none_or(|named| run.stderr.contains(&named)), "the error names it: {run}");
    }
    Ok(found)
}

fn of_chain<'t>(told: &'t Value, chain: &str) -> Result<&'t Value> {
    let chains = told["chains"].as_array().context("no chains")?;
    chains.iter().find(|one| one["chain"] == chain).with_context(|| format!("no {chain}: {told}"))
}

fn both(number: i64, flaw: &str) -> [Option<(i64, String)>; 2] {
    [Some((number, flaw.to_owned())), Some((number, flaw.to_owned()))]
}

/// All records of a chain as they are stored.
async fn entries(world: &World, chain: &str) -> Result<Vec<Entry>> {
    let admin = world.operator.admin();
    let ask = v1::ExportAuditRecordsRequest {
        chain: chain.to_owned(),
        page_size: 1000,
        after_sequence: 0,
    };
    let page = admin.ask(admin.audit().export_audit_records(ask)).await?;
    Ok(page.records.into_iter().map(entry).collect())
}

async fn tokens(world: &World, count: usize) -> Result<()> {
    for _ in 0..count {
        world.operator.tokens().access_token(ALICE).await?;
    }
    Ok(())
}

/// Waits until the second place has seen record `sequence` of a chain.
async fn attested(file: &Path, chain: &str, sequence: i64) -> Result<()> {
    let began = Instant::now();
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let seen = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut seen = seen.filter(|line| line["chain"] == chain);
        if seen.any(|line| line["sequence"].as_i64() >= Some(sequence)) {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "no checkpoint of record {sequence}: {text}");
        tokio::time::sleep(POLL).await;
    }
}

#[tokio::test]
async fn t36_a_record_that_was_changed_moved_removed_or_cut_off_is_named() -> Result<()> {
    for engine in Engine::each()? {
        let mut world = World::builder().engine(engine).without_adapters().start().await?;
        let chain = own(engine);
        world.connect(ALICE).await?;
        tokens(&world, 9).await?;
        assert_eq!(verdicts(&world, chain).await?, [None, None]);
        let at = |sequence: i64| format!("where chain = '{chain}' and sequence = {sequence}");
        let set = |what: &str, sequence: i64| format!("update audit set {what} {}", at(sequence));

        by_hand(&mut world, &[set("granted = 0", 4)]).await?;
        assert_eq!(verdicts(&world, chain).await?, both(4, "edited"));
        let swap = [
            set("granted = 1", 4),
            set("sequence = 99", 4),
            set("sequence = 4", 6),
            set("sequence = 6", 99),
        ];
        by_hand(&mut world, &swap).await?;
        assert_eq!(verdicts(&world, chain).await?, both(4, "reordered"));
        let back = [set("sequence = 99", 4), set("sequence = 4", 6), set("sequence = 6", 99)];
        by_hand(&mut world, &back).await?;
        assert_eq!(verdicts(&world, chain).await?, [None, None]);
        by_hand(&mut world, &[format!("delete from audit {}", at(9))]).await?;
        assert_eq!(verdicts(&world, chain).await?, both(9, "truncated"));
        by_hand(&mut world, &[format!("delete from audit {}", at(2))]).await?;
        assert_eq!(verdicts(&world, chain).await?, both(2, "missing"));
        world.end().await?;
    }
    Ok(())
}

/// SQL that puts a record's account, time and hash in place of what is stored.
fn put(entry: &Entry, engine: Engine) -> String {
    let Entry { chain, sequence, at, account, hash, .. } = entry;
    let hash = blob(engine, hash);
    format!(
        "update audit set account = '{account}', at = {at}, hash = {hash} where chain = '{chain}' and sequence = {sequence}"
    )
}

/// SQL that has a chain end with this record.
fn set_head(entry: &Entry, engine: Engine) -> String {
    let Entry { chain, sequence, hash, .. } = entry;
    let hash = blob(engine, hash);
    format!("update audit_chains set sequence = {sequence}, hash = {hash} where chain = '{chain}'")
}

/// SQL that makes a chain say something else from its third record on, with every hash right.
fn written_anew(kept: &[Entry], engine: Engine) -> Vec<String> {
    let mut all = kept.to_vec();
    "eve".clone_into(&mut all[2].account);
    linked_anew(&mut all, engine)
}

/// SQL that stores these records with hashes that fit them.
fn linked_anew(all: &mut [Entry], engine: Engine) -> Vec<String> {
    let (mut previous, mut sql) = (Vec::new(), Vec::new());
    for entry in &mut *all {
        entry.hash = entry.columns().link(&previous);
        previous.clone_from(&entry.hash);
        sql.push(put(entry, engine));
    }
    sql.extend(all.last().map(|last| set_head(last, engine)));
    sql
}

#[tokio::test]
async fn t36_a_chain_that_was_written_anew_with_its_head_is_found_by_the_second_place_only()
-> Result<()> {
    for engine in Engine::each()? {
        let lines = "checkpoint_file = \"second.jsonl\"\ncheckpoint_seconds = 1";
        let builder = World::builder().engine(engine).without_adapters().audit(lines);
        let mut world = builder.start().await?;
        let chain = own(engine);
        world.connect(ALICE).await?;
        tokens(&world, 6).await?;
        let second = world.house.folder().join("second.jsonl");
        attested(&second, chain, 6).await?;
        // What was shipped to another host is out of reach of who holds this one.
        let shipped = world.house.folder().join("shipped.jsonl");
        std::fs::copy(&second, &shipped)?;
        let shipped = shipped.display().to_string();
        let verify = ["audit", "verify", "--checkpoints", shipped.as_str()];
        let whole = world.operator.ctl(&verify).await?;
        assert!(whole["checkpoints"]["matched"].as_u64() > Some(0), "{whole}");

        let kept = entries(&world, chain).await?;
        by_hand(&mut world, &written_anew(&kept, engine)).await?;
        assert_eq!(
            verdicts(&world, chain).await?,
            [None, None],
            "the chain alone proves nothing here"
        );
        let found = world.operator.try_ctl(&verify).await?;
        let told = found.json()?;
        assert_eq!((found.code, &told["intact"]), (Some(1), &Value::Bool(false)), "{found}");
        assert_eq!(of_chain(&told, chain)?["flaw"], "rewritten", "{found}");

        let mut cut: Vec<String> = kept.iter().map(|entry| put(entry, engine)).collect();
        cut.push(format!("delete from audit where chain = '{chain}' and sequence > 4"));
        cut.push(set_head(&kept[3], engine));
        by_hand(&mut world, &cut).await?;
        assert_eq!(verdicts(&world, chain).await?, [None, None]);
        let told = world.operator.try_ctl(&verify).await?.json()?;
        let bad = of_chain(&told, chain)?;
        assert_eq!(
            (&bad["flaw"], &bad["bad_sequence"]),
            (&"truncated".into(), &5.into()),
            "{told}"
        );
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_older_than_it_has_to_be_kept_goes_and_the_rest_still_verifies() -> Result<()> {
    for engine in Engine::each()? {
        let lines = "keep_days = 30\ncheckpoint_file = \"second.jsonl\"\ncheckpoint_seconds = 1";
        let builder = World::builder().engine(engine).without_adapters().audit(lines);
        let mut world = builder.start().await?;
        let chain = own(engine);
        world.connect(ALICE).await?;
        tokens(&world, 6).await?;
        let mut all = entries(&world, chain).await?;
        // As if the first three had been written two months ago, and before any checkpoint.
        for entry in &mut all[..3] {
            entry.at -= 60 * 24 * 60 * 60 * 1000;
        }
        let older = linked_anew(&mut all, engine);
        let second = world.house.folder().join("second.jsonl");
        world.house.broker()?.kill();
        std::fs::remove_file(&second)?;
        by_hand(&mut world, &older).await?;
        let began = Instant::now();
        while entries(&world, chain).await?.first().map(|entry| entry.sequence) != Some(4) {
            ensure!(began.elapsed() < PATIENCE, "nothing was removed\n{}", world.house.tails());
            tokio::time::sleep(POLL).await;
        }
        assert_eq!(verdicts(&world, chain).await?, [None, None]);
        let asked = ["audit", "list", "--event", "audit.*"];
        let told = world.operator.ctl(&asked).await?;
        assert_eq!(told["records"][0]["subject"], format!("chains/{chain}"), "{told}");
        attested(&second, "", told["records"][0]["sequence"].as_i64().unwrap_or_default()).await?;
        let shown = second.display().to_string();
        let whole = world.operator.ctl(&["audit", "verify", "--checkpoints", &shown]).await?;
        assert_eq!(whole["intact"], true, "{whole}");
        let floor = format!("update audit_floors set sequence = 2 where chain = '{chain}'");
        by_hand(&mut world, &[floor]).await?;
        let changes = verdicts(&world, "").await?;
        assert_eq!(
            changes,
            both(1, "floor"),
            "who moves the floor leaves a record that says another"
        );
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_operator_finds_records_by_what_they_say_and_what_a_credential_was_used_for()
-> Result<()> {
    let world = World::start().await?;
    let account = world.connect(ALICE).await?;
    let (credential, password) = world.operator.credential(&account.name, |_| {}).await?;
    let answer = crate::words::imap_answer(&world, ALICE, &password).await?;
    assert!(answer.starts_with("a OK"), "{answer}");
    tokens(&world, 2).await?;
    let ctl = async |arguments: &[&str]| world.operator.ctl(arguments).await;
    let events = async |arguments: &[&str]| -> Result<Vec<String>> {
        let told = ctl(&[&["audit", "list"], arguments].concat()).await?;
        let records = told["records"].as_array().context("no records")?.clone();
        Ok(records.iter().filter_map(|it| it["event"].as_str().map(str::to_owned)).collect())
    };
    assert_eq!(events(&["--event", "credential.*"]).await?, ["credential.created"]);
    assert_eq!(events(&["--event", "token", "--granted"]).await?, ["token", "token"]);
    assert_eq!(events(&["--event", "token", "--refused"]).await?, [""; 0]);
    assert_eq!(events(&["--since", "1h", "--event", "session"]).await?, ["session"]);
    assert_eq!(events(&["--until", "1h"]).await?, [""; 0]);
    let wrong = world.operator.try_ctl(&["audit", "list", "--event", "tokens"]).await?;
    assert!(wrong.code == Some(1) && wrong.stderr.contains("event"), "{wrong}");
    let used = ctl(&["session", "list", "--credential", &credential.name]).await?;
    let uses = used["sessions"].as_array().context("no sessions")?;
    assert_eq!(
        (uses.len(), &uses[0]["protocol"], &uses[0]["client_address"]),
        (1, &"imap".into(), &"127.0.0.1".into())
    );
    world.end().await
}
