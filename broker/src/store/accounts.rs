//! Mail accounts.
//!
//! Never judges the MAC of a row and holds no token. Invariants: a change of what people or rights see names the version it
//! follows and raises the rights epoch; how its refreshes go is not kept here (`refreshes.rs`). Next: `grants.rs`.

use super::engine::{Conn, Tx, all, maybe, run, statements};
use super::epoch::Changed;
use super::error::Result;
use super::page::{Page, PageRequest};
use super::row::{Cells, json_map, row};
use crate::clock::Time;
use crate::domain::account::{Account, Standing};
use crate::domain::guarded::Guarded;
use crate::domain::ids::{AccountId, AppId, Mailbox, ProjectId, ResourceId};

/// Which accounts of a project to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountFilter {
    /// All.
    All,
    /// Those an operator switched off, whatever their standing.
    Disabled,
    /// Those of this standing that are not switched off.
    Standing(Standing),
}

row!(AccountRow, account_columns {
    id: Vec<u8>, project: String, name: String, mailbox: String, sasl_user: String, display_name: String,
    app: Vec<u8>, labels: String, subject: String, authority: String, disabled: i64, standing: String,
    provider_code: String, provider_message: String, version: i64, created_at: i64, updated_at: i64, mac: Vec<u8>,
});

statements! {
    ACCOUNT = concat!("select ", account_columns!(), " from accounts where id = $1");
    ACCOUNT_BY_NAME = concat!("select ", account_columns!(), " from accounts where project = $1 and name = $2");
    ACCOUNT_BY_MAILBOX = concat!("select ", account_columns!(),
        " from accounts where project = $1 and mailbox = $2");
    ACCOUNTS = concat!("select ", account_columns!(), " from accounts where project = $1 and name > $2
        and ($3 = '' or case when disabled = 1 then 'disabled' else standing end = $3) order by name limit $4");
    INSERT_ACCOUNT = concat!("insert into accounts (", account_columns!(), ") values ($1, $2, $3, $4, $5, $6, $7,
        $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)");
    UPDATE_ACCOUNT = "update accounts set mailbox = $2, sasl_user = $3, display_name = $4, app = $5, labels = $6,
        subject = $7, authority = $8, disabled = $9, standing = $10, provider_code = $11, provider_message = $12,
        version = $13, updated_at = $14, mac = $15 where id = $1 and version = $13 - 1";
    DELETE_ACCOUNT = "delete from accounts where id = $1 and version = $2";
    ACCOUNTS_OF_TERM = concat!("select ", account_columns!(), " from accounts where substr(mac, 1, 4) = $1 and id > $2
        order by id limit $3");
}

impl Conn {
    /// One, by row.
    ///
    /// # Errors
    /// [`Error::Corrupt`](super::Error::Corrupt) if the row cannot be understood; else as every read.
    pub async fn account(&mut self, id: AccountId) -> Result<Option<Guarded<Account>>> {
        maybe!(self, ACCOUNT => AccountRow; id.bytes().to_vec())?.map(AccountRow::read).transpose()
    }

    /// One, by the id people use.
    ///
    /// # Errors
    /// As [`account`](Self::account).
    pub async fn account_by_name(
        &mut self,
        project: &ProjectId,
        name: &ResourceId,
    ) -> Result<Option<Guarded<Account>>> {
        let row = maybe!(self, ACCOUNT_BY_NAME => AccountRow; project.as_str(); name.as_str())?;
        row.map(AccountRow::read).transpose()
    }

    /// One, by its mailbox.
    ///
    /// # Errors
    /// As [`account`](Self::account).
    pub async fn account_by_mailbox(
        &mut self,
        project: &ProjectId,
        mailbox: &Mailbox,
    ) -> Result<Option<Guarded<Account>>> {
        let row =
            maybe!(self, ACCOUNT_BY_MAILBOX => AccountRow; project.as_str(); mailbox.as_str())?;
        row.map(AccountRow::read).transpose()
    }

    /// Those of a project, by name.
    ///
    /// # Errors
    /// As [`account`](Self::account).
    pub async fn accounts(
        &mut self,
        project: &ProjectId,
        filter: AccountFilter,
        page: &PageRequest,
    ) -> Result<Page<Guarded<Account>>> {
        let state = match filter {
            AccountFilter::All => "",
            AccountFilter::Disabled => "disabled",
            AccountFilter::Standing(standing) => standing.as_str(),
        };
        let rows = all!(self, ACCOUNTS => AccountRow; project.as_str(); page.after(); state; page.limit())?;
        let accounts = rows.into_iter().map(AccountRow::read).collect::<Result<Vec<_>>>()?;
        Ok(page.page(accounts, |account| account.unchecked().name.to_string()))
    }

    /// Those whose MAC is under a key term, by row, after the row `after`; each may be unreadable by itself.
    ///
    /// # Errors
    /// As every read.
    pub async fn accounts_of_term(
        &mut self,
        (term, after): (u32, [u8; 16]),
        limit: i64,
    ) -> Result<Vec<(Vec<u8>, Result<Guarded<Account>>)>> {
        let term = term.to_be_bytes().to_vec();
        let rows = all!(self, ACCOUNTS_OF_TERM => AccountRow; term; after.to_vec(); limit)?;
        Ok(rows.into_iter().map(|row| (row.id.clone(), row.read())).collect())
    }
}

impl Tx {
    /// Adds one.
    ///
    /// # Errors
    /// [`Error::Conflict`](super::Error::Conflict) if name or mailbox is taken,
    /// [`Error::Dangling`](super::Error::Dangling) without its project or app.
    pub async fn insert_account(&mut self, account: &Guarded<Account>) -> Result<()> {
        let (mac, it) = (account.mac(), account.unchecked());
        run!(self, INSERT_ACCOUNT; it.id.bytes().to_vec(); it.project.as_str(); it.name.as_str();
            it.mailbox.as_str(); it.sasl_user.as_str(); it.display_name.as_str(); it.app.bytes().to_vec();
            json_map(&it.labels); it.subject.as_str(); it.authority.as_str(); i64::from(it.disabled);
            it.standing.as_str(); it.provider_code.as_str(); it.provider_message.as_str(); it.version;
            it.created_at.millis(); it.updated_at.millis(); mac)?;
        self.raise_epoch(Changed::Account(it.id)).await
    }

    /// Changes one: all but id, project, name and time of creation. `version` is the new one.
    ///
    /// # Errors
    /// [`Error::Stale`](super::Error::Stale) unless the stored version is one less,
    /// [`Error::Conflict`](super::Error::Conflict) if the mailbox is taken.
    pub async fn update_account(&mut self, account: &Guarded<Account>) -> Result<()> {
        let (mac, it) = (account.mac(), account.unchecked());
        let changed = run!(self, UPDATE_ACCOUNT; it.id.bytes().to_vec(); it.mailbox.as_str();
            it.sasl_user.as_str(); it.display_name.as_str(); it.app.bytes().to_vec(); json_map(&it.labels);
            it.subject.as_str(); it.authority.as_str(); i64::from(it.disabled); it.standing.as_str();
            it.provider_code.as_str(); it.provider_message.as_str(); it.version; it.updated_at.millis(); mac)?;
        self.raised_if(changed, "accounts", Changed::Account(it.id)).await
    }

    /// Removes one with its grants, tokens, attempts and credentials. Consents forget it; its sessions
    /// stay, with its name.
    ///
    /// # Errors
    /// [`Error::Stale`](super::Error::Stale) unless `version` is the stored one.
    pub async fn delete_account(&mut self, account: AccountId, version: i64) -> Result<()> {
        self.leave_account_name(account).await?;
        let gone = run!(self, DELETE_ACCOUNT; account.bytes().to_vec(); version)?;
        self.raised_if(gone, "accounts", Changed::Account(account)).await
    }
}

impl AccountRow {
    fn read(self) -> Result<Guarded<Account>> {
        let at = Cells::of("accounts", &self.id);
        let account = Account {
            id: at.id("id", &self.id, AccountId::from_bytes)?,
            project: at.text("project", &self.project, |text| ProjectId::parse(text).ok())?,
            name: at.text("name", &self.name, |text| ResourceId::parse(text).ok())?,
            mailbox: at.text("mailbox", &self.mailbox, |text| Mailbox::parse(text).ok())?,
            sasl_user: self.sasl_user,
            display_name: self.display_name,
            app: at.id("app", &self.app, AppId::from_bytes)?,
            labels: at.json("labels", &self.labels)?,
            subject: self.subject,
            authority: self.authority,
            disabled: self.disabled == 1,
            standing: at.text("standing", &self.standing, Standing::parse)?,
            provider_code: self.provider_code,
            provider_message: self.provider_message,
            version: self.version,
            created_at: Time::from_millis(self.created_at),
            updated_at: Time::from_millis(self.updated_at),
        };
        Ok(Guarded::new(account, self.mac))
    }
}
