//! OAuth applications and their client secrets.
//!
//! Never judges the MAC of a row: an app comes as [`Guarded`], for `seal` to check. Invariants: a change names the version
//! it follows and raises the rights epoch; at most one secret of an app is active. Next: `accounts.rs`.

use super::engine::{Conn, Tx, all, maybe, run, statements};
use super::epoch::Changed;
use super::error::{Error, Result};
use super::page::{Page, PageRequest};
use super::row::{Cells, json_list, json_of, millis, row, time};
use crate::clock::Time;
use crate::domain::app::{App, AppHealth, AppSecret, ClientAuthMethod, Rotation};
use crate::domain::guarded::Guarded;
use crate::domain::ids::{AppId, AppSecretId, ProjectId, ResourceId};
use crate::domain::mail::MailHost;
use crate::domain::secret::Sealed;

row!(AppRow, app_columns {
    id: Vec<u8>, project: String, name: String, display_name: String, preset: String, authority: String,
    client_id: String, client_auth: String, endpoints: String, base_scopes: String, extra_scopes: String,
    skip_scopes: String, mail_hosts: String, return_uris: String, rotation: String, disabled: i64, health: String,
    health_since: i64, health_code: String, version: i64, created_at: i64, updated_at: i64, mac: Vec<u8>,
});

row!(SecretRow, secret_columns {
    id: Vec<u8>, app: Vec<u8>, sealed: Vec<u8>, active: i64, created_at: i64, expires_at: Option<i64>,
});

statements! {
    APP = concat!("select ", app_columns!(), " from apps where id = $1");
    APP_BY_NAME = concat!("select ", app_columns!(), " from apps where project = $1 and name = $2");
    APPS = concat!("select ", app_columns!(),
        " from apps where project = $1 and name > $2 order by name limit $3");
    INSERT_APP = concat!("insert into apps (", app_columns!(), ") values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
        $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)");
    UPDATE_APP = "update apps set display_name = $2, authority = $3, client_id = $4, client_auth = $5,
        endpoints = $6, base_scopes = $7, extra_scopes = $8, skip_scopes = $9, mail_hosts = $10, return_uris = $11,
        rotation = $12, disabled = $13, version = $14, updated_at = $15, mac = $16
        where id = $1 and version = $14 - 1";
    SET_APP_HEALTH = "update apps set health = $2, health_since = $3, health_code = $4 where id = $1";
    DELETE_APP = "delete from apps where id = $1 and version = $2";
    SECRETS = concat!("select ", secret_columns!(),
        " from app_secrets where app = $1 order by created_at, id limit 100");
    INSERT_SECRET = concat!("insert into app_secrets (", secret_columns!(), ") values ($1, $2, $3, $4, $5, $6)");
    REST_SECRETS = "update app_secrets set active = 0 where app = $1 and active = 1";
    ACTIVATE_SECRET = "update app_secrets set active = 1 where app = $1 and id = $2";
    DELETE_SECRET = "delete from app_secrets where app = $1 and id = $2 and active = 0";
}

impl Conn {
    /// One, by row.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the row cannot be understood; else as every read.
    pub async fn app(&mut self, id: AppId) -> Result<Option<Guarded<App>>> {
        maybe!(self, APP => AppRow; id.bytes().to_vec())?.map(AppRow::read).transpose()
    }

    /// One, by the id people use.
    ///
    /// # Errors
    /// As [`app`](Self::app).
    pub async fn app_by_name(
        &mut self,
        project: &ProjectId,
        name: &ResourceId,
    ) -> Result<Option<Guarded<App>>> {
        let row = maybe!(self, APP_BY_NAME => AppRow; project.as_str(); name.as_str())?;
        row.map(AppRow::read).transpose()
    }

    /// Those of a project, by name.
    ///
    /// # Errors
    /// As [`app`](Self::app).
    pub async fn apps(
        &mut self,
        project: &ProjectId,
        page: &PageRequest,
    ) -> Result<Page<Guarded<App>>> {
        let rows = all!(self, APPS => AppRow; project.as_str(); page.after(); page.limit())?;
        let apps = rows.into_iter().map(AppRow::read).collect::<Result<Vec<_>>>()?;
        Ok(page.page(apps, |app| app.unchecked().name.to_string()))
    }

    /// The first 100 client secrets of an app, oldest first.
    ///
    /// # Errors
    /// As [`app`](Self::app).
    pub async fn app_secrets(&mut self, app: AppId) -> Result<Vec<AppSecret>> {
        let rows = all!(self, SECRETS => SecretRow; app.bytes().to_vec())?;
        rows.into_iter().map(SecretRow::read).collect()
    }
}

impl Tx {
    /// Registers one.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the name is taken, [`Error::Dangling`] without its project.
    pub async fn insert_app(&mut self, app: &Guarded<App>) -> Result<()> {
        let (mac, app) = (app.mac(), app.unchecked());
        let (health, since, code) = health_columns(&app.health);
        run!(self, INSERT_APP; app.id.bytes().to_vec(); app.project.as_str(); app.name.as_str();
            app.display_name.as_str(); app.preset.as_str(); app.authority.as_str(); app.client_id.as_str();
            app.client_auth.map_or("", ClientAuthMethod::as_str); json_of(&app.endpoints)?;
            json_list(&app.base_scopes); json_list(&app.extra_scopes); json_list(&app.skip_scopes);
            json_list(&app.mail_hosts); json_list(&app.return_uris);
            app.rotation.map_or("", Rotation::as_str); i64::from(app.disabled); health; since; code;
            app.version; app.created_at.millis(); app.updated_at.millis(); mac)?;
        self.raise_epoch(Changed::App(app.id)).await
    }

    /// Changes one: all but id, project, name, preset, health and times of creation. `app.version` is the new one.
    ///
    /// # Errors
    /// [`Error::Stale`] unless the stored version is one less.
    pub async fn update_app(&mut self, app: &Guarded<App>) -> Result<()> {
        let (mac, app) = (app.mac(), app.unchecked());
        let changed = run!(self, UPDATE_APP; app.id.bytes().to_vec(); app.display_name.as_str();
            app.authority.as_str(); app.client_id.as_str();
            app.client_auth.map_or("", ClientAuthMethod::as_str); json_of(&app.endpoints)?;
            json_list(&app.base_scopes); json_list(&app.extra_scopes); json_list(&app.skip_scopes);
            json_list(&app.mail_hosts); json_list(&app.return_uris);
            app.rotation.map_or("", Rotation::as_str); i64::from(app.disabled); app.version;
            app.updated_at.millis(); mac)?;
        self.raised_if(changed, "apps", Changed::App(app.id)).await
    }

    /// Notes what the provider thinks of an app. Grants nothing: version, MAC and epoch stay.
    ///
    /// # Errors
    /// As every write.
    pub async fn set_app_health(&mut self, app: AppId, health: &AppHealth) -> Result<()> {
        let (health, since, code) = health_columns(health);
        run!(self, SET_APP_HEALTH; app.bytes().to_vec(); health; since; code).map(drop)
    }

    /// Removes one and its secrets.
    ///
    /// # Errors
    /// [`Error::Stale`] unless `version` is the stored one, [`Error::Dangling`] while it has accounts.
    pub async fn delete_app(&mut self, app: AppId, version: i64) -> Result<()> {
        let gone = run!(self, DELETE_APP; app.bytes().to_vec(); version)?;
        self.raised_if(gone, "apps", Changed::App(app)).await
    }

    /// Adds a client secret; an active one puts the others to rest.
    ///
    /// # Errors
    /// [`Error::Dangling`] without its app.
    pub async fn insert_app_secret(&mut self, secret: &AppSecret) -> Result<()> {
        if secret.active {
            run!(self, REST_SECRETS; secret.app.bytes().to_vec())?;
        }
        run!(self, INSERT_SECRET; secret.id.bytes().to_vec(); secret.app.bytes().to_vec();
            secret.sealed.as_bytes(); i64::from(secret.active); secret.created_at.millis();
            millis(secret.expires_at))
        .map(drop)
    }

    /// Puts a secret in use and the others to rest.
    ///
    /// # Errors
    /// [`Error::Stale`] if the app has no such secret.
    pub async fn activate_app_secret(&mut self, app: AppId, secret: AppSecretId) -> Result<()> {
        run!(self, REST_SECRETS; app.bytes().to_vec())?;
        let changed = run!(self, ACTIVATE_SECRET; app.bytes().to_vec(); secret.bytes().to_vec())?;
        if changed == 1 { Ok(()) } else { Err(Error::Stale { what: "app_secrets" }) }
    }

    /// Forgets a secret. False if the app has no such secret or it is the active one.
    ///
    /// # Errors
    /// As every write.
    pub async fn delete_app_secret(&mut self, app: AppId, secret: AppSecretId) -> Result<bool> {
        let gone = run!(self, DELETE_SECRET; app.bytes().to_vec(); secret.bytes().to_vec())?;
        Ok(gone == 1)
    }
}

fn health_columns(health: &AppHealth) -> (&'static str, i64, &str) {
    match health {
        AppHealth::Unknown => ("unknown", 0, ""),
        AppHealth::Accepted => ("accepted", 0, ""),
        AppHealth::Rejected { since, code } => ("rejected", since.millis(), code),
    }
}

impl AppRow {
    fn read(self) -> Result<Guarded<App>> {
        let at = Cells::of("apps", &self.id);
        let texts = |column, json: &str| at.list(column, json, |text| Some(text.to_owned()));
        let (since, code) = (Time::from_millis(self.health_since), self.health_code);
        let app = App {
            id: at.id("id", &self.id, AppId::from_bytes)?,
            project: at.text("project", &self.project, |text| ProjectId::parse(text).ok())?,
            name: at.text("name", &self.name, |text| ResourceId::parse(text).ok())?,
            display_name: self.display_name,
            preset: self.preset,
            authority: self.authority,
            client_id: self.client_id,
            client_auth: at.optional("client_auth", &self.client_auth, ClientAuthMethod::parse)?,
            endpoints: at.json("endpoints", &self.endpoints)?,
            base_scopes: texts("base_scopes", &self.base_scopes)?,
            extra_scopes: texts("extra_scopes", &self.extra_scopes)?,
            skip_scopes: texts("skip_scopes", &self.skip_scopes)?,
            mail_hosts: at.list("mail_hosts", &self.mail_hosts, MailHost::parse)?,
            return_uris: texts("return_uris", &self.return_uris)?,
            rotation: at.optional("rotation", &self.rotation, Rotation::parse)?,
            disabled: self.disabled == 1,
            health: at.text("health", &self.health, |text| match text {
                "unknown" => Some(AppHealth::Unknown),
                "accepted" => Some(AppHealth::Accepted),
                "rejected" => Some(AppHealth::Rejected { since, code }),
                _ => None,
            })?,
            version: self.version,
            created_at: Time::from_millis(self.created_at),
            updated_at: Time::from_millis(self.updated_at),
        };
        Ok(Guarded::new(app, self.mac))
    }
}

impl SecretRow {
    fn read(self) -> Result<AppSecret> {
        let at = Cells::of("app_secrets", &self.id);
        Ok(AppSecret {
            id: at.id("id", &self.id, AppSecretId::from_bytes)?,
            app: at.id("app", &self.app, AppId::from_bytes)?,
            sealed: Sealed::from_bytes(self.sealed),
            active: self.active == 1,
            created_at: Time::from_millis(self.created_at),
            expires_at: time(self.expires_at),
        })
    }
}
