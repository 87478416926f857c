//! Consents: each step once.

use super::engines::each_engine;
use super::samples::*;
use crate::domain::consent::{Consent, ConsentState};
use crate::store::{Error, PageRequest, Store};

async fn start(store: &Store, consent: &Consent) {
    let consent = consent.clone();
    let started =
        store.write(move |tx| Box::pin(async move { tx.insert_consent(&consent).await })).await;
    started.unwrap();
}

async fn claim(store: &Store, state: &'static [u8], millis: i64) -> Option<Consent> {
    let claim =
        store.write(move |tx| Box::pin(async move { tx.claim_consent(state, at(millis)).await }));
    claim.await.unwrap()
}

each_engine! {
    async fn a_consent_comes_back_as_it_was_stored(home) {
        let store = home.open().await;
        let (app, account) = settled(&store).await;
        let consent = Consent { account: Some(account.id), ..consent(&app, "one") };
        start(&store, &consent).await;
        let mut conn = store.read().await.unwrap();
        let found = Ok(Some(consent.clone()));
        assert_eq!(conn.consent(consent.id).await, found);
        assert_eq!(conn.consent_by_name(&project(), &consent.name).await, found);
        assert_eq!(conn.consent_by_ticket(&consent.ticket_hash).await, found);
        assert_eq!(conn.consent_by_state(&consent.state_hash).await, found);
    }

    async fn an_empty_hash_finds_nothing(home) {
        let store = home.open().await;
        let (app, _) = settled(&store).await;
        for called in ["one", "two"] {
            let bare = Consent { ticket_hash: vec![], state_hash: vec![], ..consent(&app, called) };
            start(&store, &bare).await;
        }
        let mut conn = store.read().await.unwrap();
        assert_eq!(conn.consent_by_ticket(&[]).await, Ok(None));
        assert_eq!(conn.consent_by_state(&[]).await, Ok(None));
        assert_eq!(claim(&store, b"", 0).await, None);
    }

    async fn of_two_callbacks_with_one_state_one_finds_nothing(home) {
        let store = home.open().await;
        let (app, _) = settled(&store).await;
        let consent = consent(&app, "one");
        start(&store, &consent).await;
        let (first, second) = tokio::join!(claim(&store, b"state one", 0), claim(&store, b"state one", 0));
        let claimed = Consent { state: ConsentState::Claimed, ..consent };
        assert_eq!((first, second), (Some(claimed), None));
    }

    async fn a_consent_that_ended_cannot_be_claimed(home) {
        let store = home.open().await;
        let (app, _) = settled(&store).await;
        start(&store, &consent(&app, "one")).await;
        assert_eq!(claim(&store, b"state one", 600_000).await, None);
        assert!(claim(&store, b"state one", 599_999).await.is_some());
    }

    async fn a_step_names_the_one_before_it(home) {
        let store = home.open().await;
        let (app, account) = settled(&store).await;
        let consent = consent(&app, "one");
        start(&store, &consent).await;
        let next = Consent {
            account: Some(account.id),
            state: ConsentState::Pending,
            redirect_uri: "https://broker.example/other".into(),
            ticket_hash: vec![11],
            state_hash: vec![12],
            cookie_hash: vec![13],
            finish_hash: vec![14],
            verifier: None,
            nonce: None,
            answer: None,
            failure: "other".into(),
            expires_at: at(700_000),
            ..consent
        };
        for expected in [Ok(()), Err(Error::Stale { what: "consents" })] {
            let next = next.clone();
            let moved = store.write(move |tx| Box::pin(async move {
                tx.move_consent(&next, ConsentState::Open).await
            })).await;
            assert_eq!(moved, expected);
        }
        assert_eq!(store.read().await.unwrap().consent(next.id).await, Ok(Some(next)));
    }

    async fn only_consents_that_wait_are_listed_and_old_ones_forgotten(home) {
        let store = home.open().await;
        let (app, _) = settled(&store).await;
        for (called, state) in [("a", ConsentState::Open), ("b", ConsentState::Failed), ("c", ConsentState::Pending)] {
            start(&store, &Consent { state, ..consent(&app, called) }).await;
        }
        for (now, expected) in [(at(0), vec!["a", "c"]), (at(600_000), vec![])] {
            let mut conn = store.read().await.unwrap();
            let page = conn.open_consents(&project(), now, &PageRequest::first()).await.unwrap();
            let names: Vec<_> = page.items.iter().map(|one| one.name.as_str()).collect();
            assert_eq!(names, expected);
        }
        let forgotten = store.write(|tx| Box::pin(async move { tx.forget_consents(at(700_000)).await }));
        assert_eq!(forgotten.await, Ok(3));
    }

    async fn a_consent_outlives_its_account(home) {
        let store = home.open().await;
        let (app, account) = settled(&store).await;
        let consent = Consent { account: Some(account.id), ..consent(&app, "one") };
        start(&store, &consent).await;
        store.write(move |tx| Box::pin(async move { tx.delete_account(account.id, 1).await })).await.unwrap();
        let read = store.read().await.unwrap().consent(consent.id).await;
        assert_eq!(read, Ok(Some(Consent { account: None, ..consent })));
    }
}
