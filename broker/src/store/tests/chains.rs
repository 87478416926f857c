//! The audit's chains from end to end: hands in the table are found, and what retention removes is accounted for.

use super::engines::each_engine;
use super::samples::*;
use crate::domain::chain::{Entry, Flaw, Point, Walk};
use crate::domain::event::What;
use crate::store::engine::run;
use crate::store::{AuditFilter, EventFilter, OWN_CHAIN, PageRequest, Pruned, Store};

/// `count` decisions, a second apart.
async fn decide(store: &Store, count: i64) {
    for number in 0..count {
        let mut one = decision("ann", &[]);
        one.event.at = at(number * 1000);
        store.decide(one).await.unwrap();
    }
}

/// What is wrong with the chain of decisions.
async fn fault(store: &Store) -> Option<(i64, Flaw)> {
    let mut conn = store.read().await.unwrap();
    let span =
        conn.audit_spans().await.unwrap().into_iter().find(|it| it.chain == OWN_CHAIN).unwrap();
    let page = conn.audit_entries(OWN_CHAIN, span.floor.sequence).await.unwrap();
    let mut walk = Walk::from(OWN_CHAIN, span.floor);
    let fault = walk.take(&page).or_else(|| walk.end(span.head.as_ref()));
    fault.map(|fault| (fault.sequence, fault.flaw))
}

macro_rules! by_hand {
    ($store:expr, $($sql:literal),+) => {
        $store.write(|tx| Box::pin(async move { $(run!(tx, $sql)?;)+ Ok(()) })).await.unwrap()
    };
}

each_engine! {
    async fn each_kind_of_hand_in_the_table_is_found_at_its_record(home) {
        let store = home.open().await;
        decide(&store, 9).await;
        assert_eq!(fault(&store).await, None);
        by_hand!(store, "update audit set account = 'eve' where chain = 'broker' and sequence = 4");
        assert_eq!(fault(&store).await, Some((4, Flaw::Edited)));
        by_hand!(store, "update audit set what = 'unheard' where chain = 'broker' and sequence = 3");
        assert_eq!(fault(&store).await, Some((3, Flaw::Edited)), "also what cannot be read");
        by_hand!(store, "delete from audit where chain = 'broker' and sequence = 2");
        assert_eq!(fault(&store).await, Some((2, Flaw::Missing)));
    }

    async fn records_that_changed_places_are_found(home) {
        let store = home.open().await;
        decide(&store, 9).await;
        by_hand!(store,
            "update audit set sequence = 100 where chain = 'broker' and sequence = 4",
            "update audit set sequence = 4 where chain = 'broker' and sequence = 6",
            "update audit set sequence = 6 where chain = 'broker' and sequence = 100");
        assert_eq!(fault(&store).await, Some((4, Flaw::Reordered)));
    }

    async fn a_cut_end_shows_against_the_head_and_a_lost_head_too(home) {
        let store = home.open().await;
        decide(&store, 9).await;
        by_hand!(store, "delete from audit where chain = 'broker' and sequence > 7");
        assert_eq!(fault(&store).await, Some((8, Flaw::Truncated)));
        by_hand!(store, "update audit_chains set sequence = 6 where chain = 'broker'");
        assert_eq!(fault(&store).await, Some((7, Flaw::Head)));
        by_hand!(store, "delete from audit_chains where chain = 'broker'");
        assert_eq!(fault(&store).await, Some((7, Flaw::Head)));
    }

    async fn what_is_old_goes_and_the_chain_is_proved_from_where_it_begins_then(home) {
        let store = home.open().await;
        decide(&store, 9).await;
        let prune = async |chain: &'static str, before, now| {
            let job = store.write(move |tx| Box::pin(async move { tx.prune_audit(chain, before, now).await }));
            job.await.unwrap()
        };
        assert_eq!(prune(OWN_CHAIN, at(0), at(20_000)).await, Pruned::Nothing);
        assert_eq!(prune(OWN_CHAIN, at(4000), at(20_000)).await, Pruned::Removed(4));
        assert_eq!(fault(&store).await, None);
        let mut conn = store.read().await.unwrap();
        let spans = conn.audit_spans().await.unwrap();
        assert_eq!(spans[1].floor.sequence, 4);
        assert_eq!(conn.audit_entries(OWN_CHAIN, 0).await.unwrap()[0].sequence, 5);
        assert_eq!(conn.floors_told().await.unwrap(), Ok(()));
        let told: Entry = conn.audit_entries("", 0).await.unwrap().pop().unwrap();
        assert_eq!((told.what.as_str(), told.subject.as_str()), ("audit.pruned", "chains/broker"));
        drop(conn);
        assert_eq!(prune(OWN_CHAIN, at(60_000), at(30_000)).await, Pruned::Removed(5));
        assert_eq!(fault(&store).await, None, "also if nothing is left");
        assert_eq!(prune("", at(25_000), at(40_000)).await, Pruned::Removed(1), "that of changes too");
        assert_eq!(store.read().await.unwrap().floors_told().await.unwrap(), Ok(()));
        decide(&store, 3).await;
        assert_eq!(fault(&store).await, None, "and it goes on");
    }

    async fn a_floor_that_no_record_tells_of_is_found_and_a_broken_chain_is_not_pruned(home) {
        let store = home.open().await;
        decide(&store, 9).await;
        by_hand!(store,
            "insert into audit_floors select chain, sequence, hash from audit where chain = 'broker' and sequence = 3",
            "delete from audit where chain = 'broker' and sequence <= 3");
        assert_eq!(fault(&store).await, None, "the chain itself is whole from there on");
        let mut conn = store.read().await.unwrap();
        assert!(conn.floors_told().await.unwrap().is_err());
        drop(conn);
        by_hand!(store, "update audit set account = 'eve' where chain = 'broker' and sequence = 5");
        let job = store.write(|tx| Box::pin(async move { tx.prune_audit("broker", at(60_000), at(70_000)).await }));
        let Pruned::Broken(fault) = job.await.unwrap() else { panic!("it was pruned") };
        assert_eq!((fault.sequence, fault.flaw), (5, Flaw::Edited));
        assert_eq!(store.read().await.unwrap().audit_entries("broker", 0).await.unwrap().len(), 6);
    }

    async fn a_filter_gives_what_it_asks_for_and_nothing_else(home) {
        let store = home.open().await;
        for (account, what, granted, reason, later) in [
            ("ann", What::Token, true, 0, 0),
            ("ann", What::Token, false, 7, 1),
            ("bob", What::CredentialCreated, true, 0, 2),
            ("bob", What::CredentialRevoked, true, 0, 3),
        ] {
            let mut event = event(account);
            (event.what, event.granted, event.reason, event.at) = (what, granted, reason, at(later));
            (event.actor, event.subject) = (format!("by-{account}"), format!("on-{account}"));
            store.write(|tx| Box::pin(async move { tx.append_audit(event).await })).await.unwrap();
        }
        let all = AuditFilter::default;
        for (filter, expected) in [
            (all(), vec![4, 3, 2, 1]),
            (AuditFilter { what: Some(EventFilter::Is(What::Token)), ..all() }, vec![2, 1]),
            (AuditFilter { what: Some(EventFilter::Begins("credential.".into())), ..all() }, vec![4, 3]),
            (AuditFilter { actor: Some("by-bob".into()), ..all() }, vec![4, 3]),
            (AuditFilter { subject: Some("on-ann".into()), ..all() }, vec![2, 1]),
            (AuditFilter { granted: Some(false), ..all() }, vec![2]),
            (AuditFilter { granted: Some(true), account: Some("ann".into()), ..all() }, vec![1]),
            (AuditFilter { reason: Some(7), ..all() }, vec![2]),
            (AuditFilter { from: Some(at(2)), ..all() }, vec![4, 3]),
            (AuditFilter { until: Some(at(2)), ..all() }, vec![2, 1]),
            (AuditFilter { from: Some(at(1)), until: Some(at(3)), ..all() }, vec![3, 2]),
        ] {
            let (mut seen, mut token) = (Vec::new(), String::new());
            loop {
                let page = PageRequest::new(1, &token).unwrap();
                let page = store.read().await.unwrap().audit(&project(), &filter, &page).await.unwrap();
                seen.extend(page.items.iter().map(|record| record.sequence));
                token = page.next_page_token;
                if token.is_empty() {
                    break;
                }
            }
            assert_eq!(seen, expected, "{filter:?}");
        }
    }

    async fn an_empty_chain_begins_and_ends_nowhere(home) {
        let store = home.open().await;
        let spans = store.read().await.unwrap().audit_spans().await.unwrap();
        assert_eq!((spans.len(), &spans[0].floor), (1, &Point::default()));
        assert_eq!(Walk::from("", Point::default()).end(spans[0].head.as_ref()), None);
    }
}
