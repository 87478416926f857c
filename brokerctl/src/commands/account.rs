//! `brokerctl account`: mail accounts.

use clap::{Args, Subcommand, ValueEnum};
use prost_types::FieldMask;
use token_broker_client::v1;

use super::connect::{Connect, Invite};
use super::revoke_all::{REVOKE_ALL_HELP, RevokeAll};
use super::words::label;
use crate::failure::Failure;
use crate::session::{Session, all_pages};
use crate::views::Deleted;
use crate::views::account::{AccountView, AccountsView, RevokedView};
use crate::views::diagnosis::DiagnosisView;

/// `brokerctl account ..`
#[derive(Debug, Subcommand)]
pub(crate) enum Account {
    /// Connects a mailbox of your own: opens the provider's page and waits
    #[command(after_help = super::connect::CONNECT_HELP)]
    Connect(Connect),
    /// Makes a link for the owner of a mailbox
    #[command(after_help = super::connect::INVITE_HELP)]
    Invite(Invite),
    /// Lists accounts
    List(List),
    /// Shows one account: how it stands, its refresh tokens by generation, what failed lately
    #[command(after_help = SHOW_HELP)]
    Show(Which),
    /// Says in words what is wrong with an account, what comes next and what to do
    #[command(after_help = DOCTOR_HELP)]
    Doctor(Which),
    /// Changes name, labels or upstream login
    Update(Update),
    /// Gives the grant back to the provider and forgets its tokens
    Revoke(Which),
    /// The same for every account: after a break-in
    #[command(after_help = REVOKE_ALL_HELP)]
    RevokeAll(RevokeAll),
    /// Stops handing out its tokens; nothing is forgotten
    Disable(Which),
    /// Undoes `disable`
    Enable(Which),
    /// Fetches a new token now
    Refresh(Refresh),
    /// Removes the account with its tokens and credentials
    Delete(Delete),
}

const SHOW_HELP: &str = "\
Next refresh  when the schedule looks at it: at half of its token's life while somebody asks for it
              (warm), else in time for the grant not to end for lack of use (cold).
Not before    after failures only `account refresh` asks the provider earlier.
In doubt      a refresh was sent, no answer came, and the provider takes each refresh token only once.
Refreshing    the broker process that is at it.

Each generation is one answer of the provider. The newest is used; older ones stay until it has worked.
No token is shown. `account doctor` says the same in words.";

const DOCTOR_HELP: &str = "\
Nothing is asked of the provider and nothing is changed. Each finding is one of
  ok        as it should be
  notice    good to know
  warning   it may pass by itself, or there is time to act
  error     no new token comes until somebody acts
and says when something happens by itself (next) and what to do (try).

Exit code 7 if there is an error, 0 if there is none. In scripts:
  brokerctl account doctor ann@example.com --json | jq -r '.findings[] | select(.severity != \"ok\") | .text'";

/// One account.
#[derive(Args, Debug)]
pub(crate) struct Which {
    /// Its id or mailbox address
    account: String,
}

/// `account list`
#[derive(Args, Debug)]
pub(crate) struct List {
    /// Only those that stand so
    #[arg(long, value_enum)]
    state: Option<State>,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    limit: usize,
}

/// As the contract's AccountState.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    /// Waits for its first consent
    Pending,
    /// Works
    Active,
    /// Its owner has to consent again
    NeedsConsent,
    /// Its owner has to do something in a browser
    NeedsInteraction,
    /// A policy at the provider forbids it
    BlockedByPolicy,
    /// Switched off here
    Disabled,
    /// Given back to the provider
    Revoked,
}

/// `account update`
#[derive(Args, Debug)]
pub(crate) struct Update {
    /// Its id or mailbox address
    account: String,
    /// A name for people; empty for none
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,
    /// Replaces all labels by this one; repeat for more
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Removes all labels
    #[arg(long, conflicts_with = "labels")]
    clear_labels: bool,
    /// The user name towards the provider where it is not the mailbox; empty for the mailbox
    #[arg(long, value_name = "NAME")]
    sasl_user: Option<String>,
    /// Only if it is still this version
    #[arg(long, value_name = "ETAG", default_value = "", hide_default_value = true)]
    etag: String,
}

/// `account refresh`
#[derive(Args, Debug)]
pub(crate) struct Refresh {
    /// Its id or mailbox address
    account: String,
    /// What the token is for [default: mail]
    #[arg(long, default_value = "", hide_default_value = true)]
    audience: String,
}

/// `account delete`
#[derive(Args, Debug)]
pub(crate) struct Delete {
    /// Its id or mailbox address
    account: String,
    /// Only if it is still this version
    #[arg(long, value_name = "ETAG", default_value = "", hide_default_value = true)]
    etag: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Account {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let mut accounts = session.admin.accounts();
        let account = match self {
            Self::Connect(connect) => return connect.run(session).await,
            Self::Invite(invite) => return invite.run(session).await,
            Self::List(list) => return list.run(session).await,
            Self::Revoke(which) => return revoke(session, &which.account).await,
            Self::RevokeAll(all) => return all.run(session).await,
            Self::Delete(delete) => return delete.run(session).await,
            Self::Doctor(which) => return doctor(session, &which.account).await,
            Self::Update(update) => {
                let ask = update.request(session)?;
                session.admin.ask(accounts.update_account(ask)).await?
            }
            Self::Show(which) => {
                let ask = v1::GetAccountRequest { name: session.account(&which.account) };
                session.admin.ask(accounts.get_account(ask)).await?
            }
            Self::Disable(which) => {
                let ask = v1::DisableAccountRequest { name: session.account(&which.account) };
                session.admin.ask(accounts.disable_account(ask)).await?
            }
            Self::Enable(which) => {
                let ask = v1::EnableAccountRequest { name: session.account(&which.account) };
                session.admin.ask(accounts.enable_account(ask)).await?
            }
            Self::Refresh(refresh) => {
                let name = session.account(&refresh.account);
                let ask = v1::RefreshAccountRequest { name, audience: refresh.audience };
                session.admin.ask(accounts.refresh_account(ask)).await?
            }
        };
        session.out.show(&AccountView::from(account))
    }
}

impl List {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let state = self.state.map_or(v1::AccountState::Unspecified, Into::into);
        let accounts = all_pages(self.limit, async |page_size, page_token| {
            let parent = session.parent();
            let ask =
                v1::ListAccountsRequest { parent, page_size, page_token, state: state.into() };
            let page = session.admin.ask(session.admin.accounts().list_accounts(ask)).await?;
            Ok((page.accounts, page.next_page_token))
        })
        .await?;
        session.out.show(&AccountsView::from(accounts))
    }
}

impl Update {
    fn request(self, session: &Session) -> Result<v1::UpdateAccountRequest, Failure> {
        let mut paths = Vec::new();
        if self.display_name.is_some() {
            paths.push("display_name".to_owned());
        }
        if self.clear_labels || !self.labels.is_empty() {
            paths.push("labels".to_owned());
        }
        if self.sasl_user.is_some() {
            paths.push("sasl_user".to_owned());
        }
        if paths.is_empty() {
            return Err(Failure::usage(
                "nothing to change was named",
                "--display-name, --label, --clear-labels or --sasl-user",
            ));
        }
        let account = v1::Account {
            name: session.account(&self.account),
            display_name: self.display_name.unwrap_or_default(),
            labels: self.labels.into_iter().collect(),
            sasl_user: self.sasl_user.unwrap_or_default(),
            etag: self.etag,
            ..Default::default()
        };
        let mask = FieldMask { paths };
        Ok(v1::UpdateAccountRequest { account: Some(account), update_mask: Some(mask) })
    }
}

impl Delete {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let name = session.account(&self.account);
        let what = format!("Delete the account {} with its tokens and credentials?", self.account);
        session.confirm(&what, self.yes)?;
        let ask = v1::DeleteAccountRequest { name: name.clone(), etag: self.etag };
        session.admin.ask(session.admin.accounts().delete_account(ask)).await?;
        session.out.show(&Deleted { deleted: name })
    }
}

async fn doctor(session: &Session, account: &str) -> Result<(), Failure> {
    let ask = v1::DiagnoseAccountRequest { name: session.account(account) };
    let answer = session.admin.ask(session.admin.accounts().diagnose_account(ask)).await?;
    let diagnosis = DiagnosisView::from(answer);
    session.out.show(&diagnosis)?;
    match diagnosis.error() {
        None => Ok(()),
        Some((what, remedy)) => Err(Failure::Found { what, remedy }),
    }
}

async fn revoke(session: &Session, account: &str) -> Result<(), Failure> {
    let ask = v1::RevokeAccountRequest { name: session.account(account) };
    let answer = session.admin.ask(session.admin.accounts().revoke_account(ask)).await?;
    let account = answer.account.unwrap_or_default().into();
    let revoked_at_provider = answer.revoked_at_provider;
    session.out.show(&RevokedView { account, revoked_at_provider })
}

impl From<State> for v1::AccountState {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Active => Self::Active,
            State::NeedsConsent => Self::NeedsConsent,
            State::NeedsInteraction => Self::NeedsInteraction,
            State::BlockedByPolicy => Self::BlockedByPolicy,
            State::Disabled => Self::Disabled,
            State::Revoked => Self::Revoked,
        }
    }
}
