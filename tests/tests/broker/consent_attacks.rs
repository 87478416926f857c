//! Nobody hands somebody else's mailbox over (promise P6).
//!
//! Each attack is shown to fail, and what the honest walk beside it does is shown to work.

use anyhow::{Context, Result};
use e2e::cast::browser::Page;
use e2e::cast::provider::record::Kind;
use e2e::cast::provider::settings::{IdToken, Iss};
use e2e::world::{ALICE, APP, Application, BOB, Owner, World};
use token_broker_client::v1::{AccountState, ConsentState};

use crate::consent::{finish, for_application};

#[tokio::test]
async fn the_wrong_mailbox_is_refused_explained_audited_and_given_back() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    let invitation = world.operator.invite(APP, ALICE).await?;
    let page = Owner::of(BOB)?.accept(&invitation.uri).await?;
    assert!(page.status.is_client_error() && page.text.contains(ALICE), "{}", page.text);
    assert_eq!(world.operator.consent(&invitation.name).await?.state(), ConsentState::Failed);
    assert!(world.operator.account(ALICE).await.is_err());
    assert!(world.operator.account(BOB).await.is_err());
    let truth = world.provider.truth();
    let live: Vec<_> = truth
        .tokens_of(BOB, Kind::Refresh)
        .into_iter()
        .filter(|token| token.is_live(truth.now_ms()))
        .collect();
    assert!(live.is_empty(), "the grant was given back: {live:?}");
    let id = invitation.name.rsplit('/').next().context("no id")?;
    let records = world.operator.audit().await?;
    assert!(records.iter().any(|one| !one.granted && one.subject.ends_with(id)), "{records:?}");
    world.end().await
}

#[tokio::test]
async fn a_callback_works_once() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    let invitation = world.operator.invite(APP, ALICE).await?;
    let mut owner = Owner::of(ALICE)?;
    let end = owner.accept(&invitation.uri).await?;
    let generation = world.operator.account(ALICE).await?.generation;
    let callback = callback_of(&end)?;
    let replayed = owner.browser().open(&callback).await?;
    assert!(replayed.status.is_client_error(), "{}", replayed.text);
    let account = world.operator.account(ALICE).await?;
    assert_eq!((account.generation, account.state()), (generation, AccountState::Active));
    assert_eq!(world.provider.truth().stats().grants["authorization_code"], 1);
    world.end().await
}

#[tokio::test]
async fn a_state_that_nobody_made_is_refused() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    let invitation = world.operator.invite(APP, ALICE).await?;
    let mut owner = Owner::of(ALICE)?;
    owner.walk_to_provider(&invitation.uri).await?;
    let base = world.house.doors().public_url();
    for query in ["?code=x&state=forged", "?code=x", "?state=", "", "?error=access_denied&state=y"]
    {
        let url = format!("{base}/oauth/callback/default/{APP}{query}");
        let page = owner.browser().open(&url).await?;
        assert!(page.status.is_client_error(), "{query}: {}", page.text);
        assert!(page.text.contains("<h1"), "a page that explains: {}", page.text);
    }
    assert!(!world.provider.truth().stats().grants.contains_key("authorization_code"));
    assert_eq!(world.operator.consent(&invitation.name).await?.state(), ConsentState::Open);
    world.end().await
}

#[tokio::test]
async fn a_victim_who_finishes_a_strangers_invitation_gives_nothing_away() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    // The stranger is invited as bob, goes to the provider's page and sends that page to alice.
    let invitation = world.operator.invite(APP, BOB).await?;
    let mut stranger = Owner::of(BOB)?;
    let page = stranger.walk_to_provider(&invitation.uri).await?;
    let mut victim = Owner::of(ALICE)?;
    let end = victim.accept(page.url.as_str()).await?;
    assert!(end.status.is_client_error(), "{}", end.text);
    assert!(world.operator.account(ALICE).await.is_err());
    assert!(!world.provider.truth().stats().grants.contains_key("authorization_code"));
    world.end().await
}

#[tokio::test]
async fn a_victim_who_finishes_a_strangers_application_consent_gives_nothing_away() -> Result<()> {
    let application = Application::start().await?;
    let uri = application.return_uri();
    let returns = vec![uri.clone()];
    let world =
        World::builder().without_adapters().app(|app| app.return_uris = returns).start().await?;
    // From the provider's page on: the cookie is in the stranger's browser.
    let consent = for_application(&world.operator, &uri).await?;
    let page = Owner::of(BOB)?.walk_to_provider(&consent.uri).await?;
    let end = Owner::of(ALICE)?.accept(page.url.as_str()).await?;
    assert!(end.status.is_client_error(), "{}", end.text);
    assert_eq!(application.visits(), 0);
    // From our own link on: the code comes back in the victim's browser, to the victim's own session at the application.
    let consent = for_application(&world.operator, &uri).await?;
    Owner::of(ALICE)?.accept(&consent.uri).await?;
    assert!(world.operator.account(ALICE).await.is_err(), "nothing lives before it is finished");
    let guess = finish(&world.operator, &consent.name, "the stranger has no code").await;
    assert!(guess.is_err(), "{guess:?}");
    assert!(world.operator.account(ALICE).await.is_err());
    world.end().await
}

#[tokio::test]
async fn an_answer_in_another_providers_name_is_refused() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    let other = Iss::Other { value: "http://127.0.0.1:9".to_owned() };
    for iss in [other, Iss::Missing] {
        world.provider.change(|settings| settings.iss = iss.clone());
        nothing_comes_of_it(&world, &format!("{iss:?}")).await?;
    }
    assert!(!world.provider.truth().stats().grants.contains_key("authorization_code"));
    world.provider.change(|settings| settings.iss = Iss::Right);
    world.connect(ALICE).await?;
    world.end().await
}

#[tokio::test]
async fn a_bent_id_token_is_refused() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    let bends = [
        IdToken::Missing,
        IdToken::WrongNonce,
        IdToken::WrongAudience,
        IdToken::WrongIssuer,
        IdToken::Expired,
        IdToken::Unsigned,
        IdToken::ForeignKey,
    ];
    for bend in bends {
        world.provider.change(|settings| settings.id_token = bend);
        nothing_comes_of_it(&world, &format!("{bend:?}")).await?;
    }
    world.provider.change(|settings| settings.id_token = IdToken::Right);
    world.connect(ALICE).await?;
    world.end().await
}

async fn nothing_comes_of_it(world: &World, why: &str) -> Result<()> {
    let invitation = world.operator.invite(APP, ALICE).await?;
    let page = Owner::of(ALICE)?.accept(&invitation.uri).await?;
    assert!(!page.status.is_success(), "{why}: {}", page.text);
    let consent = world.operator.consent(&invitation.name).await?;
    assert_eq!(consent.state(), ConsentState::Failed, "{why}");
    assert!(world.operator.account(ALICE).await.is_err(), "{why}");
    Ok(())
}

/// The provider's answer among the URLs of a walk.
fn callback_of(page: &Page) -> Result<String> {
    let found = page.hops.iter().find(|url| url.path().starts_with("/oauth/callback/"));
    Ok(found.with_context(|| format!("{:?}", page.hops))?.to_string())
}
