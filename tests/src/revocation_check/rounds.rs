//! From nothing to a report: the stage is set, everybody plays while brokers are harmed, then the history is judged.
//!
//! Invariant: when it is judged nobody asks, changes or is harmed any more. Next: [`super::judge`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use token_broker_client::v1;
use tokio::task::JoinSet;

use super::audit::Audit;
use super::clients::{Broker, Key};
use super::desk::{self, Desk};
use super::faults::Faults;
use super::game::{Game, When};
use super::history::Kind;
use super::judge::judge;
use super::load;
use super::plan::{BROKERS, Plan};
use super::report::{PANIC, Report};
use super::stage::{App, Slot};
use crate::cast::provider::settings::Consent;
use crate::crash_loop::plan::VARIABLE;
use crate::world::World;

const POLL: Duration = Duration::from_millis(20);
/// How long those who play may take to end: a call has 28 seconds, a change its last tries.
const LAST: Duration = Duration::from_secs(120);
/// Accounts that are connected at the same time.
const ABREAST: usize = 8;
/// More than the check asks the provider for.
const RATE: f64 = 500.0;

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Operations so far.
    pub operations: u64,
    /// Harms that have ended.
    pub faults: usize,
}

/// Runs the plan; `progress` hears how far it is, many times a second.
///
/// # Errors
/// Something of the world does not come up, or a broker dies by itself. Violations are in the report.
pub async fn run(plan: &Plan, mut progress: impl FnMut(Progress)) -> Result<Report> {
    let (mut world, game) = Box::pin(set_stage(plan)).await?;
    let mut report = Report { seed: plan.seed, wanted: plan.operations, ..Report::default() };
    game.begin();
    let began = Instant::now();
    let mut playing = start(plan, &game);
    let mut faults = Faults::new(plan.seed);
    // However fast the machine is, each harm has its turn; what is spoiled is found without.
    let all_had = |faults: &Faults| plan.sabotage.is_some() || faults.has_done_all();
    while !(game.is_enough() && all_had(&faults)) && began.elapsed() < plan.patience() {
        faults.step(&mut world.house, &game).await?;
        progress(Progress { operations: game.done(), faults: game.history().faults.len() });
        tokio::time::sleep(POLL).await;
    }
    report.took = began.elapsed();
    game.end();
    faults.heal_all(&mut world.house, &game).await?;
    let ending = async {
        while let Some(ended) = playing.join_next().await {
            ended?;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(LAST, ending).await.context("somebody does not come to an end")??;
    report.operations = game.done();
    if report.operations < plan.operations {
        report.wrong.push(format!("only {} operations in time", report.operations));
    }
    let audit = Audit::read(&world.house).await?;
    let logs = world.house.logs();
    let panics = logs.iter().filter(|(_, log)| log.contains(PANIC));
    report.wrong.extend(panics.map(|(name, _)| format!("{name} panicked")));
    world.end().await?;
    let history = game.take_history();
    report.audit = audit.judge(&history, &game.stage().names);
    report.sum_up(&history, &judge(&history));
    Ok(report)
}

/// The world, and everything that rights hang on; all is given.
async fn set_stage(plan: &Plan) -> Result<(World, Arc<Game>)> {
    let mut builder = World::builder()
        .replicas(BROKERS)
        .cables()
        .without_adapters()
        .without_app()
        .rate_per_app(RATE)
        .log("warn")
        .provider(|provider| {
            provider.seed = Some(plan.seed);
            provider.consent = Consent::Auto;
        });
    if let Some(folder) = &plan.folder {
        builder = builder.folder(folder);
    }
    let mut world = builder.start().await?;
    if let Some(sabotage) = plan.sabotage {
        world.house.set_environment(vec![(VARIABLE, sabotage.switch().to_owned())]);
        for broker in 0..BROKERS {
            world.house.replica(broker)?.crash().await?;
        }
    }
    let key = std::fs::read_to_string(world.operator.key_file())?;
    let operator: Key = format!("Bearer {}", key.trim()).parse()?;
    let mut brokers = Vec::new();
    for (number, replica) in (0..).zip(world.house.replicas()) {
        brokers.push(Broker::reach(number, replica.doors(), operator.clone()).await?);
    }
    let game = Arc::new(Game::new(plan, brokers));
    for number in 0..plan.apps {
        let id = format!("app-{number}");
        world.register(&id, v1::App::default()).await?;
        let subject = game.made(Kind::App, &id, When::start());
        game.stage().apps.push(App { id, subject });
    }
    connect(plan, &game).await?;
    let mut desk = Desk::new(Arc::clone(&game), plan.seed);
    for number in 0..plan.services + plan.adapters {
        let is_service = number < plan.services;
        let caller = desk.make_a_caller(is_service).await.context("a caller was not made")?;
        let mut stage = game.stage();
        let slots = if is_service { &mut stage.services } else { &mut stage.adapters };
        slots.push(Slot::of(caller));
    }
    Ok((world, game))
}

/// Connects all accounts, some at a time, and makes their passwords.
async fn connect(plan: &Plan, game: &Arc<Game>) -> Result<()> {
    let desk = |number: usize| Desk::new(Arc::clone(game), plan.seed.wrapping_add(number as u64));
    let numbers: Vec<usize> = (0..plan.accounts).collect();
    for some in numbers.chunks(ABREAST) {
        let mut connecting = JoinSet::new();
        for &number in some {
            let (mut desk, app) = (desk(number), number % plan.apps);
            connecting.spawn(async move { (number, desk.connect((number, app)).await) });
        }
        let mut connected = connecting.join_all().await;
        connected.sort_unstable_by_key(|(number, _)| *number);
        for (number, account) in connected {
            let account = account.with_context(|| format!("account {number} does not connect"))?;
            game.stage().accounts.push(account);
        }
        let mut equipping = JoinSet::new();
        for &number in some {
            let mut desk = desk(number);
            equipping.spawn(async move { desk.equip(number).await });
        }
        equipping.join_all().await;
    }
    let stage = game.stage();
    let lack = stage.accounts.iter().filter(|it| it.passwords.iter().any(|it| it.now.is_none()));
    ensure!(lack.count() == 0, "a password was not made");
    Ok(())
}

/// Starts all who ask and all who change.
fn start(plan: &Plan, game: &Arc<Game>) -> JoinSet<()> {
    let mut playing = JoinSet::new();
    let mut seed = plan.seed.wrapping_mul(1_000_003);
    for number in 0..plan.callers * BROKERS {
        seed = seed.wrapping_add(1);
        playing.spawn(load::keep_asking(Arc::clone(game), number % BROKERS, seed));
    }
    for number in 0..plan.operators {
        seed = seed.wrapping_add(1);
        playing.spawn(desk::work(Arc::clone(game), seed, number));
    }
    playing
}
