//! Refresh tokens that change: none is lost, none is used twice (promise P4).

use anyhow::{Context, Result};
use e2e::cast::provider::faults::{Fault, Rule};
use e2e::cast::provider::record::Kind;
use e2e::cast::provider::settings::Rotation;
use e2e::world::{ALICE, Engine, World};
use token_broker_client::v1;

use crate::words::{refresh_now, token_of};

fn word(rotation: Rotation) -> v1::Rotation {
    match rotation {
        Rotation::None => v1::Rotation::None,
        Rotation::Replace => v1::Rotation::Replace,
        Rotation::Grace { .. } => v1::Rotation::Grace,
        Rotation::Strict => v1::Rotation::Strict,
    }
}

async fn world_with(rotation: Rotation, engine: Engine) -> Result<World> {
    let world = World::builder()
        .engine(engine)
        .without_adapters()
        .provider(|provider| provider.rotation = rotation)
        .app(|app| app.rotation = word(rotation).into())
        .start()
        .await?;
    world.connect(ALICE).await?;
    Ok(world)
}

#[tokio::test]
async fn every_kind_of_rotation_is_followed_without_one_reuse() -> Result<()> {
    let kinds =
        [Rotation::None, Rotation::Replace, Rotation::Grace { seconds: 30 }, Rotation::Strict];
    for rotation in kinds {
        let world = world_with(rotation, Engine::Sqlite).await?;
        for _ in 0..5 {
            refresh_now(&world.operator, ALICE).await?;
        }
        let truth = world.provider.truth();
        assert_eq!(truth.stats().reuse, 0, "{rotation:?}");
        assert_eq!(world.refreshes(), 5, "{rotation:?}");
        let service = world.service("crm").await?;
        let token = token_of(&service, ALICE).await?.map_err(|it| anyhow::anyhow!("{it:?}"))?;
        assert!(truth.is_live(&token.access_token), "{rotation:?}");
        let refresh_tokens = truth.tokens_of(ALICE, Kind::Refresh).len();
        assert_eq!(refresh_tokens, if rotation == Rotation::None { 1 } else { 6 });
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_rotated_token_survives_a_power_cut_right_after_its_answer() -> Result<()> {
    for engine in Engine::each()? {
        let mut world = world_with(Rotation::Strict, engine).await?;
        for _ in 0..3 {
            refresh_now(&world.operator, ALICE).await?;
            world.house.crash().await?;
        }
        refresh_now(&world.operator, ALICE).await?;
        assert_eq!(world.provider.truth().stats().reuse, 0);
        assert_eq!(world.refreshes(), 4);
        world.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_without_a_refresh_token_keeps_the_old_one() -> Result<()> {
    let world = world_with(Rotation::Replace, Engine::Sqlite).await?;
    world.provider.fault(Rule::refresh(Fault::NoRefreshToken).times(1));
    refresh_now(&world.operator, ALICE).await?;
    refresh_now(&world.operator, ALICE).await?;
    let truth = world.provider.truth();
    let first = truth.tokens_of(ALICE, Kind::Refresh).into_iter().next().context("none")?;
    assert_eq!(first.accepted, 2, "the old one bought both");
    world.end().await
}

#[tokio::test]
async fn an_answer_lost_on_the_way_is_no_end_where_the_old_token_survives() -> Result<()> {
    for rotation in [Rotation::None, Rotation::Replace, Rotation::Grace { seconds: 60 }] {
        for fault in [Fault::ResetAfter, Fault::Truncate] {
            let world = world_with(rotation, Engine::Sqlite).await?;
            world.provider.fault(Rule::refresh(fault.clone()).times(1));
            // Either the broker asks again by itself, or it says "temporarily" and the next call works.
            drop(refresh_now(&world.operator, ALICE).await);
            let account = refresh_now(&world.operator, ALICE).await;
            let account = account.with_context(|| format!("{rotation:?} {fault:?}"))?;
            assert_eq!(account.state(), v1::AccountState::Active);
            world.end().await?;
        }
    }
    Ok(())
}
