//! Values under key terms: counting, finding and replacing them; who lives; who is at a re-seal.

use std::time::Duration;

use super::engines::each_engine;
use super::samples::*;
use crate::clock::Time;
use crate::domain::grant::Grant;
use crate::domain::ids::GrantId;
use crate::domain::secret::Sealed;
use crate::store::{Kind, Replica, Store, Swap};

/// As a sealed value begins: format, algorithm, term.
fn value(term: u32, rest: &str) -> Sealed {
    let head = [1, 1].into_iter().chain(term.to_be_bytes());
    Sealed::from_bytes(head.chain(rest.bytes()).collect())
}

/// An account with so many grants under term 1, and one under term 2.
async fn grants(store: &Store, count: i64) -> Vec<Grant> {
    let (_, account) = settled(store).await;
    let of = |generation: i64, term: u32| Grant {
        id: GrantId::from_bytes([u8::try_from(generation).unwrap(); 16]),
        refresh_token: Some(value(term, &format!("token {generation}"))),
        ..grant(&account, generation)
    };
    let all: Vec<Grant> =
        (1..=count).map(|generation| of(generation, 1)).chain([of(count + 1, 2)]).collect();
    let stored = all.clone();
    let write = store.write(move |tx| {
        Box::pin(async move {
            for grant in &stored {
                tx.append_grant(grant).await?;
            }
            Ok(())
        })
    });
    write.await.unwrap();
    all
}

async fn count(store: &Store, term: u32) -> i64 {
    store.read().await.unwrap().count_of_term(Kind::RefreshToken, term).await.unwrap()
}

fn replica(called: &str) -> Replica {
    Replica {
        name: called.into(),
        version: "1.2.3".into(),
        started_at: NOW,
        seen_at: NOW,
        silent: Duration::ZERO,
        draining: true,
        active_term: 2,
        settled: Duration::ZERO,
        known_term: 3,
        needed_term: 1,
        kek_ids: vec!["00aa".into()],
    }
}

each_engine! {
    async fn values_are_found_by_their_term_page_by_page_with_all_that_their_place_is_made_of(home) {
        let store = home.open().await;
        let all = grants(&store, 5).await;
        assert_eq!((count(&store, 1).await, count(&store, 2).await, count(&store, 3).await), (5, 1, 0));
        let mut conn = store.read().await.unwrap();
        let mut seen = Vec::new();
        let mut after = [0; 16];
        loop {
            let page = conn.sealed_of_term(Kind::RefreshToken, (1, after), 2).await.unwrap();
            let Some(last) = page.last() else { break };
            after = last.id;
            seen.extend(page);
        }
        assert_eq!(seen.len(), 5);
        for (cell, grant) in seen.iter().zip(&all) {
            assert_eq!((cell.id, cell.owner), (grant.id.bytes(), grant.account.bytes()));
            assert_eq!((cell.generation, Some(&cell.sealed)), (grant.generation, grant.refresh_token.as_ref()));
        }
        assert_eq!(conn.strays(Kind::RefreshToken, (1, 2)).await.unwrap().len(), 0);
        assert_eq!(conn.strays(Kind::RefreshToken, (2, 2)).await.unwrap().len(), 5);
        assert_eq!(conn.strays(Kind::RefreshToken, (1, 1)).await.unwrap(), [all[5].id.bytes()]);
    }

    async fn a_value_is_replaced_only_if_it_still_is_the_one_that_was_read(home) {
        let store = home.open().await;
        let all = grants(&store, 70).await;
        let bytes = |sealed: &Sealed| sealed.as_bytes().to_vec();
        let mut swaps: Vec<Swap> = all[..70].iter().map(|grant| Swap {
            id: grant.id.bytes(),
            old: bytes(grant.refresh_token.as_ref().unwrap()),
            new: bytes(&value(2, &format!("moved {}", grant.generation))),
        }).collect();
        // Two were written meanwhile, by a refresh.
        swaps[3].old = bytes(&value(1, "older"));
        swaps[40].old = Vec::new();
        let swapped = store
            .write(move |tx| Box::pin(async move { tx.swap(Kind::RefreshToken, &swaps).await }))
            .await;
        assert_eq!(swapped, Ok(68));
        assert_eq!((count(&store, 1).await, count(&store, 2).await), (2, 69));
        let now = store.read().await.unwrap().grants(all[0].account).await.unwrap();
        let of = |generation: i64| now.iter().find(|it| it.generation == generation).unwrap();
        assert_eq!(of(4), &all[3], "left as it is");
        assert_eq!(of(5).refresh_token, Some(value(2, "moved 5")));
    }

    async fn a_broker_is_seen_as_it_said_and_forgotten_when_it_goes_or_is_silent(home) {
        let store = home.open().await;
        let stored = replica("a/1");
        for it in ["a/1", "a/2", "ab/1"].map(replica) {
            store.write(move |tx| Box::pin(async move { tx.see_replica(&it).await })).await.unwrap();
        }
        let read = async || store.read().await.unwrap().replicas().await.unwrap();
        let first = read().await.remove(0);
        assert!(first.silent < Duration::from_secs(60) && first.seen_at > Time::from_millis(0));
        let settled = first.settled;
        assert_eq!(Replica { seen_at: NOW, silent: Duration::ZERO, settled: Duration::ZERO, ..first }, stored);
        store.write(|tx| Box::pin(async { tx.see_replica(&replica("a/1")).await })).await.unwrap();
        assert!(read().await[0].settled >= settled, "the same term: it goes on");
        store.write(|tx| Box::pin(tx.follow_replica("a/", "a/2"))).await.unwrap();
        let names: Vec<String> = read().await.into_iter().map(|it| it.name).collect();
        assert_eq!(names, ["a/2", "ab/1"], "whoever had the name before is no more");
        store.write(|tx| Box::pin(tx.forget_replica("a/2"))).await.unwrap();
        assert_eq!(store.write(|tx| Box::pin(tx.forget_replicas(Duration::from_secs(60)))).await, Ok(0));
        assert_eq!(read().await.len(), 1);
    }

    async fn a_reseal_has_one_worker_and_a_step_of_another_counts_nothing(home) {
        let store = home.open().await;
        const LEASE: Duration = Duration::from_secs(60);
        store.write(|tx| Box::pin(tx.begin_reseal(2, NOW, 10))).await.unwrap();
        assert_eq!(store.write(|tx| Box::pin(tx.take_reseal("a/1", LEASE))).await, Ok(true));
        let step = async |who: &'static str, term: u32| {
            store.write(move |tx| Box::pin(tx.step_reseal((who, term), 4, LEASE))).await.unwrap()
        };
        assert!(step("a/1", 2).await);
        assert!(!step("b/1", 2).await && !step("a/1", 3).await);
        let now = store.read().await.unwrap().reseal().await.unwrap().unwrap();
        assert_eq!((now.owner.as_str(), now.done, now.total, now.ended_at), ("a/1", 4, 10, None));
        assert!(now.left > Duration::ZERO);
        let refused = ("accounts".to_owned(), "mac".to_owned(), "0f".to_owned());
        let rows = vec![refused.clone()];
        let end = store.write(move |tx| Box::pin(async move { tx.end_reseal("a/1", at(9), (1, &rows)).await }));
        assert_eq!(end.await, Ok(true));
        assert!(!step("a/1", 2).await, "it has ended");
        let now = store.read().await.unwrap().reseal().await.unwrap().unwrap();
        assert_eq!((now.ended_at, now.refused, now.refused_rows), (Some(at(9)), 1, vec![refused]));
        store.write(|tx| Box::pin(tx.begin_reseal(3, at(10), 5))).await.unwrap();
        let next = store.read().await.unwrap().reseal().await.unwrap().unwrap();
        assert_eq!((next.term, next.done, next.refused, next.ended_at), (3, 0, 0, None));
    }
}
