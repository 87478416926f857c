//! Brokers that nobody gave a name.

use anyhow::{Context, Result};
use e2e::world::crowd::insist_at;
use e2e::world::{ALICE, Engine, World};
use serde_json::Value;

/// The names of the brokers that live, sorted.
async fn names(world: &World) -> Result<Vec<String>> {
    let status = world.operator.ctl(&["status"]).await?;
    let replicas = status["replicas"].as_array().context("no replicas")?;
    let name = |it: &Value| it["name"].as_str().map(str::to_owned).context("no name");
    let mut names =
        replicas.iter().filter(|it| it["live"] == true).map(name).collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

#[tokio::test]
async fn two_brokers_of_one_host_that_were_given_no_name_serve_under_different_ones() -> Result<()>
{
    if !Engine::each()?.contains(&Engine::Postgres) {
        return Ok(());
    }
    let mut world = World::builder().replicas(2).nameless().without_adapters().start().await?;
    world.connect(ALICE).await?;
    let services = world.service_everywhere("crm").await?;
    let tokens = insist_at(&services, &[ALICE.to_owned()]).await?;
    assert_eq!(tokens[0], tokens[1], "both hand out the one token");
    let before = names(&world).await?;
    assert_eq!(before.len(), 2, "{before:?}");
    assert_ne!(before[0], before[1]);
    let log = world.house.replica(1)?.process()?.log();
    assert!(
        log.contains("another broker on this host has its name"),
        "it is told how to mend it: {log}"
    );
    world.end().await
}
