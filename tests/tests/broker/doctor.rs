//! The account explains itself: what an operator is told when it works, when it does not, and what to do (promise P9).

use anyhow::{Context, Result, ensure};
use e2e::cast::provider::faults::{Fault, Rule};
use e2e::cast::provider::record::Kind;
use e2e::cast::provider::settings::Rotation;
use e2e::world::{ALICE, APP, Engine, World};
use serde_json::{Value, json};
use token_broker_client::v1;

use crate::words::refresh_now;

/// What `account doctor` says, and its exit code.
async fn doctor(world: &World) -> Result<(i32, Value)> {
    let run = world.operator.try_ctl(&["account", "doctor", ALICE]).await?;
    Ok((run.code.context("killed")?, run.json()?))
}

/// The one finding with these words.
fn finding(told: &Value, words: &str) -> Result<Value> {
    let all = told["findings"].as_array().context("no findings")?;
    let fits = |finding: &&Value| finding["text"].as_str().is_some_and(|text| text.contains(words));
    all.iter().find(fits).cloned().with_context(|| format!("no {words:?} in {told:#}"))
}

#[tokio::test]
async fn a_healthy_account_has_nothing_to_mend_and_says_when_it_is_renewed() -> Result<()> {
    for engine in Engine::each()? {
        let world = World::builder().engine(engine).without_adapters().start().await?;
        world.connect(ALICE).await?;
        let (code, told) = doctor(&world).await?;
        assert_eq!((code, &told["severity"]), (0, &json!("ok")), "{told:#}");
        finding(&told, "cold: nobody asks")?;
        let service = world.service("crm").await?;
        service.access_token(ALICE).await?;
        // That it was asked for is written down behind the answer.
        let warm = loop {
            let (_, told) = doctor(&world).await?;
            if let Ok(warm) = finding(&told, "warm: its token is asked for") {
                break warm;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        };
        assert!(warm["next_time"].is_string(), "{warm}");
        refresh_now(&world.operator, ALICE).await?;
        let account = world.operator.ctl(&["account", "show", ALICE]).await?;
        let generations = account["refresh"]["generations"].as_array().context("none")?;
        assert_eq!(generations.len(), 2, "{account:#}");
        assert_eq!(generations[0]["parent"], generations[1]["generation"]);
        assert_eq!(account["refresh"]["attempts"], json!([]), "one that worked leaves none");
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_suspected_account_is_no_error_and_says_when_it_is_asked_again() -> Result<()> {
    let world = World::builder().without_adapters().confirm_after(3600).start().await?;
    world.connect(ALICE).await?;
    world.provider.revoke_user(ALICE);
    assert!(refresh_now(&world.operator, ALICE).await.is_err());
    let (code, told) = doctor(&world).await?;
    assert_eq!((code, &told["severity"]), (0, &json!("warning")), "{told:#}");
    let suspicion = finding(&told, "has refused this grant 1 of 2 times (invalid_grant")?;
    assert!(suspicion["next_time"].is_string(), "{suspicion}");
    let account = world.operator.account(ALICE).await?;
    assert_eq!(account.state(), v1::AccountState::Active);
    let refresh = account.refresh.context("no refresh state")?;
    assert_eq!(refresh.class, "needs_consent");
    assert_eq!(refresh.generations[0].refusals, 1);
    assert_eq!(refresh.not_before_time, refresh.due_time, "by itself, whoever asks meanwhile");
    let [attempt] = &refresh.attempts[..] else { panic!("{:?}", refresh.attempts) };
    assert_eq!((attempt.outcome.as_str(), attempt.generation), ("needs_consent", 1));
    assert!(
        refresh_now(&world.operator, ALICE).await.is_err(),
        "the operator's word is the second"
    );
    let (code, told) = doctor(&world).await?;
    assert_eq!(code, 7, "{told:#}");
    let consent = finding(&told, "its owner has to consent again")?;
    assert!(consent["remedy"].to_string().contains("account invite"), "{consent}");
    world.end().await
}

#[tokio::test]
async fn an_account_whose_app_is_refused_blames_the_app_and_names_the_cure() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    world.connect(ALICE).await?;
    world.provider.change(|settings| settings.clients[0].secrets[0].expired = true);
    assert!(refresh_now(&world.operator, ALICE).await.is_err());
    let (code, told) = doctor(&world).await?;
    assert_eq!((code, &told["severity"]), (7, &json!("error")), "{told:#}");
    let refused = finding(&told, &format!("the provider refuses the app {APP}"))?;
    assert!(refused["text"].to_string().contains("invalid_client"), "{refused}");
    assert!(refused["remedy"].to_string().contains("app add-secret"), "{refused}");
    finding(&told, "the account is active")?;
    let app = world.operator.ctl(&["app", "show", APP]).await?;
    assert_eq!(
        (&app["health"], &app["health_code"]),
        (&json!("rejected"), &json!("invalid_client"))
    );
    assert!(app["retry_time"].is_string() && app["refusals"] == json!(1), "{app:#}");
    let status = world.operator.ctl(&["status"]).await?;
    assert_eq!(status["paused_apps"][0]["app"], json!(APP), "{status:#}");
    assert_eq!(status["endpoints"][0]["failures"], json!(0), "it answers: {status:#}");
    world.provider.change(|settings| settings.clients[0].secrets[0].expired = false);
    refresh_now(&world.operator, ALICE).await?;
    let (code, told) = doctor(&world).await?;
    assert_eq!((code, &told["severity"]), (0, &json!("ok")), "{told:#}");
    let status = world.operator.ctl(&["status"]).await?;
    assert_eq!(status["paused_apps"], json!([]));
    world.end().await
}

#[tokio::test]
async fn an_account_that_was_cut_off_from_a_strict_provider_says_that_it_is_in_doubt() -> Result<()>
{
    for engine in Engine::each()? {
        let mut world = World::builder()
            .engine(engine)
            .without_adapters()
            .provider(|provider| provider.rotation = Rotation::Strict)
            .app(|app| app.rotation = v1::Rotation::Strict.into())
            .start()
            .await?;
        world.connect(ALICE).await?;
        world.provider.fault(Rule::refresh(Fault::Delay { ms: 600_000 }).times(1));
        let asking = world.operator.tool(&["account", "refresh", ALICE]);
        let cut_off = async {
            let truth = world.provider.truth();
            while truth.tokens_of(ALICE, Kind::Refresh).len() < 2 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            let running = world.operator.account(ALICE).await?.refresh.context("no state")?;
            assert!(!running.in_doubt && !running.lease_owner.is_empty(), "under way: {running:?}");
            world.house.crash().await
        };
        let (asked, cut_off) = tokio::join!(asking.run(), cut_off);
        cut_off?;
        asked?;
        let (code, told) = doctor(&world).await?;
        assert_eq!((code, &told["severity"]), (0, &json!("warning")), "{told:#}");
        let doubt = finding(&told, "in doubt: the answer to the refresh of")?;
        assert!(doubt["next_time"].is_string(), "when the token is used up: {doubt}");
        let refresh = &told["account"]["refresh"];
        assert_eq!(refresh["in_doubt"], json!(true), "{refresh:#}");
        assert_eq!(refresh["generations"][0]["in_doubt"], json!(true), "{refresh:#}");
        assert_eq!(refresh["in_doubt_since_time"], refresh["attempts"][0]["start_time"]);
        // The answer was lost with the process: what is tried now is refused, and then it is known.
        let began = std::time::Instant::now();
        let known = loop {
            ensure!(began.elapsed().as_secs() < 60, "it is never known");
            drop(refresh_now(&world.operator, ALICE).await);
            let (code, told) = doctor(&world).await?;
            if code == 7 {
                break told;
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        };
        finding(&known, "its owner has to consent again")?;
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_disabled_account_says_so_and_how_to_undo_it() -> Result<()> {
    let world = World::builder().without_adapters().start().await?;
    world.connect(ALICE).await?;
    world.operator.ctl(&["account", "disable", ALICE]).await?;
    let (code, told) = doctor(&world).await?;
    assert_eq!(code, 7, "{told:#}");
    let off = finding(&told, "is switched off here")?;
    let remedy = off["remedy"].as_str().context("no remedy")?;
    let words: Vec<&str> = remedy.split(' ').skip(1).collect();
    world.operator.ctl(&words).await?;
    let (code, told) = doctor(&world).await?;
    assert_eq!((code, &told["severity"]), (0, &json!("ok")), "{told:#}");
    world.end().await
}
