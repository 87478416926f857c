//! A page of values under an older key term, each with the one that is to take its place.
//!
//! Never makes one for what does not open at its own place or does not fit its own MAC: that would make genuine what somebody
//! put there. Next: `reseal` writes it.

use crate::domain::guarded::{Guarded, Rights};
use crate::domain::ids::{AccountId, AppId, AppSecretId, CallerId, ConsentId, GrantId, TokenId};
use crate::seal::{Place, RefusedRow};
use crate::service::{Error, Service, places};
use crate::store::{self, Conn, Kind, NamedRow, SealedCell, Swap};

/// Values that are moved in one transaction.
const PAGE: i64 = 512;

/// A page.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Its last row; `None` if there was none.
    pub(super) last: Option<[u8; 16]>,
    /// What is to be moved.
    pub(super) swaps: Vec<Swap>,
    /// What stays as it is.
    pub(super) refused: Vec<RefusedRow>,
}

impl Service {
    /// The values of a kind under the term `old`, after a row.
    pub(super) async fn page(&self, kind: Kind, from: (u32, [u8; 16])) -> Result<Page, Error> {
        let mut conn = self.read().await?;
        match kind {
            Kind::AccountMac => {
                let rows = conn.accounts_of_term(from, PAGE).await?;
                Ok(self.signed(kind, rows.into_iter().map(|(id, row)| (id_of(&id), row))))
            }
            Kind::CredentialMac => {
                let rows = conn.credentials_of_term(from, PAGE).await?;
                Ok(self.signed(kind, rows.into_iter().map(|(id, row)| (id_of(&id), row))))
            }
            Kind::AppMac | Kind::CallerMac | Kind::CallerKeyMac => {
                self.signed_one_by_one(&mut conn, kind, from).await
            }
            _ => Ok(self.sealed(kind, conn.sealed_of_term(kind, from, PAGE).await?)),
        }
    }

    fn sealed(&self, kind: Kind, cells: Vec<SealedCell>) -> Page {
        let mut page = Page { last: cells.last().map(|cell| cell.id), ..Page::default() };
        for cell in cells {
            match self.parts.sealer.reseal(&place_of(kind, &cell), &cell.sealed) {
                Ok(Some(new)) => page.swaps.push(Swap {
                    id: cell.id,
                    old: cell.sealed.into_bytes(),
                    new: new.into_bytes(),
                }),
                Ok(None) => {}
                Err(_) => page.refuse(kind, cell.id),
            }
        }
        page
    }

    fn signed<T: Rights>(
        &self,
        kind: Kind,
        rows: impl Iterator<Item = ([u8; 16], store::Result<Guarded<T>>)>,
    ) -> Page {
        let mut page = Page::default();
        for (id, row) in rows {
            page.last = Some(id);
            self.sign(kind, id, row, &mut page);
        }
        page
    }

    /// Of these there are few.
    async fn signed_one_by_one(
        &self,
        conn: &mut Conn,
        kind: Kind,
        from: (u32, [u8; 16]),
    ) -> Result<Page, Error> {
        let mut page = Page::default();
        for NamedRow { id, name } in conn.rows_of_term(kind, from, PAGE).await? {
            page.last = Some(id);
            match kind {
                Kind::AppMac => {
                    let row = conn.app(AppId::from_bytes(id)).await;
                    self.sign(kind, id, told_apart(row)?, &mut page);
                }
                Kind::CallerMac => {
                    let row = conn.caller(CallerId::from_bytes(id)).await;
                    self.sign(kind, id, told_apart(row)?, &mut page);
                }
                _ => {
                    let row = conn.caller_key(&name).await;
                    self.sign(kind, id, told_apart(row)?, &mut page);
                }
            }
        }
        Ok(page)
    }

    fn sign<T: Rights>(
        &self,
        kind: Kind,
        id: [u8; 16],
        row: store::Result<Guarded<T>>,
        page: &mut Page,
    ) {
        let Ok(row) = row else { return page.refuse(kind, id) };
        let old = row.mac().to_vec();
        match self.parts.sealer.resign(row) {
            Ok(Some(mac)) => page.swaps.push(Swap { id, old, new: mac.as_bytes().to_vec() }),
            Ok(None) => {}
            Err(_) => page.refuse(kind, id),
        }
    }
}

impl Page {
    fn refuse(&mut self, kind: Kind, id: [u8; 16]) {
        self.refused.push(RefusedRow::new(kind.table(), kind.column(), id));
    }
}

/// A row that cannot be understood is one thing, a store that is away another. One that is gone needs nothing.
fn told_apart<T>(
    row: store::Result<Option<Guarded<T>>>,
) -> Result<store::Result<Guarded<T>>, store::Error> {
    match row {
        Ok(Some(row)) => Ok(Ok(row)),
        Ok(None) => Err(store::Error::Busy),
        Err(error @ store::Error::Corrupt { .. }) => Ok(Err(error)),
        Err(error) => Err(error),
    }
}

/// Where a cell is.
fn place_of(kind: Kind, cell: &SealedCell) -> Place {
    let SealedCell { id, owner, audience, generation, .. } = cell;
    let account = AccountId::from_bytes(*owner);
    match kind {
        Kind::AppSecret => {
            places::client_secret(AppSecretId::from_bytes(*id), AppId::from_bytes(*owner))
        }
        Kind::RefreshToken => places::refresh_token(GrantId::from_bytes(*id), account, *generation),
        Kind::AccessToken => {
            places::access_token(TokenId::from_bytes(*id), (account, audience), *generation)
        }
        Kind::Verifier => places::verifier(ConsentId::from_bytes(*id)),
        Kind::Nonce => places::nonce(ConsentId::from_bytes(*id)),
        _ => places::answer(ConsentId::from_bytes(*id)),
    }
}

/// The store has read it as one.
fn id_of(bytes: &[u8]) -> [u8; 16] {
    bytes.try_into().unwrap_or([u8::MAX; 16])
}
