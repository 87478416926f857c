//! What it costs to find who is due, and what a broker at rest weighs, with ever more accounts.
//!
//! The rows are written by SQL of ours: to be found due an account needs no secret, and a row that nobody touches needs no
//! keyed hash. The store's own verbs do the looking. Baseline: the same with the fewest accounts.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use token_broker::clock::Clock;
use token_broker::domain::ids::AppId;
use token_broker::domain::secret::Secret;
use token_broker::store::{Settings, Store};
use token_broker::tasks::Tasks;

use super::database::Database;
use super::machine;
use super::progress::Progress;
use crate::cast::ca::TestCa;
use crate::world::{Engine, House, house};

/// Accounts that are due, of however many.
const DUE: usize = 64;
/// As the schedule asks.
const PAGE: i64 = 128;
const APP: [u8; 16] = [1; 16];
/// When all others are due: in the year 2100, each in a millisecond of its own.
const FAR: i64 = 4_102_444_800_000;
/// Rows that are written at a time.
const CHUNK: usize = 50_000;
const WARM_UP: usize = 50;
const ROUNDS: usize = 500;
/// By then the schedule has looked at all accounts once and counted them.
const AT_REST: Duration = Duration::from_secs(12);
const STORE_END: Duration = Duration::from_secs(20);

/// Measures with each number of `sizes`, the smallest first.
pub(super) async fn measure(engine: Engine, sizes: &[usize]) -> Result<Value> {
    let plan = house::Plan {
        engine,
        adapters: false,
        durable: true,
        log: "warn".to_owned(),
        ..Default::default()
    };
    let mut house = House::found(plan, &TestCa::generate()?).await?;
    house.init().await?.ok()?;
    let mut database = Database::of(&house).await?;
    database.run(app_row(engine)).await?;
    let mut seen = Vec::new();
    let mut filled = 0;
    for &size in sizes {
        fill(&mut database, (filled, size)).await?;
        filled = size;
        let mut found = find(&house, engine, &mut database, size).await?;
        if engine == Engine::Sqlite {
            found["broker"] = at_rest(&mut house, size).await?;
        }
        seen.push(found);
    }
    database.close().await?;
    let times = |key: &str| -> Option<f64> {
        Some(seen.last()?[key].as_f64()? / seen.first()?[key].as_f64()?)
    };
    Ok(json!({
        "due": DUE,
        "ratio_due": times("due_us"),
        "ratio_app_gates": times("app_gates_us"),
        "sizes": seen,
    }))
}

/// What both engines say differently: a row id that counts up, and numbers from one to another.
struct Words {
    /// Of the number `n`.
    id: &'static str,
    numbers: &'static str,
    app: &'static str,
    nothing: &'static str,
}

fn words(engine: Engine) -> Words {
    match engine {
        Engine::Sqlite => Words {
            id: "unhex(printf('%032x', n))",
            numbers: "(with recursive counted (n) as (select FIRST union all select n + 1 from counted where n < LAST)
                select n from counted)",
            app: "x'01010101010101010101010101010101'",
            nothing: "x''",
        },
        Engine::Postgres => Words {
            id: "decode(lpad(to_hex(n), 32, '0'), 'hex')",
            numbers: "(select n from generate_series(FIRST, LAST) as n)",
            app: "'\\x01010101010101010101010101010101'::bytea",
            nothing: "''::bytea",
        },
    }
}

fn app_row(engine: Engine) -> String {
    let Words { app, nothing, .. } = words(engine);
    format!(
        "insert into apps (id, project, name, display_name, preset, authority, client_id, client_auth, endpoints,
            base_scopes, extra_scopes, skip_scopes, mail_hosts, return_uris, rotation, disabled, health, health_since,
            health_code, version, created_at, updated_at, mac)
        values ({app}, 'default', 'bench', '', 'generic-oidc', '', '', '', '{{}}', '[]', '[]', '[]', '[]', '[]', '', 0,
            'unknown', 0, '', 1, 0, 0, {nothing})"
    )
}

/// Writes the accounts after `from`, up to `to`.
async fn fill(database: &mut Database, (from, to): (usize, usize)) -> Result<()> {
    let engine = database.engine();
    let progress = Progress::of(format!("accounts written, {}", super::name(engine)), to - from);
    let Words { id, numbers, app, nothing } = words(engine);
    for start in (from..to).step_by(CHUNK) {
        let last = (start + CHUNK).min(to);
        let numbers =
            numbers.replace("FIRST", &(start + 1).to_string()).replace("LAST", &last.to_string());
        let sql = format!(
            "begin;
            insert into accounts (id, project, name, mailbox, sasl_user, display_name, app, labels, subject, authority,
                disabled, standing, provider_code, provider_message, version, created_at, updated_at, mac)
            select {id}, 'default', 'user-' || n, 'user-' || n || '@example.test', 'user-' || n || '@example.test', '',
                {app}, '{{}}', 'subject-' || n, '', 0, 'active', '', '', 1, 0, 0, {nothing} from {numbers} as numbered;
            insert into refreshes (account, app, due_at) select {id}, {app}, {FAR} + n from {numbers} as numbered;
            commit"
        );
        database.run(sql).await?;
        progress.step(last - start);
    }
    progress.done();
    if engine == Engine::Postgres {
        // As its own housekeeping does after a while.
        database.run("analyze".to_owned()).await?;
    }
    Ok(())
}

/// How long the store takes to find the few that are due among `size`, and to say which apps may be used.
async fn find(
    house: &House,
    engine: Engine,
    database: &mut Database,
    size: usize,
) -> Result<Value> {
    let progress =
        Progress::spin(format!("finding who is due among {size}, {}", super::name(engine)));
    make_due(database, size).await?;
    let settings = match house.postgres_url() {
        None => Settings::Sqlite { path: house.folder().join("broker.db") },
        Some(url) => Settings::Postgres { url: Secret::from(url), max_connections: 8 },
    };
    let tasks = Tasks::new();
    let store = Store::open(&settings, &tasks).await?;
    let (app, now) = (AppId::from_bytes(APP), Clock::system().now());
    let mut due = Vec::new();
    let mut gates = Vec::new();
    for _ in 0..WARM_UP + ROUNDS {
        let began = Instant::now();
        let found = store.read().await?.due(app, now, PAGE).await?.len();
        due.push(began.elapsed());
        ensure!(found == DUE, "{found} are due, not {DUE}");
        let began = Instant::now();
        let found = store.read().await?.app_gates().await?.len();
        gates.push(began.elapsed());
        ensure!(found == 1, "{found} apps, not one");
    }
    drop(store);
    ensure!(tasks.drain(STORE_END).await, "the store does not end");
    let nobody = format!("update refreshes set due_at = due_at + {FAR} where due_at < {FAR}");
    database.run(nobody).await?;
    progress.done();
    Ok(json!({
        "accounts": size,
        "due_us": median_us(due),
        "app_gates_us": median_us(gates),
    }))
}

/// Makes some due, far from each other.
async fn make_due(database: &mut Database, size: usize) -> Result<()> {
    let Words { id, numbers, .. } = words(database.engine());
    let step = size / DUE;
    let numbers = numbers.replace("FIRST", "1").replace("LAST", &DUE.to_string());
    database
        .run(format!(
            "update refreshes set due_at = due_at - {FAR} where account in
                (select {id} from (select n * {step} as n from {numbers} as numbered) as chosen)"
        ))
        .await
}

/// Starts a broker on what is there, lets it look around, and weighs it.
async fn at_rest(house: &mut House, size: usize) -> Result<Value> {
    let progress = Progress::spin(format!("a broker at rest with {size} accounts"));
    let began = Instant::now();
    house.open().await?;
    let start = began.elapsed();
    tokio::time::sleep(AT_REST).await;
    let broker = *house.process_ids().first().context("no broker")?;
    let (now, most) = machine::resident_megabytes(broker)?;
    house.stop().await?;
    progress.done();
    Ok(json!({ "start_s": start.as_secs_f64(), "rss_mb": now, "peak_rss_mb": most }))
}

/// The middle one, in microseconds; the first few do not count.
fn median_us(mut times: Vec<Duration>) -> f64 {
    times.drain(..WARM_UP.min(times.len()));
    times.sort_unstable();
    times.get(times.len() / 2).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
}
