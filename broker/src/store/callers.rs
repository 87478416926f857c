//! Callers and their API keys.
//!
//! Never the key itself, only the keyed hash of its secret part, and never the MAC's judge. Invariants: a change of a caller
//! names the version it follows, a revoked key stays revoked, and both raise the rights epoch. Next: `callers/` of the
//! broker looks a key up here on every call.

use std::collections::BTreeSet;
use std::time::Duration;

use super::credentials::protocols_column;
use super::engine::{Conn, Tx, all, maybe, run, statements};
use super::epoch::Changed;
use super::error::Result;
use super::page::{Page, PageRequest};
use super::row::{Cells, json_list, json_of, millis, row, time};
use crate::clock::Time;
use crate::domain::caller::{Caller, CallerKey, Role};
use crate::domain::caller_identity::CallerIdentity;
use crate::domain::guarded::Guarded;
use crate::domain::ids::{CallerId, CallerKeyId, ProjectId, ResourceId};
use crate::domain::mail::MailProtocol;

row!(CallerRow, caller_columns {
    id: Vec<u8>, project: String, name: String, display_name: String, role: String, rights: String,
    protocols: String, ip_ranges: String, identities: String, min_interval: i64, revoked_at: Option<i64>, version: i64,
    created_at: i64, mac: Vec<u8>,
});

row!(KeyRow, key_columns {
    id: Vec<u8>, key_id: String, caller: Vec<u8>, secret_hash: Vec<u8>, expires_at: Option<i64>,
    revoked_at: Option<i64>, created_at: i64, last_used_at: Option<i64>, mac: Vec<u8>,
});

statements! {
    CALLER = concat!("select ", caller_columns!(), " from callers where id = $1");
    CALLER_BY_NAME = concat!("select ", caller_columns!(), " from callers where project = $1 and name = $2");
    CALLERS = concat!("select ", caller_columns!(), " from callers
        where project = $1 and name > $2 order by name limit $3");
    INSERT_CALLER = concat!("insert into callers (", caller_columns!(), ")
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)");
    UPDATE_CALLER = "update callers set display_name = $2, role = $3, rights = $4, protocols = $5, ip_ranges = $6,
        revoked_at = $7, version = $8, mac = $9, identities = $10, min_interval = $11
        where id = $1 and version = $8 - 1";
    KNOWN_BY = concat!("select ", caller_columns!(), " from callers
        where id in (select caller from caller_identities where lookup = $1) order by id limit 257");
    FORGET_IDENTITIES = "delete from caller_identities where caller = $1";
    INSERT_IDENTITY = "insert into caller_identities (lookup, caller) values ($1, $2)";
    DELETE_CALLER = "delete from callers where id = $1";
    KEY = concat!("select ", key_columns!(), " from caller_keys where key_id = $1");
    KEYS = concat!("select ", key_columns!(), " from caller_keys where caller = $1
        order by created_at, id limit 100");
    INSERT_KEY = concat!("insert into caller_keys (", key_columns!(), ")
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)");
    UPDATE_KEY = "update caller_keys set expires_at = $2, revoked_at = $3, mac = $4
        where id = $1 and revoked_at is null";
    TOUCH_KEY = "update caller_keys set last_used_at = $2 where id = $1";
}

impl Conn {
    /// One, by row.
    ///
    /// # Errors
    /// [`Error::Corrupt`](super::Error::Corrupt) if the row cannot be understood; else as every read.
    pub async fn caller(&mut self, id: CallerId) -> Result<Option<Guarded<Caller>>> {
        maybe!(self, CALLER => CallerRow; id.bytes().to_vec())?.map(CallerRow::read).transpose()
    }

    /// One, by the id people use.
    ///
    /// # Errors
    /// As [`caller`](Self::caller).
    pub async fn caller_by_name(
        &mut self,
        project: &ProjectId,
        name: &ResourceId,
    ) -> Result<Option<Guarded<Caller>>> {
        let row = maybe!(self, CALLER_BY_NAME => CallerRow; project.as_str(); name.as_str())?;
        row.map(CallerRow::read).transpose()
    }

    /// Those of a project, by name.
    ///
    /// # Errors
    /// As [`caller`](Self::caller).
    pub async fn callers(
        &mut self,
        project: &ProjectId,
        page: &PageRequest,
    ) -> Result<Page<Guarded<Caller>>> {
        let rows = all!(self, CALLERS => CallerRow; project.as_str(); page.after(); page.limit())?;
        let callers = rows.into_iter().map(CallerRow::read).collect::<Result<Vec<_>>>()?;
        Ok(page.page(callers, |caller| caller.unchecked().name.to_string()))
    }

    /// Those that may be the ones found under any of these texts ([`CallerIdentity::lookup`]); at most 257 for each. The
    /// row decides whether one is.
    ///
    /// [`CallerIdentity::lookup`]: crate::domain::caller_identity::CallerIdentity::lookup
    ///
    /// # Errors
    /// As [`caller`](Self::caller).
    pub async fn callers_known_by(&mut self, lookups: &[String]) -> Result<Vec<Guarded<Caller>>> {
        let mut found: Vec<Guarded<Caller>> = Vec::new();
        for lookup in lookups {
            let rows = all!(self, KNOWN_BY => CallerRow; lookup.as_str())?;
            for row in rows {
                let row = row.read()?;
                let id = row.unchecked().id;
                if !found.iter().any(|other| other.unchecked().id == id) {
                    found.push(row);
                }
            }
        }
        Ok(found)
    }

    /// An API key, by its public part.
    ///
    /// # Errors
    /// As [`caller`](Self::caller).
    pub async fn caller_key(&mut self, key: &str) -> Result<Option<Guarded<CallerKey>>> {
        maybe!(self, KEY => KeyRow; key)?.map(KeyRow::read).transpose()
    }

    /// The first 100 API keys of a caller, oldest first.
    ///
    /// # Errors
    /// As [`caller`](Self::caller).
    pub async fn caller_keys(&mut self, caller: CallerId) -> Result<Vec<Guarded<CallerKey>>> {
        let rows = all!(self, KEYS => KeyRow; caller.bytes().to_vec())?;
        rows.into_iter().map(KeyRow::read).collect()
    }
}

impl Tx {
    /// Adds one.
    ///
    /// # Errors
    /// [`Error::Conflict`](super::Error::Conflict) if the name is taken,
    /// [`Error::Dangling`](super::Error::Dangling) without its project.
    pub async fn insert_caller(&mut self, caller: &Guarded<Caller>) -> Result<()> {
        let (mac, it) = (caller.mac(), caller.unchecked());
        run!(self, INSERT_CALLER; it.id.bytes().to_vec(); it.project.as_str(); it.name.as_str();
            it.display_name.as_str(); it.role.as_str(); json_of(&it.rights)?; protocols_column(&it.protocols);
            json_list(&it.ip_ranges); json_of(&it.identities)?; span(it.min_interval); millis(it.revoked_at);
            it.version; it.created_at.millis(); mac)?;
        self.index_identities(it).await?;
        self.raise_epoch(Changed::Caller(it.id)).await
    }

    /// Changes one: all but id, project, name and time of creation. `version` is the new one.
    ///
    /// # Errors
    /// [`Error::Stale`](super::Error::Stale) unless the stored version is one less.
    pub async fn update_caller(&mut self, caller: &Guarded<Caller>) -> Result<()> {
        let (mac, it) = (caller.mac(), caller.unchecked());
        let changed = run!(self, UPDATE_CALLER; it.id.bytes().to_vec(); it.display_name.as_str();
            it.role.as_str(); json_of(&it.rights)?; protocols_column(&it.protocols); json_list(&it.ip_ranges);
            millis(it.revoked_at); it.version; mac; json_of(&it.identities)?; span(it.min_interval))?;
        self.raised_if(changed, "callers", Changed::Caller(it.id)).await?;
        self.index_identities(it).await
    }

    /// Says anew where to look for a caller. One that was revoked is not to be found.
    async fn index_identities(&mut self, caller: &Caller) -> Result<()> {
        run!(self, FORGET_IDENTITIES; caller.id.bytes().to_vec())?;
        let live = caller.identities.iter().filter(|_| caller.revoked_at.is_none());
        let lookups: BTreeSet<String> = live.map(CallerIdentity::lookup).collect();
        for lookup in lookups {
            run!(self, INSERT_IDENTITY; lookup.as_str(); caller.id.bytes().to_vec())?;
        }
        Ok(())
    }

    /// Removes one with its keys. An adapter's sessions stay, with its name.
    ///
    /// # Errors
    /// [`Error::Stale`](super::Error::Stale) if it is not there.
    pub async fn delete_caller(&mut self, id: CallerId) -> Result<()> {
        self.leave_adapter_name(id).await?;
        let gone = run!(self, DELETE_CALLER; id.bytes().to_vec())?;
        self.raised_if(gone, "callers", Changed::Caller(id)).await
    }

    /// Adds an API key.
    ///
    /// # Errors
    /// [`Error::Conflict`](super::Error::Conflict) if its public part is taken,
    /// [`Error::Dangling`](super::Error::Dangling) without its caller.
    pub async fn insert_caller_key(&mut self, key: &Guarded<CallerKey>) -> Result<()> {
        let (mac, it) = (key.mac(), key.unchecked());
        run!(self, INSERT_KEY; it.id.bytes().to_vec(); it.key.as_str(); it.caller.bytes().to_vec();
            it.secret_hash.as_slice(); millis(it.expires_at); millis(it.revoked_at); it.created_at.millis();
            millis(it.last_used_at); mac)?;
        self.raise_epoch(Changed::Caller(it.caller)).await
    }

    /// Changes when a key ends or that it is revoked.
    ///
    /// # Errors
    /// [`Error::Stale`](super::Error::Stale) if it is revoked already or not there.
    pub async fn update_caller_key(&mut self, key: &Guarded<CallerKey>) -> Result<()> {
        let (mac, it) = (key.mac(), key.unchecked());
        let id = it.id.bytes().to_vec();
        let changed =
            run!(self, UPDATE_KEY; id; millis(it.expires_at); millis(it.revoked_at); mac)?;
        self.raised_if(changed, "caller_keys", Changed::Caller(it.caller)).await
    }

    /// Notes the last call with a key. Grants nothing: MAC and epoch stay.
    ///
    /// # Errors
    /// As every write.
    pub async fn touch_caller_key(&mut self, id: CallerKeyId, at: Time) -> Result<()> {
        run!(self, TOUCH_KEY; id.bytes().to_vec(); at.millis()).map(drop)
    }
}

fn span(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

impl CallerRow {
    fn read(self) -> Result<Guarded<Caller>> {
        let at = Cells::of("callers", &self.id);
        let caller = Caller {
            id: at.id("id", &self.id, CallerId::from_bytes)?,
            project: at.text("project", &self.project, |text| ProjectId::parse(text).ok())?,
            name: at.text("name", &self.name, |text| ResourceId::parse(text).ok())?,
            display_name: self.display_name,
            role: at.text("role", &self.role, Role::parse)?,
            rights: at.json("rights", &self.rights)?,
            protocols: at.list("protocols", &self.protocols, MailProtocol::parse)?,
            ip_ranges: at.list("ip_ranges", &self.ip_ranges, |text| text.parse().ok())?,
            identities: at.json("identities", &self.identities)?,
            min_interval: Duration::from_millis(at.number("min_interval", self.min_interval)?),
            revoked_at: time(self.revoked_at),
            version: self.version,
            created_at: Time::from_millis(self.created_at),
        };
        Ok(Guarded::new(caller, self.mac))
    }
}

impl KeyRow {
    fn read(self) -> Result<Guarded<CallerKey>> {
        let at = Cells::of("caller_keys", &self.id);
        let key = CallerKey {
            id: at.id("id", &self.id, CallerKeyId::from_bytes)?,
            key: self.key_id,
            caller: at.id("caller", &self.caller, CallerId::from_bytes)?,
            secret_hash: self.secret_hash,
            expires_at: time(self.expires_at),
            revoked_at: time(self.revoked_at),
            created_at: Time::from_millis(self.created_at),
            last_used_at: time(self.last_used_at),
        };
        Ok(Guarded::new(key, self.mac))
    }
}
