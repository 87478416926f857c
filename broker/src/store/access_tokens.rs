//! Access tokens, one per account and audience, sealed, so that a restart refreshes nothing.
//!
//! Never replaces a newer one by an older one. Invariants: a row's (generation, time of issue) only rises; a new token keeps the
//! time at which the one before it was last used. Next:
//! `service/access_token` decides whether one is fresh enough.

use super::engine::{Conn, Tx, all, maybe, run, statements};
use super::error::Result;
use super::row::{Cells, json_list, millis, row, time};
use crate::clock::Time;
use crate::domain::grant::AccessToken;
use crate::domain::ids::{AccountId, TokenId};
use crate::domain::secret::Sealed;

row!(TokenRow, token_columns {
    id: Vec<u8>, account: Vec<u8>, audience: String, generation: i64, sealed: Vec<u8>, token_type: String,
    scopes: String, issued_at: i64, expires_at: i64, fingerprint: Vec<u8>, rejected: i64, used_at: Option<i64>,
});

statements! {
    TOKEN = concat!("select ", token_columns!(), " from access_tokens where account = $1 and audience = $2");
    TOKENS = concat!("select ", token_columns!(), " from access_tokens where account = $1
        order by audience limit 100");
    TOUCH = "update access_tokens set used_at = $3 where account = $1 and audience = $2";
    PUT_TOKEN = concat!("insert into access_tokens (", token_columns!(), ")
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        on conflict (account, audience) do update set id = excluded.id, generation = excluded.generation,
            sealed = excluded.sealed, token_type = excluded.token_type, scopes = excluded.scopes,
            issued_at = excluded.issued_at, expires_at = excluded.expires_at,
            fingerprint = excluded.fingerprint, rejected = excluded.rejected
        where access_tokens.generation < excluded.generation
            or (access_tokens.generation = excluded.generation
                and access_tokens.issued_at <= excluded.issued_at)");
    REJECT_TOKEN = "update access_tokens set rejected = 1
        where account = $1 and audience = $2 and fingerprint = $3";
    DELETE_TOKENS = "delete from access_tokens where account = $1";
}

impl Conn {
    /// The token of an account for an audience.
    ///
    /// # Errors
    /// [`Error::Corrupt`](super::Error::Corrupt) if the row cannot be understood; else as every read.
    pub async fn access_token(
        &mut self,
        account: AccountId,
        audience: &str,
    ) -> Result<Option<AccessToken>> {
        let row = maybe!(self, TOKEN => TokenRow; account.bytes().to_vec(); audience)?;
        row.map(TokenRow::read).transpose()
    }

    /// The first 100 tokens of an account, by audience.
    ///
    /// # Errors
    /// As [`access_token`](Self::access_token).
    pub async fn access_tokens(&mut self, account: AccountId) -> Result<Vec<AccessToken>> {
        let rows = all!(self, TOKENS => TokenRow; account.bytes().to_vec())?;
        rows.into_iter().map(TokenRow::read).collect()
    }
}

impl Tx {
    /// Notes that a token was handed out.
    ///
    /// # Errors
    /// As every write.
    pub async fn touch_access_token(
        &mut self,
        account: AccountId,
        audience: &str,
        now: Time,
    ) -> Result<()> {
        run!(self, TOUCH; account.bytes().to_vec(); audience; now.millis()).map(drop)
    }

    /// Keeps a token in place of an older one. False if the stored one is newer; then nothing changes.
    ///
    /// # Errors
    /// [`Error::Dangling`](super::Error::Dangling) without its account.
    pub async fn put_access_token(&mut self, token: &AccessToken) -> Result<bool> {
        let kept = run!(self, PUT_TOKEN; token.id.bytes().to_vec(); token.account.bytes().to_vec();
            token.audience.as_str(); token.generation; token.sealed.as_bytes(); token.token_type.as_str();
            json_list(&token.scopes); token.issued_at.millis(); token.expires_at.millis();
            token.fingerprint.as_slice(); i64::from(token.rejected); millis(token.used_at))?;
        Ok(kept == 1)
    }

    /// Notes that the resource refuses the token with this fingerprint. False if another is stored by now.
    ///
    /// # Errors
    /// As every write.
    pub async fn reject_access_token(
        &mut self,
        account: AccountId,
        audience: &str,
        fingerprint: &[u8],
    ) -> Result<bool> {
        let marked = run!(self, REJECT_TOKEN; account.bytes().to_vec(); audience; fingerprint)?;
        Ok(marked == 1)
    }

    /// Forgets all tokens of an account.
    ///
    /// # Errors
    /// As every write.
    pub async fn delete_access_tokens(&mut self, account: AccountId) -> Result<()> {
        run!(self, DELETE_TOKENS; account.bytes().to_vec()).map(drop)
    }
}

impl TokenRow {
    fn read(self) -> Result<AccessToken> {
        let at = Cells::of("access_tokens", &self.id);
        Ok(AccessToken {
            id: at.id("id", &self.id, TokenId::from_bytes)?,
            account: at.id("account", &self.account, AccountId::from_bytes)?,
            audience: self.audience,
            generation: self.generation,
            sealed: Sealed::from_bytes(self.sealed),
            token_type: self.token_type,
            scopes: at.json("scopes", &self.scopes)?,
            issued_at: Time::from_millis(self.issued_at),
            expires_at: Time::from_millis(self.expires_at),
            fingerprint: self.fingerprint,
            rejected: self.rejected == 1,
            used_at: time(self.used_at),
        })
    }
}
