//! How the keys stand: what each term is still needed for, and how far a re-seal is.
//!
//! Never opens anything. Invariant: what it says a term is needed for is what would refuse its removal. Next: the key verbs.

use crate::domain::keeper::KeepKeys;
use crate::seal::{Keyring, RefusedRow};
use crate::service::remove_key_term::needs;
use crate::service::{Error, Service};
use crate::store::{Kind, Reseal};

/// How the keys stand.
#[derive(Clone, Debug)]
pub struct KeyStatus {
    /// The id of the key that seals the keyring.
    pub kek: String,
    /// The id of the next one, if it can be read.
    pub next_kek: Option<String>,
    /// The term new values are sealed under.
    pub active_term: u32,
    /// All terms, oldest first.
    pub terms: Vec<TermView>,
    /// The newest re-seal.
    pub reseal: Option<Reseal>,
    /// Rows that do not fit, as far as this process has met them.
    pub refused: Vec<RefusedRow>,
}

/// A term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TermView {
    /// Its number.
    pub term: u32,
    /// What it is used for.
    pub state: TermState,
    /// What is under it, by kind, as far as there is anything.
    pub uses: Vec<(Kind, i64)>,
    /// What still needs it, a sentence each.
    pub needs: Vec<String>,
}

/// What a term is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TermState {
    /// New values are sealed under it.
    Active,
    /// It becomes active once every broker knows it.
    Pending,
    /// Older values may be under it.
    Retired,
}

impl Service {
    /// How the keys stand; what is under each term only if `counted`, since that takes a while with very many rows.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn key_status(&self, _: &KeepKeys, counted: bool) -> Result<KeyStatus, Error> {
        let (keyring, rows) = self.stored_keyring().await?;
        let active = keyring.active_term();
        let mut terms = terms(&keyring);
        let mut conn = self.read().await?;
        for view in terms.iter_mut().filter(|_| counted) {
            for kind in Kind::ALL {
                let count = conn.count_of_term(*kind, view.term).await?;
                if count > 0 {
                    view.uses.push((*kind, count));
                }
            }
            if view.state == TermState::Retired {
                view.needs = needs(&mut conn, view.term, active).await?;
            }
        }
        Ok(KeyStatus {
            kek: rows.into_iter().next().map(|row| row.kek_id).unwrap_or_default(),
            next_kek: self.parts.custody.next().ok().map(|kek| kek.id().to_owned()),
            active_term: active,
            terms,
            reseal: conn.reseal().await?,
            refused: self.parts.sealer.refused(),
        })
    }
}

/// The terms of a keyring, oldest first, without what is under them.
pub(super) fn terms(keyring: &Keyring) -> Vec<TermView> {
    let active = keyring.active_term();
    let state = |term: u32| match term.cmp(&active) {
        std::cmp::Ordering::Less => TermState::Retired,
        std::cmp::Ordering::Equal => TermState::Active,
        std::cmp::Ordering::Greater => TermState::Pending,
    };
    let view = |term| TermView { term, state: state(term), uses: Vec::new(), needs: Vec::new() };
    keyring.terms().map(view).collect()
}
