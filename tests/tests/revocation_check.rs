//! Nothing is handed out after an acknowledged revocation, whatever is done to three brokers; and it would be seen (promise P1).
//!
//! The short form of `make revocation-check`: PostgreSQL only, as several brokers are.

use anyhow::{Result, ensure};
use e2e::crash_loop::built_with_failpoints;
use e2e::revocation_check::history::{Ask, Harm, Heard, Kind};
use e2e::revocation_check::{Plan, Report, Sabotage, run};
use e2e::world::Engine;
use e2e::world::engine::skip;

const OPERATIONS: u64 = 15_000;
/// Spoiled brokers are found out sooner.
const FEW: u64 = 4_000;
const SEED: u64 = 20_270_319;

/// A check with half the cast, for unoptimised programs; `None` where there is no PostgreSQL.
async fn check(operations: u64, sabotage: Option<Sabotage>) -> Result<Option<Report>> {
    if !Engine::each()?.contains(&Engine::Postgres) {
        return Ok(None);
    }
    let mut plan = Plan::new(operations, SEED);
    (plan.accounts, plan.callers, plan.services, plan.adapters) = (18, 16, 4, 3);
    plan.sabotage = sabotage;
    Ok(Some(Box::pin(run(&plan, |_| {})).await?))
}

#[tokio::test]
async fn nothing_is_handed_out_after_a_revocation_while_brokers_are_paused_cut_off_and_killed()
-> Result<()> {
    let Some(report) = check(OPERATIONS, None).await? else { return Ok(()) };
    ensure!(report.is_clean(), "{report}");
    ensure!(report.operations >= OPERATIONS, "{report}");
    // A check in which nothing was asked, revoked or broken would be clean as well.
    let granted = |ask: Ask| report.calls.get(&(ask, Heard::Granted)).copied().unwrap_or(0);
    ensure!(
        Ask::ALL.iter().all(|ask| granted(*ask) > 0),
        "a call that was never granted\n{report}"
    );
    ensure!(report.pressed > 0, "nobody asked with a right that was gone\n{report}");
    let taken = |kind: &Kind| report.changes.get(kind).is_some_and(|it| it.taken > 0);
    ensure!(Kind::ALL.iter().all(taken), "a right that was never taken\n{report}");
    let harmed = |harm: &Harm| report.faults.contains_key(harm);
    ensure!(Harm::ALL.iter().all(harmed), "brokers had it too good\n{report}");
    Ok(())
}

#[tokio::test]
async fn brokers_that_do_not_look_at_the_rights_epoch_are_found_out() -> Result<()> {
    if !built_with_failpoints()? {
        return skip("the broker was built without failpoints");
    }
    let Some(report) = check(FEW, Some(Sabotage::Epoch)).await? else { return Ok(()) };
    ensure!(report.violated() > 0, "{report}");
    let shown = report.violations.first().map_or("", String::as_str);
    ensure!(shown.contains("<-- must be refused"), "what was found is shown\n{report}");
    ensure!(
        report.audit.is_empty(),
        "what is handed out wrongly is on record all the same\n{report}"
    );
    Ok(())
}
