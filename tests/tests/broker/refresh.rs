//! When refreshing fails: who is to blame, what the account becomes, what mends it (promise P8).

use anyhow::{Context, Result};
use e2e::cast::provider::faults::{ExpiresIn, Fault, Rule};
use e2e::cast::provider::settings::ClientSecret;
use e2e::world::{ALICE, APP, BOB, Engine, Owner, World};
use token_broker_client::v1::{AccountState, ErrorReason};
use token_broker_client::{Error, v1};

use crate::words::{oauth, outlive, reason, refresh_now, status, token_of};

/// A world with alice connected, whose token has ended by now; new ones live for an hour.
async fn with_an_ended_token(engine: Engine) -> Result<World> {
    let builder = World::builder().engine(engine).without_adapters();
    let world = builder.provider(|it| it.access_life_s = 1).start().await?;
    world.connect(ALICE).await?;
    outlive(&world.operator, ALICE).await?;
    world.provider.change(|settings| settings.access_life_s = 3600);
    Ok(world)
}

#[tokio::test]
async fn a_revoked_grant_needs_consent_and_the_link_mends_it() -> Result<()> {
    for engine in Engine::each()? {
        let world = with_an_ended_token(engine).await?;
        world.provider.revoke_user(ALICE);
        let service = world.service("crm").await?;
        let asked = service.access_token(ALICE).await;
        let Err(Error::NeedsConsent { link: Some(link), .. }) = asked else { panic!("{asked:?}") };
        let account = world.operator.account(ALICE).await?;
        assert_eq!(account.state(), AccountState::NeedsConsent);
        assert_eq!(account.provider_code, "invalid_grant");
        let asked_so_far = world.refreshes();
        assert!(service.access_token(ALICE).await.is_err());
        assert_eq!(world.refreshes(), asked_so_far, "a dead grant costs the provider nothing more");
        let wrong = Owner::of(BOB)?.accept(&link).await?;
        assert!(wrong.status.is_client_error(), "{}", wrong.text);
        let page = Owner::of(ALICE)?.accept(&link).await?;
        assert!(page.status.is_success(), "{}", page.text);
        let token = service.access_token(ALICE).await?;
        assert!(world.provider.truth().is_live(token.expose()));
        assert_eq!(world.operator.account(ALICE).await?.state(), AccountState::Active);
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_provider_that_is_away_is_temporary_and_kills_no_account() -> Result<()> {
    let world = with_an_ended_token(Engine::Sqlite).await?;
    let service = world.service("crm").await?;
    let faults = [
        status(503),
        status(500),
        Fault::ResetBefore,
        Fault::Html,
        Fault::Empty,
        Fault::NotAnObject,
        Fault::Endless,
        oauth("temporarily_unavailable", Some(400)),
        oauth("server_error", Some(500)),
    ];
    for fault in faults {
        world.provider.fault(Rule::refresh(fault.clone()));
        let refusal = token_of(&service, ALICE).await?.err().context(format!("{fault:?}"))?;
        assert_eq!(refusal.reason(), ErrorReason::ProviderUnavailable, "{fault:?}: {refusal:?}");
        assert!(refusal.message.contains("temporarily"), "{fault:?}: {refusal:?}");
        assert!(refusal.retry_delay.is_some(), "{fault:?}");
        let state = world.operator.account(ALICE).await?.state();
        assert_eq!(state, AccountState::Active, "{fault:?}");
        world.provider.clear_faults();
    }
    let token = service.access_token(ALICE).await?;
    assert!(world.provider.truth().is_live(token.expose()));
    world.end().await
}

#[tokio::test]
async fn throttling_is_passed_on_with_the_providers_own_time() -> Result<()> {
    let world = with_an_ended_token(Engine::Sqlite).await?;
    let service = world.service("crm").await?;
    let fault = Fault::Status { status: 429, retry_after: Some("17".to_owned()) };
    world.provider.fault(Rule::refresh(fault));
    let refusal = token_of(&service, ALICE).await?.err().context("throttled")?;
    assert_eq!(refusal.reason(), ErrorReason::ProviderThrottled);
    let told = refusal.retry_delay.context("no delay")?.seconds;
    assert!((15..=20).contains(&told), "{told}");
    assert_eq!(world.operator.account(ALICE).await?.state(), AccountState::Active);
    world.end().await
}

#[tokio::test]
async fn a_refused_app_blames_the_app_and_a_new_secret_mends_it() -> Result<()> {
    let world = with_an_ended_token(Engine::Sqlite).await?;
    world.provider.change(|settings| {
        let secrets = &mut settings.clients[0].secrets;
        secrets[0].expired = true;
        secrets.push(ClientSecret::valid("cs-the-next-one"));
    });
    let service = world.service("crm").await?;
    assert_eq!(reason(service.access_token(ALICE).await), Some(ErrorReason::AppRejected));
    assert_eq!(world.operator.account(ALICE).await?.state(), AccountState::Active);
    let status = world.operator.ctl(&["status"]).await?;
    assert!(status["rejected_apps"].to_string().contains(APP), "{status}");
    let admin = world.operator.admin();
    let ask = v1::AddAppSecretRequest {
        name: format!("projects/default/apps/{APP}"),
        client_secret: "cs-the-next-one".to_owned(),
        ..Default::default()
    };
    let app = admin.ask(admin.apps().add_app_secret(ask)).await?;
    assert_eq!(app.secrets.len(), 2);
    let token = service.access_token(ALICE).await?;
    assert!(world.provider.truth().is_live(token.expose()));
    world.end().await
}

#[tokio::test]
async fn a_living_token_outlasts_a_failing_refresh() -> Result<()> {
    let world =
        World::builder().without_adapters().provider(|it| it.access_life_s = 120).start().await?;
    world.connect(ALICE).await?;
    world.provider.fault(Rule::refresh(status(503)));
    let service = world.service("crm").await?;
    // Longer than it still lives, shorter than such tokens live: a refresh is due.
    let wanted = std::time::Duration::from_secs(119);
    let stale = loop {
        let token = service.access_token(ALICE).min_ttl(wanted).await?;
        if token.is_stale() {
            break token;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    };
    assert_eq!(stale.last_error(), Some(ErrorReason::ProviderUnavailable));
    assert!(world.provider.truth().is_live(stale.expose()));
    world.end().await
}

#[tokio::test]
async fn odd_answers_that_are_legal_are_understood() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    world.connect(ALICE).await?;
    let faults = [
        Fault::ExpiresIn { form: ExpiresIn::Omit },
        Fault::ExpiresIn { form: ExpiresIn::String },
        Fault::ExpiresIn { form: ExpiresIn::Huge },
        Fault::TokenTypeLower,
        Fault::Delay { ms: 300 },
    ];
    for fault in faults {
        world.provider.fault(Rule::refresh(fault.clone()).times(1));
        let account = refresh_now(&world.operator, ALICE).await;
        assert!(account.is_ok(), "{fault:?}: {account:?}");
    }
    world.end().await
}

#[tokio::test]
async fn one_mailbox_in_trouble_does_not_touch_another() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    world.connect(ALICE).await?;
    world.connect(BOB).await?;
    world.provider.revoke_user(ALICE);
    assert!(refresh_now(&world.operator, ALICE).await.is_err());
    let service = world.service("crm").await?;
    assert_eq!(reason(service.access_token(ALICE).await), Some(ErrorReason::AccountNeedsConsent));
    let token = service.access_token(BOB).await?;
    assert_eq!(world.provider.truth().token(token.expose()).context("unknown")?.user, BOB);
    world.end().await
}
