//! The decision lane: what is judged by the newest rights, recorded once, and answered after the commit.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::engines::{Home, each_engine};
use super::samples::*;
use super::writing::hold_after;
use crate::domain::caller::Caller;
use crate::domain::credential::Limits;
use crate::domain::event::Record;
use crate::domain::session::MailSession;
use crate::store::engine::run;
use crate::store::lane::Rules;
use crate::store::{
    Changed, Decision, Error, OWN_CHAIN, Opening, RELAXED_LAG, Sight, Store, Verdict, first_break,
};
use crate::tasks::Tasks;

/// As usual.
const STRICT: Rules = Rules { heeds_epoch: true, relaxed_lag: RELAXED_LAG };

/// A look that stays good for the whole test, however slow the machine is.
const PATIENT: Rules = Rules { heeds_epoch: true, relaxed_lag: Duration::from_secs(3600) };

/// The opening of a session that may be opened any number of times.
fn unlimited(session: MailSession) -> Opening {
    let session = MailSession { upstream: String::new(), bytes_up: 0, bytes_down: 0, ..session };
    Opening { session, limits: Limits::default() }
}

async fn opened(home: &Home, chain: &str, rules: Rules) -> Store {
    Store::open_by(&home.settings, (chain, rules), &Tasks::new()).await.unwrap()
}

/// A caller, stored, and how it was seen.
async fn known_caller(store: &Store) -> (Caller, Sight) {
    let caller = Caller { revoked_at: None, ..caller("crm") };
    let row = guard(&caller);
    store.write(move |tx| Box::pin(async move { tx.insert_caller(&row).await })).await.unwrap();
    let seen = store.read().await.unwrap().rights_epoch().await.unwrap();
    let sight = Sight { what: Changed::Caller(caller.id), since: seen };
    (caller, sight)
}

/// Revokes it; acknowledged when this returns.
async fn revoke(store: &Store, caller: &Caller) {
    let revoked = Caller { revoked_at: Some(NOW), version: 2, ..caller.clone() };
    let row = guard(&revoked);
    store.write(move |tx| Box::pin(async move { tx.update_caller(&row).await })).await.unwrap();
}

async fn records(store: &Store, chain: &str) -> Vec<Record> {
    let mut conn = store.read().await.unwrap();
    let mut all = Vec::new();
    loop {
        let after = all.last().map_or(0, |last: &Record| last.sequence);
        let more = conn.audit_after(chain, after).await.unwrap();
        if more.is_empty() {
            break;
        }
        all.extend(more);
    }
    let end = conn.audit_head(chain).await.unwrap();
    assert_eq!(end.0, all.last().map_or(0, |last| last.sequence), "the head is the newest record");
    assert_eq!(first_break((0, &[]), &all), None);
    all
}

/// Keeps the lane from committing until the sender speaks: by the one writer of a file, by a lock on a server.
async fn hold(store: &Store, tasks: &Tasks) -> oneshot::Sender<()> {
    let on_server = store.engine() == "postgres";
    hold_after(store, tasks, move |tx| {
        Box::pin(async move {
            if on_server {
                run!(tx, "lock table audit_chains in exclusive mode")?;
            }
            Ok(())
        })
    })
    .await
}

each_engine! {
    async fn what_was_decided_on_rights_of_before_a_revocation_is_sent_back(home) {
        let store = opened(&home, OWN_CHAIN, STRICT).await;
        let (caller, seen) = known_caller(&store).await;
        assert_eq!(store.decide(decision("ann", &[seen])).await, Ok(Verdict::Stands));
        revoke(&store, &caller).await;
        assert_eq!(store.decide(decision("late", &[seen])).await, Ok(Verdict::Overtaken));
        let elsewhere = Sight { what: Changed::App(fresh(crate::domain::ids::AppId::new)), ..seen };
        assert_eq!(store.decide(decision("bob", &[elsewhere])).await, Ok(Verdict::Stands));
        let again = Sight { since: store.changes().known(), ..seen };
        assert_eq!(store.decide(decision("cid", &[again])).await, Ok(Verdict::Stands));
        let accounts: Vec<_> =
            records(&store, OWN_CHAIN).await.into_iter().map(|record| record.event.account).collect();
        assert_eq!(accounts, ["ann", "bob", "cid"]);
    }

    async fn without_a_look_at_the_epoch_it_is_handed_out_all_the_same(home) {
        let store = opened(&home, OWN_CHAIN, Rules { heeds_epoch: false, ..STRICT }).await;
        let (caller, _) = known_caller(&store).await;
        let seen = Sight { what: Changed::Caller(caller.id), since: store.changes().known() };
        revoke(&store, &caller).await;
        assert_eq!(store.decide(decision("ann", &[seen])).await, Ok(Verdict::Stands));
    }

    async fn every_decision_has_its_one_record_however_many_come_at_once(home) {
        let store = opened(&home, OWN_CHAIN, STRICT).await;
        let names: Vec<String> = (0..700).map(|number| format!("account-{number}")).collect();
        let decided = join_all(names.iter().map(|name| store.decide(decision(name, &[])))).await;
        assert!(decided.iter().all(|verdict| *verdict == Ok(Verdict::Stands)));
        let mut written: Vec<_> =
            records(&store, OWN_CHAIN).await.into_iter().map(|record| record.event.account).collect();
        let mut expected = names;
        written.sort_unstable();
        expected.sort_unstable();
        assert_eq!(written, expected);
    }

    async fn a_group_that_cannot_be_committed_hands_out_nothing(home) {
        let store = opened(&home, OWN_CHAIN, STRICT).await;
        store.decide(decision("before", &[])).await.unwrap();
        let away = store.write(|tx| Box::pin(async move { run!(tx, "alter table audit rename to hidden") }));
        away.await.unwrap();
        let (ann, bob) = (store.decide(decision("ann", &[])), store.decide(decision("bob", &[])));
        let (ann, bob) = tokio::join!(ann, bob);
        assert!(ann.is_err() && bob.is_err(), "{ann:?} {bob:?}");
        let back = store.write(|tx| Box::pin(async move { run!(tx, "alter table hidden rename to audit") }));
        back.await.unwrap();
        assert_eq!(store.decide(decision("after", &[])).await, Ok(Verdict::Stands));
        let accounts: Vec<_> =
            records(&store, OWN_CHAIN).await.into_iter().map(|record| record.event.account).collect();
        assert_eq!(accounts, ["before", "after"]);
    }

    async fn without_the_epoch_nothing_is_handed_out(home) {
        let store = opened(&home, OWN_CHAIN, STRICT).await;
        store.write(|tx| Box::pin(async move { run!(tx, "delete from rights_epoch") })).await.unwrap();
        let refused = store.decide(decision("ann", &[])).await;
        assert!(matches!(refused, Err(Error::Corrupt { table: "rights_epoch", .. })), "{refused:?}");
        assert!(records(&store, OWN_CHAIN).await.is_empty());
    }

    async fn an_epoch_that_fell_means_that_nothing_remembered_is_sure(home) {
        let store = opened(&home, OWN_CHAIN, STRICT).await;
        known_caller(&store).await;
        store.decide(decision("ann", &[])).await.unwrap();
        store.write(|tx| Box::pin(async move { run!(tx, "update rights_epoch set epoch = 0") })).await.unwrap();
        let refused = store.decide(decision("bob", &[])).await;
        assert!(matches!(refused, Err(Error::Corrupt { table: "rights_epoch", .. })), "{refused:?}");
    }

    async fn one_that_cannot_be_written_fails_alone(home) {
        let tasks = Tasks::new();
        let store = opened(&home, OWN_CHAIN, STRICT).await;
        let (caller, _) = known_caller(&store).await;
        let (_, account) = settled(&store).await;
        let twice = session(&caller, &credential(&account, "abc"));
        let opening = |called| Decision { opening: Some(unlimited(twice.clone())), ..decision(called, &[]) };
        store.decide(opening("first")).await.unwrap();
        let release = hold(&store, &tasks).await;
        let bad = opening("bad");
        let (one, bad, two, ()) = tokio::join!(
            store.decide(decision("one", &[])), store.decide(bad), store.decide(decision("two", &[])),
            async { release.send(()).unwrap() }
        );
        assert_eq!((one, two), (Ok(Verdict::Stands), Ok(Verdict::Stands)));
        assert!(matches!(bad, Err(Error::Conflict { .. })), "{bad:?}");
        assert_eq!(records(&store, OWN_CHAIN).await.len(), 3);
    }

    async fn a_session_is_there_when_its_opening_stands_and_not_when_it_was_overtaken(home) {
        let store = opened(&home, OWN_CHAIN, STRICT).await;
        let (caller, seen) = known_caller(&store).await;
        let (_, account) = settled(&store).await;
        let credential = credential(&account, "abc");
        let row = guard(&credential);
        store.write(move |tx| Box::pin(async move { tx.insert_credential(&row).await })).await.unwrap();
        let opening = |session| Decision { opening: Some(unlimited(session)), ..decision("ann", &[seen]) };
        let mut opened = Vec::new();
        for _ in 0..3 {
            let opening = opening(session(&caller, &credential));
            opened.extend(opening.opening.as_ref().map(|it| it.session.clone()));
            assert_eq!(store.decide(opening).await, Ok(Verdict::Stands));
        }
        revoke(&store, &caller).await;
        let late = session(&caller, &credential);
        assert_eq!(store.decide(opening(late.clone())).await, Ok(Verdict::Overtaken));
        let mut conn = store.read().await.unwrap();
        for session in opened {
            assert_eq!(conn.mail_session(session.id).await, Ok(Some(session)));
        }
        assert_eq!(conn.mail_session(late.id).await, Ok(None));
    }

    async fn a_decision_whose_caller_left_is_recorded(home) {
        let tasks = Tasks::new();
        let store = opened(&home, OWN_CHAIN, STRICT).await;
        let release = hold(&store, &tasks).await;
        {
            let mut leaving = std::pin::pin!(store.decide(decision("gone", &[])));
            assert!(tokio::time::timeout(Duration::ZERO, &mut leaving).await.is_err());
        }
        release.send(()).unwrap();
        store.decide(decision("later", &[])).await.unwrap();
        assert_eq!(records(&store, OWN_CHAIN).await.len(), 2);
    }

    async fn who_finds_the_queue_full_is_told_at_once_and_nothing_of_it_is_recorded(home) {
        let tasks = Tasks::new();
        let store = opened(&home, OWN_CHAIN, STRICT).await;
        let release = hold(&store, &tasks).await;
        let (mut waiting, mut refused) = (Vec::new(), 0);
        for _ in 0..5000 {
            let mut deciding = Box::pin(store.decide(decision("ann", &[])));
            match (&mut deciding).now_or_never() {
                Some(Err(Error::Busy)) => refused += 1,
                Some(other) => panic!("{other:?}"),
                None => waiting.push(deciding),
            }
        }
        assert!(refused > 0 && store.commit_time().is_none());
        release.send(()).unwrap();
        let decided = join_all(waiting).await;
        assert!(decided.iter().all(|verdict| *verdict == Ok(Verdict::Stands)));
        assert_eq!(records(&store, OWN_CHAIN).await.len(), decided.len());
        assert_eq!(decided.len() + refused, 5000);
    }

    async fn stopping_records_what_is_queued_and_refuses_the_rest(home) {
        let (tasks, others) = (Tasks::new(), Tasks::new());
        let store = Store::open_by(&home.settings, (OWN_CHAIN, STRICT), &tasks).await.unwrap();
        let release = hold(&store, &others).await;
        let (queued, ()) = tokio::join!(store.decide(decision("queued", &[])), async {
            tasks.stop();
            release.send(()).unwrap();
        });
        assert_eq!(queued, Ok(Verdict::Stands));
        assert!(tasks.drain(Duration::from_secs(20)).await);
        assert_eq!(store.decide(decision("late", &[])).await, Err(Error::Busy));
    }

    async fn the_relaxed_mode_answers_before_the_commit_and_still_sees_what_it_knows(home) {
        let tasks = Tasks::new();
        let store = opened(&home, OWN_CHAIN, PATIENT).await;
        let (caller, seen) = known_caller(&store).await;
        // Nothing was looked at yet: this one waits for its commit.
        assert_eq!(store.decide_relaxed(decision("first", &[seen])).await, Ok(Verdict::Stands));
        let release = hold(&store, &tasks).await;
        assert_eq!(store.decide_relaxed(decision("early", &[seen])).await, Ok(Verdict::Stands));
        release.send(()).unwrap();
        revoke(&store, &caller).await;
        // What it gives up: until the next look the revocation is not known.
        assert_eq!(store.decide_relaxed(decision("too late", &[seen])).await, Ok(Verdict::Stands));
        store.decide(decision("strict", &[])).await.unwrap();
        assert_eq!(store.decide_relaxed(decision("never", &[seen])).await, Ok(Verdict::Overtaken));
        assert_eq!(records(&store, OWN_CHAIN).await.len(), 4);
    }

    async fn a_look_that_is_too_old_makes_the_relaxed_mode_wait(home) {
        let store = opened(&home, OWN_CHAIN, Rules { heeds_epoch: true, relaxed_lag: Duration::ZERO }).await;
        let (caller, seen) = known_caller(&store).await;
        store.decide(decision("first", &[seen])).await.unwrap();
        revoke(&store, &caller).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(store.decide_relaxed(decision("late", &[seen])).await, Ok(Verdict::Overtaken));
    }

    async fn a_look_tells_every_change_that_was_acknowledged(home) {
        let store = opened(&home, OWN_CHAIN, STRICT).await;
        let (caller, seen) = known_caller(&store).await;
        store.catch_up().await.unwrap();
        assert!(store.changes().holds(seen));
        revoke(&store, &caller).await;
        store.catch_up().await.unwrap();
        assert!(!store.changes().holds(seen));
    }
}

#[tokio::test]
async fn a_revocation_by_one_broker_is_heeded_by_the_next_decision_of_another() {
    let Some(home) = Home::postgres().await else { return };
    let (one, two) = (opened(&home, "one", STRICT).await, opened(&home, "two", STRICT).await);
    let (caller, seen) = known_caller(&one).await;
    assert_eq!(two.decide(decision("ann", &[seen])).await, Ok(Verdict::Stands));
    revoke(&one, &caller).await;
    for store in [&one, &two] {
        assert_eq!(store.decide(decision("late", &[seen])).await, Ok(Verdict::Overtaken));
    }
    let blind = opened(&home, "blind", Rules { heeds_epoch: false, ..STRICT }).await;
    revoke_again(&one, &caller).await;
    let seen = Sight { since: blind.changes().known(), ..seen };
    assert_eq!(blind.decide(decision("late", &[seen])).await, Ok(Verdict::Stands));
}

async fn revoke_again(store: &Store, caller: &Caller) {
    let row = guard(&Caller { revoked_at: Some(NOW), version: 3, ..caller.clone() });
    store.write(move |tx| Box::pin(async move { tx.update_caller(&row).await })).await.unwrap();
}

#[tokio::test]
async fn brokers_on_one_server_write_a_chain_each_and_none_waits_for_the_writers_turn() {
    let Some(home) = Home::postgres().await else { return };
    let (one, two) = (opened(&home, "one", STRICT).await, opened(&home, "two", STRICT).await);
    let (release, released) = oneshot::channel();
    let held = one.write(move |_| {
        Box::pin(async move {
            released.await.unwrap();
            Ok(())
        })
    });
    let deciding = async {
        for _ in 0..20 {
            let (first, second) =
                tokio::join!(one.decide(decision("ann", &[])), two.decide(decision("bob", &[])));
            assert_eq!((first, second), (Ok(Verdict::Stands), Ok(Verdict::Stands)));
        }
        release.send(()).unwrap();
    };
    let (held, ()) = tokio::join!(held, deciding);
    held.unwrap();
    assert_eq!((records(&one, "one").await.len(), records(&one, "two").await.len()), (20, 20));
    let ends = one.read().await.unwrap().audit_chains().await.unwrap();
    let ends: Vec<_> = ends.iter().map(|end| (end.chain.as_str(), end.sequence)).collect();
    assert_eq!(ends, [("", 0), ("one", 20), ("two", 20)]);
}

#[tokio::test]
async fn two_brokers_under_one_name_do_not_fork_its_chain() {
    let Some(home) = Home::postgres().await else { return };
    let (one, two) = (opened(&home, "same", STRICT).await, opened(&home, "same", STRICT).await);
    let mut stood = 0;
    for _ in 0..20 {
        let (first, second) =
            tokio::join!(one.decide(decision("ann", &[])), two.decide(decision("bob", &[])));
        stood += [first, second].iter().filter(|end| **end == Ok(Verdict::Stands)).count();
    }
    assert_eq!(records(&one, "same").await.len(), stood);
    assert!(stood >= 20, "one of two gets through at least: {stood}");
}
