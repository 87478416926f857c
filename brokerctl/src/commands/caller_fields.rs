//! What `brokerctl caller create` and `caller update` say about a caller.
//!
//! Never calls the broker. Invariant: flags that belong together (`--token` and its claims, a selector and its audiences)
//! are checked here, so that a half of them is not taken for the whole.

use std::time::Duration;

use clap::Args;
use token_broker_client::v1::{self, caller_identity::Kind};

use super::words::label;
use crate::failure::Failure;
use crate::when;

/// A service's right.
#[derive(Args, Debug)]
#[command(next_help_heading = "For the role `service`")]
pub(crate) struct RightArgs {
    /// Every account of the project
    #[arg(long)]
    all_accounts: bool,
    /// An account's id; repeat for more
    #[arg(long = "account", value_name = "ID")]
    accounts: Vec<String>,
    /// Mailboxes in this domain; repeat for more
    #[arg(long = "domain", value_name = "DOMAIN")]
    domains: Vec<String>,
    /// Accounts with this label; repeat for more
    #[arg(long = "account-label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// For which targets, `*` for all; repeat for more
    #[arg(long = "audience", value_name = "AUDIENCE", default_value = "mail")]
    audiences: Vec<String>,
    /// The only scopes its tokens may have; repeat for more [default: whatever the target has]
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// May ask how tokens stand and gets none
    #[arg(long)]
    status_only: bool,
    /// The least time between two tokens of one account, such as 30s; 0s for none
    #[arg(long, value_name = "TIME", value_parser = when::span)]
    min_interval: Option<Duration>,
}

/// What a caller shows instead of an API key.
#[derive(Args, Debug)]
#[command(next_help_heading = "What it may show instead of an API key")]
pub(crate) struct IdentityArgs {
    /// A DNS name of its client certificate, exactly; repeat for more
    #[arg(long = "certificate-dns", value_name = "NAME")]
    dns: Vec<String>,
    /// A URI of its client certificate, such as spiffe://example.org/crm; repeat for more
    #[arg(long = "certificate-uri", value_name = "URI")]
    uris: Vec<String>,
    /// Tokens of this issuer for this subject, in which * is a whole segment; repeat for more
    #[arg(long = "token", num_args = 2, value_names = ["ISSUER", "SUBJECT"])]
    tokens: Vec<String>,
    /// A further claim those tokens must have, exactly; repeat for more
    #[arg(long = "token-claim", value_name = "NAME=VALUE", value_parser = label, requires = "tokens")]
    claims: Vec<(String, String)>,
}

impl RightArgs {
    /// The interval, if one was said.
    pub(crate) fn interval(&self) -> Option<prost_types::Duration> {
        self.min_interval.map(when::wire)
    }

    /// Whether accounts were named, or anything that means nothing without them.
    pub(crate) fn names_accounts(&self) -> bool {
        self.all_accounts
            || !(self.accounts.is_empty() && self.domains.is_empty() && self.labels.is_empty())
    }

    /// The right.
    pub(crate) fn right(self) -> v1::Right {
        let accounts = v1::AccountSelector {
            all: self.all_accounts,
            accounts: self.accounts,
            domains: self.domains,
            labels: self.labels.into_iter().collect(),
        };
        let calls = self.status_only.then(|| v1::CallClass::Status.into());
        v1::Right {
            accounts: Some(accounts),
            audiences: self.audiences,
            calls: calls.into_iter().collect(),
            scopes: self.scopes,
        }
    }

    /// Refuses what narrows a right that is not there.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if !self.names_accounts() && (self.status_only || !self.scopes.is_empty()) {
            return Err(Failure::usage(
                "--scope and --status-only narrow a right and there is none",
                "--all-accounts, --account ID, --domain DOMAIN or --account-label KEY=VALUE",
            ));
        }
        Ok(())
    }
}

impl IdentityArgs {
    /// Whether anything was said.
    pub(crate) fn is_empty(&self) -> bool {
        self.dns.is_empty() && self.uris.is_empty() && self.tokens.is_empty()
    }

    /// All of them.
    pub(crate) fn identities(self) -> Vec<v1::CallerIdentity> {
        let claims = self.claims;
        let token = |pair: &[String]| match pair {
            [issuer, subject] => Some(Kind::Token(v1::TokenRule {
                issuer: issuer.clone(),
                subject: subject.clone(),
                claims: claims.iter().cloned().collect(),
            })),
            _ => None,
        };
        let tokens = self.tokens.chunks(2).filter_map(token);
        let dns = self.dns.into_iter().map(Kind::CertificateDns);
        let uris = self.uris.into_iter().map(Kind::CertificateUri);
        let all = dns.chain(uris).chain(tokens);
        all.map(|kind| v1::CallerIdentity { kind: Some(kind) }).collect()
    }
}
