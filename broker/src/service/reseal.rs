//! Seals and signs everything anew that is under an older key term, while calls are served.
//!
//! Never overwrites what was written meanwhile, never signs what does not fit, never holds the writer for longer than a page.
//! Invariants: one broker is at it, by a lease that it renews in the transaction of each page; a page that is undone is
//! undone with its count; whoever goes on after a crash finds what is left by its term. What cannot be opened is named and
//! stays. Next: `reseal_page` makes the pages.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::domain::event::{Event, What};
use crate::domain::ids::ProjectId;
use crate::domain::keeper::KeepKeys;
use crate::failpoint;
use crate::seal::RefusedRow;
use crate::service::{Error, Service};
use crate::store::{self, Kind, Reseal, Swap};

/// How long a broker that is at it may say nothing.
const LEASE: Duration = Duration::from_secs(10);

/// The pause after the store was busy or away.
const PAUSE: Duration = Duration::from_millis(100);

/// How long the brokers may take to seal under the active term, before the first page.
const PATIENCE: Duration = Duration::from_secs(30);

/// The most rows that are named.
const NAMED: usize = 100;

/// Whether this process is at it. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct AtWork(Arc<AtomicBool>);

/// The work of this process; dropping it ends that.
struct Shift(AtWork);

impl AtWork {
    fn begin(&self) -> Option<Shift> {
        let idle = !self.0.swap(true, Ordering::SeqCst);
        idle.then(|| Shift(self.clone()))
    }
}

impl Drop for Shift {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::SeqCst);
    }
}

impl Service {
    /// Starts to move everything to the active term. While that is under way already, nothing changes.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn start_reseal(&self, permit: &KeepKeys) -> Result<(), Error> {
        let (keyring, _) = self.stored_keyring().await?;
        let (term, now) = (keyring.active_term(), self.now());
        let mut total = 0;
        let mut conn = self.read().await?;
        for old in keyring.terms().filter(|old| *old < term) {
            for kind in Kind::ALL.iter().filter(|kind| kind.moves()) {
                total += conn.count_of_term(*kind, old).await?;
            }
        }
        drop(conn);
        let event = self.key_event(permit.manage(), What::ResealStarted, &term.to_string());
        let shift = self.at_work.begin();
        let (me, free) = (self.parts.replica.clone(), shift.is_some());
        let begun = self.write(move |tx| {
            Box::pin(async move {
                let last = tx.reseal().await?;
                if last.is_some_and(|last| last.ended_at.is_none() && last.term == term) {
                    return Ok(false);
                }
                tx.begin_reseal(term, now, total).await?;
                tx.append_audit(event).await?;
                Ok(free && tx.take_reseal(&me, LEASE).await?)
            })
        });
        if let (true, Some(shift)) = (begun.await?, shift) {
            self.work(term, shift);
        }
        Ok(())
    }

    /// Goes on with a re-seal that nobody is at.
    pub(super) async fn take_up_reseal(&self) -> Result<(), Error> {
        let Some(shift) = self.at_work.begin() else { return Ok(()) };
        let idle = |it: &Reseal, me: &str| {
            // Whoever had this one's name before is no more.
            let name = |full: &str| full.split_once('/').map(|(name, _)| name.to_owned());
            let mine = name(&it.owner).is_some_and(|owner| Some(owner) == name(me));
            it.ended_at.is_none() && (it.left.is_zero() || mine)
        };
        let me = self.parts.replica.clone();
        let found = self.read().await?.reseal().await?;
        let Some(found) = found.filter(|found| idle(found, &me)) else { return Ok(()) };
        if self.parts.tasks.is_stopping() || found.term > self.parts.sealer.active_term() {
            return Ok(());
        }
        let taken = self.write(move |tx| {
            Box::pin(async move {
                let still = tx.reseal().await?.is_some_and(|it| idle(&it, &me));
                Ok(still && tx.take_reseal(&me, LEASE).await?)
            })
        });
        if taken.await? {
            self.work(found.term, shift);
        }
        Ok(())
    }

    fn work(&self, term: u32, shift: Shift) {
        let service = self.clone();
        drop(self.parts.tasks.spawn(async move {
            if let Err(error) = service.reseal_all(term).await {
                tracing::warn!(%error, "the re-seal stops here; it goes on by itself");
            }
            drop(shift);
        }));
    }

    async fn reseal_all(&self, term: u32) -> Result<(), Error> {
        tracing::info!(term, "sealing anew what is under older key terms");
        // What others still seal under an older term would have to be found again.
        self.insist(|| self.unfit_replicas(PATIENCE, |it| it.active_term >= term)).await?;
        let mut refused = BTreeSet::new();
        loop {
            let older = self.parts.sealer.keyring();
            let mut moved = 0;
            for old in older.terms().filter(|old| *old < term) {
                for kind in Kind::SEALED.into_iter().chain(Kind::MACS) {
                    moved += self.move_kind(kind, (old, term), &mut refused).await?;
                }
                for kind in Kind::HASHES {
                    moved += self.end_hashes(kind, old).await?;
                }
            }
            if moved == 0 {
                break;
            }
        }
        self.end_reseal(term, refused).await
    }

    /// Moves all of a kind from one term to another. Says how many went.
    async fn move_kind(
        &self,
        kind: Kind,
        (old, term): (u32, u32),
        refused: &mut BTreeSet<RefusedRow>,
    ) -> Result<u64, Error> {
        let mut moved = 0;
        let mut page = self.insist(|| self.page(kind, (old, [0; 16]))).await?;
        while let Some(last) = page.last {
            for row in std::mem::take(&mut page.refused) {
                self.parts.sealer.note_refused(row.clone());
                refused.insert(row);
            }
            // The next page is made while this one is written.
            let swaps = Arc::new(page.swaps);
            let (done, next) = tokio::join!(
                self.insist(|| self.write_page(kind, term, Arc::clone(&swaps))),
                self.insist(|| self.page(kind, (old, last))),
            );
            moved += done?;
            failpoint::reach("reseal.page");
            page = next?;
        }
        Ok(moved)
    }

    async fn write_page(&self, kind: Kind, term: u32, swaps: Arc<Vec<Swap>>) -> Result<u64, Error> {
        let me = self.parts.replica.clone();
        self.write(move |tx| {
            Box::pin(async move {
                let moved = tx.swap(kind, &swaps).await?;
                match tx.step_reseal((&me, term), moved, LEASE).await? {
                    true => Ok(moved),
                    false => Err(store::Error::Stale { what: "reseal" }),
                }
            })
        })
        .await
    }

    async fn end_reseal(&self, term: u32, refused: BTreeSet<RefusedRow>) -> Result<(), Error> {
        let (me, now) = (self.parts.replica.clone(), self.now());
        let count = i64::try_from(refused.len()).unwrap_or(i64::MAX);
        let rows = refused.into_iter().take(NAMED);
        let rows: Vec<_> = rows.map(|row| (row.table, row.column, row.id)).collect();
        let event = Event {
            at: now,
            what: What::ResealEnded,
            project: ProjectId::default_project().to_string(),
            actor: "broker".to_owned(),
            account: String::new(),
            subject: term.to_string(),
            granted: true,
            reason: 0,
            address: String::new(),
            detail: String::new(),
        };
        let write = || {
            let (me, rows, event) = (me.clone(), rows.clone(), event.clone());
            self.write(move |tx| {
                Box::pin(async move {
                    if tx.end_reseal(&me, now, (count, &rows)).await? {
                        tx.append_audit(event).await?;
                    }
                    Ok(())
                })
            })
        };
        self.insist(write).await?;
        tracing::info!(
            term,
            refused = count,
            "everything that can be is under the active key term"
        );
        Ok(())
    }

    /// Tries again and again what the store cannot do now.
    pub(super) async fn insist<T, F>(&self, mut work: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        loop {
            match work().await {
                Err(Error::Unavailable(error)) if !self.parts.tasks.is_stopping() => {
                    tracing::debug!(%error, "the re-seal waits for the store");
                    tokio::time::sleep(PAUSE).await;
                }
                other => return other,
            }
        }
    }
}
