//! Many accounts due at once at three brokers: one call for each, whatever happens to the brokers (promises P4, P5).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::world::crowd::{insist, insist_at, until};
use e2e::world::{Ledger, Operator, World};
use token_broker_client::v1::AccountState;

use crate::three_brokers;

/// Tokens live for an hour; after this long all are due, and all live for long enough.
const PAST_HALF_LIFE: Duration = Duration::from_secs(2000);
/// After this long all have ended.
const PAST_LIFE: Duration = Duration::from_secs(3700);
const MANY: usize = 200;
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes everything older, at brokers and provider.
async fn grow_older(world: &World, ledger: &mut Ledger, span: Duration) -> Result<()> {
    world.provider.advance(span);
    ledger.age(span).await
}

fn calls_of_each(world: &World, mailboxes: &[String]) -> BTreeSet<u64> {
    let truth = world.provider.truth();
    mailboxes.iter().map(|mailbox| truth.user(mailbox).refresh_calls).collect()
}

#[tokio::test]
async fn three_brokers_make_one_call_for_each_of_200_accounts_that_are_due_or_wanted_at_once()
-> Result<()> {
    let Some((world, mailboxes)) = three_brokers(MANY).await? else { return Ok(()) };
    let mut ledger = Ledger::of(&world.house).await?;
    let services = world.service_everywhere("crm").await?;
    world.provider.change(|provider| provider.latency_ms = 100);
    let truth = world.provider.truth();

    // Nobody had asked for them, so no schedule touches them; now all have ended and everybody asks at once.
    grow_older(&world, &mut ledger, PAST_LIFE).await?;
    let began = Instant::now();
    let answers = insist_at(&vec![services.clone(); 3].concat(), &mailboxes).await?;
    println!("9 callers for {MANY} ended tokens took {:?}", began.elapsed());
    assert_eq!(calls_of_each(&world, &mailboxes), BTreeSet::from([1]));
    assert_eq!((truth.stats().reuse, truth.stats().max_concurrent), (0, 1));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "all callers get the same tokens");
    assert!(answers[0].iter().all(|token| truth.is_live(token)));

    // They are asked for by now: the schedules of all three find them due at once.
    grow_older(&world, &mut ledger, PAST_HALF_LIFE).await?;
    let began = Instant::now();
    all_are_refreshed(&mut ledger).await?;
    println!("{MANY} accounts due at once took {:?}", began.elapsed());
    assert_eq!(calls_of_each(&world, &mailboxes), BTreeSet::from([2]));
    assert_eq!((truth.stats().reuse, truth.stats().max_concurrent), (0, 1));
    for tokens in &services {
        let newest = insist(tokens, &mailboxes).await?;
        assert!(newest.iter().all(|token| truth.is_live(token)));
        assert!(newest.iter().zip(&answers[0]).all(|(new, old)| new != old));
    }
    assert_eq!(world.refreshes(), 2 * MANY as u64, "and nobody asked the provider again");
    world.end().await
}

#[tokio::test]
async fn with_one_broker_paused_and_one_killed_no_account_is_asked_for_twice() -> Result<()> {
    let Some((mut world, mailboxes)) = three_brokers(MANY).await? else { return Ok(()) };
    let mut ledger = Ledger::of(&world.house).await?;
    let services = world.service_everywhere("crm").await?;
    insist(&services[0], &mailboxes).await?;
    world.provider.change(|provider| provider.answer_latency_ms = 2500);
    let truth = world.provider.truth();

    grow_older(&world, &mut ledger, PAST_HALF_LIFE).await?;
    // Both have calls at the provider when it happens to them.
    until("all share the work", PATIENCE, async || {
        let mut ledger = Ledger::of(&world.house).await?;
        let both = [ledger.begun_by("broker-1").await?, ledger.begun_by("broker-2").await?];
        Ok(both.iter().all(|begun| !begun.is_empty()))
    })
    .await?;
    world.house.replica(1)?.process()?.signal("STOP");
    world.house.replica(2)?.bury()?;
    let (paused, lost) = (ledger.begun_by("broker-1").await?, ledger.begun_by("broker-2").await?);
    println!("{} calls of the paused broker, {} of the killed one", paused.len(), lost.len());
    assert!(!paused.is_empty() && !lost.is_empty());

    // Longer than a lease: the one that is left has given both up.
    let doubtful = paused.len() + lost.len();
    let named = async || Ok(interrupted(&world.operator).await? == doubtful);
    until("the dead are named", PATIENCE, named).await?;
    world.house.replica(1)?.process()?.signal("CONT");
    // What it had in hand comes late, and counts.
    until("late answers are kept", PATIENCE, async || {
        Ok(Ledger::of(&world.house).await?.begun_by("broker-1").await?.is_empty())
    })
    .await?;
    // Who is in doubt is not due: it waits until its token is nearly used up.
    all_are_refreshed(&mut ledger).await?;
    assert_eq!(ledger.begun_by("broker-2").await?, lost, "only what the dead one had is in doubt");
    for mailbox in &mailboxes {
        let calls = truth.user(mailbox).refresh_calls;
        // What had not left when it happened stays where it is, and is asked for later.
        let never_sent = calls == 0 && (lost.contains(mailbox) || paused.contains(mailbox));
        assert!(calls == 1 || never_sent, "{calls} calls for {mailbox}");
    }
    assert_eq!((truth.stats().reuse, truth.stats().max_concurrent), (0, 1));
    for tokens in &services[..2] {
        let served = insist(tokens, &mailboxes).await?;
        assert!(served.iter().all(|token| truth.is_live(token)), "all are served meanwhile");
    }
    for mailbox in lost.iter().chain(&paused) {
        assert_eq!(world.operator.account(mailbox).await?.state(), AccountState::Active);
    }
    world.end().await
}

/// Waits until nothing is due and nothing under way.
async fn all_are_refreshed(ledger: &mut Ledger) -> Result<()> {
    let began = Instant::now();
    while ledger.due().await? + ledger.under_way().await? > 0 {
        ensure!(began.elapsed() < PATIENCE, "{} are still due", ledger.due().await?);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// How many refreshes the brokers call interrupted.
async fn interrupted(operator: &Operator) -> Result<usize> {
    let audit = operator.audit().await?;
    Ok(audit.iter().filter(|record| record.event == "refresh.interrupted").count())
}
