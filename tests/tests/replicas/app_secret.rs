//! An app whose secret has expired: one alert, few calls, and all is well again with the next secret.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::cast::provider::settings::ClientSecret;
use e2e::world::{APP, Engine, Timelapse};
use token_broker_client::v1::{self, ErrorReason};

const ACCOUNTS: usize = 30;
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_expired_app_secret_alerts_once_and_the_next_one_heals_all_accounts_on_sqlite()
-> Result<()> {
    heals_by_itself(Engine::Sqlite).await
}

#[tokio::test]
async fn an_expired_app_secret_alerts_once_and_the_next_one_heals_all_accounts_on_postgresql()
-> Result<()> {
    if Engine::each()?.contains(&Engine::Postgres) {
        heals_by_itself(Engine::Postgres).await?;
    }
    Ok(())
}

async fn heals_by_itself(engine: Engine) -> Result<()> {
    let lapse = Timelapse::start(engine, ACCOUNTS, 50.0).await?;
    let truth = lapse.provider.truth();
    assert!(lapse.ask().await?.iter().all(Result::is_ok), "all are asked for");
    lapse.provider.change(|provider| {
        let secrets = &mut provider.clients[0].secrets;
        secrets[0].expired = true;
        secrets.push(ClientSecret::valid("cs-the-next-one"));
    });
    // All become due, and in the end all tokens are dead.
    lapse.pass(70 * MINUTE, 2 * MINUTE).await;
    let calls = lapse.refreshes();
    assert!((1..=ACCOUNTS as u64 + 15).contains(&calls), "{calls} calls");
    for answer in lapse.ask().await? {
        let refusal = answer.err().context("there is a token left")?;
        assert_eq!(refusal.reason(), ErrorReason::AppRejected);
    }
    lapse.all_are_active().await?;
    assert_eq!(health(&lapse).await?, [false], "one alert");

    let admin = lapse.operator.admin();
    let ask = v1::AddAppSecretRequest {
        name: format!("projects/default/apps/{APP}"),
        client_secret: "cs-the-next-one".to_owned(),
        ..Default::default()
    };
    admin.ask(admin.apps().add_app_secret(ask)).await?;
    // Nobody asks for anything.
    let all_have_one = |lapse: &Timelapse| {
        let truth = lapse.provider.truth();
        lapse.mailboxes.iter().all(|it| truth.user(it).current.is_some_and(|it| it.generation > 0))
    };
    lapse.pass_until("all are fresh", (Duration::from_secs(1), 120), all_have_one).await?;
    assert_eq!(lapse.refreshes() - calls, ACCOUNTS as u64, "one call for each");
    let served = lapse.ask().await?;
    let live = served.iter().flatten().filter(|token| truth.is_live(&token.access_token));
    assert_eq!(live.count(), ACCOUNTS);
    assert_eq!(truth.stats().reuse, 0);
    lapse.all_are_active().await?;
    lapse.end().await
}

/// What the audit says about the app's health, oldest first.
async fn health(lapse: &Timelapse) -> Result<Vec<bool>> {
    let mut records = lapse.operator.audit().await?;
    records.sort_by_key(|record| record.sequence);
    let of = records.iter().filter(|record| record.event == "app.health");
    Ok(of.map(|record| record.granted).collect())
}
