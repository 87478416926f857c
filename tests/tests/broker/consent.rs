//! How mailboxes come in: by invitation, through an application, on the operator's own machine.

use anyhow::{Context, Result};
use e2e::cast::mailbox::settings::Trouble;
use e2e::cast::provider::faults::{Fault, Rule};
use e2e::cast::provider::record::Kind;
use e2e::world::{ALICE, APP, Application, BOB, Engine, Operator, Owner, World};
use token_broker_client::v1::{ConsentMode, ConsentState, ErrorReason};
use token_broker_client::{Error, v1};
use tokio::io::{AsyncBufReadExt, BufReader};

/// A consent that an application starts for its own user.
pub(crate) async fn for_application(
    operator: &Operator,
    return_uri: &str,
) -> Result<v1::Consent, Error> {
    let ask = v1::CreateConsentRequest {
        app: APP.to_owned(),
        mode: ConsentMode::Application.into(),
        return_uri: return_uri.to_owned(),
        ..Default::default()
    };
    operator.admin().ask(operator.admin().consents().create_consent(ask)).await
}

/// Finishes a consent with a code.
pub(crate) async fn finish(
    operator: &Operator,
    name: &str,
    code: &str,
) -> Result<v1::Consent, Error> {
    let ask = v1::FinishConsentRequest { name: name.to_owned(), code: code.to_owned() };
    operator.admin().ask(operator.admin().consents().finish_consent(ask)).await
}

#[tokio::test]
async fn an_invitation_names_who_asks_and_ends_in_a_working_account() -> Result<()> {
    for engine in Engine::each()? {
        let world = World::builder().engine(engine).without_adapters().start().await?;
        let invitation = world.operator.invite(APP, ALICE).await?;
        assert_eq!(invitation.state(), ConsentState::Open);
        let mut owner = Owner::of(ALICE)?;
        let page = owner.browser().open(&invitation.uri).await?;
        assert!(page.text.contains("the help desk") && page.text.contains(ALICE), "{}", page.text);
        assert_eq!(world.operator.consent(&invitation.name).await?.state(), ConsentState::Open);
        let end = owner.click_through(page, "allow").await?;
        assert!(end.status.is_success() && end.text.contains(ALICE), "{}", end.text);
        let consent = world.operator.consent(&invitation.name).await?;
        assert_eq!(consent.state(), ConsentState::Finished, "{}", consent.failure);
        let account = world.operator.account(ALICE).await?;
        assert_eq!(account.state(), v1::AccountState::Active);
        assert_eq!(world.mailbox.stats().welcomed, 1, "one login proves the grant");
        let again = owner.browser().open(&invitation.uri).await?;
        assert!(again.text.contains("used already"), "{}", again.text);
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn pages_need_no_script_and_bring_nothing_from_elsewhere() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    let invitation = world.operator.invite(APP, ALICE).await?;
    let mut owner = Owner::of(ALICE)?;
    let first = owner.browser().open(&invitation.uri).await?;
    let last = owner.click_through(first.clone(), "allow").await?;
    let lost = owner.browser().open(&format!("{}x", invitation.uri)).await?;
    for page in [first, last, lost] {
        let policy = page.headers.get("content-security-policy").context("no policy")?.to_str()?;
        assert!(policy.contains("default-src 'none'"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        let referrer = page.headers.get("referrer-policy").context("no referrer policy")?;
        assert!(referrer == "same-origin" || referrer == "no-referrer", "{referrer:?}");
        assert!(page.text.contains("viewport") && !page.text.contains("<script"), "{}", page.text);
    }
    world.end().await
}

#[tokio::test]
async fn an_owner_who_refuses_reads_so_and_nothing_is_stored() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    let invitation = world.operator.invite(APP, ALICE).await?;
    let page = Owner::of(ALICE)?.deny(&invitation.uri).await?;
    assert!(page.text.contains("Nothing was stored"), "{}", page.text);
    assert_eq!(world.operator.consent(&invitation.name).await?.state(), ConsentState::Failed);
    assert!(world.operator.account(ALICE).await.is_err());
    world.end().await
}

#[tokio::test]
async fn an_applications_consent_is_worth_nothing_until_it_is_finished() -> Result<()> {
    let application = Application::start().await?;
    let uri = application.return_uri();
    let world = World::builder()
        .without_adapters()
        .app(|app| app.return_uris = vec![uri.clone()])
        .start()
        .await?;
    let consent = for_application(&world.operator, &uri).await?;
    let page = Owner::of(ALICE)?.accept(&consent.uri).await?;
    assert_eq!(page.text, "back at the application");
    assert!(world.operator.account(ALICE).await.is_err(), "it is pending");
    assert_eq!(world.operator.consent(&consent.name).await?.state(), ConsentState::Pending);
    let visit = application.last_visit()?;
    assert_eq!(visit["consent"], consent.name);
    assert!(finish(&world.operator, &consent.name, "guessed").await.is_err());
    let done = finish(&world.operator, &consent.name, &visit["code"]).await?;
    assert_eq!(done.state(), ConsentState::Finished);
    assert_eq!(done.result.context("no account")?.mailbox, ALICE);
    let twice = finish(&world.operator, &consent.name, &visit["code"]).await;
    let reason = twice.err().and_then(|error| error.reason());
    assert_eq!(reason, Some(ErrorReason::ConsentNotUsable));
    world.end().await
}

#[tokio::test]
async fn browsers_are_sent_to_registered_addresses_only() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    let asked = for_application(&world.operator, "http://localhost:9/elsewhere").await;
    let Err(Error::Invalid { field, .. }) = asked else { panic!("{asked:?}") };
    assert_eq!(field, "return_uri");
    world.end().await
}

#[tokio::test]
async fn brokerctl_connects_the_operators_own_mailbox() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    let mut tool = tokio::process::Command::new(e2e::world::binaries::binary("brokerctl")?)
        .args(["--json", "account", "connect", "--app", APP, "--no-browser"])
        .env("BROKERCTL_SERVER", world.operator.server())
        .env("BROKERCTL_KEY_FILE", world.operator.key_file())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut said = BufReader::new(tool.stderr.take().context("no stderr")?).lines();
    let line = said.next_line().await?.context("nothing said")?;
    let link = line.strip_prefix("Open this link: ").context(line.clone())?;
    let page = Owner::of(ALICE)?.accept(link).await?;
    assert!(page.status.is_success() && page.text.contains(ALICE), "{}", page.text);
    let output = tool.wait_with_output().await?;
    assert!(output.status.success(), "{output:?}");
    let account: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(account["mailbox"], ALICE);
    assert_eq!(world.operator.account(ALICE).await?.state(), v1::AccountState::Active);
    world.end().await
}

#[tokio::test]
async fn a_grant_that_cannot_last_or_lacks_mail_makes_no_account() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    let first = Rule::token(Fault::NoRefreshToken).times(1);
    world.provider.fault(first);
    let page = refused(&world, "without a refresh token").await?;
    assert!(page.contains("no lasting permission"), "{page}");
    world.provider.change(|settings| settings.withheld_scopes = vec!["mail".to_owned()]);
    let page = refused(&world, "without the scope for mail").await?;
    assert!(page.contains("mail"), "{page}");
    world.provider.change(|settings| settings.withheld_scopes.clear());
    assert_eq!(world.connect(ALICE).await?.state(), v1::AccountState::Active);
    world.end().await
}

#[tokio::test]
async fn a_mailbox_that_does_not_open_makes_no_account() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    world.mailbox.trouble(Trouble::Refuse, Some(1));
    let page = refused(&world, "a refused login").await?;
    assert!(page.contains("did not open"), "{page}");
    world.mailbox.trouble(Trouble::DropGreeting, None);
    let page = refused(&world, "a mail server that is away").await?;
    assert!(page.contains("temporarily"), "{page}");
    world.mailbox.end_trouble();
    assert_eq!(world.connect(ALICE).await?.state(), v1::AccountState::Active);
    world.end().await
}

#[tokio::test]
async fn a_provider_that_is_away_is_called_so_and_the_owner_may_try_again() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    world.provider.fault(Rule::token(crate::words::status(503)));
    let page = refused(&world, "503 at the token endpoint").await?;
    assert!(page.contains("temporarily"), "{page}");
    world.provider.clear_faults();
    assert_eq!(world.connect(ALICE).await?.state(), v1::AccountState::Active);
    world.end().await
}

#[tokio::test]
async fn a_second_consent_renews_the_account_and_keeps_its_name() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    let first = world.connect(ALICE).await?;
    let second = world.connect(ALICE).await?;
    assert_eq!(first.name, second.name);
    assert!(second.generation > first.generation);
    assert_eq!(world.provider.truth().tokens_of(BOB, Kind::Refresh).len(), 0);
    world.end().await
}

/// Invites alice, who accepts in vain; the text of her last page.
async fn refused(world: &World, why: &str) -> Result<String> {
    let invitation = world.operator.invite(APP, ALICE).await?;
    let page = Owner::of(ALICE)?.accept(&invitation.uri).await?;
    let consent = world.operator.consent(&invitation.name).await?;
    assert_eq!(consent.state(), ConsentState::Failed, "{why}");
    assert!(world.operator.account(ALICE).await.is_err(), "{why}");
    assert!(!page.status.is_success() && page.text.contains("<h1"), "{}", page.text);
    Ok(page.text)
}
