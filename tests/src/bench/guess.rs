//! Guessing: what honest logins feel of an attack over many adapters, and what the attack leaves in the audit.
//!
//! Honest logins come at a steady pace, first alone, then beside the attack, in the same run. The guesses are what a broker
//! checks at full length: the id of a real credential with a wrong secret, each guess another. An adapter that waits as it is told
//! would slow them down; these do not wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use token_broker_client::v1::{CallerRole, MailProtocol};
use token_broker_client::{MailLogin, Options, Verdict, v1};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::database::Database;
use super::load::Seen;
use super::machine;
use super::progress::Progress;
use crate::timing::with_other_secret;
use crate::world::{ALICE, Engine, World};

const ADAPTERS: usize = 50;
/// Guesses a second of each adapter.
const PACE: u32 = 200;
/// Guesses of one adapter that are under way at one time.
const AT_ONCE: usize = 32;
/// Honest logins a second.
const HONEST: u32 = 20;
/// Records of refused logins, one by one and summed up.
const REFUSED: &str =
    "select count(*) from audit where granted = 0 and what in ('session', 'session.refusals')";
/// Wrong secrets of each adapter; it begins again after them.
const SECRETS: usize = 200;
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures on one engine, for `seconds` without and with the attack.
pub(super) async fn measure(engine: Engine, seconds: u64) -> Result<Value> {
    let world = World::builder().engine(engine).without_adapters().log("warn").start().await?;
    let account = world.connect(ALICE).await?;
    let (_, password) = world.operator.credential(&account.name, |_| {}).await?;
    let mut doors = Vec::new();
    for number in 0..=ADAPTERS {
        doors.push(door(&world, &format!("door-{number}")).await?);
    }
    let honest = doors.pop().context("no door")?;
    let span = Duration::from_secs(seconds);
    let progress = Progress::spin(format!("honest logins alone, {}", super::name(engine)));
    // The first login brings the token and all that is remembered.
    log_in(&honest, &password, "198.51.100.7").await?;
    let quiet = honest_logins(&honest, &password, span).await?;

    progress.done();

    let progress = Progress::spin(format!("beside {ADAPTERS} adapters that guess"));
    let mut database = Database::of(&world.house).await?;
    let before = database.number(REFUSED).await?;
    let attack = Attack { guesses: Arc::default(), end: Instant::now() + span };
    let mut attackers = JoinSet::new();
    for (number, door) in doors.into_iter().enumerate() {
        let secrets = wrong_secrets(&password, number)?;
        for lane in 0..AT_ONCE {
            attackers.spawn(attack.clone().guess(door.clone(), secrets.clone(), (number, lane)));
        }
    }
    let broker = *world.house.process_ids().first().context("no broker")?;
    let spent = machine::processor_seconds(broker)?;
    let busy = (machine::busy_seconds()?, Instant::now());
    let beside = honest_logins(&honest, &password, span).await?;
    let busy = (machine::busy_seconds()? - busy.0) / busy.1.elapsed().as_secs_f64();
    let spent = (machine::processor_seconds(broker)? - spent) / span.as_secs_f64();
    progress.done();
    while let Some(ended) = attackers.join_next().await {
        ended??;
    }
    let guesses = attack.guesses.load(Ordering::Relaxed);
    let records = database.number(REFUSED).await? - before;
    database.close().await?;
    world.end().await?;
    let ratio = beside.at(99) / quiet.at(99);
    Ok(json!({
        "adapters": ADAPTERS,
        "guesses_per_second": guesses / seconds.max(1),
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

#[derive(Clone)]
struct Attack {
    guesses: Arc<AtomicU64>,
    end: Instant,
}

impl Attack {
    async fn guess(
        self,
        door: MailLogin,
        secrets: Arc<Vec<String>>,
        (adapter, lane): (usize, usize),
    ) -> Result<()> {
        let pace = Duration::from_secs(1) * u32::try_from(AT_ONCE)? / PACE;
        // Spread over the time of a round: they are strangers to each other.
        let share = u32::try_from(adapter * AT_ONCE + lane)?;
        let offset = pace / u32::try_from(ADAPTERS * AT_ONCE)? * share;
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + offset, pace);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let address = format!("192.0.{adapter}.{lane}");
        for secret in secrets.iter().cycle().skip(lane * secrets.len() / AT_ONCE) {
            ticks.tick().await;
            if Instant::now() >= self.end {
                break;
            }
            // A broker that sheds load refuses some: that is its right.
            if let Ok(verdict) = door.open_session(login(secret, &address), PATIENCE).await {
                ensure!(matches!(verdict, Verdict::Denied(_)), "a guess was let in");
                self.guesses.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

async fn door(world: &World, id: &str) -> Result<MailLogin> {
    let imap = MailProtocol::Imap.into();
    let (_, key) =
        world.operator.caller(id, CallerRole::Adapter, |it| it.protocols = vec![imap]).await?;
    let options = Options::new(format!("http://{}", world.house.doors().grpc)).api_key(key);
    Ok(MailLogin::connect(options).await?)
}

fn login(secret: &str, address: &str) -> v1::OpenSessionRequest {
    v1::OpenSessionRequest {
        protocol: MailProtocol::Imap.into(),
        login_name: ALICE.to_owned(),
        secret: secret.to_owned(),
        client_address: address.to_owned(),
        ..Default::default()
    }
}

async fn log_in(door: &MailLogin, password: &str, address: &str) -> Result<()> {
    let verdict = door.open_session(login(password, address), PATIENCE).await?;
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
            log_in(&door, &password, "198.51.100.7").await?;
            anyhow::Ok(u64::try_from(asked.elapsed().as_micros())?)
        });
    }
    let mut micros = Vec::new();
    while let Some(ended) = running.join_next().await {
        micros.push(ended??);
    }
    Ok(Seen::new(micros, span))
}

/// Secrets of the right form that are not the credential's.
fn wrong_secrets(password: &str, adapter: usize) -> Result<Arc<Vec<String>>> {
    let seed = |number: usize| u64::try_from(adapter * SECRETS + number + 1);
    let all = (0..SECRETS).map(|number| with_other_secret(password, seed(number)?));
    Ok(Arc::new(all.collect::<Result<_>>()?))
}
