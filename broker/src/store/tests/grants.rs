//! Refresh tokens in generations, access tokens, attempts.

use super::engines::each_engine;
use super::samples::*;
use crate::domain::account::Account;
use crate::domain::grant::{AccessToken, Attempt, Grant};
use crate::domain::ids::AccountId;
use crate::domain::refresh::Doubt;
use crate::store::{Error, Store};

async fn append(store: &Store, grant: Grant) -> crate::store::Result<()> {
    store.write(move |tx| Box::pin(async move { tx.append_grant(&grant).await })).await
}

async fn prove(store: &Store, account: AccountId, generation: i64) {
    let prove =
        store.write(move |tx| Box::pin(async move { tx.prove_grant(account, generation).await }));
    prove.await.unwrap();
}

async fn generations(store: &Store, account: &Account) -> Vec<i64> {
    let grants = store.read().await.unwrap().grants(account.id).await.unwrap();
    grants.iter().map(|grant| grant.generation).collect()
}

async fn put(store: &Store, token: AccessToken) -> bool {
    store.write(move |tx| Box::pin(async move { tx.put_access_token(&token).await })).await.unwrap()
}

each_engine! {
    async fn the_newest_generation_is_current_and_its_siblings_stay(home) {
        let store = home.open().await;
        let (_, account) = settled(&store).await;
        for generation in 1..=6 {
            append(&store, grant(&account, generation)).await.unwrap();
        }
        let current = store.read().await.unwrap().current_grant(account.id).await.unwrap().unwrap();
        assert_eq!(current, Grant { id: current.id, ..grant(&account, 6) });
        assert_eq!(generations(&store, &account).await, [6, 5, 4, 3, 2, 1]);
        let twice = append(&store, grant(&account, 6)).await;
        assert_eq!(twice, Err(Error::Conflict { what: "grants".into() }));
    }

    async fn only_the_newest_generation_that_worked_prunes(home) {
        let store = home.open().await;
        let (_, account) = settled(&store).await;
        for generation in 1..=6 {
            append(&store, grant(&account, generation)).await.unwrap();
        }
        prove(&store, account.id, 5).await;
        assert_eq!(generations(&store, &account).await, [6, 5, 4, 3, 2, 1]);
        prove(&store, account.id, 6).await;
        assert_eq!(generations(&store, &account).await, [6, 5, 4]);
        assert!(store.read().await.unwrap().current_grant(account.id).await.unwrap().unwrap().proven);
    }

    async fn the_last_refresh_token_is_never_pruned(home) {
        let store = home.open().await;
        let (_, account) = settled(&store).await;
        append(&store, grant(&account, 1)).await.unwrap();
        for generation in 2..=9 {
            append(&store, Grant { refresh_token: None, ..grant(&account, generation) }).await.unwrap();
            prove(&store, account.id, generation).await;
        }
        assert!(generations(&store, &account).await.contains(&1));
    }

    async fn a_token_comes_back_as_it_was_stored(home) {
        let store = home.open().await;
        let (_, account) = settled(&store).await;
        let token = token(&account, 3);
        assert!(put(&store, token.clone()).await);
        let mut conn = store.read().await.unwrap();
        assert_eq!(conn.access_token(account.id, "mail").await.unwrap(), Some(token.clone()));
        assert_eq!(conn.access_token(account.id, "graph").await.unwrap(), None);
        assert_eq!(conn.access_tokens(account.id).await.unwrap(), [token]);
    }

    async fn an_older_token_never_replaces_a_newer_one(home) {
        let store = home.open().await;
        let (_, account) = settled(&store).await;
        let newer = token(&account, 3);
        assert!(put(&store, token(&account, 2)).await);
        assert!(put(&store, newer.clone()).await);
        assert!(!put(&store, token(&account, 2)).await);
        assert!(!put(&store, AccessToken { issued_at: at(0), ..token(&account, 3) }).await);
        let read = store.read().await.unwrap().access_token(account.id, "mail").await.unwrap();
        assert_eq!(read, Some(newer));
    }

    async fn only_the_token_that_was_refused_is_rejected(home) {
        let store = home.open().await;
        let (_, account) = settled(&store).await;
        let (id, token) = (account.id, token(&account, 3));
        put(&store, token.clone()).await;
        for (fingerprint, expected) in [(vec![9; 32], false), (token.fingerprint.clone(), true)] {
            let marked = store.write(move |tx| Box::pin(async move {
                tx.reject_access_token(id, "mail", &fingerprint).await
            })).await;
            assert_eq!(marked, Ok(expected));
            let read = store.read().await.unwrap().access_token(id, "mail").await.unwrap();
            assert_eq!(read, Some(AccessToken { rejected: expected, ..token.clone() }));
        }
    }

    async fn an_account_that_is_given_back_keeps_no_token(home) {
        let store = home.open().await;
        let (_, account) = settled(&store).await;
        let id = account.id;
        append(&store, grant(&account, 1)).await.unwrap();
        put(&store, token(&account, 1)).await;
        store.write(move |tx| Box::pin(async move {
            tx.delete_grants(id).await?;
            tx.delete_access_tokens(id).await
        })).await.unwrap();
        let mut conn = store.read().await.unwrap();
        assert_eq!(conn.current_grant(id).await, Ok(None));
        assert_eq!(conn.access_token(id, "mail").await, Ok(None));
    }

    async fn what_was_sent_without_an_answer_is_in_doubt(home) {
        let store = home.open().await;
        let (_, account) = settled(&store).await;
        let (open, lost, refused) = (attempt(&account), attempt(&account), attempt(&account));
        let lost = Attempt { started_at: at(5), outcome: "lost".into(), ended_at: Some(at(6)), ..lost };
        let refused = Attempt { generation: 2, outcome: "throttled".into(), ended_at: Some(at(6)), ..refused };
        let worked = attempt(&account).id;
        let all = [Attempt { started_at: at(9), ..open }, lost, refused, Attempt { id: worked, generation: 1, ..attempt(&account) }];
        store.write(move |tx| Box::pin(async move {
            for attempt in &all {
                tx.begin_attempt(attempt).await?;
            }
            tx.forget_attempt(worked).await
        })).await.unwrap();
        let (_, doubts) = store.read().await.unwrap().holdings(account.id, None).await.unwrap();
        let doubt = |since| Doubt { generation: 3, since: at(since) };
        assert_eq!(doubts, [doubt(5), doubt(9)]);
    }

    async fn a_token_keeps_when_the_one_before_it_was_used(home) {
        let store = home.open().await;
        let (_, account) = settled(&store).await;
        let id = account.id;
        put(&store, token(&account, 2)).await;
        store.write(move |tx| Box::pin(async move { tx.touch_access_token(id, "mail", at(44)).await })).await.unwrap();
        put(&store, token(&account, 3)).await;
        let (bearers, _) = store.read().await.unwrap().holdings(id, None).await.unwrap();
        let [bearer] = &bearers[..] else { panic!("{bearers:?}") };
        assert_eq!((bearer.generation, bearer.used_at), (3, Some(at(44))));
    }

    async fn an_attempt_is_open_until_it_is_closed_once(home) {
        let store = home.open().await;
        let (_, account) = settled(&store).await;
        let attempt = attempt(&account);
        let (id, begun) = (attempt.id, attempt.clone());
        store.write(move |tx| Box::pin(async move { tx.begin_attempt(&begun).await })).await.unwrap();
        assert_eq!(store.read().await.unwrap().open_attempts().await.unwrap()[0], attempt);
        let forget = || store.write(|tx| Box::pin(async move { tx.forget_attempts(at(1_000)).await }));
        assert_eq!(forget().await, Ok(0), "an open attempt is never forgotten");
        let is_open = || async { store.read().await.unwrap().is_open_attempt(id).await.unwrap() };
        assert_eq!(is_open().await, Some(true));
        for expected in [true, false] {
            let end = store.write(move |tx| Box::pin(async move {
                tx.end_attempt(id, at(9), "issued", "code").await
            }));
            assert_eq!(end.await, Ok(expected));
        }
        assert_eq!(is_open().await, Some(false));
        let mut conn = store.read().await.unwrap();
        assert!(conn.open_attempts().await.unwrap().is_empty());
        let closed = Attempt { ended_at: Some(at(9)), outcome: "issued".into(), code: "code".into(), ..attempt };
        assert_eq!(conn.attempts(account.id, 9).await.unwrap(), [closed]);
        assert_eq!(forget().await, Ok(1));
        assert_eq!(is_open().await, None);
    }
}
