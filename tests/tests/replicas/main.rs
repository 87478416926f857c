//! Several brokers on one database, and what outages, clocks and cut cables do to them, by the provider's own account.
//!
//! Real processes where several are needed; where hours have to pass, one broker inside this process on a clock that is moved.

mod app_secret;
mod at_once;
mod clock_jumps;
mod cut_off;
mod giving_back;
mod joiners;
mod keys;
mod names;
mod outage;
mod silence;

use anyhow::Result;
use e2e::cast::provider::settings::{Consent, Rotation};
use e2e::world::crowd::connect;
use e2e::world::{APP, Engine, World};
use token_broker_client::v1;

/// Three brokers with `count` accounts at a strict provider; `None` where there is no PostgreSQL.
async fn three_brokers(count: usize) -> Result<Option<(World, Vec<String>)>> {
    if !Engine::each()?.contains(&Engine::Postgres) {
        return Ok(None);
    }
    let world = World::builder()
        .replicas(3)
        .without_adapters()
        .without_mail_hosts()
        .app(|app| app.rotation = v1::Rotation::Strict.into())
        .provider(|provider| {
            provider.rotation = Rotation::Strict;
            provider.consent = Consent::Auto;
        })
        .start()
        .await?;
    let mailboxes = connect(&world.operator, APP, count).await?;
    Ok(Some((world, mailboxes)))
}
