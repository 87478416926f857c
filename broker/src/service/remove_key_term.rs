//! Removes a key term that nothing needs any more.
//!
//! Never the active one, and never one that a stored value, a keyed hash, a file on a broker's disk or a broker that is not
//! accounted for may still need. Invariant: what is counted and what is removed are of one transaction. Next: `key_status` says
//! the same before anybody tries.

use crate::domain::event::What;
use crate::domain::keeper::KeepKeys;
use crate::seal::RefusedRow;
use crate::service::presence::{FORGOTTEN, LIVE, SETTLED, names};
use crate::service::{Error, Service};
use crate::store::{Conn, Kind, Replica, Result};

/// How many are named.
const NAMED: i64 = 5;

impl Service {
    /// Removes a term for ever.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a term that is not there; [`Error::InUse`] with all that needs it.
    pub async fn remove_key_term(
        &self,
        permit: &KeepKeys,
        term: u32,
    ) -> std::result::Result<(), Error> {
        let (service, permit) = (self.clone(), permit.clone());
        self.detached(async move { service.drop_term(&permit, term).await }).await
    }

    async fn drop_term(&self, permit: &KeepKeys, term: u32) -> std::result::Result<(), Error> {
        let (keyring, rows) = self.stored_keyring().await?;
        if !keyring.terms().any(|known| known == term) {
            return Err(Error::NotFound(format!("key term {term}")));
        }
        if term >= keyring.active_term() {
            return Err(Error::InUse(format!(
                "key term {term} is the one that new values are sealed under, or the next: only older ones can be removed"
            )));
        }
        let kek = self.kek_of(&rows)?;
        let rest = keyring.without_term(term).map_err(Error::ours)?;
        let active = keyring.active_term();
        let event = self.key_event(permit.manage(), What::KeyTermRemoved, &term.to_string());
        self.change_keyring((rest, &kek), rows, event, move |tx| {
            Box::pin(async move {
                let needs = needs(tx, term, active).await?;
                Ok((!needs.is_empty()).then(|| format!("key term {term}: {}", needs.join("; "))))
            })
        })
        .await?;
        tracing::warn!(term, "a key term was removed");
        Ok(())
    }
}

/// All that needs a term, a sentence each, with what to do about it.
pub(super) async fn needs(conn: &mut Conn, term: u32, active: u32) -> Result<Vec<String>> {
    let mut needs = Vec::new();
    for kind in Kind::SEALED.into_iter().chain(Kind::MACS) {
        let count = conn.count_of_term(kind, term).await?;
        if count > 0 {
            needs.push(left_over(conn, kind, (term, count)).await?);
        }
    }
    for kind in Kind::HASHES {
        let count = conn.count_of_term(kind, term).await?;
        if count > 0 {
            let some = conn.rows_of_term(kind, (term, [0; 16]), NAMED).await?;
            let some: Vec<String> = some.into_iter().map(|row| row.name).collect();
            needs.push(unused(kind, count, &some));
        }
    }
    let all = conn.replicas().await?;
    let of_disk = names(all.iter().filter(|it| it.needed_term != 0 && it.needed_term <= term));
    if !of_disk.is_empty() {
        needs.push(format!("{} has spill files under it: let it store them", of_disk.join(", ")));
    }
    let unsettled = |it: &&Replica| it.active_term < active || it.settled < SETTLED;
    let behind = names(all.iter().filter(|it| it.silent < LIVE).filter(unsettled));
    if !behind.is_empty() {
        needs.push(format!(
            "{} sealed under an older term a moment ago and may still write: try again in {} s",
            behind.join(", "),
            SETTLED.as_secs()
        ));
    }
    let missing = names(all.iter().filter(|it| it.silent >= LIVE));
    if !missing.is_empty() {
        needs.push(format!(
            "{} went without a word and may still write: start it again under its name, or wait until it has been \
             silent for {} hours",
            missing.join(", "),
            FORGOTTEN.as_secs() / 3600
        ));
    }
    Ok(needs)
}

async fn left_over(conn: &mut Conn, kind: Kind, (term, count): (u32, i64)) -> Result<String> {
    let first = if Kind::SEALED.contains(&kind) {
        let cells = conn.sealed_of_term(kind, (term, [0; 16]), NAMED).await?;
        cells.into_iter().map(|cell| cell.id).collect::<Vec<_>>()
    } else {
        let rows = conn.rows_of_term(kind, (term, [0; 16]), NAMED).await?;
        rows.into_iter().map(|row| row.id).collect()
    };
    let name = |id: [u8; 16]| RefusedRow::new(kind.table(), kind.column(), id).id;
    let first: Vec<String> = first.into_iter().map(name).collect();
    Ok(format!(
        "{count} of {}.{} are under it ({}): `key reseal` moves those that are genuine",
        kind.table(),
        kind.column(),
        first.join(", ")
    ))
}

fn unused(kind: Kind, count: i64, some: &[String]) -> String {
    let (what, verb) = match kind {
        Kind::CredentialHash => ("passwords", "`credential rotate` or `credential revoke`"),
        _ => ("API keys", "`caller add-key` and `caller revoke-key`"),
    };
    format!(
        "{count} {what} were not used since ({}{}): they move at their next use; or {verb}, then `key reseal`",
        some.join(", "),
        if i64::try_from(some.len()).is_ok_and(|len| len < count) { ", .." } else { "" }
    )
}
