//! The audit chain: no gaps, and a hand in the table shows.

use super::engines::each_engine;
use super::samples::*;
use crate::clock::Time;
use crate::domain::event::{Event, Record, What};
use crate::store::engine::run;
use crate::store::{AuditFilter, Error, OWN_CHAIN, PageRequest, Store, first_break};

async fn record(store: &Store, account: &'static str) -> i64 {
    let append =
        store.write(move |tx| Box::pin(async move { tx.append_audit(event(account)).await }));
    append.await.unwrap().sequence
}

each_engine! {
    async fn records_are_numbered_without_gaps_though_jobs_fail(home) {
        let store = home.open().await;
        let failing = store.write(|tx| Box::pin(async move {
            tx.append_audit(event("lost")).await?;
            tx.insert_project(&project(), NOW).await
        }));
        let (first, failed, second) = tokio::join!(record(&store, "ann"), failing, record(&store, "bob"));
        assert!(failed.is_err());
        assert_eq!((first, second), (1, 2));
        let mut conn = store.read().await.unwrap();
        let records = conn.audit_after("", 0).await.unwrap();
        assert_eq!(records[0].event, event("ann"));
        assert_eq!(records[1].event, event("bob"));
        assert_eq!(first_break((0, &[]), &records), None);
        assert_eq!(conn.audit_head("").await, Ok((2, records[1].hash.clone())));
    }

    async fn a_changed_or_missing_record_breaks_the_chain(home) {
        let store = home.open().await;
        for account in ["ann", "bob", "cid"] {
            record(&store, account).await;
        }
        let whole = store.read().await.unwrap().audit_after("", 0).await.unwrap();
        assert_eq!(first_break((0, &[]), &[whole[0].clone(), whole[2].clone()]), Some(2));
        assert_eq!(first_break((1, &whole[0].hash), &whole[1..]), None);
        store.write(|tx| Box::pin(async move { run!(tx, "update audit set granted = 0 where sequence = 2") }))
            .await.unwrap();
        let touched = store.read().await.unwrap().audit_after("", 0).await.unwrap();
        assert_eq!(first_break((0, &[]), &touched), Some(2));
    }

    async fn without_its_head_or_epoch_nothing_is_handed_out(home) {
        let store = home.open().await;
        store.write(|tx| Box::pin(async move {
            run!(tx, "delete from audit_head")?;
            run!(tx, "delete from rights_epoch")
        })).await.unwrap();
        let unheard = store.write(|tx| Box::pin(async move { tx.append_audit(event("ann")).await })).await;
        assert!(matches!(unheard, Err(Error::Corrupt { table: "audit_head", .. })), "{unheard:?}");
        let app = guard(&app("shop"));
        let unseen = store.write(move |tx| Box::pin(async move { tx.insert_app(&app).await })).await;
        assert!(matches!(unseen, Err(Error::Corrupt { table: "rights_epoch", .. })), "{unseen:?}");
    }

    async fn pages_go_over_all_chains_by_time(home) {
        let store = home.open().await;
        record(&store, "ann").await;
        store.decide(decision("bob", &[])).await.unwrap();
        record(&store, "ann").await;
        let mut earlier = decision("cid", &[]);
        earlier.event.at = at(-5);
        store.decide(earlier).await.unwrap();
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let page = PageRequest::new(1, &token).unwrap();
            let page = store.read().await.unwrap().audit(&project(), &AuditFilter::default(), &page).await.unwrap();
            seen.extend(page.items.into_iter().map(|record| (record.chain, record.sequence)));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        let of = |chain: &str, sequence| (chain.to_owned(), sequence);
        assert_eq!(seen, [of(OWN_CHAIN, 1), of("", 2), of("", 1), of(OWN_CHAIN, 2)]);
    }

    async fn a_record_that_was_moved_to_another_chain_breaks_it(home) {
        let store = home.open().await;
        for _ in 0..3 {
            store.decide(decision("ann", &[])).await.unwrap();
        }
        store.write(|tx| Box::pin(async move {
            run!(tx, "update audit set chain = 'other' where sequence <= 2")
        })).await.unwrap();
        let moved = store.read().await.unwrap().audit_after("other", 0).await.unwrap();
        assert_eq!((moved.len(), first_break((0, &[]), &moved)), (2, Some(1)));
        let left = store.read().await.unwrap().audit_after(OWN_CHAIN, 0).await.unwrap();
        assert_eq!(first_break((0, &[]), &left), Some(1));
    }

    async fn the_newest_records_come_first_in_pages(home) {
        let store = home.open().await;
        for account in ["ann", "bob", "ann", "bob", "ann"] {
            record(&store, account).await;
        }
        let about = |account: &str| AuditFilter { account: Some(account.into()), ..AuditFilter::default() };
        for (filter, expected) in [(AuditFilter::default(), vec![5, 4, 3, 2, 1]), (about("ann"), vec![5, 3, 1])] {
            let (mut seen, mut token) = (Vec::new(), String::new());
            loop {
                let page = PageRequest::new(2, &token).unwrap();
                let page = store.read().await.unwrap().audit(&project(), &filter, &page).await.unwrap();
                seen.extend(page.items.iter().map(|record| record.sequence));
                token = page.next_page_token;
                if token.is_empty() {
                    break;
                }
            }
            assert_eq!(seen, expected);
        }
    }
}

#[test]
fn a_record_of_the_first_schema_still_verifies() {
    let hash = "c2ada8084b97eb3de4eac009061a14e9ba5786c29967765a564ea2f96b89f9ef";
    let record = Record {
        chain: String::new(),
        sequence: 1,
        event: Event {
            at: Time::from_millis(1_795_710_983_928),
            what: What::CallerCreated,
            project: "default".into(),
            actor: "init".into(),
            account: String::new(),
            subject: "callers/admin".into(),
            granted: true,
            reason: 0,
            address: String::new(),
            detail: String::new(),
        },
        hash: data_encoding::HEXLOWER.decode(hash.as_bytes()).unwrap(),
    };
    assert_eq!(first_break((0, &[]), std::slice::from_ref(&record)), None);
    let renamed = Record { chain: "broker".into(), ..record };
    assert_eq!(first_break((0, &[]), &[renamed]), Some(1));
}

#[tokio::test]
async fn two_brokers_on_one_server_write_one_chain() {
    let Some(home) = super::engines::Home::postgres().await else { return };
    let (one, two) = (home.open().await, home.open().await);
    for _ in 0..20 {
        tokio::join!(
            record(&one, "ann"),
            record(&two, "bob"),
            record(&one, "cid"),
            record(&two, "dan")
        );
    }
    let records = two.read().await.unwrap().audit_after("", 0).await.unwrap();
    assert_eq!(records.len(), 80);
    assert_eq!(first_break((0, &[]), &records), None);
}
