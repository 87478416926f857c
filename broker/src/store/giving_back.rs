//! Accounts whose grants are on their way back to the provider.
//!
//! Never decides when that is over. Invariant: an account is marked in the transaction that revokes it, and the mark goes in
//! the one that forgets its grants. Next: `service/give_back.rs`.

use super::engine::{Conn, Tx, all, run, statements};
use super::error::Result;
use super::row::{Cells, row};
use crate::clock::Time;
use crate::domain::ids::AccountId;

row!(GivingBackRow, giving_back_columns { id: Vec<u8>, giving_back_since: i64, });

statements! {
    GIVING_BACK = concat!("select ", giving_back_columns!(), " from accounts
        where giving_back_since is not null and id > $1 order by id limit $2");
    BEGIN_GIVING_BACK = "update accounts set giving_back_since = $2 where id = $1 and giving_back_since is null";
    END_GIVING_BACK = "update accounts set giving_back_since = null where id = $1 and giving_back_since is not null";
}

impl Conn {
    /// At most `page` accounts after `after`, with the time since when each is being given back.
    ///
    /// # Errors
    /// [`Error::Corrupt`](super::Error::Corrupt) if a row cannot be understood; else as every read.
    pub async fn giving_back(
        &mut self,
        after: Option<AccountId>,
        page: i64,
    ) -> Result<Vec<(AccountId, Time)>> {
        let after = after.map_or_else(Vec::new, |id| id.bytes().to_vec());
        let rows = all!(self, GIVING_BACK => GivingBackRow; after; page)?;
        rows.into_iter().map(GivingBackRow::read).collect()
    }
}

impl Tx {
    /// Marks an account. Who is marked already stays so since then.
    ///
    /// # Errors
    /// As every write.
    pub async fn begin_giving_back(&mut self, account: AccountId, now: Time) -> Result<()> {
        run!(self, BEGIN_GIVING_BACK; account.bytes().to_vec(); now.millis()).map(drop)
    }

    /// Takes the mark away, if there is one, and forgets the grants with it. Says whether there was.
    ///
    /// # Errors
    /// As every write.
    pub async fn end_giving_back(&mut self, account: AccountId) -> Result<bool> {
        if run!(self, END_GIVING_BACK; account.bytes().to_vec())? == 0 {
            return Ok(false);
        }
        self.delete_grants(account).await?;
        Ok(true)
    }
}

impl GivingBackRow {
    fn read(self) -> Result<(AccountId, Time)> {
        let at = Cells::of("accounts", &self.id);
        let id = at.id("id", &self.id, AccountId::from_bytes)?;
        Ok((id, Time::from_millis(self.giving_back_since)))
    }
}
