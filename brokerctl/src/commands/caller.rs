//! `brokerctl caller`: programs and people that may call the broker.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use token_broker_client::v1;

use super::caller_fields::{IdentityArgs, RightArgs};
use super::caller_update::{UPDATE_HELP, Update};
use super::words::{Protocol, protocols};
use crate::failure::Failure;
use crate::secrets::Destination;
use crate::session::{Session, all_pages};
use crate::views::caller::{CallerView, CallersView};
use crate::views::{Deleted, Issued};
use crate::when;

const ONCE: &str = "\nThis key is shown once and kept nowhere. Put it into a file with mode 0600.";

/// `brokerctl caller ..`
#[derive(Debug, Subcommand)]
pub(crate) enum Caller {
    /// Makes a caller and its first API key
    #[command(after_help = CREATE_HELP)]
    Create(Box<Create>),
    /// Lists callers
    List,
    /// Shows one caller, without its keys
    Show(Which),
    /// Changes what a caller may do, from where, and what it shows
    #[command(after_help = UPDATE_HELP)]
    Update(Box<Update>),
    /// Adds an API key; older ones keep working
    AddKey(AddKey),
    /// Ends an API key now
    RevokeKey(RevokeKey),
    /// Ends a caller with all its keys now
    Revoke(Which),
    /// Removes a caller that was revoked
    Delete(Delete),
    /// Says who you are to the broker
    Whoami,
}

const CREATE_HELP: &str = "\
Examples:
  brokerctl caller create crm --role service --domain example.com --audience mail --output-secret crm.key
  brokerctl caller create imap-1 --role adapter --protocol imap --output-secret imap-1.key
  brokerctl caller create ann --role operator --key-ttl 30d
  brokerctl caller create crm --role service --all-accounts --no-key \\
      --token https://kubernetes.default.svc system:serviceaccount:mail:crm

A service gets tokens only of the accounts that all its selectors match: --all-accounts,
--account, --domain, --account-label. Default is deny.";

/// One caller.
#[derive(Args, Debug)]
pub(crate) struct Which {
    /// Its id
    caller: String,
}

/// As the contract's CallerRole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Everything but handing out tokens it has no right to
    Admin,
    /// Apps, accounts, consents and credentials
    Operator,
    /// Tokens of the accounts it has a right to
    Service,
    /// Mail logins, nothing else
    Adapter,
}

/// `caller create`
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Its id: a-z, 0-9 and -, a letter first
    caller: String,
    /// What kind of calls it may make
    #[arg(long, value_enum)]
    role: Role,
    /// A name for people
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    display_name: String,
    /// adapter: which protocols; repeat for more [default: imap and smtp]
    #[arg(long = "protocol", value_enum)]
    protocols: Vec<Protocol>,
    /// From where it may call, such as 192.0.2.0/24; repeat for more [default: anywhere]
    #[arg(long = "ip-range", value_name = "CIDR")]
    ip_ranges: Vec<String>,
    /// How long the key works, such as 90d [default: until revoked]
    #[arg(long, value_name = "TIME", value_parser = when::span)]
    key_ttl: Option<Duration>,
    /// Write the key into this new file, mode 0600, instead of showing it
    #[arg(long, value_name = "FILE")]
    output_secret: Option<PathBuf>,
    /// Make no key: it shows a certificate or a token
    #[arg(long, conflicts_with_all = ["key_ttl", "output_secret"])]
    no_key: bool,
    #[command(flatten)]
    right: RightArgs,
    #[command(flatten)]
    identity: IdentityArgs,
}

/// `caller add-key`
#[derive(Args, Debug)]
pub(crate) struct AddKey {
    /// The caller's id
    caller: String,
    /// How long the key works, such as 90d [default: until revoked]
    #[arg(long, value_name = "TIME", value_parser = when::span)]
    ttl: Option<Duration>,
    /// Write the key into this new file, mode 0600, instead of showing it
    #[arg(long, value_name = "FILE")]
    output_secret: Option<PathBuf>,
}

/// `caller revoke-key`
#[derive(Args, Debug)]
pub(crate) struct RevokeKey {
    /// The caller's id
    caller: String,
    /// The key's id, as `caller show` lists it
    key_id: String,
}

/// `caller delete`
#[derive(Args, Debug)]
pub(crate) struct Delete {
    /// Its id
    caller: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Caller {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let mut callers = session.admin.callers();
        let caller = match self {
            Self::Create(create) => return create.run(session).await,
            Self::Update(update) => return update.run(session).await,
            Self::AddKey(add) => return add.run(session).await,
            Self::List => return list(session).await,
            Self::Delete(delete) => return delete.run(session).await,
            Self::Show(which) => {
                let ask = v1::GetCallerRequest { name: session.caller(&which.caller) };
                session.admin.ask(callers.get_caller(ask)).await?
            }
            Self::Revoke(which) => {
                let ask = v1::RevokeCallerRequest { name: session.caller(&which.caller) };
                session.admin.ask(callers.revoke_caller(ask)).await?
            }
            Self::RevokeKey(which) => {
                let name = session.caller(&which.caller);
                let ask = v1::RevokeCallerKeyRequest { name, key_id: which.key_id };
                session.admin.ask(callers.revoke_caller_key(ask)).await?
            }
            Self::Whoami => session.admin.ask(callers.who_am_i(v1::WhoAmIRequest {})).await?,
        };
        session.out.show(&CallerView::from(caller))
    }
}

impl Create {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        self.right.check()?;
        let mut protocols = protocols(&self.protocols);
        if self.role == Role::Adapter && protocols.is_empty() {
            protocols = super::words::protocols(&[Protocol::Imap, Protocol::Smtp]);
        }
        if self.no_key && self.identity.is_empty() {
            return Err(Failure::usage(
                "a caller without a key has to show something else",
                "--certificate-dns NAME, --certificate-uri URI or --token ISSUER SUBJECT",
            ));
        }
        let no_key = self.no_key;
        let output = self.output_secret.clone();
        let ask = v1::CreateCallerRequest {
            parent: session.parent(),
            caller_id: self.caller.clone(),
            key_ttl: self.key_ttl.map(when::wire),
            without_key: no_key,
            caller: Some(self.caller(protocols)?),
        };
        if no_key {
            let made = session.admin.ask(session.admin.callers().create_caller(ask)).await?;
            return session.out.show(&CallerView::from(made.caller.unwrap_or_default()));
        }
        let destination = Destination::open(output.as_deref())?;
        let answer = session.admin.ask(session.admin.callers().create_caller(ask)).await;
        let (answer, destination) = destination.or_discard(answer)?;
        show_issued(session, answer.caller, destination, answer.api_key)
    }
}

impl Create {
    fn caller(mut self, protocols: Vec<i32>) -> Result<v1::Caller, Failure> {
        Ok(v1::Caller {
            display_name: std::mem::take(&mut self.display_name),
            role: v1::CallerRole::from(self.role).into(),
            protocols,
            ip_ranges: std::mem::take(&mut self.ip_ranges),
            min_interval: self.right.interval(),
            identities: self.identity.identities(),
            rights: rights(self.role, self.right)?,
            ..Default::default()
        })
    }
}

fn rights(role: Role, right: RightArgs) -> Result<Vec<v1::Right>, Failure> {
    match (role, right.names_accounts()) {
        (Role::Service, false) => Err(Failure::usage(
            "a service without a selector could get no token at all",
            "--all-accounts, --account ID, --domain DOMAIN or --account-label KEY=VALUE",
        )),
        (Role::Service, true) => Ok(vec![right.right()]),
        (_, true) => Err(Failure::usage(
            "selectors of accounts are for the role service",
            "leave them out, or use --role service",
        )),
        (_, false) => Ok(Vec::new()),
    }
}

impl AddKey {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let destination = Destination::open(self.output_secret.as_deref())?;
        let name = session.caller(&self.caller);
        let ask = v1::CreateCallerKeyRequest { name, ttl: self.ttl.map(when::wire) };
        let answer = session.admin.ask(session.admin.callers().create_caller_key(ask)).await;
        let (answer, destination) = destination.or_discard(answer)?;
        show_issued(session, answer.caller, destination, answer.api_key)
    }
}

impl Delete {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let name = session.caller(&self.caller);
        session.confirm(&format!("Delete the caller {}?", self.caller), self.yes)?;
        let ask = v1::DeleteCallerRequest { name: name.clone() };
        session.admin.ask(session.admin.callers().delete_caller(ask)).await?;
        session.out.show(&Deleted { deleted: name })
    }
}

fn show_issued(
    session: &Session,
    caller: Option<v1::Caller>,
    destination: Destination,
    key: String,
) -> Result<(), Failure> {
    let view = CallerView::from(caller.unwrap_or_default());
    let issued = Issued::new(view, "API key", destination.put(key)?);
    session.out.show(&issued)?;
    if issued.is_shown() {
        session.out.note(ONCE);
    }
    Ok(())
}

async fn list(session: &Session) -> Result<(), Failure> {
    let callers = all_pages(usize::MAX, async |page_size, page_token| {
        let ask = v1::ListCallersRequest { parent: session.parent(), page_size, page_token };
        let page = session.admin.ask(session.admin.callers().list_callers(ask)).await?;
        Ok((page.callers, page.next_page_token))
    })
    .await?;
    session.out.show(&CallersView::from(callers))
}

impl From<Role> for v1::CallerRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Admin => Self::Admin,
            Role::Operator => Self::Operator,
            Role::Service => Self::Service,
            Role::Adapter => Self::Adapter,
        }
    }
}
