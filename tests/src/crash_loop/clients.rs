//! The clients of one life of the broker: they repeat nothing and know nothing of the lives before.
//!
//! Every call ends: with an answer, an error, or because the broker is known to be dead. Next: [`super::load`].

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use token_broker::domain::chain::Point;
use token_broker_client::v1::token_service_client::TokenServiceClient;
use token_broker_client::{Connection, Error, Options, v1};
use tokio_util::sync::CancellationToken;

use super::fleet::Member;
use crate::world::{House, Operator, Owner};

/// What was heard of a call.
#[derive(Debug)]
pub(super) enum Heard<T> {
    /// An answer.
    Answer(T),
    /// The broker's refusal.
    Refusal(Error),
    /// Nothing: it may have been done or not.
    Nothing,
}

/// A service and an operator.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    operator: Operator,
    service: Connection,
    dead: CancellationToken,
}

impl Clients {
    /// New connections to the broker as it runs now.
    pub(super) async fn open(house: &House, key: &str) -> Result<Self> {
        let options = Options::new(format!("http://{}", house.doors().grpc)).api_key(key);
        let service = Connection::open(&options.deadline(Duration::from_secs(30))).await?;
        let dead = CancellationToken::new();
        Ok(Self { operator: house.operator().await?, service, dead })
    }

    /// The broker is dead: whoever still waits has heard nothing.
    pub(super) fn bury(&self) {
        self.dead.cancel();
    }

    pub(super) async fn token(&self, member: &Member) -> Heard<v1::GetAccessTokenResponse> {
        let ask = v1::GetAccessTokenRequest { account: member.name.clone(), ..Default::default() };
        let mut client = TokenServiceClient::new(self.service.door());
        self.hear(self.operator.admin().ask(client.get_access_token(ask))).await
    }

    pub(super) async fn refresh(&self, member: &Member) -> Heard<v1::Account> {
        let admin = self.operator.admin();
        let ask = v1::RefreshAccountRequest { name: member.name.clone(), audience: String::new() };
        let mut accounts = admin.accounts();
        self.hear(admin.ask(accounts.refresh_account(ask))).await
    }

    pub(super) async fn account(&self, member: &Member) -> Heard<v1::Account> {
        let admin = self.operator.admin();
        let ask = v1::GetAccountRequest { name: member.name.clone() };
        let mut accounts = admin.accounts();
        self.hear(admin.ask(accounts.get_account(ask))).await
    }

    pub(super) async fn revoke(&self, member: &Member) -> Heard<v1::RevokeAccountResponse> {
        let admin = self.operator.admin();
        let ask = v1::RevokeAccountRequest { name: member.name.clone() };
        let mut accounts = admin.accounts();
        self.hear(admin.ask(accounts.revoke_account(ask))).await
    }

    /// The owner consents, by an invitation; `None` if the broker died meanwhile.
    pub(super) async fn consent(&self, member: &Member) -> Option<Result<()>> {
        tokio::select! {
            () = self.dead.cancelled() => None,
            done = connect(&self.operator, member.mode.name(), &member.mailbox) => Some(done),
        }
    }

    /// All audit records that are not `judged` yet, by chain and number, newest first.
    pub(super) async fn audit_after(
        &self,
        judged: &HashMap<String, Point>,
    ) -> Result<Vec<v1::AuditRecord>, Error> {
        let admin = self.operator.admin();
        let mut ask = v1::ListAuditRecordsRequest { page_size: 1000, ..Default::default() };
        let mut records = Vec::new();
        loop {
            let page = admin.ask(admin.audit().list_audit_records(ask.clone())).await?;
            let is_new = |record: &v1::AuditRecord| {
                record.sequence > judged.get(&record.chain).map_or(0, |end| end.sequence)
            };
            let before = records.len();
            records.extend(page.records.into_iter().filter(is_new));
            // Chains run side by side, so new and old ones mix at the seam; but not over a whole page.
            if records.len() == before || page.next_page_token.is_empty() {
                return Ok(records);
            }
            ask.page_token = page.next_page_token;
        }
    }

    /// The chains that do not verify, and why.
    pub(super) async fn broken_chains(&self) -> Result<Vec<(String, String)>, Error> {
        let admin = self.operator.admin();
        let mut broken = Vec::new();
        let mut page_token = String::new();
        loop {
            let ask = v1::VerifyAuditRequest { page_token };
            let page = admin.ask(admin.audit().verify_audit(ask)).await?;
            let bad = page.chains.into_iter().filter(|chain| chain.flaw != 0);
            broken.extend(bad.map(|chain| (chain.chain, chain.detail)));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(broken);
            }
        }
    }

    async fn hear<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Heard<T> {
        let heard = tokio::select! {
            biased;
            heard = call => heard,
            () = self.dead.cancelled() => return Heard::Nothing,
        };
        match heard {
            Ok(answer) => Heard::Answer(answer),
            Err(
                Error::Unreachable { .. } | Error::Disconnected { .. } | Error::Unexpected { .. },
            ) => Heard::Nothing,
            Err(refusal) => Heard::Refusal(refusal),
        }
    }
}

/// The owner of `mailbox` accepts an invitation to `app`; the account's name.
pub(super) async fn connect(operator: &Operator, app: &str, mailbox: &str) -> Result<()> {
    let invitation = operator.invite(app, mailbox).await?;
    let page = Owner::of(mailbox)?.accept(&invitation.uri).await?;
    let consent = operator.consent(&invitation.name).await.context("how the consent stands")?;
    let finished = consent.state() == v1::ConsentState::Finished;
    ensure!(finished, "{:?}: {}\n{}", consent.state(), consent.failure, page.text);
    Ok(())
}
