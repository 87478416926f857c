//! Leases, turns, who is due.

use std::time::Duration;

use super::engines::each_engine;
use super::samples::*;
use crate::domain::app::AppHealth;
use crate::domain::grant::Attempt;
use crate::domain::ids::{AccountId, AppId};
use crate::domain::refresh::{AppGate, RefreshState};
use crate::store::{PausedApp, Store, TurnEnd};

const LEASE: Duration = Duration::from_secs(15);

async fn take(store: &Store, target: (AccountId, AppId), owner: &'static str) -> i64 {
    let take = store.write(move |tx| {
        Box::pin(async move { tx.take_lease(target, owner, LEASE, at(50)).await })
    });
    take.await.unwrap()
}

async fn state(store: &Store, account: AccountId) -> RefreshState {
    store.read().await.unwrap().refresh_state(account).await.unwrap().unwrap()
}

fn ended() -> TurnEnd {
    TurnEnd {
        failures: 2,
        not_before: at(60),
        due_at: Some(at(70)),
        class: "transient".into(),
        code: "deadline".into(),
        refreshed_at: None,
    }
}

each_engine! {
    async fn a_lease_lasts_by_the_databases_clock_and_its_fence_rises(home) {
        let store = home.open().await;
        let (app, account) = settled(&store).await;
        assert_eq!(take(&store, (account.id, app.id), "one").await, 1);
        let first = state(&store, account.id).await;
        assert_eq!((first.lease.owner.as_str(), first.lease.fence), ("one", 1));
        assert!(first.lease.left > Duration::from_secs(5) && first.lease.left <= LEASE, "{first:?}");
        assert_eq!(first.due_at, Some(at(50).after(LEASE)), "nobody else takes it up meanwhile");
        assert_eq!(take(&store, (account.id, app.id), "two").await, 2);
        let second = state(&store, account.id).await;
        assert_eq!((second.lease.owner.as_str(), second.lease.fence), ("two", 2));
    }

    async fn a_turn_is_read_together_with_the_gate_of_its_app(home) {
        let store = home.open().await;
        let (app, account) = settled(&store).await;
        take(&store, (account.id, app.id), "one").await;
        let mut conn = store.read().await.unwrap();
        let (turn, gate) = conn.turn(account.id, app.id).await.unwrap();
        let (turn, alone) = (turn.unwrap(), state(&store, account.id).await);
        assert!(matches!(gate, Some(AppGate::Rejected { refusals: 0, .. })), "as the sample is: {gate:?}");
        assert_eq!((turn.due_at, turn.tried_at), (alone.due_at, Some(at(50))));
        assert_eq!((turn.lease.owner.as_str(), turn.lease.fence), ("one", 1));
        assert!(!turn.lease.left.is_zero() && turn.lease.left <= LEASE, "{turn:?}");
        let gone = AppId::from_bytes([9; 16]);
        assert_eq!(conn.turn(account.id, gone).await.unwrap(), (None, None));
    }

    async fn only_the_holder_of_the_lease_gives_it_back(home) {
        let store = home.open().await;
        let (app, account) = settled(&store).await;
        let id = account.id;
        take(&store, (id, app.id), "one").await;
        take(&store, (id, app.id), "two").await;
        for (owner, fence, free) in [("one", 1, false), ("two", 1, false), ("one", 2, false), ("two", 2, true)] {
            let end = store.write(move |tx| {
                Box::pin(async move { tx.end_turn(id, (owner, fence), &ended()).await })
            });
            end.await.unwrap();
            let after = state(&store, id).await;
            assert_eq!(after.lease.left.is_zero(), free, "{owner} {fence}");
            assert_eq!((after.failures, after.not_before, after.due_at), (2, at(60), Some(at(70))));
            assert_eq!((after.class.as_str(), after.code.as_str()), ("transient", "deadline"));
        }
    }

    async fn a_turn_that_failed_keeps_when_the_last_one_worked(home) {
        let store = home.open().await;
        let (app, account) = settled(&store).await;
        let id = account.id;
        store.write(move |tx| Box::pin(async move {
            tx.begin_turns((id, app.id), at(40), Some(at(41))).await?;
            tx.end_turn(id, ("", 0), &ended()).await
        })).await.unwrap();
        assert_eq!(state(&store, id).await.refreshed_at, Some(at(40)));
        store.write(move |tx| Box::pin(async move {
            tx.end_turn(id, ("", 0), &TurnEnd { refreshed_at: Some(at(90)), ..ended() }).await
        })).await.unwrap();
        assert_eq!(state(&store, id).await.refreshed_at, Some(at(90)));
    }

    async fn the_longest_due_come_first_and_the_rest_is_not_looked_at(home) {
        let store = home.open().await;
        let (app, first) = settled(&store).await;
        let second = account(&app, "bob");
        let third = account(&app, "cat");
        let rows = [guard(&second), guard(&third)];
        let due = [(first.id, Some(at(30))), (second.id, Some(at(10))), (third.id, None)];
        store.write(move |tx| Box::pin(async move {
            for row in &rows {
                tx.insert_account(row).await?;
            }
            for (id, due_at) in due {
                tx.begin_turns((id, app.id), at(1), due_at).await?;
            }
            Ok(())
        })).await.unwrap();
        let mut conn = store.read().await.unwrap();
        let found = conn.due(app.id, at(30), 9).await.unwrap();
        assert_eq!(found, [(second.id, at(10)), (first.id, at(30))]);
        assert_eq!(conn.due(app.id, at(29), 9).await.unwrap().len(), 1);
        assert_eq!(conn.due(app.id, at(30), 1).await.unwrap().len(), 1);
        assert_eq!(conn.due_count(app.id, at(30)).await.unwrap(), 2);
    }

    async fn an_apps_gate_comes_back_as_it_was_set(home) {
        let store = home.open().await;
        let (app, account) = settled(&store).await;
        let rejected = AppHealth::Rejected { since: at(1), code: "invalid_client".into() };
        for (health, gate) in [
            (AppHealth::Accepted, AppGate::Open),
            (AppHealth::Accepted, AppGate::Throttled { until: at(80) }),
            (rejected, AppGate::Rejected { until: at(90), refusals: 3 }),
            (AppHealth::Unknown, AppGate::Open),
        ] {
            store.write(move |tx| Box::pin(async move {
                tx.set_app_health(app.id, &health).await?;
                tx.set_app_gate(app.id, gate).await
            })).await.unwrap();
            let mut conn = store.read().await.unwrap();
            assert_eq!(conn.turn(account.id, app.id).await.unwrap(), (None, Some(gate)));
        }
    }

    async fn an_account_counts_as_interrupted_while_its_newest_token_was_sent_without_an_answer(home) {
        let store = home.open().await;
        let (_, account) = settled(&store).await;
        let counted = async || store.read().await.unwrap().counts(&project(), NOW).await.unwrap().interrupted_accounts;
        let newest = store.read().await.unwrap().current_grant(account.id).await.unwrap().map_or(0, |it| it.generation);
        let next = grant(&account, newest + 1);
        let sent = Attempt { generation: next.generation, outcome: String::new(), ended_at: None, ..attempt(&account) };
        let id = sent.id;
        store.write(move |tx| Box::pin(async move {
            tx.append_grant(&next).await?;
            tx.begin_attempt(&sent).await
        })).await.unwrap();
        assert_eq!(counted().await, 0, "one that is under way");
        store.write(move |tx| Box::pin(async move { tx.end_attempt(id, at(70), "lost", "interrupted").await })).await.unwrap();
        assert_eq!(counted().await, 1);
        let newer = grant(&account, newest + 2);
        store.write(move |tx| Box::pin(async move { tx.append_grant(&newer).await })).await.unwrap();
        assert_eq!(counted().await, 0, "a newer one came, so it is settled");
    }

    async fn an_app_that_is_left_alone_is_counted_until_it_may_be_asked(home) {
        let store = home.open().await;
        let (app, _) = settled(&store).await;
        let paused = async |now| store.read().await.unwrap().counts(&project(), now).await.unwrap().paused_apps;
        let id = app.id;
        store.write(move |tx| Box::pin(async move {
            tx.set_app_health(id, &AppHealth::Accepted).await?;
            tx.set_app_gate(id, AppGate::Throttled { until: at(900) }).await
        })).await.unwrap();
        let name = app.name.to_string();
        assert_eq!(paused(at(899)).await, [PausedApp { app: name.clone(), retry_at: at(900), refusals: 0 }]);
        assert_eq!(paused(at(900)).await, []);
        store.write(move |tx| Box::pin(async move {
            tx.set_app_health(id, &AppHealth::Rejected { since: at(1), code: "x".into() }).await?;
            tx.set_app_gate(id, AppGate::Rejected { until: at(900), refusals: 2 }).await
        })).await.unwrap();
        assert_eq!(paused(at(901)).await, [PausedApp { app: name, retry_at: at(900), refusals: 2 }]);
    }
}
