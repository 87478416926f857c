//! `brokerctl token`: access tokens, as a service gets them.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::failure::Failure;
use crate::session::Session;
use crate::views::reason;
use crate::views::token::{TokenStatusView, TokenView};
use crate::when;

/// `brokerctl token ..`
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Prints an access token, alone on stdout
    #[command(after_help = GET_HELP)]
    Get(Get),
    /// Shows how the token stands, without handing it out
    Status(Status),
}

const GET_HELP: &str = "\
Examples:
  TOKEN=$(brokerctl token get ann@example.com)
  brokerctl token get ann --audience graph --min-ttl 30m --json

Your key's caller must have a right to the account.";

/// `token get`
#[derive(Args, Debug)]
pub(crate) struct Get {
    /// The account's id or mailbox address
    account: String,
    /// What it is for [default: mail]
    #[arg(long, conflicts_with = "scopes")]
    audience: Option<String>,
    /// A scope it must carry, instead of an audience; repeat for more
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// How long it must live at least, such as 30m [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = when::span)]
    min_ttl: Option<Duration>,
}

/// `token status`
#[derive(Args, Debug)]
pub(crate) struct Status {
    /// The account's id or mailbox address
    account: String,
    /// What it is for [default: mail]
    #[arg(long, default_value = "", hide_default_value = true)]
    audience: String,
}

impl Token {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Get(get) => get.run(session).await,
            Self::Status(status) => {
                let account = session.account(&status.account);
                let answer = session.tokens.token_status(account, status.audience).await?;
                session.out.show(&TokenStatusView::from(answer))
            }
        }
    }
}

impl Get {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let call = session.tokens.access_token(session.account(&self.account));
        let call = call.scopes(self.scopes).audience(self.audience.unwrap_or_default());
        let call = match self.min_ttl {
            Some(least) => call.min_ttl(least),
            None => call,
        };
        let token = call.await?;
        session.out.show(&TokenView::from(&token))?;
        if token.is_stale() {
            let why = token.last_error().and_then(reason).unwrap_or_else(|| "unknown".into());
            session.out.hint(&format!("note: refreshing fails ({why}); this token still lives"));
        }
        Ok(())
    }
}
