//! A broker that is killed under load loses nothing, on either engine; and a loss would be seen (promise P4).
//!
//! The short form of `make crash-loop`: 25 kills for each engine, every failpoint once, then random moments.

use anyhow::{Result, ensure};
use e2e::crash_loop::{Mode, Plan, Report, Sabotage, run};
use e2e::world::Engine;
use e2e::world::engine::skip;

const KILLS: usize = 25;
const SEED: u64 = 20_270_115;

async fn survive(engine: Engine) -> Result<()> {
    if !Engine::each()?.contains(&engine) {
        return Ok(());
    }
    let plan = Plan::new(KILLS, engine, SEED)?;
    if plan.failpoints.is_empty() {
        skip("kills at failpoints: the broker was built without them")?;
    }
    let report = Box::pin(run(&plan, |_| {})).await?;
    ensure!(report.broken.is_empty(), "{report}");
    ensure!(report.lost(Mode::survives) == 0, "{report}");
    ensure!(report.kills >= KILLS as u64, "{report}");
    // With failpoints each of them has a row, and the load refreshed in every mode.
    let places = plan.failpoints.iter().chain(&["random"]);
    for place in places {
        let seen = report.rows.keys().any(|(_, at)| at == place);
        ensure!(seen, "nobody was killed at {place}\n{report}");
    }
    let refreshed = |mode: &Mode| {
        let rows = report.rows.iter().filter(|((of, _), _)| of == mode);
        rows.map(|(_, row)| row.refreshes).sum::<u64>() > 0
    };
    ensure!(Mode::ALL.iter().all(refreshed), "a mode without refreshes\n{report}");
    Ok(())
}

#[tokio::test]
async fn a_broker_on_sqlite_that_is_killed_again_and_again_loses_nothing() -> Result<()> {
    survive(Engine::Sqlite).await
}

#[tokio::test]
async fn a_broker_on_postgresql_that_is_killed_again_and_again_loses_nothing() -> Result<()> {
    survive(Engine::Postgres).await
}

/// A loop under sabotage, which must find something; `None` if this broker cannot be spoiled like that.
async fn spoiled(sabotage: Sabotage, kills: usize) -> Result<Option<Report>> {
    let mut plan = Plan::new(kills, Engine::Sqlite, SEED)?;
    if sabotage.switch().is_some() && plan.failpoints.is_empty() {
        skip("the broker was built without failpoints")?;
        return Ok(None);
    }
    plan.sabotage = Some(sabotage);
    Ok(Some(Box::pin(run(&plan, |_| {})).await?))
}

#[tokio::test]
async fn a_store_that_forgets_is_found_out() -> Result<()> {
    let Some(report) = spoiled(Sabotage::Rollback, 3).await? else { return Ok(()) };
    for invariant in ["I1: ", "I2: ", "I4: "] {
        let found = report.broken.iter().any(|broken| broken.starts_with(invariant));
        assert!(found, "{invariant} was not found broken\n{report}");
    }
    Ok(())
}

#[tokio::test]
async fn a_broker_that_answers_before_it_stores_is_found_out() -> Result<()> {
    let Some(report) = spoiled(Sabotage::StoreFirst, 25).await? else { return Ok(()) };
    assert!(report.broken.iter().any(|broken| broken.starts_with("I1: ")), "{report}");
    Ok(())
}

#[tokio::test]
async fn a_broker_that_spends_a_token_without_an_intent_is_found_out() -> Result<()> {
    let Some(report) = spoiled(Sabotage::Intent, 25).await? else { return Ok(()) };
    assert!(report.broken.iter().any(|broken| broken.contains("not named")), "{report}");
    Ok(())
}
