//! The audit chain: no gaps, and a hand in the table shows.

use super::engines::each_engine;
use super::samples::*;
use crate::store::engine::run;
use crate::store::{Error, PageRequest, Store, first_break};

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

    async fn the_newest_records_come_first_in_pages(home) {
        let store = home.open().await;
        for account in ["ann", "bob", "ann", "bob", "ann"] {
            record(&store, account).await;
        }
        for (account, expected) in [(None, vec![5, 4, 3, 2, 1]), (Some("ann"), vec![5, 3, 1])] {
            let (mut seen, mut token) = (Vec::new(), String::new());
            loop {
                let page = PageRequest::new(2, &token).unwrap();
                let page = store.read().await.unwrap().audit(&project(), account, &page).await.unwrap();
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
