//! `brokerctl app`: OAuth apps registered at providers.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use prost_types::Timestamp;
use token_broker_client::v1;

use super::app_fields::{AppFields, ClientAuth};
use super::app_update::Update;
use crate::failure::Failure;
use crate::secrets;
use crate::session::{Session, all_pages};
use crate::views::Deleted;
use crate::views::app::{AppView, AppsView, PresetsView, VerifiedView};
use crate::views::drain::ResetView;
use crate::when;

const SECRET_ENV: &str = "TOKEN_BROKER_CLIENT_SECRET";
const SECRET_HELP: &str = "\
The client secret is never an argument: --client-secret-file FILE, `-` for stdin, the
environment variable TOKEN_BROKER_CLIENT_SECRET, or the prompt.";

/// `brokerctl app ..`
#[derive(Debug, Subcommand)]
pub(crate) enum App {
    /// Registers an app
    #[command(after_help = CREATE_HELP)]
    Create(Box<Create>),
    /// Lists apps
    List,
    /// Shows one app
    Show(Which),
    /// Asks the provider whether it knows the app and its secret; exit code 1 if not
    Verify(Which),
    /// Changes what the flags name
    #[command(after_help = super::app_update::UPDATE_HELP)]
    Update(Box<Update>),
    /// Adds a client secret and puts it in use
    #[command(after_help = SECRET_HELP)]
    AddSecret(AddSecret),
    /// Puts a kept client secret in use
    ActivateSecret(WhichSecret),
    /// Forgets a client secret that is not in use
    RemoveSecret(WhichSecret),
    /// Removes an app that no account uses
    Delete(Delete),
    /// Has an app's provider asked again at once that was left alone
    #[command(after_help = RESET_HELP)]
    ResetBreaker(Which),
    /// Lists the providers the broker knows by itself
    Presets,
}

const CREATE_HELP: &str = "\
Examples:
  brokerctl app create work --preset google --client-id ID --client-secret-file secret.txt
  brokerctl app create office --preset microsoft --authority organizations --client-id ID
  brokerctl app create idp --preset generic-oidc --authority https://idp.example.com --client-id ID

The client secret is never an argument: --client-secret-file FILE, `-` for stdin, the
environment variable TOKEN_BROKER_CLIENT_SECRET, or the prompt.
Register the redirect URI that is shown at the provider.";

const RESET_HELP: &str = "\
An app that its provider refused, or that was asked for silence, is left alone until a time that
`brokerctl status` shows; so is a token endpoint that failed. This lifts the pause of the app for
all brokers, and forgets the failures of its endpoint in the broker that --server names. If the
provider still fails, it is left alone again.";

/// One app.
#[derive(Args, Debug)]
pub(crate) struct Which {
    /// Its id
    app: String,
}

/// A secret of an app.
#[derive(Args, Debug)]
pub(crate) struct WhichSecret {
    /// The app's id
    app: String,
    /// The secret's id, as `app show` lists it
    secret_id: String,
}

/// `app create`
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Its id: a-z, 0-9 and -, a letter first [default: the preset's name]
    app: Option<String>,
    /// The provider; `brokerctl app presets` lists them
    #[arg(long)]
    preset: String,
    /// The client id the provider gave
    #[arg(long, value_name = "ID")]
    client_id: String,
    /// microsoft: consumers, organizations, common or a tenant; generic-oidc: the issuer's URL
    #[arg(long, value_name = "AUTHORITY")]
    authority: Option<String>,
    /// File with the client secret, `-` for stdin
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
    /// When the provider will stop taking the secret, such as 180d or 2027-01-31
    #[arg(long, value_name = "TIME", value_parser = when::moment)]
    secret_expires: Option<Timestamp>,
    #[command(flatten)]
    fields: AppFields,
}

/// `app add-secret`
#[derive(Args, Debug)]
pub(crate) struct AddSecret {
    /// The app's id
    app: String,
    /// File with the client secret, `-` for stdin
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
    /// When the provider will stop taking it, such as 180d or 2027-01-31
    #[arg(long, value_name = "TIME", value_parser = when::moment)]
    expires: Option<Timestamp>,
    /// Keep it for later
    #[arg(long)]
    inactive: bool,
}

/// `app delete`
#[derive(Args, Debug)]
pub(crate) struct Delete {
    /// Its id
    app: String,
    /// Only if it is still this version
    #[arg(long, value_name = "ETAG", default_value = "", hide_default_value = true)]
    etag: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl App {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let mut apps = session.admin.apps();
        match self {
            Self::Create(create) => create.run(session).await,
            Self::Update(update) => update.run(session).await,
            Self::AddSecret(add) => add.run(session).await,
            Self::List => list(session).await,
            Self::Verify(which) => verify(session, &which.app).await,
            Self::Delete(delete) => delete.run(session).await,
            Self::ResetBreaker(which) => reset_breaker(session, &which.app).await,
            Self::Show(which) => {
                let ask = v1::GetAppRequest { name: session.app(&which.app) };
                let app = session.admin.ask(apps.get_app(ask)).await?;
                session.out.show(&AppView::from(app))
            }
            Self::ActivateSecret(which) => {
                let name = session.app(&which.app);
                let ask = v1::ActivateAppSecretRequest { name, secret_id: which.secret_id };
                let app = session.admin.ask(apps.activate_app_secret(ask)).await?;
                session.out.show(&AppView::from(app))
            }
            Self::RemoveSecret(which) => {
                let name = session.app(&which.app);
                let ask = v1::RemoveAppSecretRequest { name, secret_id: which.secret_id };
                let app = session.admin.ask(apps.remove_app_secret(ask)).await?;
                session.out.show(&AppView::from(app))
            }
            Self::Presets => {
                let answer =
                    session.admin.ask(apps.list_presets(v1::ListPresetsRequest {})).await?;
                session.out.show(&PresetsView::from(answer.presets))
            }
        }
    }
}

impl Create {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let file = self.client_secret_file.as_deref();
        let public = self.fields.client_auth == Some(ClientAuth::None) && file.is_none();
        let prompt = "Client secret (empty for a public client): ";
        let secret = if public { None } else { secrets::read(file, SECRET_ENV, prompt)? };
        let mut app = v1::App {
            preset: self.preset,
            authority: self.authority.unwrap_or_default(),
            client_id: self.client_id,
            ..Default::default()
        };
        self.fields.fill(&mut app);
        let ask = v1::CreateAppRequest {
            parent: session.parent(),
            app_id: self.app.unwrap_or_default(),
            app: Some(app),
            client_secret: secret.map(|secret| secret.expose().to_owned()).unwrap_or_default(),
            client_secret_expire_time: self.secret_expires,
        };
        let app = session.admin.ask(session.admin.apps().create_app(ask)).await?;
        let id = crate::names::id(&app.name).to_owned();
        session.out.show(&AppView::from(app))?;
        session.out.hint(&format!(
            "\nNext: register the redirect URI at the provider, then\n  brokerctl app verify {id}\n  \
             brokerctl account connect --app {id}"
        ));
        Ok(())
    }
}

impl AddSecret {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let file = self.client_secret_file.as_deref();
        let secret = secrets::read(file, SECRET_ENV, "Client secret: ")?;
        let Some(secret) = secret.filter(|secret| !secret.expose().is_empty()) else {
            return Err(Failure::usage(
                "no client secret was given",
                format!("--client-secret-file FILE (`-` is stdin) or {SECRET_ENV}"),
            ));
        };
        let ask = v1::AddAppSecretRequest {
            name: session.app(&self.app),
            client_secret: secret.expose().to_owned(),
            expire_time: self.expires,
            inactive: self.inactive,
        };
        let app = session.admin.ask(session.admin.apps().add_app_secret(ask)).await?;
        session.out.show(&AppView::from(app))?;
        session.out.hint(&format!("\nNext: brokerctl app verify {}", self.app));
        Ok(())
    }
}

impl Delete {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let name = session.app(&self.app);
        session.confirm(&format!("Delete the app {}?", self.app), self.yes)?;
        let ask = v1::DeleteAppRequest { name: name.clone(), etag: self.etag };
        session.admin.ask(session.admin.apps().delete_app(ask)).await?;
        session.out.show(&Deleted { deleted: name })
    }
}

async fn reset_breaker(session: &Session, app: &str) -> Result<(), Failure> {
    let ask = v1::ResetBreakerRequest { app: session.app(app), endpoint: String::new() };
    let reset = session.admin.ask(session.admin.system().reset_breaker(ask)).await?;
    session.out.show(&ResetView::from(reset))
}

async fn list(session: &Session) -> Result<(), Failure> {
    let apps = all_pages(usize::MAX, async |page_size, page_token| {
        let ask = v1::ListAppsRequest { parent: session.parent(), page_size, page_token };
        let page = session.admin.ask(session.admin.apps().list_apps(ask)).await?;
        Ok((page.apps, page.next_page_token))
    })
    .await?;
    session.out.show(&AppsView::from(apps))
}

async fn verify(session: &Session, app: &str) -> Result<(), Failure> {
    let ask = v1::VerifyAppRequest { name: session.app(app) };
    let answer = session.admin.ask(session.admin.apps().verify_app(ask)).await?;
    let accepted = answer.accepted;
    session.out.show(&VerifiedView { accepted, findings: answer.findings })?;
    if accepted {
        return Ok(());
    }
    Err(Failure::Refused {
        what: format!("the provider refuses the app {app}"),
        remedy: format!("mend what is found above; a new secret: brokerctl app add-secret {app}"),
    })
}
