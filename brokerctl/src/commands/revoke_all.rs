//! `brokerctl account revoke-all`: after a break-in, every grant of a project goes back to its provider.
//!
//! Never stops at one that fails: all are tried, and those that could not be revoked are named. Invariant: it can be run
//! again; what is revoked already is left alone unless its provider has not confirmed, so a run that was cut off goes on where it
//! was.

use clap::Args;
use futures_util::{StreamExt, stream};
use token_broker_client::{Error, v1};

use crate::failure::Failure;
use crate::session::{Session, all_pages};
use crate::views::account::{NotRevoked, RevokedAllView};

/// Revocations under way at once: each is a call at the provider, and those have limits.
const AT_ONCE: usize = 8;

pub(crate) const REVOKE_ALL_HELP: &str = "\
For the hour after a break-in (docs/operate.md): when the key-encryption key and the database may be known, only the provider can
make the refresh tokens worthless. Here every account is at once as after `account revoke`: no token is handed out, its sessions
end, and it comes back only by a new consent. Run it again if it was cut off.

Pending        the provider has not confirmed yet that it forgot the grant. It is asked every minute for 7 days, and by another
               run of this command.
Not confirmed  the provider has no revocation endpoint: withdraw the grant there by hand. Here it is forgotten.

Exit code 7 if an account could not be revoked or a provider has not confirmed, 0 if all is done.

Examples:
  brokerctl account revoke-all --yes
  brokerctl account revoke-all --app gmail --yes --json | jq -r '.not_confirmed[]'";

/// `account revoke-all`
#[derive(Args, Debug)]
pub(crate) struct RevokeAll {
    /// Only those that consented to this app
    #[arg(long, value_name = "APP")]
    app: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl RevokeAll {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let names = self.names(session).await?;
        let whose = self.app.as_ref().map_or_else(String::new, |app| format!(" of the app {app}"));
        let what =
            format!("Revoke {} accounts{whose}? Their owners have to consent again.", names.len());
        session.confirm(&what, self.yes)?;
        let bar = session.out.bar("accounts", u64::try_from(names.len()).unwrap_or(0));
        let ends = names.into_iter().map(async |name| {
            let ask = v1::RevokeAccountRequest { name: name.clone() };
            let end = session.admin.ask(session.admin.accounts().revoke_account(ask)).await;
            bar.inc(1);
            (name, end)
        });
        let ends: Vec<_> = stream::iter(ends).buffer_unordered(AT_ONCE).collect().await;
        bar.finish_and_clear();
        let view = view(ends);
        session.out.show(&view)?;
        let (what, remedy) = match (view.failed.len(), view.pending.len(), view.not_confirmed.len())
        {
            (0, 0, 0) => return Ok(()),
            (0, 0, some) => {
                let what = format!("the providers of {some} accounts cannot be told");
                (what, "withdraw those grants in the provider's console")
            }
            (0, some, _) => {
                let what = format!("the providers of {some} accounts have not confirmed yet");
                (what, "the broker asks them every minute; run it again to see")
            }
            (some, ..) => (format!("{some} accounts could not be revoked"), "run it again"),
        };
        Err(Failure::Found { what, remedy: remedy.to_owned() })
    }

    /// Those that are not revoked yet, here or at their provider.
    async fn names(&self, session: &Session) -> Result<Vec<String>, Error> {
        let accounts = all_pages(usize::MAX, async |page_size, page_token| {
            let ask = v1::ListAccountsRequest {
                parent: session.parent(),
                page_size,
                page_token,
                ..Default::default()
            };
            let page = session.admin.ask(session.admin.accounts().list_accounts(ask)).await?;
            Ok((page.accounts, page.next_page_token))
        })
        .await?;
        let app = self.app.as_ref().map(|app| session.app(app));
        let wanted = |account: &v1::Account| {
            (account.state() != v1::AccountState::Revoked || account.revocation_pending)
                && app.as_ref().is_none_or(|app| account.app == *app)
        };
        Ok(accounts.into_iter().filter(wanted).map(|account| account.name).collect())
    }
}

fn view(ends: Vec<(String, Result<v1::RevokeAccountResponse, Error>)>) -> RevokedAllView {
    let mut view = RevokedAllView::default();
    for (account, end) in ends {
        match end {
            Ok(answer) => {
                view.revoked += 1;
                let pending = answer.account.is_some_and(|account| account.revocation_pending);
                match (answer.revoked_at_provider, pending) {
                    (true, _) => {}
                    (false, true) => view.pending.push(account),
                    (false, false) => view.not_confirmed.push(account),
                }
            }
            // Somebody deleted it meanwhile, and with it all it had.
            Err(Error::NotFound { .. }) => {}
            Err(error) => view.failed.push(NotRevoked { account, why: error.to_string() }),
        }
    }
    view.pending.sort_unstable();
    view.not_confirmed.sort_unstable();
    view
}
