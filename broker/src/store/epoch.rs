//! The rights epoch: a number that rises with every change of rights, and what each step was about.
//!
//! Never falls. Invariants: the verbs that change rights (apps, accounts, credentials, callers) raise it in their own
//! transaction, so whoever reads the same epoch twice has seen no change between; each step has its one row, in the order in
//! which they were committed, since writers take turns. Next: decisions compare it with the epoch at which their rights were
//! read (design section 6).

use super::engine::{Conn, Tx, all, maybe, run, statements};
use super::error::{Error, Result};
use super::row::Cells;
use crate::domain::ids::{AccountId, AppId, CallerId, CredentialId, SessionId};

/// Steps whose subject is remembered. Whoever is further behind has to look at everything.
pub const REMEMBERED: i64 = 100_000;

statements! {
    EPOCH = "select epoch from rights_epoch where one = 1";
    RAISE_EPOCH = "update rights_epoch set epoch = epoch + 1 where one = 1";
    NOTE_CHANGE = "insert into rights_changes (epoch, kind, subject)
        select epoch, $1, $2 from rights_epoch where one = 1";
    FORGET_CHANGE = "delete from rights_changes where epoch <= (select epoch from rights_epoch where one = 1) - $1";
    CHANGES = "select epoch, kind, subject from rights_changes where epoch > $1 order by epoch limit $2";
}

/// Whose rights changed. A caller's keys are the caller's, an account's grants the account's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Changed {
    /// An app.
    App(AppId),
    /// An account.
    Account(AccountId),
    /// A credential.
    Credential(CredentialId),
    /// A caller.
    Caller(CallerId),
    /// A mail session, ended by an operator.
    Session(SessionId),
}

/// A step of the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The epoch since then.
    pub epoch: i64,
    /// What it was about.
    pub what: Changed,
}

impl Changed {
    const fn columns(self) -> (&'static str, [u8; 16]) {
        match self {
            Self::App(id) => ("app", id.bytes()),
            Self::Account(id) => ("account", id.bytes()),
            Self::Credential(id) => ("credential", id.bytes()),
            Self::Caller(id) => ("caller", id.bytes()),
            Self::Session(id) => ("session", id.bytes()),
        }
    }

    fn parse(kind: &str, id: [u8; 16]) -> Option<Self> {
        Some(match kind {
            "app" => Self::App(AppId::from_bytes(id)),
            "account" => Self::Account(AccountId::from_bytes(id)),
            "credential" => Self::Credential(CredentialId::from_bytes(id)),
            "caller" => Self::Caller(CallerId::from_bytes(id)),
            "session" => Self::Session(SessionId::from_bytes(id)),
            _ => return None,
        })
    }
}

impl Conn {
    /// The epoch now.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if its row is missing; else as every read.
    pub async fn rights_epoch(&mut self) -> Result<i64> {
        maybe!(self, EPOCH => (i64,))?.map(|(epoch,)| epoch).ok_or_else(missing)
    }

    /// At most `limit` steps after `epoch`, oldest first. A step that is missing was forgotten, which only happens
    /// [`REMEMBERED`] steps later.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a row cannot be understood; else as every read.
    pub async fn rights_changes(&mut self, epoch: i64, limit: i64) -> Result<Vec<Change>> {
        let rows = all!(self, CHANGES => (i64, String, Vec<u8>); epoch; limit)?;
        let read = |(epoch, kind, subject): (i64, String, Vec<u8>)| {
            let number = epoch.to_string();
            let at = Cells::of("rights_changes", number.as_bytes());
            let subject = at.id("subject", &subject, |id| id)?;
            let what = at.text("kind", &kind, |kind| Changed::parse(kind, subject))?;
            Ok(Change { epoch, what })
        };
        rows.into_iter().map(read).collect()
    }
}

impl Tx {
    /// Raises it; called by the verbs that change rights.
    pub(super) async fn raise_epoch(&mut self, what: Changed) -> Result<()> {
        if run!(self, RAISE_EPOCH)? != 1 {
            return Err(missing());
        }
        self.pending.ring_rights();
        let (kind, subject) = what.columns();
        run!(self, NOTE_CHANGE; kind; subject.to_vec())?;
        run!(self, FORGET_CHANGE; REMEMBERED).map(drop)
    }

    /// The end of a version-checked change of rights: stale if no row was touched, else the epoch rises.
    pub(super) async fn raised_if(
        &mut self,
        rows: u64,
        table: &'static str,
        what: Changed,
    ) -> Result<()> {
        if rows == 0 {
            return Err(Error::Stale { what: table });
        }
        self.raise_epoch(what).await
    }
}

/// Without its row no change of rights would be noticed, so none is made.
fn missing() -> Error {
    Error::Corrupt { table: "rights_epoch", column: "epoch", id: "1".into() }
}
