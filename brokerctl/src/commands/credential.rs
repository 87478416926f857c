//! `brokerctl credential`: generated passwords for mail clients.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use prost_types::Timestamp;
use token_broker_client::v1;

use super::words::{Protocol, protocols};
use crate::failure::Failure;
use crate::secrets::Destination;
use crate::session::{Session, all_pages};
use crate::views::credential::{CredentialView, CredentialsView, RotatedView};
use crate::views::credential_use::UsesView;
use crate::views::{Deleted, Issued};
use crate::when;

const ONCE: &str =
    "\nThis password is shown once and kept nowhere. Log in with a login name above.";

/// `brokerctl credential ..`
#[derive(Debug, Subcommand)]
pub(crate) enum Credential {
    /// Makes a password for a mail client or script
    #[command(after_help = CREATE_HELP)]
    Create(Create),
    /// Lists credentials
    List(List),
    /// Shows one credential, without its password
    Show(Which),
    /// Lists the mail sessions it opened, newest first
    Usage(Usage),
    /// Makes a successor; the old one works on for a while
    Rotate(Rotate),
    /// Ends one now: no later login succeeds
    Revoke(Which),
    /// Removes one that was revoked or has expired
    Delete(Delete),
}

const CREATE_HELP: &str = "\
Examples:
  brokerctl credential create ann@example.com --description 'scanner, 2nd floor' --protocol smtp
  brokerctl credential create ann --ip-range 192.0.2.0/24 --expires 90d --output-secret ann.secret";

/// One credential.
#[derive(Args, Debug)]
pub(crate) struct Which {
    /// Its id or full name
    credential: String,
}

/// `credential usage`
#[derive(Args, Debug)]
pub(crate) struct Usage {
    /// Its id or full name
    credential: String,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
}

/// `credential create`
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// The account's id or mailbox address
    account: String,
    /// Which device or script uses it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
    /// What it may log in to; repeat for more
    #[arg(long = "protocol", value_enum, default_values_t = [Protocol::Imap, Protocol::Smtp])]
    protocols: Vec<Protocol>,
    /// From where, such as 192.0.2.0/24; repeat for more [default: anywhere]
    #[arg(long = "ip-range", value_name = "CIDR")]
    ip_ranges: Vec<String>,
    /// Sessions at one time [default: no limit]
    #[arg(long, value_name = "COUNT", default_value_t = 0, hide_default_value = true)]
    max_sessions: u32,
    /// Logins in any 60 seconds [default: no limit]
    #[arg(long, value_name = "COUNT", default_value_t = 0, hide_default_value = true)]
    max_logins_per_minute: u32,
    /// When it ends, such as 90d or 2027-01-31 [default: never]
    #[arg(long, value_name = "TIME", value_parser = when::moment)]
    expires: Option<Timestamp>,
    /// Write the password into this new file, mode 0600, instead of showing it
    #[arg(long, value_name = "FILE")]
    output_secret: Option<PathBuf>,
}

/// `credential list`
#[derive(Args, Debug)]
pub(crate) struct List {
    /// Only those of this account
    account: Option<String>,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    limit: usize,
}

/// `credential rotate`
#[derive(Args, Debug)]
pub(crate) struct Rotate {
    /// Its id or full name
    credential: String,
    /// How long the old one works on, at most 90d; 0s ends it now
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = when::span)]
    overlap: Duration,
    /// Write the password into this new file, mode 0600, instead of showing it
    #[arg(long, value_name = "FILE")]
    output_secret: Option<PathBuf>,
}

/// `credential delete`
#[derive(Args, Debug)]
pub(crate) struct Delete {
    /// Its id or full name
    credential: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Credential {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let mut credentials = session.admin.credentials();
        match self {
            Self::Create(create) => create.run(session).await,
            Self::List(list) => list.run(session).await,
            Self::Rotate(rotate) => rotate.run(session).await,
            Self::Show(which) => {
                let ask = v1::GetCredentialRequest { name: which.credential };
                let credential = session.admin.ask(credentials.get_credential(ask)).await?;
                session.out.show(&CredentialView::from(credential))
            }
            Self::Usage(usage) => usage.run(session).await,
            Self::Revoke(which) => {
                let ask = v1::RevokeCredentialRequest { name: which.credential };
                let credential = session.admin.ask(credentials.revoke_credential(ask)).await?;
                session.out.show(&CredentialView::from(credential))
            }
            Self::Delete(delete) => {
                let name = delete.credential;
                session.confirm(&format!("Delete the credential {name}?"), delete.yes)?;
                let ask = v1::DeleteCredentialRequest { name: name.clone() };
                session.admin.ask(credentials.delete_credential(ask)).await?;
                session.out.show(&Deleted { deleted: name })
            }
        }
    }
}

impl Create {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let destination = Destination::open(self.output_secret.as_deref())?;
        let credential = v1::Credential {
            description: self.description,
            protocols: protocols(&self.protocols),
            ip_ranges: self.ip_ranges,
            expire_time: self.expires,
            max_sessions: self.max_sessions,
            max_logins_per_minute: self.max_logins_per_minute,
            ..Default::default()
        };
        let parent = session.account(&self.account);
        let ask = v1::CreateCredentialRequest { parent, credential: Some(credential) };
        let answer = session.admin.ask(session.admin.credentials().create_credential(ask)).await;
        let (answer, destination) = destination.or_discard(answer)?;
        let view = CredentialView::from(answer.credential.unwrap_or_default());
        let issued = Issued::new(view, "Password", destination.put(answer.secret)?);
        session.out.show(&issued)?;
        if issued.is_shown() {
            session.out.note(ONCE);
        }
        Ok(())
    }
}

impl Usage {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let uses = all_pages(self.limit, async |page_size, page_token| {
            let name = self.credential.clone();
            let ask = v1::ListCredentialUseRequest { name, page_size, page_token };
            let mut credentials = session.admin.credentials();
            let page = session.admin.ask(credentials.list_credential_use(ask)).await?;
            Ok((page.uses, page.next_page_token))
        })
        .await?;
        session.out.show(&UsesView::from(uses))
    }
}

impl Rotate {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let destination = Destination::open(self.output_secret.as_deref())?;
        let overlap = Some(when::wire(self.overlap));
        let ask = v1::RotateCredentialRequest { name: self.credential, overlap };
        let answer = session.admin.ask(session.admin.credentials().rotate_credential(ask)).await;
        let (answer, destination) = destination.or_discard(answer)?;
        let view = RotatedView {
            credential: answer.credential.unwrap_or_default().into(),
            previous: answer.previous.map(Into::into),
        };
        let issued = Issued::new(view, "Password", destination.put(answer.secret)?);
        session.out.show(&issued)?;
        if issued.is_shown() {
            session.out.note(ONCE);
        }
        Ok(())
    }
}

impl List {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let parent = match &self.account {
            Some(account) => session.account(account),
            None => format!("{}/accounts/-", session.parent()),
        };
        let credentials = all_pages(self.limit, async |page_size, page_token| {
            let parent = parent.clone();
            let ask = v1::ListCredentialsRequest { parent, page_size, page_token };
            let page = session.admin.ask(session.admin.credentials().list_credentials(ask)).await?;
            Ok((page.credentials, page.next_page_token))
        })
        .await?;
        session.out.show(&CredentialsView::from(credentials))
    }
}
