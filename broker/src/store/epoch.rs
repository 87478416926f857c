//! The rights epoch: a number that rises with every change of rights.
//!
//! Never falls. Invariant: the verbs that change rights (apps, accounts, credentials, callers) raise it in their own
//! transaction, so whoever reads the same epoch twice has seen no change between. Next: decisions compare it with the
//! epoch at which their rights were read (design section 6).

use super::engine::{Conn, Tx, maybe, run, statements};
use super::error::{Error, Result};

statements! {
    EPOCH = "select epoch from rights_epoch where one = 1";
    RAISE_EPOCH = "update rights_epoch set epoch = epoch + 1 where one = 1";
}

impl Conn {
    /// The epoch now.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if its row is missing; else as every read.
    pub async fn rights_epoch(&mut self) -> Result<i64> {
        maybe!(self, EPOCH => (i64,))?.map(|(epoch,)| epoch).ok_or_else(missing)
    }
}

impl Tx {
    /// Raises it; called by the verbs that change rights.
    pub(super) async fn raise_epoch(&mut self) -> Result<()> {
        if run!(self, RAISE_EPOCH)? == 1 { Ok(()) } else { Err(missing()) }
    }
}

/// Without its row no change of rights would be noticed, so none is made.
fn missing() -> Error {
    Error::Corrupt { table: "rights_epoch", column: "epoch", id: "1".into() }
}
