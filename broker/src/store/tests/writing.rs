//! The one writer: groups, savepoints, callers that leave, panics, refusals.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::engines::each_engine;
use super::samples::*;
use crate::domain::ids::ProjectId;
use crate::store::engine::run;
use crate::store::{Error, Result, Store, Tx, Work, first_break};
use crate::tasks::Tasks;

fn space(called: &str) -> ProjectId {
    ProjectId::parse(called).unwrap()
}

async fn insert(store: &Store, called: &str) -> Result<()> {
    let project = space(called);
    store.write(move |tx| Box::pin(async move { tx.insert_project(&project, NOW).await })).await
}

async fn is_there(store: &Store, called: &str) -> bool {
    store.read().await.unwrap().has_project(&space(called)).await.unwrap()
}

/// Keeps the writer busy until the sender speaks, so that whatever is queued meanwhile becomes one group.
async fn hold(store: &Store, tasks: &Tasks) -> oneshot::Sender<()> {
    hold_after(store, tasks, |_| Box::pin(async { Ok(()) })).await
}

/// The same, once the writer has done `first`.
pub(super) async fn hold_after(
    store: &Store,
    tasks: &Tasks,
    first: impl for<'t> FnOnce(&'t mut Tx) -> Work<'t, ()> + Send + 'static,
) -> oneshot::Sender<()> {
    let (release, released) = oneshot::channel();
    let (begun, has_begun) = oneshot::channel();
    let store = store.clone();
    drop(tasks.spawn(async move {
        let held = store.write(move |tx| {
            Box::pin(async move {
                first(tx).await?;
                begun.send(()).unwrap();
                released.await.unwrap();
                Ok(())
            })
        });
        held.await.unwrap();
    }));
    has_begun.await.unwrap();
    release
}

each_engine! {
    async fn a_failing_job_is_rolled_back_alone(home) {
        let tasks = Tasks::new();
        let store = home.open_with(&tasks).await;
        let release = hold(&store, &tasks).await;
        let bad = store.write(|tx| Box::pin(async move {
            tx.insert_project(&space("half-done"), NOW).await?;
            tx.insert_project(&ProjectId::default_project(), NOW).await
        }));
        // `join!` polls in order, so the three are queued before the writer is let go.
        let (first, bad, last, ()) = tokio::join!(insert(&store, "first"), bad, insert(&store, "last"), async {
            release.send(()).unwrap();
        });
        assert_eq!((first, last), (Ok(()), Ok(())));
        assert_eq!(bad, Err(Error::Conflict { what: "projects".into() }));
        assert!(is_there(&store, "first").await && is_there(&store, "last").await);
        assert!(!is_there(&store, "half-done").await);
    }

    async fn a_record_of_a_job_that_fails_leaves_no_gap_in_the_chain(home) {
        let tasks = Tasks::new();
        let store = home.open_with(&tasks).await;
        let release = hold(&store, &tasks).await;
        let good = || store.write(|tx| Box::pin(async move { tx.append_audit(event("ann")).await }));
        let bad = store.write(|tx| Box::pin(async move {
            tx.append_audit(event("bob")).await?;
            tx.append_audit(event("bob")).await?;
            tx.insert_project(&ProjectId::default_project(), NOW).await
        }));
        let (first, bad, last, ()) = tokio::join!(good(), bad, good(), async { release.send(()).unwrap() });
        assert!(bad.is_err());
        assert_eq!((first.unwrap().sequence, last.unwrap().sequence), (1, 2));
        good().await.unwrap();
        let mut conn = store.read().await.unwrap();
        let records = conn.audit_after("", 0).await.unwrap();
        assert_eq!((records.len(), first_break((0, &[]), &records)), (3, None));
        assert_eq!(conn.audit_head("").await.unwrap(), (3, records[2].hash.clone()));
    }

    async fn a_job_that_hides_a_failed_statement_is_rolled_back_alone(home) {
        let store = home.open().await;
        let hiding = store.write(|tx| Box::pin(async move {
            drop(tx.insert_project(&ProjectId::default_project(), NOW).await);
            Ok(())
        }));
        let (hiding, other) = tokio::join!(hiding, insert(&store, "other"));
        assert_eq!(other, Ok(()));
        // SQLite goes on after a failed statement, PostgreSQL dooms the savepoint: either way nothing else suffers.
        assert!(matches!(hiding, Ok(()) | Err(Error::Refused { .. })), "{hiding:?}");
        assert!(is_there(&store, "other").await);
    }

    async fn a_job_whose_caller_left_is_still_committed(home) {
        let tasks = Tasks::new();
        let store = home.open_with(&tasks).await;
        let release = hold(&store, &tasks).await;
        {
            let mut leaving = std::pin::pin!(insert(&store, "orphan"));
            let polled = tokio::time::timeout(Duration::ZERO, &mut leaving).await;
            assert!(polled.is_err(), "it waits behind the held writer");
        }
        release.send(()).unwrap();
        insert(&store, "later").await.unwrap();
        assert!(is_there(&store, "orphan").await);
    }

    async fn nobody_is_answered_before_the_commit(home) {
        let store = home.open().await;
        let (inside, mut seen) = mpsc::channel(1);
        let reader = store.clone();
        store.write(move |tx| Box::pin(async move {
            tx.insert_project(&space("early"), NOW).await?;
            inside.send(is_there(&reader, "early").await).await.unwrap();
            Ok(())
        })).await.unwrap();
        assert_eq!(seen.recv().await, Some(false));
        assert!(is_there(&store, "early").await);
    }

    async fn a_panicking_job_does_not_end_the_writer(home) {
        let store = home.open().await;
        let panicked: Result<()> = store.write(|tx| Box::pin(async move {
            tx.insert_project(&space("lost"), NOW).await?;
            panic!("this test panics on purpose")
        })).await;
        assert_eq!(panicked, Err(Error::Panicked));
        insert(&store, "after").await.unwrap();
        assert!(is_there(&store, "after").await && !is_there(&store, "lost").await);
    }

    async fn a_full_queue_refuses_at_once(home) {
        let tasks = Tasks::new();
        let store = home.open_with(&tasks).await;
        let release = hold(&store, &tasks).await;
        let mut refused = 0;
        let mut waiting = Vec::new();
        for _ in 0..1030 {
            let mut write = Box::pin(store.write(|_| Box::pin(async move { Ok(()) })));
            match tokio::time::timeout(Duration::ZERO, &mut write).await {
                Ok(Err(Error::Busy)) => refused += 1,
                Ok(other) => panic!("{other:?}"),
                Err(_) => waiting.push(write),
            }
        }
        assert_eq!((refused, waiting.len()), (6, 1024));
        release.send(()).unwrap();
        for write in waiting {
            write.await.unwrap();
        }
    }

    async fn stopping_commits_what_is_queued_and_refuses_the_rest(home) {
        let (tasks, others) = (Tasks::new(), Tasks::new());
        let store = home.open_with(&tasks).await;
        let release = hold(&store, &others).await;
        let (queued, ()) = tokio::join!(insert(&store, "queued"), async {
            tasks.stop();
            release.send(()).unwrap();
        });
        assert_eq!(queued, Ok(()));
        assert!(tasks.drain(Duration::from_secs(20)).await);
        assert_eq!(insert(&store, "late").await, Err(Error::Busy));
    }

    async fn a_broken_connection_costs_one_group(home) {
        let store = home.open().await;
        if home.path().is_some() {
            return; // An embedded engine has no connection to break.
        }
        let broken = store.write(|tx| Box::pin(async move {
            tx.insert_project(&space("broken"), NOW).await?;
            run!(tx, "select pg_terminate_backend(pg_backend_pid())").map(drop)
        })).await;
        assert!(matches!(broken, Err(Error::Unreachable { .. })), "{broken:?}");
        insert(&store, "mended").await.unwrap();
        assert!(!is_there(&store, "broken").await);
    }
}

#[tokio::test]
async fn a_full_disk_is_said_so() {
    let home = super::engines::Home::sqlite();
    let tasks = Tasks::new();
    let store = home.open_with(&tasks).await;
    let release = hold(&store, &tasks).await;
    let filling = store.write(|tx| {
        Box::pin(async move {
            // A file that may not grow is as good as a full disk.
            run!(tx, "pragma max_page_count = 1")?;
            let big = "x".repeat(1 << 20);
            run!(tx, "insert into projects (name, created_at) values ($1, 0)"; big).map(drop)
        })
    });
    let (filling, beside, ()) = tokio::join!(filling, insert(&store, "beside"), async {
        release.send(()).unwrap();
    });
    assert!(matches!(filling, Err(Error::Full { .. })), "{filling:?}");
    // The engine may have ended the whole transaction; then its neighbour was told the same, and rightly.
    assert_eq!(beside.is_ok(), is_there(&store, "beside").await, "{beside:?}");
    assert!(matches!(beside, Ok(()) | Err(Error::Full { .. })), "{beside:?}");
}
