//! `brokerctl caller update`: other rights, protocols, networks or identities for a caller.
//!
//! Invariant: what was not named stays; what was named is replaced as a whole, so that nothing old is left by accident.

use clap::Args;
use prost_types::FieldMask;
use token_broker_client::v1;

use super::caller_fields::{IdentityArgs, RightArgs};
use super::words::{Protocol, protocols};
use crate::failure::Failure;
use crate::session::Session;
use crate::views::caller::CallerView;

/// Examples for `--help`.
pub(super) const UPDATE_HELP: &str = "\
Examples:
  brokerctl caller update crm --certificate-uri spiffe://example.org/crm
  brokerctl caller update crm --token https://kubernetes.default.svc system:serviceaccount:mail:crm
  brokerctl caller update crm --domain example.com --audience mail --min-interval 30s
  brokerctl caller update imap-1 --protocol imap --ip-range 192.0.2.0/24

What is named replaces what was there as a whole; what is not named stays. Old keys keep working.";

/// `caller update`
#[derive(Args, Debug)]
pub(crate) struct Update {
    /// The caller's id
    caller: String,
    /// A name for people
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,
    /// adapter: which protocols; repeat for more
    #[arg(long = "protocol", value_enum)]
    protocols: Vec<Protocol>,
    /// From where it may call; repeat for more
    #[arg(long = "ip-range", value_name = "CIDR")]
    ip_ranges: Vec<String>,
    /// It may call from anywhere
    #[arg(long, conflicts_with = "ip_ranges")]
    any_network: bool,
    /// It has no right to any account
    #[arg(long)]
    no_rights: bool,
    /// It is known by its API keys alone
    #[arg(long)]
    no_identities: bool,
    #[command(flatten)]
    right: RightArgs,
    #[command(flatten)]
    identity: IdentityArgs,
}

impl Update {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        self.right.check()?;
        let mut caller = v1::Caller { name: session.caller(&self.caller), ..v1::Caller::default() };
        let mut paths = Vec::new();
        if let Some(display_name) = self.display_name {
            caller.display_name = display_name;
            paths.push("display_name");
        }
        if !self.protocols.is_empty() {
            caller.protocols = protocols(&self.protocols);
            paths.push("protocols");
        }
        if self.any_network || !self.ip_ranges.is_empty() {
            caller.ip_ranges = self.ip_ranges;
            paths.push("ip_ranges");
        }
        if let Some(interval) = self.right.interval() {
            caller.min_interval = Some(interval);
            paths.push("min_interval");
        }
        match (self.right.names_accounts(), self.no_rights) {
            (true, true) => {
                return Err(Failure::usage("it cannot have a right and none", "leave one out"));
            }
            (true, false) => caller.rights = vec![self.right.right()],
            (false, _) => {}
        }
        if self.no_rights || !caller.rights.is_empty() {
            paths.push("rights");
        }
        if self.no_identities && !self.identity.is_empty() {
            return Err(Failure::usage("it cannot have identities and none", "leave one out"));
        }
        if self.no_identities || !self.identity.is_empty() {
            caller.identities = self.identity.identities();
            paths.push("identities");
        }
        if paths.is_empty() {
            return Err(Failure::usage("nothing to change was named", "see --help"));
        }
        let mask = FieldMask { paths: paths.into_iter().map(Into::into).collect() };
        let ask = v1::UpdateCallerRequest { caller: Some(caller), update_mask: Some(mask) };
        let changed = session.admin.ask(session.admin.callers().update_caller(ask)).await?;
        session.out.show(&CallerView::from(changed))
    }
}
