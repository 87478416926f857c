//! Which stored values are under which key term, and putting others in their place.
//!
//! Never opens or signs one: it reads the term that a value begins with, which is public. Invariants: every look goes by an
//! index over the terms, so it costs what it finds and not what there is; a value is replaced only if it still is the one
//! that was read, so nothing that was written meanwhile is lost. Next: `service/reseal` moves them.

use super::engine::{Conn, Tx, all, maybe, on, run, statements};
use super::error::Result;
use super::row::Cells;
use crate::domain::secret::Sealed;

/// A count goes no further: whoever has more knows enough.
pub const COUNTED: i64 = 1_000_000;

/// Values that one statement replaces.
const AT_ONCE: usize = 32;

macro_rules! where_of_term {
    ($table:literal, $column:literal, $from:literal) => {
        concat!(" from ", $table, " where substr(", $column, ", ", $from, ", 4) = $1")
    };
}

macro_rules! counted {
    ($table:literal, $column:literal, $from:literal) => {
        concat!(
            "select count(*) from (select 1",
            where_of_term!($table, $column, $from),
            " limit 1000000) as counted"
        )
    };
}

macro_rules! listed {
    ($table:literal, $column:literal, $from:literal, $columns:literal) => {
        concat!(
            "select ",
            $columns,
            where_of_term!($table, $column, $from),
            " and id > $2 order by id limit $3"
        )
    };
}

macro_rules! strays {
    ($table:literal, $column:literal, $from:literal) => {
        concat!(
            "select id from ",
            $table,
            " where substr(",
            $column,
            ", ",
            $from,
            ", 4) < $1 or substr(",
            $column,
            ", ",
            $from,
            ", 4) > $2 order by id limit 100"
        )
    };
}

/// The first row is empty and gives the others their types. Rows that are null match nothing.
macro_rules! swapped {
    ($table:literal, $column:literal) => {
        concat!(
            "update ", $table, " set ", $column, " = new.column3 from (values ((select id from ", $table,
            " where 1 = 0), (select ", $column, " from ", $table, " where 1 = 0), (select ", $column, " from ", $table,
            " where 1 = 0)), ($1, $2, $3), ($4, $5, $6), ($7, $8, $9),
            ($10, $11, $12), ($13, $14, $15), ($16, $17, $18), ($19, $20, $21), ($22, $23, $24), ($25, $26, $27),
            ($28, $29, $30), ($31, $32, $33), ($34, $35, $36), ($37, $38, $39), ($40, $41, $42), ($43, $44, $45),
            ($46, $47, $48), ($49, $50, $51), ($52, $53, $54), ($55, $56, $57), ($58, $59, $60), ($61, $62, $63),
            ($64, $65, $66), ($67, $68, $69), ($70, $71, $72), ($73, $74, $75), ($76, $77, $78), ($79, $80, $81),
            ($82, $83, $84), ($85, $86, $87), ($88, $89, $90), ($91, $92, $93), ($94, $95, $96)) as new
            where ", $table, ".id = new.column1 and ", $table, ".", $column, " = new.column2"
        )
    };
}

/// Declares the kinds with all their texts.
macro_rules! kinds {
    ($($kind:ident = $table:literal $column:literal $from:literal $columns:literal,
        $count:ident $list:ident $stray:ident $swap:ident;)+) => {
        /// A kind of value that names a key term.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind {
            $(#[doc = concat!("`", $table, ".", $column, "`.")] $kind,)+
        }

        statements! {
            $($count = counted!($table, $column, $from);
            $list = listed!($table, $column, $from, $columns);
            $stray = strays!($table, $column, $from);
            $swap = swapped!($table, $column);)+
            REHASH_CREDENTIAL = "update credentials set secret_hash = $3, mac = $4 where id = $1 and mac = $2";
            REHASH_KEY = "update caller_keys set secret_hash = $3, mac = $4 where id = $1 and mac = $2";
            ENDED_CREDENTIALS = "select id, key_id from credentials where substr(secret_hash, 1, 4) = $1 and id > $2
                and revoked_at is not null order by id limit $3";
            ENDED_KEYS = "select id, key_id from caller_keys where substr(secret_hash, 1, 4) = $1 and id > $2
                and revoked_at is not null order by id limit $3";
        }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)+];

            /// The table it is in.
            pub const fn table(self) -> &'static str {
                match self { $(Self::$kind => $table,)+ }
            }

            /// The column it is in.
            pub const fn column(self) -> &'static str {
                match self { $(Self::$kind => $column,)+ }
            }

            const fn texts(self) -> Texts {
                match self {
                    $(Self::$kind => Texts { count: $count, list: $list, stray: $stray, swap: $swap },)+
                }
            }
        }
    };
}

/// The texts of a kind.
struct Texts {
    count: &'static str,
    list: &'static str,
    stray: &'static str,
    swap: &'static str,
}

kinds! {
    AppSecret = "app_secrets" "sealed" "3" "id, sealed, app, cast('' as text), cast(0 as bigint)",
        COUNT_SECRETS LIST_SECRETS STRAY_SECRETS SWAP_SECRETS;
    RefreshToken = "grants" "refresh_token" "3" "id, refresh_token, account, cast('' as text), generation",
        COUNT_GRANTS LIST_GRANTS STRAY_GRANTS SWAP_GRANTS;
    AccessToken = "access_tokens" "sealed" "3" "id, sealed, account, audience, generation",
        COUNT_TOKENS LIST_TOKENS STRAY_TOKENS SWAP_TOKENS;
    Verifier = "consents" "verifier" "3" "id, verifier, id, cast('' as text), cast(0 as bigint)",
        COUNT_VERIFIERS LIST_VERIFIERS STRAY_VERIFIERS SWAP_VERIFIERS;
    Nonce = "consents" "nonce" "3" "id, nonce, id, cast('' as text), cast(0 as bigint)",
        COUNT_NONCES LIST_NONCES STRAY_NONCES SWAP_NONCES;
    Answer = "consents" "answer" "3" "id, answer, id, cast('' as text), cast(0 as bigint)",
        COUNT_ANSWERS LIST_ANSWERS STRAY_ANSWERS SWAP_ANSWERS;
    AppMac = "apps" "mac" "1" "id, name",
        COUNT_APPS LIST_APPS STRAY_APPS SWAP_APPS;
    AccountMac = "accounts" "mac" "1" "id, name",
        COUNT_ACCOUNTS LIST_ACCOUNTS STRAY_ACCOUNTS SWAP_ACCOUNTS;
    CredentialMac = "credentials" "mac" "1" "id, key_id",
        COUNT_CREDENTIALS LIST_CREDENTIALS STRAY_CREDENTIALS SWAP_CREDENTIALS;
    CallerMac = "callers" "mac" "1" "id, name",
        COUNT_CALLERS LIST_CALLERS STRAY_CALLERS SWAP_CALLERS;
    CallerKeyMac = "caller_keys" "mac" "1" "id, key_id",
        COUNT_KEYS LIST_KEYS STRAY_KEYS SWAP_KEYS;
    CredentialHash = "credentials" "secret_hash" "1" "id, key_id",
        COUNT_CREDENTIAL_HASHES LIST_CREDENTIAL_HASHES STRAY_CREDENTIAL_HASHES SWAP_CREDENTIAL_HASHES;
    CallerKeyHash = "caller_keys" "secret_hash" "1" "id, key_id",
        COUNT_KEY_HASHES LIST_KEY_HASHES STRAY_KEY_HASHES SWAP_KEY_HASHES;
}

/// A sealed value with all that its place is made of.
#[derive(Clone, Debug)]
pub struct SealedCell {
    /// The row.
    pub id: [u8; 16],
    /// The value.
    pub sealed: Sealed,
    /// The row it belongs to, or itself.
    pub owner: [u8; 16],
    /// The audience of an access token, else empty.
    pub audience: String,
    /// The generation of a token, else 0.
    pub generation: i64,
}

/// A row by both its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedRow {
    /// The row.
    pub id: [u8; 16],
    /// As people or secrets name it.
    pub name: String,
}

/// A value and the one that is to take its place.
#[derive(Clone, Debug)]
pub struct Swap {
    /// The row.
    pub id: [u8; 16],
    /// As it was read.
    pub old: Vec<u8>,
    /// Instead.
    pub new: Vec<u8>,
}

impl Kind {
    /// Ciphertext.
    pub const SEALED: [Self; 6] = [
        Self::AppSecret,
        Self::RefreshToken,
        Self::AccessToken,
        Self::Verifier,
        Self::Nonce,
        Self::Answer,
    ];

    /// Keyed hashes over rights.
    pub const MACS: [Self; 5] =
        [Self::AppMac, Self::AccountMac, Self::CredentialMac, Self::CallerMac, Self::CallerKeyMac];

    /// Keyed hashes of secrets, which cannot be made again without the secret.
    pub const HASHES: [Self; 2] = [Self::CredentialHash, Self::CallerKeyHash];

    /// Whether it can be moved to another term without somebody who knows a secret.
    pub const fn moves(self) -> bool {
        !matches!(self, Self::CredentialHash | Self::CallerKeyHash)
    }
}

impl Conn {
    /// How many values of a kind are under a term, counted up to [`COUNTED`].
    ///
    /// # Errors
    /// As every read.
    pub async fn count_of_term(&mut self, kind: Kind, term: u32) -> Result<i64> {
        let count = maybe!(self, kind.texts().count => (i64,); bytes(term))?;
        Ok(count.map_or(0, |(count,)| count))
    }

    /// Sealed values under a term, by row, after the row `after`.
    ///
    /// # Errors
    /// [`Error::Corrupt`](super::Error::Corrupt) if an id has another length; else as every read.
    pub async fn sealed_of_term(
        &mut self,
        kind: Kind,
        (term, after): (u32, [u8; 16]),
        limit: i64,
    ) -> Result<Vec<SealedCell>> {
        type Row = (Vec<u8>, Vec<u8>, Vec<u8>, String, i64);
        let rows = all!(self, kind.texts().list => Row; bytes(term); after.to_vec(); limit)?;
        let read = |(id, sealed, owner, audience, generation): Row| {
            let at = Cells::of(kind.table(), &id);
            let owner = at.id("owner", &owner, |id| id)?;
            let sealed = Sealed::from_bytes(sealed);
            Ok(SealedCell { id: at.id("id", &id, |id| id)?, sealed, owner, audience, generation })
        };
        rows.into_iter().map(read).collect()
    }

    /// Rows whose keyed hash of this kind is under a term, by row, after the row `after`.
    ///
    /// # Errors
    /// As [`sealed_of_term`](Self::sealed_of_term).
    pub async fn rows_of_term(
        &mut self,
        kind: Kind,
        (term, after): (u32, [u8; 16]),
        limit: i64,
    ) -> Result<Vec<NamedRow>> {
        self.named(kind, kind.texts().list, (term, after), limit).await
    }

    /// Of those, the ones that were revoked: nobody can use their secret again.
    ///
    /// # Errors
    /// As [`sealed_of_term`](Self::sealed_of_term).
    pub async fn ended_of_term(
        &mut self,
        kind: Kind,
        (term, after): (u32, [u8; 16]),
        limit: i64,
    ) -> Result<Vec<NamedRow>> {
        let text = match kind {
            Kind::CredentialHash => ENDED_CREDENTIALS,
            _ => ENDED_KEYS,
        };
        self.named(kind, text, (term, after), limit).await
    }

    /// The first 100 rows whose value of this kind names a term outside of these: nobody of ours wrote that.
    ///
    /// # Errors
    /// As [`sealed_of_term`](Self::sealed_of_term).
    pub async fn strays(
        &mut self,
        kind: Kind,
        (oldest, newest): (u32, u32),
    ) -> Result<Vec<[u8; 16]>> {
        let rows = all!(self, kind.texts().stray => (Vec<u8>,); bytes(oldest); bytes(newest))?;
        rows.iter().map(|(id,)| Cells::of(kind.table(), id).id("id", id, |id| id)).collect()
    }

    async fn named(
        &mut self,
        kind: Kind,
        text: &'static str,
        (term, after): (u32, [u8; 16]),
        limit: i64,
    ) -> Result<Vec<NamedRow>> {
        let rows = all!(self, text => (Vec<u8>, String); bytes(term); after.to_vec(); limit)?;
        let read = |(id, name): (Vec<u8>, String)| {
            Ok(NamedRow { id: Cells::of(kind.table(), &id).id("id", &id, |id| id)?, name })
        };
        rows.into_iter().map(read).collect()
    }
}

impl Tx {
    /// Puts values in the place of others, where those still are what was read. Says how many were. Neither version nor
    /// epoch change: nothing is granted or withdrawn.
    ///
    /// # Errors
    /// As every write.
    pub async fn swap(&mut self, kind: Kind, swaps: &[Swap]) -> Result<u64> {
        let text = kind.texts().swap;
        let mut swapped = 0;
        for some in swaps.chunks(AT_ONCE) {
            swapped += on!(self, wire => {
                let mut query = sqlx::query(text);
                for at in 0..AT_ONCE {
                    let swap = some.get(at);
                    query = query
                        .bind(swap.map(|it| it.id.as_slice()))
                        .bind(swap.map(|it| it.old.as_slice()))
                        .bind(swap.map(|it| it.new.as_slice()));
                }
                query.execute(wire).await.map(|done| done.rows_affected())
            })?;
        }
        Ok(swapped)
    }

    /// Puts a keyed hash of a secret, and the MAC over the row with it, in the place of those that were read. False if the
    /// row changed since.
    ///
    /// # Errors
    /// As every write.
    pub async fn rehash(
        &mut self,
        kind: Kind,
        (id, old_mac): ([u8; 16], &[u8]),
        (hash, mac): (&[u8], &[u8]),
    ) -> Result<bool> {
        let text = match kind {
            Kind::CredentialHash => REHASH_CREDENTIAL,
            _ => REHASH_KEY,
        };
        Ok(run!(self, text; id.to_vec(); old_mac; hash; mac)? == 1)
    }
}

/// A term as values begin with it.
fn bytes(term: u32) -> Vec<u8> {
    term.to_be_bytes().to_vec()
}
