//! Proxy credentials.
//!
//! Never the password, only its keyed hash, and never the MAC's judge. Invariant: a change names the version it follows and
//! raises the rights epoch; the last use is noted without either. Next: `sessions.rs` has the logins.

use super::engine::{Conn, Tx, all, maybe, run, statements};
use super::epoch::Changed;
use super::error::Result;
use super::page::{Page, PageRequest};
use super::row::{Cells, json_list, millis, row, time};
use crate::clock::Time;
use crate::domain::credential::{Credential, Limits};
use crate::domain::guarded::Guarded;
use crate::domain::ids::{AccountId, CredentialId, ProjectId};
use crate::domain::mail::MailProtocol;

row!(CredentialRow, credential_columns {
    id: Vec<u8>, key_id: String, account: Vec<u8>, description: String, protocols: String, ip_ranges: String,
    expires_at: Option<i64>, revoked_at: Option<i64>, secret_hash: Vec<u8>, successor: String, version: i64,
    created_at: i64, last_used_at: Option<i64>, last_used_from: String, mac: Vec<u8>,
    max_sessions: Option<i64>, logins_per_minute: Option<i64>,
});

statements! {
    CREDENTIAL = concat!("select ", credential_columns!(), " from credentials where id = $1");
    CREDENTIAL_BY_KEY = concat!("select ", credential_columns!(), " from credentials where key_id = $1");
    CREDENTIALS_OF = concat!("select ", credential_columns!(), " from credentials
        where account = $1 and key_id > $2 order by key_id limit $3");
    CREDENTIALS = concat!("select ", credential_columns!(), " from credentials
        where account in (select accounts.id from accounts where accounts.project = $1) and key_id > $2
        order by key_id limit $3");
    INSERT_CREDENTIAL = concat!("insert into credentials (", credential_columns!(), ")
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)");
    UPDATE_CREDENTIAL = "update credentials set description = $2, protocols = $3, ip_ranges = $4, expires_at = $5,
        revoked_at = $6, secret_hash = $7, successor = $8, version = $9, mac = $10, max_sessions = $11,
        logins_per_minute = $12
        where id = $1 and version = $9 - 1";
    TOUCH_CREDENTIAL = "update credentials set last_used_at = $2, last_used_from = $3 where id = $1";
    DELETE_CREDENTIAL = "delete from credentials where id = $1";
    CREDENTIALS_OF_TERM = concat!("select ", credential_columns!(), " from credentials where substr(mac, 1, 4) = $1
        and id > $2 order by id limit $3");
}

impl Conn {
    /// One, by row.
    ///
    /// # Errors
    /// [`Error::Corrupt`](super::Error::Corrupt) if the row cannot be understood; else as every read.
    pub async fn credential(&mut self, id: CredentialId) -> Result<Option<Guarded<Credential>>> {
        let row = maybe!(self, CREDENTIAL => CredentialRow; id.bytes().to_vec())?;
        row.map(CredentialRow::read).transpose()
    }

    /// One, by the public part of the password.
    ///
    /// # Errors
    /// As [`credential`](Self::credential).
    pub async fn credential_by_key(&mut self, key: &str) -> Result<Option<Guarded<Credential>>> {
        let row = maybe!(self, CREDENTIAL_BY_KEY => CredentialRow; key)?;
        row.map(CredentialRow::read).transpose()
    }

    /// Those of an account, by key.
    ///
    /// # Errors
    /// As [`credential`](Self::credential).
    pub async fn credentials_of(
        &mut self,
        account: AccountId,
        page: &PageRequest,
    ) -> Result<Page<Guarded<Credential>>> {
        let account = account.bytes().to_vec();
        let rows =
            all!(self, CREDENTIALS_OF => CredentialRow; account; page.after(); page.limit())?;
        page_of(rows, page)
    }

    /// Those of a project, by key.
    ///
    /// # Errors
    /// As [`credential`](Self::credential).
    pub async fn credentials(
        &mut self,
        project: &ProjectId,
        page: &PageRequest,
    ) -> Result<Page<Guarded<Credential>>> {
        let project = project.as_str();
        let rows = all!(self, CREDENTIALS => CredentialRow; project; page.after(); page.limit())?;
        page_of(rows, page)
    }

    /// Those whose MAC is under a key term, by row, after the row `after`; each may be unreadable by itself.
    ///
    /// # Errors
    /// As every read.
    pub async fn credentials_of_term(
        &mut self,
        (term, after): (u32, [u8; 16]),
        limit: i64,
    ) -> Result<Vec<(Vec<u8>, Result<Guarded<Credential>>)>> {
        let term = term.to_be_bytes().to_vec();
        let rows = all!(self, CREDENTIALS_OF_TERM => CredentialRow; term; after.to_vec(); limit)?;
        Ok(rows.into_iter().map(|row| (row.id.clone(), row.read())).collect())
    }
}

impl Tx {
    /// Adds one.
    ///
    /// # Errors
    /// [`Error::Conflict`](super::Error::Conflict) if the key is taken,
    /// [`Error::Dangling`](super::Error::Dangling) without its account.
    pub async fn insert_credential(&mut self, credential: &Guarded<Credential>) -> Result<()> {
        let (mac, it) = (credential.mac(), credential.unchecked());
        run!(self, INSERT_CREDENTIAL; it.id.bytes().to_vec(); it.key.as_str(); it.account.bytes().to_vec();
            it.description.as_str(); protocols_column(&it.protocols); json_list(&it.ip_ranges);
            millis(it.expires_at); millis(it.revoked_at); it.secret_hash.as_slice(); it.successor.as_str();
            it.version; it.created_at.millis(); millis(it.last_used_at); it.last_used_from.as_str(); mac;
            it.limits.sessions.map(i64::from); it.limits.logins_per_minute.map(i64::from))?;
        self.raise_epoch(Changed::Credential(it.id)).await
    }

    /// Changes one: all but id, key, account, time of creation and last use. `version` is the new one.
    ///
    /// # Errors
    /// [`Error::Stale`](super::Error::Stale) unless the stored version is one less.
    pub async fn update_credential(&mut self, credential: &Guarded<Credential>) -> Result<()> {
        let (mac, it) = (credential.mac(), credential.unchecked());
        let changed = run!(self, UPDATE_CREDENTIAL; it.id.bytes().to_vec(); it.description.as_str();
            protocols_column(&it.protocols); json_list(&it.ip_ranges); millis(it.expires_at);
            millis(it.revoked_at); it.secret_hash.as_slice(); it.successor.as_str(); it.version; mac;
            it.limits.sessions.map(i64::from); it.limits.logins_per_minute.map(i64::from))?;
        self.raised_if(changed, "credentials", Changed::Credential(it.id)).await
    }

    /// Notes the last login with it. Grants nothing: version, MAC and epoch stay.
    ///
    /// # Errors
    /// As every write.
    pub async fn touch_credential(&mut self, id: CredentialId, at: Time, from: &str) -> Result<()> {
        run!(self, TOUCH_CREDENTIAL; id.bytes().to_vec(); at.millis(); from).map(drop)
    }

    /// Removes one. Its sessions stay, with its name.
    ///
    /// # Errors
    /// [`Error::Stale`](super::Error::Stale) if it is not there.
    pub async fn delete_credential(&mut self, id: CredentialId) -> Result<()> {
        self.leave_credential_name(id).await?;
        let gone = run!(self, DELETE_CREDENTIAL; id.bytes().to_vec())?;
        self.raised_if(gone, "credentials", Changed::Credential(id)).await
    }
}

/// Protocols as JSON text.
pub(super) fn protocols_column(protocols: &[MailProtocol]) -> String {
    json_list(&protocols.iter().map(|protocol| protocol.as_str()).collect::<Vec<_>>())
}

fn page_of(rows: Vec<CredentialRow>, page: &PageRequest) -> Result<Page<Guarded<Credential>>> {
    let credentials = rows.into_iter().map(CredentialRow::read).collect::<Result<Vec<_>>>()?;
    Ok(page.page(credentials, |credential| credential.unchecked().key.clone()))
}

impl CredentialRow {
    fn read(self) -> Result<Guarded<Credential>> {
        let at = Cells::of("credentials", &self.id);
        let limit = |column, number: Option<i64>| {
            number.map(|number| at.number::<u32>(column, number)).transpose()
        };
        let credential = Credential {
            id: at.id("id", &self.id, CredentialId::from_bytes)?,
            key: self.key_id,
            account: at.id("account", &self.account, AccountId::from_bytes)?,
            description: self.description,
            protocols: at.list("protocols", &self.protocols, MailProtocol::parse)?,
            ip_ranges: at.list("ip_ranges", &self.ip_ranges, |text| text.parse().ok())?,
            limits: Limits {
                sessions: limit("max_sessions", self.max_sessions)?,
                logins_per_minute: limit("logins_per_minute", self.logins_per_minute)?,
            },
            expires_at: time(self.expires_at),
            revoked_at: time(self.revoked_at),
            secret_hash: self.secret_hash,
            successor: self.successor,
            version: self.version,
            created_at: Time::from_millis(self.created_at),
            last_used_at: time(self.last_used_at),
            last_used_from: self.last_used_from,
        };
        Ok(Guarded::new(credential, self.mac))
    }
}
