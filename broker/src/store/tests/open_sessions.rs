//! Open sessions: what a change touches, what stays of what was removed, and what operators see.

use super::engines::each_engine;
use super::samples::*;
use crate::clock::Time;
use crate::domain::account::Account;
use crate::domain::app::App;
use crate::domain::caller::Caller;
use crate::domain::credential::Credential;
use crate::domain::ids::SessionId;
use crate::domain::session::{EndReason, MailSession};
use crate::store::engine::run;
use crate::store::{
    Changed, PageRequest, REMEMBERED, SESSIONS_AT_ONCE, SessionFilter, SessionReport, Store,
    Touched,
};

struct Scene {
    app: App,
    account: Account,
    credential: Credential,
    adapter: Caller,
    session: MailSession,
}

/// A session with all it stands on, and another adapter with one of its own.
async fn scene(store: &Store) -> Scene {
    let (app, account) = settled(store).await;
    let (credential, adapter) = (credential(&account, "abc"), caller("adapter"));
    let other = caller("other");
    let (session, foreign) = (session(&adapter, &credential), session(&other, &credential));
    let guarded = (guard(&credential), guard(&adapter), guard(&other));
    let opened = session.clone();
    let stored = store.write(move |tx| {
        Box::pin(async move {
            tx.insert_credential(&guarded.0).await?;
            tx.insert_caller(&guarded.1).await?;
            tx.insert_caller(&guarded.2).await?;
            tx.insert_mail_session(&opened).await?;
            tx.insert_mail_session(&foreign).await
        })
    });
    stored.await.unwrap();
    Scene { app, account, credential, adapter, session }
}

async fn epoch(store: &Store) -> i64 {
    store.read().await.unwrap().rights_epoch().await.unwrap()
}

async fn touched(store: &Store, scene: &Scene, which: Touched) -> Vec<SessionId> {
    let mut conn = store.read().await.unwrap();
    let found = conn.open_sessions(scene.adapter.id, which, None).await.unwrap();
    found.into_iter().map(|session| session.id).collect()
}

fn report(id: SessionId, ended_at: Option<Time>, end_reason: Option<EndReason>) -> SessionReport {
    let (bytes_up, bytes_down, upstream) = (0, 0, String::new());
    SessionReport {
        session: id,
        bytes_up,
        bytes_down,
        ended_at,
        upstream,
        end_reason,
        heard_at: at(50),
    }
}

async fn told(store: &Store, scene: &Scene, report: SessionReport) {
    let adapter = scene.adapter.id;
    let told = store
        .write(move |tx| Box::pin(async move { tx.report_mail_session(adapter, &report).await }));
    assert_eq!(told.await, Ok(true));
}

each_engine! {
    async fn a_change_touches_the_open_sessions_that_stand_on_it_and_no_others(home) {
        let store = home.open().await;
        let scene = scene(&store).await;
        let mine = vec![scene.session.id];
        let stranger = credential(&scene.account, "stranger");
        let changes = [
            (Changed::App(scene.app.id), true),
            (Changed::Account(scene.account.id), true),
            (Changed::Credential(scene.credential.id), true),
            (Changed::Caller(scene.adapter.id), true),
            (Changed::Session(scene.session.id), true),
            (Changed::Credential(stranger.id), false),
        ];
        for (change, touches) in changes {
            let before = epoch(&store).await;
            store.write(move |tx| Box::pin(async move { tx.raise_epoch(change).await })).await.unwrap();
            let found = touched(&store, &scene, Touched::Between(before, before + 1)).await;
            assert_eq!(found, if touches { mine.clone() } else { vec![] }, "{change:?}");
            assert!(touched(&store, &scene, Touched::Between(before + 1, before + 1)).await.is_empty());
        }
        told(&store, &scene, report(scene.session.id, Some(at(9)), None)).await;
        assert!(touched(&store, &scene, Touched::Between(0, epoch(&store).await)).await.is_empty());
        assert!(touched(&store, &scene, Touched::Any).await.is_empty());
    }

    async fn a_credential_that_ended_touches_its_sessions_without_a_change(home) {
        let store = home.open().await;
        let scene = scene(&store).await;
        let end = scene.credential.expires_at.unwrap();
        let just_before = end.before(std::time::Duration::from_millis(1));
        let expired = |from, to| Touched::Expired(from, to);
        assert_eq!(touched(&store, &scene, expired(just_before, end)).await, [scene.session.id]);
        assert!(touched(&store, &scene, expired(end, end.after(std::time::Duration::from_secs(9)))).await.is_empty());
        assert!(touched(&store, &scene, expired(Time::from_millis(0), just_before)).await.is_empty());
    }

    async fn whoever_is_behind_what_is_remembered_is_noticed(home) {
        let store = home.open().await;
        let scene = scene(&store).await;
        let now = epoch(&store).await;
        let mut conn = store.read().await.unwrap();
        assert_eq!(conn.remembers_steps(0, now).await, Ok(true));
        assert_eq!(conn.remembers_steps(now, now).await, Ok(true));
        drop(conn);
        let jump = REMEMBERED;
        let what = Changed::Account(scene.account.id);
        store.write(move |tx| Box::pin(async move {
            run!(tx, "update rights_epoch set epoch = epoch + $1"; jump)?;
            tx.raise_epoch(what).await
        })).await.unwrap();
        let mut conn = store.read().await.unwrap();
        assert_eq!(conn.remembers_steps(now, now + jump + 1).await, Ok(false));
        assert_eq!(conn.remembers_steps(now + jump, now + jump + 1).await, Ok(true));
    }

    async fn a_session_outlives_everything_it_stood_on_and_keeps_the_names(home) {
        let store = home.open().await;
        let scene = scene(&store).await;
        let (credential, account, adapter) = (scene.credential.id, scene.account.id, scene.adapter.id);
        let version = scene.account.version;
        for step in 0..3 {
            store.write(move |tx| Box::pin(async move {
                match step {
                    0 => tx.delete_credential(credential).await,
                    1 => tx.delete_account(account, version).await,
                    _ => tx.delete_caller(adapter).await,
                }
            })).await.unwrap();
            assert_eq!(touched(&store, &scene, Touched::Any).await, [scene.session.id], "after step {step}");
        }
        let mut conn = store.read().await.unwrap();
        let record = conn.session_record(&project(), scene.session.id).await.unwrap().unwrap();
        assert_eq!(record.session, scene.session);
        let names = [&record.project, &record.account, &record.credential, &record.adapter];
        assert_eq!(names, ["default", "ann", "abc", "adapter"]);
    }

    async fn operators_see_sessions_newest_first_by_what_they_stand_on(home) {
        let store = home.open().await;
        let scene = scene(&store).await;
        let later = fresh(|at, entropy| SessionId::new(at.after(std::time::Duration::from_secs(1)), entropy));
        let more = MailSession { id: later, ..session(&scene.adapter, &scene.credential) };
        let newest = more.id;
        store.write(move |tx| Box::pin(async move { tx.insert_mail_session(&more).await })).await.unwrap();
        told(&store, &scene, report(scene.session.id, Some(at(60)), Some(EndReason::Idle))).await;
        let mut conn = store.read().await.unwrap();
        let page = PageRequest::new(1, "").unwrap();
        let all = (SessionFilter::All, false);
        let first = conn.session_records(&project(), all, &page).await.unwrap();
        assert_eq!(first.items[0].session.id, newest);
        let page = PageRequest::new(1000, &first.next_page_token).unwrap();
        let rest = conn.session_records(&project(), all, &page).await.unwrap();
        assert_eq!(rest.items.len(), 2);
        for (filter, live, count) in [
            (SessionFilter::Account(scene.account.id), false, 3),
            (SessionFilter::Credential(scene.credential.id), true, 2),
            (SessionFilter::Adapter(scene.adapter.id), false, 2),
            (SessionFilter::Adapter(scene.adapter.id), true, 1),
        ] {
            let found = conn.session_records(&project(), (filter, live), &PageRequest::first()).await.unwrap();
            assert_eq!(found.items.len(), count, "{filter:?} {live}");
        }
        let ended = conn.session_record(&project(), scene.session.id).await.unwrap().unwrap();
        assert_eq!((ended.end_reason, ended.heard_at), (Some(EndReason::Idle), Some(at(50))));
    }

    async fn an_end_that_was_wanted_is_wanted_once_and_calls_the_adapter(home) {
        let store = home.open().await;
        let scene = scene(&store).await;
        let (id, adapter) = (scene.session.id, scene.adapter.id);
        for (first, others) in [(true, 1), (false, 1)] {
            let wanted = store.write(move |tx| Box::pin(async move {
                let wanted = tx.want_session_end(id).await?;
                Ok((wanted, tx.sessions_to_end(&project(), SessionFilter::All, 9).await?.len()))
            }));
            assert_eq!(wanted.await, Ok((first, others)), "the other adapter's is still to be ended");
        }
        let before = epoch(&store).await;
        store.write(move |tx| Box::pin(async move { tx.call_for_sessions(adapter, &[id]).await })).await.unwrap();
        assert_eq!(touched(&store, &scene, Touched::Between(before, before + 1)).await, [id]);
        store.write(move |tx| Box::pin(async move { tx.call_for_sessions(adapter, &[id, id]).await })).await.unwrap();
        assert_eq!(touched(&store, &scene, Touched::Between(before + 1, before + 2)).await, [id]);
        let mut conn = store.read().await.unwrap();
        assert!(conn.open_sessions(adapter, Touched::Any, None).await.unwrap()[0].end_wanted);
    }

    async fn a_session_whose_adapter_fell_silent_is_closed_until_it_is_heard_of_again(home) {
        let store = home.open().await;
        let scene = scene(&store).await;
        let id = scene.session.id;
        told(&store, &scene, report(id, None, None)).await;
        for (before, lost) in [(at(40), 1), (at(51), 1), (at(60), 0)] {
            let closed = store.write(move |tx| Box::pin(async move { tx.lose_mail_sessions(before).await }));
            assert_eq!(closed.await, Ok(lost), "the other adapter's first, which was never heard of");
        }
        let mut conn = store.read().await.unwrap();
        let record = conn.session_record(&project(), id).await.unwrap().unwrap();
        assert_eq!((record.end_reason, record.session.ended_at), (Some(EndReason::Lost), Some(at(50))));
        told(&store, &scene, report(id, None, None)).await;
        assert_eq!(touched(&store, &scene, Touched::Any).await, [id]);
        told(&store, &scene, report(id, Some(at(70)), Some(EndReason::Finished))).await;
        told(&store, &scene, report(id, None, None)).await;
        let mut conn = store.read().await.unwrap();
        let record = conn.session_record(&project(), id).await.unwrap().unwrap();
        assert_eq!((record.end_reason, record.session.ended_at), (Some(EndReason::Finished), Some(at(70))));
    }

    async fn open_sessions_come_in_pages(home) {
        let store = home.open().await;
        let scene = scene(&store).await;
        let more: Vec<_> = (0..SESSIONS_AT_ONCE).map(|_| session(&scene.adapter, &scene.credential)).collect();
        store.write(move |tx| Box::pin(async move {
            for session in &more {
                tx.insert_mail_session(session).await?;
            }
            Ok(())
        })).await.unwrap();
        let mut conn = store.read().await.unwrap();
        let first = conn.open_sessions(scene.adapter.id, Touched::Any, None).await.unwrap();
        assert_eq!(i64::try_from(first.len()), Ok(SESSIONS_AT_ONCE));
        let after = first.last().map(|session| session.id);
        assert_eq!(conn.open_sessions(scene.adapter.id, Touched::Any, after).await.unwrap().len(), 1);
    }
}
