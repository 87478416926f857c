//! Looks through all rows that grant rights, for those that were changed behind the broker's back.
//!
//! Never mends one and never hurries. Invariant: what it finds is refused anyway, at each use; this is so that somebody hears of
//! it before. Next: `status` names what was found.

use std::time::Duration;

use crate::domain::guarded::{Guarded, Rights};
use crate::domain::ids::{AppId, CallerId};
use crate::seal::RefusedRow;
use crate::service::{Error, Service};
use crate::store::{self, Kind, NamedRow};

/// Rows that are looked at in one go.
const PAGE: i64 = 256;

/// Between two of them, so that calls go first.
const PAUSE: Duration = Duration::from_millis(20);

impl Service {
    /// Looks once through everything.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn check_rights(&self) -> Result<(), Error> {
        let keyring = self.parts.sealer.keyring();
        let oldest = keyring.terms().next().unwrap_or_default();
        for kind in Kind::ALL {
            let strays = self.read().await?.strays(*kind, (oldest, keyring.newest_term())).await?;
            strays.into_iter().for_each(|id| self.refused(*kind, id));
        }
        for term in keyring.terms() {
            for kind in Kind::MACS {
                self.check_kind(kind, term).await?;
            }
        }
        Ok(())
    }

    async fn check_kind(&self, kind: Kind, term: u32) -> Result<(), Error> {
        let mut after = [0; 16];
        while let Some(last) = self.check_page(kind, (term, after)).await? {
            if self.parts.tasks.is_stopping() {
                break;
            }
            after = last;
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// The last row of the page; `None` after the last page.
    async fn check_page(
        &self,
        kind: Kind,
        from: (u32, [u8; 16]),
    ) -> Result<Option<[u8; 16]>, Error> {
        let mut conn = self.read().await?;
        let rows = conn.rows_of_term(kind, from, PAGE).await?;
        match kind {
            Kind::AccountMac => {
                for (_, row) in conn.accounts_of_term(from, PAGE).await? {
                    self.look_at(row.map(Some))?;
                }
            }
            Kind::CredentialMac => {
                for (_, row) in conn.credentials_of_term(from, PAGE).await? {
                    self.look_at(row.map(Some))?;
                }
            }
            _ => {
                for NamedRow { id, name } in &rows {
                    match kind {
                        Kind::AppMac => self.look_at(conn.app(AppId::from_bytes(*id)).await)?,
                        Kind::CallerMac => {
                            self.look_at(conn.caller(CallerId::from_bytes(*id)).await)?;
                        }
                        _ => self.look_at(conn.caller_key(name).await)?,
                    }
                }
            }
        }
        Ok(rows.last().map(|row| row.id))
    }

    /// One that does not fit is noted by the check itself; one that cannot be understood is noted here.
    fn look_at<T: Rights>(&self, row: store::Result<Option<Guarded<T>>>) -> Result<(), Error> {
        match row {
            Ok(row) => drop(row.map(|row| self.parts.sealer.admit(row))),
            Err(store::Error::Corrupt { table, column, id }) => {
                let (table, column) = (table.to_owned(), column.to_owned());
                self.parts.sealer.note_refused(RefusedRow { table, column, id });
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn refused(&self, kind: Kind, id: [u8; 16]) {
        let row = RefusedRow::new(kind.table(), kind.column(), id);
        self.parts.sealer.note_refused(row);
    }
}
