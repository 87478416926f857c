//! Answers that had to wait in a spill file, and storing them.
//!
//! Never keeps one in clear and never forgets one before the store has it. Invariant: they are stored before anything else
//! is done at start, so that nobody spends an older token while a newer one lies in a file. Next: `spill.rs` has the files.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::clock::Time;
use crate::domain::grant::Attempt;
use crate::domain::ids::{AccountId, AttemptId, GrantId};
use crate::domain::provider::Issued;
use crate::domain::refresh::admit::Spend;
use crate::domain::secret::{Sealed, Secret};
use crate::failpoint;
use crate::service::refresh::{Ground, Spending};
use crate::service::{Error, Service, places};

/// An answer with all that is needed to store it later, as it is sealed.
#[derive(Serialize, Deserialize)]
struct Packed {
    account: [u8; 16],
    grant: [u8; 16],
    generation: i64,
    newest: i64,
    audience: String,
    fence: i64,
    received_at: i64,
    access_token: Option<Zeroizing<String>>,
    refresh_token: Option<Zeroizing<String>>,
    token_type: String,
    expires_in_s: Option<u64>,
    #[serde(default)]
    refresh_expires_in_s: Option<u64>,
    scopes: Option<Vec<String>>,
}

impl Service {
    /// Puts an answer into a spill file, durable when this returns.
    pub(super) async fn spill(
        &self,
        account: AccountId,
        spending: &Spending,
        issued: &Issued,
    ) -> Result<(), Error> {
        let clear = |token: &Secret| Zeroizing::new(token.expose().to_owned());
        let packed = Packed {
            account: account.bytes(),
            grant: spending.grant.id.bytes(),
            generation: spending.spend.generation,
            newest: spending.spend.newest,
            audience: spending.spend.audience.clone(),
            fence: spending.fence,
            received_at: self.now().millis(),
            access_token: issued.access_token.as_ref().map(clear),
            refresh_token: issued.refresh_token.as_ref().map(clear),
            token_type: issued.token_type.clone(),
            expires_in_s: issued.expires_in.map(|life| life.as_secs()),
            refresh_expires_in_s: issued.refresh_expires_in.map(|life| life.as_secs()),
            scopes: issued.scopes.clone(),
        };
        let json = Secret::new(serde_json::to_string(&packed).map_err(Error::ours)?);
        let attempt = spending.attempt.id;
        let sealed = self.parts.sealer.seal(&places::spill(attempt), &json)?;
        self.parts.spill.put(attempt, &sealed).await.map_err(Error::ours)?;
        failpoint::reach("spill.written");
        Ok(())
    }

    /// The store has it by now.
    pub(super) async fn unspill(&self, attempt: AttemptId) {
        if let Err(error) = self.parts.spill.remove(attempt).await {
            tracing::warn!(%attempt, %error, "a spill file stays behind; it is stored once more at the next start");
        }
    }

    /// Stores what lies in spill files, oldest first. Says how many there were.
    ///
    /// # Errors
    /// The store does not take them, or the folder cannot be read: then nobody should start to spend tokens.
    pub(super) async fn store_spilled(&self) -> Result<usize, Error> {
        let all = self.parts.spill.all().await.map_err(Error::ours)?;
        for (attempt, sealed) in &all {
            if let Some((ground, spending, issued, received)) =
                self.unpack(*attempt, sealed).await?
            {
                self.keep(&ground, &spending, &issued, received).await?;
                tracing::warn!(account = %ground.account.name, "an answer from before the stop was stored");
            }
            self.unspill(*attempt).await;
        }
        Ok(all.len())
    }

    /// What a spill file holds; `None` if the account or the app is gone.
    async fn unpack(
        &self,
        attempt: AttemptId,
        sealed: &Sealed,
    ) -> Result<Option<(Arc<Ground>, Spending, Issued, Time)>, Error> {
        let Ok(json) = self.parts.sealer.open(&places::spill(attempt), sealed) else {
            let aside = self.parts.spill.set_aside(attempt).await.map_err(Error::ours)?;
            tracing::error!(file = %aside.display(), "a spill file was sealed by other keys; it is set aside");
            return Ok(None);
        };
        // The error of a parser may quote what it read.
        let packed: Packed = serde_json::from_str(json.expose())
            .map_err(|_| Error::ours("a spill file cannot be read"))?;
        let id = AccountId::from_bytes(packed.account);
        let mut conn = self.read().await?;
        let Some(row) = conn.account(id).await? else { return Ok(None) };
        let account = self.parts.sealer.admit(row)?;
        let spent = GrantId::from_bytes(packed.grant);
        let grants = conn.grants(id).await?;
        drop(conn);
        let Some(grant) = grants.into_iter().find(|grant| grant.id == spent) else {
            return Ok(None);
        };
        let app = self.app(account.app).await?;
        let provider = self.resolve_for(&app, &account)?;
        let auth = self.client_auth(&app).await?;
        let rules = self.rules_of(&provider);
        let received = Time::from_millis(packed.received_at);
        let secret = |text: Zeroizing<String>| Secret::from(text.as_str());
        let issued = Issued {
            access_token: packed.access_token.map(secret),
            token_type: packed.token_type,
            expires_in: packed.expires_in_s.map(Duration::from_secs),
            refresh_token: packed.refresh_token.map(secret),
            refresh_expires_in: packed.refresh_expires_in_s.map(Duration::from_secs),
            scopes: packed.scopes,
            id_token: None,
        };
        let (generation, newest) = (packed.generation, packed.newest);
        let audience = packed.audience;
        let attempt = Attempt {
            id: attempt,
            account: id,
            audience: audience.clone(),
            generation,
            owner: self.parts.replica.clone(),
            started_at: received,
            ended_at: None,
            outcome: String::new(),
            code: String::new(),
        };
        let spend = Spend { generation, newest, audience, replay: false, probe: false };
        let spending = Spending { spend, attempt, fence: packed.fence, grant, spent: None };
        let ground = Ground { account, app, provider, auth, rules };
        Ok(Some((Arc::new(ground), spending, issued, received)))
    }
}
