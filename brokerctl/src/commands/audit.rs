//! `brokerctl audit`: what was handed out, changed and refused.

use clap::{Args, Subcommand};
use token_broker_client::v1;

use crate::failure::Failure;
use crate::session::{Session, all_pages};
use crate::views::audit::AuditView;

/// `brokerctl audit ..`
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Lists records, newest first
    List(List),
}

/// `audit list`
#[derive(Args, Debug)]
pub(crate) struct List {
    /// Only about this account
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
}

impl Audit {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let Self::List(list) = self;
        let account = list.account.map(|id| session.account(&id)).unwrap_or_default();
        let records = all_pages(list.limit, async |page_size, page_token| {
            let parent = session.parent();
            let account = account.clone();
            let ask = v1::ListAuditRecordsRequest { parent, page_size, page_token, account };
            let page = session.admin.ask(session.admin.audit().list_audit_records(ask)).await?;
            Ok((page.records, page.next_page_token))
        })
        .await?;
        session.out.show(&AuditView::from(records))
    }
}
