//! The audit chain: no gaps, and a hand in the table shows.

use super::engines::each_engine;
use super::samples::*;
use crate::store::engine::run;
use crate::store::{PageRequest, Store, first_break};

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
        let records = conn.audit_after(0).await.unwrap();
        assert_eq!(records[0].event, event("ann"));
        assert_eq!(records[1].event, event("bob"));
        assert_eq!(first_break((0, &[]), &records), None);
        assert_eq!(conn.audit_head().await, Ok((2, records[1].hash.clone())));
    }

    async fn a_changed_or_missing_record_breaks_the_chain(home) {
        let store = home.open().await;
        for account in ["ann", "bob", "cid"] {
            record(&store, account).await;
        }
        let whole = store.read().await.unwrap().audit_after(0).await.unwrap();
        assert_eq!(first_break((0, &[]), &[whole[0].clone(), whole[2].clone()]), Some(2));
        assert_eq!(first_break((1, &whole[0].hash), &whole[1..]), None);
        store.write(|tx| Box::pin(async move { run!(tx, "update audit set granted = 0 where sequence = 2") }))
            .await.unwrap();
        let touched = store.read().await.unwrap().audit_after(0).await.unwrap();
        assert_eq!(first_break((0, &[]), &touched), Some(2));
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
