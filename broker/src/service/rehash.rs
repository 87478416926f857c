//! Keyed hashes of secrets under older key terms: made anew when the secret is used, or put to rest when it was revoked.
//!
//! Never changes what a secret opens: version and epoch stay. Invariants: only a row whose MAC fits is touched, and only if it
//! still holds the hash that was matched. Next: `reseal` moves everything else.

use crate::domain::caller::CallerKey;
use crate::domain::credential::Credential;
use crate::domain::guarded::{Guarded, Rights};
use crate::seal::Outgrown;
use crate::seal::credential::{KeyedHash, Kind as Purpose};
use crate::service::{Error, Service};
use crate::store::{self, Conn, Kind, NamedRow};

/// Hashes that are put to rest in one transaction.
const PAGE: i64 = 256;

/// A row with the hash of a secret.
trait Hashed: Rights {
    fn id(&self) -> [u8; 16];
    fn hash(&mut self) -> &mut Vec<u8>;
}

impl Hashed for Credential {
    fn id(&self) -> [u8; 16] {
        self.id.bytes()
    }

    fn hash(&mut self) -> &mut Vec<u8> {
        &mut self.secret_hash
    }
}

impl Hashed for CallerKey {
    fn id(&self) -> [u8; 16] {
        self.id.bytes()
    }

    fn hash(&mut self) -> &mut Vec<u8> {
        &mut self.secret_hash
    }
}

/// A change of a row: what its MAC was, its hash and its MAC from now on.
struct Rehashed {
    kind: Kind,
    id: [u8; 16],
    old_mac: Vec<u8>,
    hash: Vec<u8>,
    mac: Vec<u8>,
}

impl Service {
    /// Stores the hashes that were made anew because their secret was used.
    pub(super) async fn store_outgrown(&self) -> Result<(), Error> {
        let outgrown = self.parts.sealer.take_outgrown();
        if outgrown.is_empty() {
            return Ok(());
        }
        let mut conn = self.read().await?;
        let mut changes = Vec::new();
        for Outgrown { kind, id, old, new } in outgrown {
            let old = Some(old.as_bytes().as_slice());
            changes.extend(match kind {
                Purpose::Proxy => {
                    let row = conn.credential_by_key(id.as_str()).await?;
                    row.and_then(|row| self.rehashed(Kind::CredentialHash, row, old, new))
                }
                Purpose::ApiKey => {
                    let row = conn.caller_key(id.as_str()).await?;
                    row.and_then(|row| self.rehashed(Kind::CallerKeyHash, row, old, new))
                }
            });
        }
        drop(conn);
        self.rehash(changes).await.map(drop)
    }

    /// Puts the hashes of revoked secrets to rest: nobody needs the old key to refuse them. Says how many there were.
    pub(super) async fn end_hashes(&self, kind: Kind, term: u32) -> Result<u64, Error> {
        let (mut after, mut ended) = ([0; 16], 0);
        loop {
            let changes = self.insist(|| self.ended_page(kind, (term, after))).await?;
            let (Some(last), changes) = changes else { return Ok(ended) };
            after = last;
            ended += self.rehash(changes).await?;
        }
    }

    async fn ended_page(
        &self,
        kind: Kind,
        from: (u32, [u8; 16]),
    ) -> Result<(Option<[u8; 16]>, Vec<Rehashed>), Error> {
        let mut conn = self.read().await?;
        let rows = conn.ended_of_term(kind, from, PAGE).await?;
        let mut changes = Vec::new();
        for NamedRow { name, .. } in &rows {
            changes.extend(self.ended(&mut conn, kind, name).await?);
        }
        Ok((rows.last().map(|row| row.id), changes))
    }

    async fn ended(
        &self,
        conn: &mut Conn,
        kind: Kind,
        name: &str,
    ) -> Result<Option<Rehashed>, Error> {
        let never = self.parts.sealer.impossible_hash();
        let change = match kind {
            Kind::CredentialHash => match conn.credential_by_key(name).await {
                Ok(row) => row.and_then(|row| self.rehashed(kind, row, None, never)),
                Err(error) => unreadable(error)?,
            },
            _ => match conn.caller_key(name).await {
                Ok(row) => row.and_then(|row| self.rehashed(kind, row, None, never)),
                Err(error) => unreadable(error)?,
            },
        };
        Ok(change)
    }

    /// The change of a row whose MAC fits and whose hash is the `expected` one, if one is.
    fn rehashed<T: Hashed>(
        &self,
        kind: Kind,
        row: Guarded<T>,
        expected: Option<&[u8]>,
        new: KeyedHash,
    ) -> Option<Rehashed> {
        let old_mac = row.mac().to_vec();
        let mut row = self.parts.sealer.admit(row).ok()?;
        if expected.is_some_and(|expected| row.hash() != expected) {
            return None;
        }
        *row.hash() = new.as_bytes().to_vec();
        let (id, hash) = (row.id(), row.hash().clone());
        let mac = self.parts.sealer.guard(row).mac().to_vec();
        Some(Rehashed { kind, id, old_mac, hash, mac })
    }

    async fn rehash(&self, changes: Vec<Rehashed>) -> Result<u64, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let mut changed = 0;
                for Rehashed { kind, id, old_mac, hash, mac } in changes {
                    changed += u64::from(tx.rehash(kind, (id, &old_mac), (&hash, &mac)).await?);
                }
                Ok(changed)
            })
        })
        .await
    }
}

/// A row that cannot be understood stays as it is.
fn unreadable(error: store::Error) -> Result<Option<Rehashed>, store::Error> {
    match error {
        store::Error::Corrupt { .. } => Ok(None),
        error => Err(error),
    }
}
