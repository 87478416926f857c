//! A group of decisions in one stroke: all of it, or nothing.

use std::time::Duration;

use super::engines::{Home, each_engine};
use super::samples::{account, app, caller, credential, decision, session};
use crate::domain::session::MailSession;
use crate::store::audit::chained;
use crate::store::engine::Conn;
use crate::store::pending::Head;
use crate::store::sqlite::Opened;
use crate::store::stroke::{Place, STROKE};
use crate::store::{OWN_CHAIN, Settings, Store, postgres, sqlite};
use crate::tasks::Tasks;

/// A chain with one record, left by a broker that has ended, and where it ends.
async fn left_behind(home: &Home) -> Head {
    let tasks = Tasks::new();
    let store = Store::open(&home.settings, &tasks).await.unwrap();
    store.decide(decision("first", &[])).await.unwrap();
    let (sequence, hash) = store.read().await.unwrap().audit_head(OWN_CHAIN).await.unwrap();
    drop(store);
    assert!(tasks.drain(Duration::from_secs(20)).await);
    Head { sequence, hash }
}

/// Sessions that were just opened, by nobody in particular.
fn new_sessions(count: usize) -> Vec<MailSession> {
    let (caller, account) = (caller("door"), account(&app("shop"), "ann"));
    let credential = credential(&account, "abc");
    let new = |_| MailSession {
        upstream: String::new(),
        bytes_up: 0,
        bytes_down: 0,
        ..session(&caller, &credential)
    };
    (0..count).map(new).collect()
}

fn refs(sessions: &[MailSession]) -> Vec<&MailSession> {
    sessions.iter().collect()
}

async fn desk(home: &Home) -> (Conn, Opened) {
    let opened = match &home.settings {
        Settings::Sqlite { path } => sqlite::open(path).await,
        Settings::Postgres { url, max_connections } => postgres::open(url, *max_connections).await,
    };
    let opened = opened.unwrap();
    (opened.writer.acquire().await.unwrap(), opened)
}

each_engine! {
    async fn a_stroke_of_any_size_writes_all_of_it(home) {
        let mut head = left_behind(&home).await;
        let (mut conn, _opened) = desk(&home).await;
        let epoch = conn.rights_epoch().await.unwrap();
        let mut before = head.sequence;
        for size in [1, 2, 5, 64, 65, 300, STROKE] {
            let all: Vec<_> =
                (0..size).map(|it| decision(&format!("ann-{it}"), &[]).event).collect();
            let records = chained(OWN_CHAIN, &head, &all.iter().collect::<Vec<_>>());
            let place = Place { chain: OWN_CHAIN, from: &head, epoch };
            let sessions = new_sessions(size - size / 3);
            let written = conn.record_in_one_stroke(place, &records, &refs(&sessions)).await;
            assert_eq!(written, Ok(true), "{size}");
            head = records.last().unwrap().end.clone();
            let end = conn.audit_head(OWN_CHAIN).await.unwrap();
            assert_eq!(end, (head.sequence, head.hash.clone()));
            let read = conn.audit_after(OWN_CHAIN, before).await.unwrap();
            let read: Vec<_> = read.into_iter().map(|record| record.event).collect();
            assert_eq!(read, all);
            for session in sessions {
                assert_eq!(conn.mail_session(session.id).await, Ok(Some(session)));
            }
            before = head.sequence;
        }
    }

    async fn a_stroke_by_another_epoch_or_at_another_end_writes_nothing(home) {
        let head = left_behind(&home).await;
        let (mut conn, _opened) = desk(&home).await;
        let epoch = conn.rights_epoch().await.unwrap();
        let elsewhere = Head { sequence: head.sequence + 1, hash: vec![1; 32] };
        let event = decision("ann", &[]).event;
        let sessions = new_sessions(2);
        for (from, epoch) in [(&head, epoch - 1), (&head, epoch + 1), (&elsewhere, epoch)] {
            let records = chained(OWN_CHAIN, from, &[&event, &event, &event]);
            let place = Place { chain: OWN_CHAIN, from, epoch };
            for sessions in [&[][..], &refs(&sessions)] {
                let written = conn.record_in_one_stroke(place, &records, sessions).await;
                assert_eq!(written, Ok(false));
            }
        }
        for session in &sessions {
            assert_eq!(conn.mail_session(session.id).await, Ok(None));
        }
        let end = conn.audit_head(OWN_CHAIN).await.unwrap();
        assert_eq!(end, (head.sequence, head.hash.clone()));
        assert_eq!(conn.audit_after(OWN_CHAIN, head.sequence).await, Ok(Vec::new()));
        let records = chained(OWN_CHAIN, &head, &[&event]);
        let place = Place { chain: OWN_CHAIN, from: &head, epoch };
        let written = conn.record_in_one_stroke(place, &records, &refs(&sessions[..1])).await;
        assert_eq!(written, Ok(true), "and goes on");
    }
}
