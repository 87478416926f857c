//! Guessing: what honest logins feel of an attack over many adapters, and what the attack leaves in the audit.
//!
//! Honest logins come at a steady pace, first alone, then beside the attack, in the same run. The attack is a process of its own
//! and gives way to all others. Next: [`super::attack`] guesses.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use token_broker_client::v1::{CallerRole, MailProtocol};
use token_broker_client::{MailLogin, Options, Verdict, v1};
use tokio::task::JoinSet;

use super::apart::Apart;
use super::attack::{Attack, Outcome};
use super::database::Database;
use super::load::Seen;
use super::machine;
use super::progress::Progress;
use crate::world::{ALICE, Engine, World};

const ADAPTERS: usize = 50;
/// Honest logins a second.
const HONEST: u32 = 20;
/// Records of refused logins, one by one and summed up.
const REFUSED: &str =
    "select count(*) from audit where granted = 0 and what in ('session', 'session.refusals')";
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures on one engine, for `seconds` without and with the attack.
pub(super) async fn measure(engine: Engine, seconds: u64) -> Result<Value> {
    let world = World::builder().engine(engine).without_adapters().log("warn").start().await?;
    let account = world.connect(ALICE).await?;
    let (_, password) = world.operator.credential(&account.name, |_| {}).await?;
    let honest = MailLogin::connect(
        Options::new(format!("http://{}", world.house.doors().grpc))
            .api_key(adapter(&world, "door").await?),
    )
    .await?;
    let mut keys = Vec::new();
    for number in 0..ADAPTERS {
        keys.push(adapter(&world, &format!("door-{number}")).await?);
    }
    let span = Duration::from_secs(seconds);
    let progress = Progress::spin(format!("honest logins alone, {}", super::name(engine)));
    // The first login brings the token and all that is remembered.
    log_in(&honest, &password).await?;
    let quiet = honest_logins(&honest, &password, span).await?;
    progress.done();

    let progress = Progress::spin(format!("beside {ADAPTERS} adapters that guess"));
    let mut database = Database::of(&world.house).await?;
    let before = database.number(REFUSED).await?;
    let attack = Attack { broker: world.house.doors().grpc, keys, password: password.clone() };
    let attacker = Apart::start("--attack", &attack, true).await?;
    let broker = *world.house.process_ids().first().context("no broker")?;
    let spent = machine::processor_seconds(broker)?;
    let busy = (machine::busy_seconds()?, Instant::now());
    let beside = honest_logins(&honest, &password, span).await?;
    let busy = (machine::busy_seconds()? - busy.0) / busy.1.elapsed().as_secs_f64();
    let spent = (machine::processor_seconds(broker)? - spent) / span.as_secs_f64();
    let Outcome { guesses, shed, seconds: attacked } = attacker.stop().await?;
    progress.done();
    let records = database.number(REFUSED).await? - before;
    database.close().await?;
    world.end().await?;
    let ratio = beside.at(99) / quiet.at(99);
    Ok(json!({
        "adapters": ADAPTERS,
        "guesses_per_second": rate(guesses, attacked),
        "shed_per_second": rate(shed, attacked),
        "honest_quiet": quiet.figures(),
        "honest_beside": beside.figures(),
        "ratio_p99": ratio,
        "audit_records": records,
        "seconds": seconds,
        "machine_cores": busy,
        "broker_cores": spent,
        "load": machine::load(),
    }))
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn rate(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds
}

/// The key of a new adapter.
async fn adapter(world: &World, id: &str) -> Result<String> {
    let imap = MailProtocol::Imap.into();
    let fill = |it: &mut v1::Caller| it.protocols = vec![imap];
    Ok(world.operator.caller(id, CallerRole::Adapter, fill).await?.1)
}

async fn log_in(door: &MailLogin, password: &str) -> Result<()> {
    let login = super::attack::login(password, "198.51.100.7");
    let verdict = door.open_session(login, PATIENCE).await?;
    ensure!(matches!(verdict, Verdict::Session(_)), "an honest login is refused: {verdict:?}");
    Ok(())
}

/// Logins at their pace, however long each takes.
async fn honest_logins(door: &MailLogin, password: &str, span: Duration) -> Result<Seen> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / HONEST);
    let mut running = JoinSet::new();
    let end = Instant::now() + span;
    while Instant::now() < end {
        ticks.tick().await;
        let (door, password) = (door.clone(), password.to_owned());
        running.spawn(async move {
            let asked = Instant::now();
            log_in(&door, &password).await?;
            anyhow::Ok(u64::try_from(asked.elapsed().as_micros())?)
        });
    }
    let mut micros = Vec::new();
    while let Some(ended) = running.join_next().await {
        micros.push(ended??);
    }
    Ok(Seen::of(micros, Vec::new(), span))
}
