//! Both layers of keys are changed while three brokers serve: no call fails, nobody is left behind (threat T7).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::world::World;
use e2e::world::binaries::binary;
use e2e::world::command::Program;
use e2e::world::crowd::{insist, until};
use serde_json::Value;
use token_broker_client::TokenBroker;
use token_broker_client::v1::access_token_outcome::Outcome;
use token_broker_client::v1::{AccessTokenOutcome, GetAccessTokenRequest, Refusal};
use tokio::task::JoinSet;

use crate::three_brokers;

const MANY: usize = 30;
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks for all, again and again, without a second try; everything that went wrong.
async fn keep_asking(
    tokens: TokenBroker,
    mailboxes: Vec<String>,
    stop: Arc<AtomicBool>,
) -> Result<(usize, Vec<String>)> {
    let (mut asked, mut failed) = (0, Vec::new());
    let one =
        |account: &String| GetAccessTokenRequest { account: account.clone(), ..Default::default() };
    while !stop.load(Ordering::Relaxed) {
        for some in mailboxes.chunks(10) {
            let refused = |outcome: AccessTokenOutcome| match outcome.outcome {
                Some(Outcome::Refusal(Refusal { message, .. })) => Some(message),
                _ => None,
            };
            match tokens.batch(some.iter().map(one).collect()).await {
                Err(error) => failed.push(error.to_string()),
                Ok(answer) => failed.extend(answer.outcomes.into_iter().filter_map(refused)),
            }
            asked += some.len();
        }
    }
    Ok((asked, failed))
}

async fn new_key(world: &World, name: &str) -> Result<()> {
    let file = world.house.folder().join(name);
    Program::new(binary("token-broker")?).arg("new-key").arg(file).run().await?.ok()?;
    Ok(())
}

#[tokio::test]
async fn t7_three_brokers_change_term_and_key_under_load_without_one_failed_call() -> Result<()> {
    let Some((world, mailboxes)) = three_brokers(MANY).await? else { return Ok(()) };
    let services = world.service_everywhere("crm").await?;
    let before = insist(&services[0], &mailboxes).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut asking = JoinSet::new();
    for tokens in &services {
        asking.spawn(keep_asking(tokens.clone(), mailboxes.clone(), Arc::clone(&stop)));
    }
    new_key(&world, "kek.next").await?;
    world.operator.ctl(&["key", "rotate-kek"]).await?;
    for term in 2..=4 {
        let stands = world.operator.ctl(&["key", "rotate"]).await?;
        assert_eq!(stands["active_term"], term, "{stands}");
        let done = world.operator.ctl(&["key", "reseal"]).await?;
        assert_eq!(done["reseal"]["refused"], 0, "{done}");
    }
    // All three seal under the newest by now, and use their keys.
    let gone = |term: &'static str| {
        let operator = world.operator.clone();
        async move { Ok(operator.try_ctl(&["key", "remove", term, "--yes"]).await?.code == Some(0)) }
    };
    for term in ["1", "2", "3"] {
        until("an old term goes", PATIENCE, async || gone(term).await).await?;
    }
    stop.store(true, Ordering::Relaxed);
    let mut all = 0;
    for end in asking.join_all().await {
        let (asked, failed) = end?;
        all += asked;
        ensure!(failed.is_empty(), "{} of {asked} calls failed, first {}", failed.len(), failed[0]);
    }
    println!(
        "{all} calls at three brokers during three changes of term and one of the key: none failed"
    );
    for tokens in &services {
        assert_eq!(insist(tokens, &mailboxes).await?, before);
    }
    let status = world.operator.ctl(&["status"]).await?;
    let replicas = status["replicas"].as_array().context("no replicas")?;
    let fits = |it: &&Value| it["live"] == true && it["key_term"] == 4;
    assert_eq!(replicas.iter().filter(fits).count(), 3, "{status}");
    world.end().await
}

#[tokio::test]
async fn t7_the_key_is_not_changed_while_a_broker_could_not_start_with_the_next_one() -> Result<()>
{
    let Some((mut world, mailboxes)) = three_brokers(MANY).await? else { return Ok(()) };
    new_key(&world, "kek.next").await?;
    let config = world.house.replicas()[2].config();
    let text = std::fs::read_to_string(&config)?;
    std::fs::write(&config, text.replace("kek.next", "kek.elsewhere"))?;
    world.house.replica(2)?.crash().await?;
    let refused = world.operator.try_ctl(&["key", "rotate-kek"]).await?;
    assert!(refused.stderr.contains("broker-2/"), "names the broker: {}", refused.stderr);
    std::fs::copy(
        world.house.folder().join("kek.next"),
        world.house.folder().join("kek.elsewhere"),
    )?;
    world.operator.ctl(&["key", "rotate-kek"]).await?;
    for number in 0..3 {
        world.house.replica(number)?.crash().await?;
    }
    for tokens in world.service_everywhere("crm").await? {
        insist(&tokens, &mailboxes).await?;
    }
    world.end().await
}

#[tokio::test]
async fn t7_a_reseal_whose_broker_is_killed_is_taken_up_by_another() -> Result<()> {
    let Some((mut world, mailboxes)) = three_brokers(MANY).await? else { return Ok(()) };
    let services = world.service_everywhere("crm").await?;
    let before = insist(&services[1], &mailboxes).await?;
    world.operator.ctl(&["key", "rotate"]).await?;
    // Only the first dies of it: whoever else goes on has no such plan.
    let plan = vec![("TOKEN_BROKER_FAILPOINT", "reseal.page=kill@2".to_owned())];
    world.house.replica(0)?.set_environment(plan);
    world.house.replica(0)?.crash().await?;
    world.operator.try_ctl(&["key", "reseal", "--no-wait"]).await?;
    until("it died", PATIENCE, async || Ok(world.house.replica(0)?.process()?.ended().is_some()))
        .await?;
    let server = format!("http://{}", world.house.replicas()[1].doors().admin);
    until("another does it", PATIENCE, async || {
        let run = world.operator.tool(&["key", "status", "--server", &server]).run().await?;
        let status = run.ok()?.json()?;
        Ok(status["reseal"]["state"] == "done" && status["reseal"]["refused"] == 0)
    })
    .await?;
    assert_eq!(insist(&services[1], &mailboxes).await?, before);
    world.house.replica(0)?.set_environment(Vec::new());
    world.house.replica(0)?.open().await?;
    assert_eq!(insist(&services[0], &mailboxes).await?, before);
    world.end().await
}
