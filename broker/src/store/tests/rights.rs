//! Credentials, callers, keys, sessions, and the epoch that every change of rights raises.

use super::engines::each_engine;
use super::samples::*;
use crate::domain::caller::{Caller, CallerKey, Role};
use crate::domain::credential::Credential;
use crate::domain::ids::CallerId;
use crate::domain::session::MailSession;
use crate::store::{Change, Changed, Error, PageRequest, SessionReport, Store};

async fn epoch(store: &Store) -> i64 {
    store.read().await.unwrap().rights_epoch().await.unwrap()
}

/// An account's credential and an adapter, stored.
async fn furnished(store: &Store) -> (Credential, Caller) {
    let (_, account) = settled(store).await;
    let (credential, caller) = (credential(&account, "abc"), caller("adapter"));
    let (first, second) = (guard(&credential), guard(&caller));
    let stored = store.write(move |tx| {
        Box::pin(async move {
            tx.insert_credential(&first).await?;
            tx.insert_caller(&second).await
        })
    });
    stored.await.unwrap();
    (credential, caller)
}

each_engine! {
    async fn a_credential_comes_back_as_it_was_stored(home) {
        let store = home.open().await;
        let (credential, _) = furnished(&store).await;
        let mut conn = store.read().await.unwrap();
        let read = conn.credential(credential.id).await.unwrap().unwrap();
        assert_eq!((read.unchecked(), read.mac()), (&credential, [7; 32].as_slice()));
        let keyed = conn.credential_by_key("abc").await.unwrap().unwrap();
        assert_eq!(keyed.unchecked(), &credential);
        let first = PageRequest::first();
        let of_account = conn.credentials_of(credential.account, &first).await.unwrap();
        let of_project = conn.credentials(&project(), &first).await.unwrap();
        assert_eq!((of_account.items.len(), of_project.items.len()), (1, 1));
        assert_eq!(of_project.items[0].unchecked(), &credential);
    }

    async fn a_change_of_a_credential_names_its_version_and_raises_the_epoch(home) {
        let store = home.open().await;
        let (before, _) = furnished(&store).await;
        let after = Credential {
            description: "other".into(),
            protocols: vec![],
            ip_ranges: vec![],
            expires_at: None,
            revoked_at: None,
            secret_hash: vec![1],
            successor: String::new(),
            version: 2,
            ..before
        };
        let old = epoch(&store).await;
        for expected in [Ok(()), Err(Error::Stale { what: "credentials" })] {
            let change = guard(&after);
            let done = store.write(move |tx| Box::pin(async move { tx.update_credential(&change).await })).await;
            assert_eq!(done, expected);
        }
        assert_eq!(epoch(&store).await, old + 1, "raised by the change, not by the one that failed");
        let read = store.read().await.unwrap().credential(after.id).await.unwrap().unwrap();
        assert_eq!(read.unchecked(), &after);
    }

    async fn the_last_use_is_noted_without_raising_the_epoch(home) {
        let store = home.open().await;
        let (credential, caller) = furnished(&store).await;
        let key = caller_key(&caller, "k1");
        let (guarded, id, key_id) = (guard(&key), credential.id, key.id);
        store.write(move |tx| Box::pin(async move { tx.insert_caller_key(&guarded).await })).await.unwrap();
        let old = epoch(&store).await;
        store.write(move |tx| Box::pin(async move {
            tx.touch_credential(id, at(88), "192.0.2.1").await?;
            tx.touch_caller_key(key_id, at(89)).await
        })).await.unwrap();
        let mut conn = store.read().await.unwrap();
        let used = Credential { last_used_at: Some(at(88)), last_used_from: "192.0.2.1".into(), ..credential };
        assert_eq!(conn.credential(id).await.unwrap().unwrap().unchecked(), &used);
        let called = conn.caller_key("k1").await.unwrap().unwrap();
        assert_eq!(called.unchecked(), &CallerKey { last_used_at: Some(at(89)), ..key });
        assert_eq!(conn.rights_epoch().await, Ok(old));
    }

    async fn a_caller_and_its_keys_come_back_as_they_were_stored(home) {
        let store = home.open().await;
        let (_, caller) = furnished(&store).await;
        let key = caller_key(&caller, "k1");
        let guarded = guard(&key);
        store.write(move |tx| Box::pin(async move { tx.insert_caller_key(&guarded).await })).await.unwrap();
        let mut conn = store.read().await.unwrap();
        let read = conn.caller(caller.id).await.unwrap().unwrap();
        assert_eq!((read.unchecked(), read.mac()), (&caller, [7; 32].as_slice()));
        let named = conn.caller_by_name(&project(), &caller.name).await.unwrap().unwrap();
        assert_eq!(named.unchecked(), &caller);
        assert_eq!(conn.callers(&project(), &PageRequest::first()).await.unwrap().items.len(), 1);
        let keys = conn.caller_keys(caller.id).await.unwrap();
        assert_eq!((keys[0].unchecked(), keys[0].mac()), (&key, [7; 32].as_slice()));
        assert_eq!(conn.caller_key("k1").await.unwrap().unwrap().unchecked(), &key);
    }

    async fn a_change_of_a_caller_names_its_version_and_raises_the_epoch(home) {
        let store = home.open().await;
        let (_, before) = furnished(&store).await;
        let after = Caller {
            display_name: "other".into(),
            role: Role::Adapter,
            rights: vec![],
            protocols: vec![],
            ip_ranges: vec![],
            identities: vec![],
            min_interval: std::time::Duration::ZERO,
            revoked_at: None,
            version: 2,
            ..before
        };
        let old = epoch(&store).await;
        for expected in [Ok(()), Err(Error::Stale { what: "callers" })] {
            let change = guard(&after);
            let done = store.write(move |tx| Box::pin(async move { tx.update_caller(&change).await })).await;
            assert_eq!(done, expected);
        }
        assert_eq!(epoch(&store).await, old + 1);
        let read = store.read().await.unwrap().caller(after.id).await.unwrap().unwrap();
        assert_eq!(read.unchecked(), &after);
    }

    async fn a_caller_is_found_by_what_it_may_show_until_it_is_revoked(home) {
        let store = home.open().await;
        let live = Caller { revoked_at: None, ..caller("live") };
        let row = guard(&live);
        store.write(move |tx| Box::pin(async move { tx.insert_caller(&row).await })).await.unwrap();
        let lookups: Vec<String> = live.identities.iter().map(|it| it.lookup()).collect();
        let found = async |lookups: &[String]| {
            store.read().await.unwrap().callers_known_by(lookups).await.unwrap()
        };
        for lookup in &lookups {
            assert_eq!(found(std::slice::from_ref(lookup)).await[0].unchecked(), &live, "{lookup}");
        }
        assert_eq!(found(&lookups).await.len(), 1, "once, however it is found");
        assert!(found(&["dns\nelsewhere.test".to_owned()]).await.is_empty());
        let fewer = Caller { identities: live.identities[..1].to_vec(), version: 2, ..live.clone() };
        let row = guard(&fewer);
        store.write(move |tx| Box::pin(async move { tx.update_caller(&row).await })).await.unwrap();
        assert_eq!(found(&lookups[..1]).await.len(), 1);
        assert!(found(&lookups[1..]).await.is_empty(), "what was taken away leads nowhere");
        let row = guard(&Caller { revoked_at: Some(at(9)), version: 3, ..fewer });
        store.write(move |tx| Box::pin(async move { tx.update_caller(&row).await })).await.unwrap();
        assert!(found(&lookups).await.is_empty());
    }

    async fn a_revoked_key_stays_revoked(home) {
        let store = home.open().await;
        let (_, caller) = furnished(&store).await;
        let key = caller_key(&caller, "k1");
        let revoked = CallerKey { revoked_at: Some(at(5)), expires_at: None, ..key.clone() };
        let (stored, change, back) = (guard(&key), guard(&revoked), guard(&key));
        store.write(move |tx| Box::pin(async move {
            tx.insert_caller_key(&stored).await?;
            tx.update_caller_key(&change).await
        })).await.unwrap();
        let undone = store.write(move |tx| Box::pin(async move { tx.update_caller_key(&back).await })).await;
        assert_eq!(undone, Err(Error::Stale { what: "caller_keys" }));
        let read = store.read().await.unwrap().caller_key("k1").await.unwrap().unwrap();
        assert_eq!(read.unchecked(), &revoked);
    }

    async fn what_is_removed_is_gone(home) {
        let store = home.open().await;
        let (credential, caller) = furnished(&store).await;
        let old = epoch(&store).await;
        store.write(move |tx| Box::pin(async move {
            tx.delete_credential(credential.id).await?;
            tx.delete_caller(caller.id).await
        })).await.unwrap();
        assert_eq!(epoch(&store).await, old + 2);
        let steps = store.read().await.unwrap().rights_changes(old, 10).await.unwrap();
        let expected = [Changed::Credential(credential.id), Changed::Caller(caller.id)];
        assert_eq!(steps, [1, 2].map(|n| Change { epoch: old + n, what: expected[usize::try_from(n).unwrap() - 1] }));
        let mut conn = store.read().await.unwrap();
        assert!(conn.credential(credential.id).await.unwrap().is_none());
        assert!(conn.caller(caller.id).await.unwrap().is_none());
        let again = store.write(move |tx| Box::pin(async move { tx.delete_caller(caller.id).await })).await;
        assert_eq!(again, Err(Error::Stale { what: "callers" }));
    }

    async fn a_session_is_renewed_by_its_own_adapter_and_once(home) {
        let store = home.open().await;
        let (credential, adapter) = furnished(&store).await;
        let session = session(&adapter, &credential);
        let (id, opened) = (session.id, session.clone());
        store.write(move |tx| Box::pin(async move { tx.insert_mail_session(&opened).await })).await.unwrap();
        assert_eq!(store.read().await.unwrap().mail_session(id).await, Ok(Some(session.clone())));
        let renewed = MailSession { renewals: 1, ..session };
        let stranger = fresh(CallerId::new);
        for (who, expected) in [(stranger, None), (adapter.id, Some(renewed)), (adapter.id, None)] {
            let renew = store.write(move |tx| Box::pin(async move { tx.renew_mail_session(id, who, 1).await }));
            assert_eq!(renew.await, Ok(expected));
        }
    }

    async fn reports_add_up_and_an_end_stays(home) {
        let store = home.open().await;
        let (credential, adapter) = furnished(&store).await;
        let session = session(&adapter, &credential);
        let (id, who, opened) = (session.id, adapter.id, session.clone());
        store.write(move |tx| Box::pin(async move { tx.insert_mail_session(&opened).await })).await.unwrap();
        assert_eq!(store.read().await.unwrap().live_sessions(credential.id).await.unwrap().len(), 1);
        for (ended_at, upstream) in [(Some(at(5)), "refused"), (Some(at(9)), "")] {
            let report = SessionReport {
                session: id, bytes_up: 1, bytes_down: 2, ended_at, upstream: upstream.into(), end_reason: None,
                heard_at: at(4),
            };
            let known = store.write(move |tx| Box::pin(async move { tx.report_mail_session(who, &report).await }));
            assert_eq!(known.await, Ok(true));
        }
        let mut conn = store.read().await.unwrap();
        let ended = MailSession {
            bytes_up: 13, bytes_down: 26, ended_at: Some(at(5)), upstream: "refused".into(), ..session
        };
        assert_eq!(conn.mail_session(id).await, Ok(Some(ended)));
        assert!(conn.live_sessions(credential.id).await.unwrap().is_empty());
        for (before, gone) in [(at(5), 0), (at(6), 1)] {
            let forgotten = store.write(move |tx| Box::pin(async move { tx.forget_mail_sessions(before).await }));
            assert_eq!(forgotten.await, Ok(gone), "a session of a month ago that still lives is not forgotten");
        }
    }
}
