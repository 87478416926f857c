//! Refresh tokens in generations.
//!
//! Never overwrites one and never drops the newest that holds a refresh token. Invariants: generations of an account are
//! unique, the newest is current, siblings stay until the newest has worked; only then are all but the last
//! [`KEPT`] pruned. Next: `access_tokens.rs` keeps what they bought, `attempts.rs` what was tried.

use super::engine::{Conn, Tx, all, maybe, run, statements};
use super::error::Result;
use super::row::{Cells, millis, row, time};
use crate::clock::Time;
use crate::domain::grant::Grant;
use crate::domain::ids::{AccountId, GrantId};
use crate::domain::secret::Sealed;

/// Generations of an account that stay once the newest has worked.
pub const KEPT: i64 = 3;

row!(GrantRow, grant_columns {
    id: Vec<u8>, account: Vec<u8>, generation: i64, parent: i64, refresh_token: Option<Vec<u8>>, received_at: i64,
    proven: i64, ends_at: Option<i64>, carried: i64, refusals: i64,
});

statements! {
    GRANTS = concat!("select ", grant_columns!(), " from grants where account = $1
        order by generation desc limit 100");
    CURRENT_GRANT = concat!("select ", grant_columns!(), " from grants where account = $1
        order by generation desc limit 1");
    INSERT_GRANT = concat!("insert into grants (", grant_columns!(), ") values ($1, $2, $3, $4, $5, $6, $7, $8,
        $9, $10)");
    PROVE_GRANT = "update grants set proven = 1 where account = $1 and generation = $2";
    PRUNE_GRANTS = "delete from grants where account = $1 and generation <= $2
        and $3 = (select max(generation) from grants where account = $1)
        and generation < (select max(generation) from grants where account = $1 and refresh_token is not null)";
    REFUSE_GRANT = "update grants set refusals = $3 where account = $1 and generation = $2";
    DELETE_GRANTS = "delete from grants where account = $1";
}

impl Conn {
    /// The newest generation.
    ///
    /// # Errors
    /// [`Error::Corrupt`](super::Error::Corrupt) if the row cannot be understood; else as every read.
    pub async fn current_grant(&mut self, account: AccountId) -> Result<Option<Grant>> {
        let row = maybe!(self, CURRENT_GRANT => GrantRow; account.bytes().to_vec())?;
        row.map(GrantRow::read).transpose()
    }

    /// The newest 100 generations, newest first.
    ///
    /// # Errors
    /// As [`current_grant`](Self::current_grant).
    pub async fn grants(&mut self, account: AccountId) -> Result<Vec<Grant>> {
        let rows = all!(self, GRANTS => GrantRow; account.bytes().to_vec())?;
        rows.into_iter().map(GrantRow::read).collect()
    }
}

impl Tx {
    /// Appends a generation, early or late. Its number is the current one's plus one, read in the same transaction.
    ///
    /// # Errors
    /// [`Error::Conflict`](super::Error::Conflict) if the number is taken,
    /// [`Error::Dangling`](super::Error::Dangling) without its account.
    pub async fn append_grant(&mut self, grant: &Grant) -> Result<()> {
        run!(self, INSERT_GRANT; grant.id.bytes().to_vec(); grant.account.bytes().to_vec(); grant.generation;
            grant.parent; grant.refresh_token.as_ref().map(Sealed::as_bytes); grant.received_at.millis();
            i64::from(grant.proven); millis(grant.ends_at); i64::from(grant.carried); grant.refusals)
        .map(drop)
    }

    /// Notes that a generation has bought a token; to be called before the new one is appended. If it is the newest, all but
    /// the last [`KEPT`] are pruned.
    ///
    /// # Errors
    /// As every write.
    pub async fn prove_grant(&mut self, account: AccountId, generation: i64) -> Result<()> {
        run!(self, PROVE_GRANT; account.bytes().to_vec(); generation)?;
        run!(self, PRUNE_GRANTS; account.bytes().to_vec(); generation - KEPT; generation).map(drop)
    }

    /// Notes how often the provider called a generation dead.
    ///
    /// # Errors
    /// As every write.
    pub async fn refuse_grant(
        &mut self,
        account: AccountId,
        generation: i64,
        refusals: i64,
    ) -> Result<()> {
        run!(self, REFUSE_GRANT; account.bytes().to_vec(); generation; refusals).map(drop)
    }

    /// Forgets all generations: after the account was given back.
    ///
    /// # Errors
    /// As every write.
    pub async fn delete_grants(&mut self, account: AccountId) -> Result<()> {
        run!(self, DELETE_GRANTS; account.bytes().to_vec()).map(drop)
    }
}

impl GrantRow {
    fn read(self) -> Result<Grant> {
        let at = Cells::of("grants", &self.id);
        Ok(Grant {
            id: at.id("id", &self.id, GrantId::from_bytes)?,
            account: at.id("account", &self.account, AccountId::from_bytes)?,
            generation: self.generation,
            parent: self.parent,
            refresh_token: self.refresh_token.map(Sealed::from_bytes),
            received_at: Time::from_millis(self.received_at),
            proven: self.proven == 1,
            ends_at: time(self.ends_at),
            carried: self.carried == 1,
            refusals: self.refusals,
        })
    }
}
