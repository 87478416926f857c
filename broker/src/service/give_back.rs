//! Gives revoked grants back to their providers, until each has confirmed it.
//!
//! Never stands in the way of a revocation, which holds here before the provider is asked, and never gives a grant back whose
//! account has a new consent. Invariant: a refresh token that was revoked is forgotten only when the provider has confirmed,
//! cannot be told, or was asked for [`PATIENCE`]; a broker that dies in between leaves it to the next. RFC 7009 lets the same
//! token be revoked any number of times, so brokers that share a database need not agree. Next: `assemble/upkeep.rs` calls
//! this every minute.

use std::time::Duration;

use futures_util::{StreamExt, stream};

use crate::clock::Time;
use crate::domain::account::{Account, Standing};
use crate::domain::event::{Event, What};
use crate::domain::grant::Grant;
use crate::domain::ids::AccountId;
use crate::domain::refusal::{RefusalClass, Refused};
use crate::providers::client::TokenKind;
use crate::service::{Error, Service, changes};
use crate::store::Result as Stored;

/// How long a provider is asked: longer than any outage, shorter than most unused refresh tokens live.
const PATIENCE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Accounts that are read at once.
const PAGE: i64 = 64;

/// Providers are asked about so many at once.
const AT_ONCE: usize = 8;

/// How giving back ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The provider has forgotten the grant.
    Confirmed,
    /// It has no way to be told (no revocation endpoint).
    Untold,
    /// It did not answer, or not well, for as long as we ask.
    GivenUp,
}

impl End {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Untold => "no_endpoint",
            Self::GivenUp => "given_up",
        }
    }
}

impl Service {
    /// Asks the providers of all accounts that wait for it. Says how many were settled.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn give_grants_back(&self) -> Result<usize, Error> {
        let (mut after, mut settled) = (None, 0);
        while !self.is_draining() && !self.parts.tasks.is_stopping() {
            let page = self.read().await?.giving_back(after, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            let asked =
                stream::iter(page).map(|(account, since)| self.give_one_back(account, since));
            let ends: Vec<_> = asked.buffer_unordered(AT_ONCE).collect().await;
            settled += ends.into_iter().filter(|settled| *settled).count();
        }
        Ok(settled)
    }

    async fn give_one_back(&self, account: AccountId, since: Time) -> bool {
        match self.give_account_back(account, since).await {
            Ok(end) => end.is_some(),
            // It may have been deleted meanwhile; else the next round tries again.
            Err(error) => {
                tracing::warn!(%account, %error, "a grant was not given back yet");
                false
            }
        }
    }

    /// Asks the provider of one account that was revoked just now. Says whether it confirmed.
    pub(super) async fn gave_back(&self, account: &Account) -> bool {
        let end = self.give_account_back(account.id, self.now()).await.unwrap_or_else(|error| {
            tracing::warn!(account = %account.name, %error, "a grant was not given back yet");
            None
        });
        end == Some(End::Confirmed)
    }

    async fn give_account_back(&self, id: AccountId, since: Time) -> Result<Option<End>, Error> {
        let (account, grants) = {
            let mut conn = self.read().await?;
            (self.account_on(&mut conn, id).await?, conn.grants(id).await?)
        };
        let newest = grants.into_iter().find(|grant| grant.refresh_token.is_some());
        let (Standing::Revoked, Some(grant)) = (account.standing, newest) else { return Ok(None) };
        let is_late = self.now() >= since.after(PATIENCE);
        let end = match self.revoke_at_provider(&account, &grant).await {
            Ok(Ok(())) => End::Confirmed,
            // It knows no such token any more.
            Ok(Err(refused)) if refused.class == RefusalClass::NeedsConsent => End::Confirmed,
            Ok(Err(refused)) if refused.code == "no_endpoint" => End::Untold,
            Ok(Err(_)) | Err(_) if is_late => End::GivenUp,
            Ok(Err(refused)) => {
                tracing::info!(account = %account.name, code = %refused.code,
                    "the provider did not confirm that it forgot a grant; it is asked again");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        self.settle_back(&account, end).await?;
        Ok(Some(end))
    }

    async fn revoke_at_provider(
        &self,
        account: &Account,
        grant: &Grant,
    ) -> Result<Result<(), Refused>, Error> {
        let Some(token) = self.refresh_token_of(grant)? else { return Ok(Ok(())) };
        let app = self.app(account.app).await?;
        let provider = self.resolve_for(&app, account)?;
        let auth = self.client_auth(&app).await?;
        Ok(self.parts.providers.revoke(&provider, &auth, &token, TokenKind::Refresh).await)
    }

    /// Forgets the grants of an account, unless it was revived or another broker was first.
    async fn settle_back(&self, account: &Account, end: End) -> Result<(), Error> {
        let event = Event {
            granted: end == End::Confirmed,
            ..self.of_broker(What::GrantRevoked, account, end.as_str())
        };
        let (sealer, id) = (self.parts.sealer.clone(), account.id);
        self.write(move |tx| {
            Box::pin(async move {
                let Some(row) = tx.account(id).await? else { return Ok(()) };
                let is_revoked = changes::admit(&sealer, row)?.standing == Standing::Revoked;
                if is_revoked && tx.end_giving_back(id).await? {
                    tx.append_audit(event).await?;
                }
                Stored::Ok(())
            })
        })
        .await
    }
}
