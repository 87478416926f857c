//! `brokerctl session`: logins at the mail adapters.

use clap::{Args, Subcommand};
use token_broker_client::v1;

use crate::failure::Failure;
use crate::session::{Session, all_pages};
use crate::views::session::{EndedView, SessionView, SessionsView};

/// `brokerctl session ..`
#[derive(Debug, Subcommand)]
pub(crate) enum Sessions {
    /// Lists sessions, newest first; those that ended are kept for 30 days
    #[command(after_help = LIST_HELP)]
    List(List),
    /// Shows one session
    Show(Which),
    /// Ends sessions now; their clients may log in again
    #[command(after_help = END_HELP)]
    End(End),
}

const LIST_HELP: &str = "\
Bytes are told by the adapters once a minute and at the end. `silent` is a session whose adapter has not told of it for five
minutes; after two hours it counts as lost.

Examples:
  brokerctl session list --live
  brokerctl session list --account ann@example.com --limit 20";

const END_HELP: &str = "\
The adapter ends a session within a second, or within its orphan_ttl if it is cut off from the broker. To keep the client from
coming back, revoke its credential instead: that ends its sessions too.

Examples:
  brokerctl session end 0199d1c2-7c1e-7b7e-9d39-2f3f4bb1a001
  brokerctl session end --credential abc123defghi
  brokerctl session end --all --yes";

/// One session.
#[derive(Args, Debug)]
pub(crate) struct Which {
    /// Its id or full name
    session: String,
}

/// Selects sessions.
#[derive(Args, Debug)]
#[group(multiple = false)]
struct Filter {
    /// Those of this account: its id or mailbox address
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// Those opened with this credential
    #[arg(long, value_name = "CREDENTIAL")]
    credential: Option<String>,
    /// Those at this adapter: the id of its caller
    #[arg(long, value_name = "CALLER")]
    adapter: Option<String>,
}

/// `session list`
#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    filter: Filter,
    /// Only those that have not ended
    #[arg(long)]
    live: bool,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 1_000)]
    limit: usize,
}

/// `session end`
#[derive(Args, Debug)]
pub(crate) struct End {
    /// Its id or full name
    #[arg(conflicts_with_all = ["account", "credential", "adapter", "all"])]
    #[arg(required_unless_present_any = ["account", "credential", "adapter", "all"])]
    session: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// Every open session of the project
    #[arg(long, conflicts_with_all = ["account", "credential", "adapter"])]
    all: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Sessions {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.run(session).await,
            Self::End(end) => end.run(session).await,
            Self::Show(which) => {
                let ask = v1::GetSessionRequest { name: named(session, &which.session) };
                let mut sessions = session.admin.sessions();
                let found = session.admin.ask(sessions.get_session(ask)).await?;
                session.out.show(&SessionView::from(found))
            }
        }
    }
}

impl List {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let filter = self.filter.wire(session, self.live);
        let sessions = all_pages(self.limit, async |page_size, page_token| {
            let (parent, filter) = (session.parent(), Some(filter.clone()));
            let ask = v1::ListSessionsRequest { parent, page_size, page_token, filter };
            let page = session.admin.ask(session.admin.sessions().list_sessions(ask)).await?;
            Ok((page.sessions, page.next_page_token))
        })
        .await?;
        session.out.show(&SessionsView::from(sessions))
    }
}

impl End {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let mut sessions = session.admin.sessions();
        if let Some(one) = &self.session {
            let ask = v1::EndSessionRequest { name: named(session, one) };
            let ended = session.admin.ask(sessions.end_session(ask)).await?;
            return session.out.show(&SessionView::from(ended));
        }
        let which = match &self.filter {
            Filter { account: Some(name), .. } => format!("all open sessions of account {name}"),
            Filter { credential: Some(key), .. } => {
                format!("all open sessions of credential {key}")
            }
            Filter { adapter: Some(name), .. } => format!("all open sessions at adapter {name}"),
            _ => format!("every open session of {}", session.parent()),
        };
        session.confirm(&format!("End {which}?"), self.yes)?;
        let mut ended = 0;
        loop {
            let (parent, filter) = (session.parent(), Some(self.filter.wire(session, true)));
            let ask = v1::EndSessionsRequest { parent, filter, all: self.all };
            let answer = session.admin.ask(sessions.end_sessions(ask)).await?;
            ended += answer.ended;
            if !answer.more {
                return session.out.show(&EndedView { ended });
            }
        }
    }
}

impl Filter {
    fn wire(&self, session: &Session, live_only: bool) -> v1::SessionFilter {
        let account = self.account.as_deref().map(|name| session.account(name));
        v1::SessionFilter {
            account: account.unwrap_or_default(),
            credential: self.credential.clone().unwrap_or_default(),
            adapter: self.adapter.clone().unwrap_or_default(),
            live_only,
        }
    }
}

/// A session's full name.
fn named(session: &Session, name: &str) -> String {
    if name.contains('/') {
        name.to_owned()
    } else {
        format!("{}/sessions/{name}", session.parent())
    }
}
