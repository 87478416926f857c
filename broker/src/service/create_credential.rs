//! Makes a proxy credential and shows its secret, once.
//!
//! Never stores the secret: only its keyed hash. Invariant: whatever a credential may do is in its signed row.

use ipnet::IpNet;

use crate::clock::Time;
use crate::domain::account::Account;
use crate::domain::caller::Manage;
use crate::domain::credential::{Credential, Limits};
use crate::domain::event::What;
use crate::domain::ids::CredentialId;
use crate::domain::mail::MailProtocol;
use crate::seal::credential::{Generated, Kind};
use crate::service::credentials::{CredentialView, NewCredential};
use crate::service::lookup::AccountName;
use crate::service::{Error, Service};

/// What a credential shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialDraft {
    /// Which device or script uses it.
    pub description: String,
    /// What it may log in to; not empty.
    pub protocols: Vec<MailProtocol>,
    /// From where; empty means anywhere.
    pub ip_ranges: Vec<IpNet>,
    /// How much it may be used.
    pub limits: Limits,
    /// When it ends.
    pub expires_at: Option<Time>,
}

impl Service {
    /// Makes a credential for an account.
    ///
    /// # Errors
    /// [`Error::NotFound`] without such an account, [`Error::Invalid`] if it would have ended already.
    pub async fn create_credential(
        &self,
        permit: &Manage,
        account: &AccountName,
        draft: CredentialDraft,
    ) -> Result<NewCredential, Error> {
        let account = self.account_named(permit.project(), account).await?;
        if draft.expires_at.is_some_and(|end| end <= self.parts.clock.now()) {
            return Err(Error::invalid("credential.expire_time", "use a time in the future"));
        }
        let made = self.new_credential(account, draft);
        let event = self.credential_event(permit, What::CredentialCreated, &made.view);
        let row = self.parts.sealer.guard(made.view.credential.clone());
        self.write(move |tx| {
            Box::pin(async move {
                tx.insert_credential(&row).await?;
                tx.append_audit(event).await.map(drop)
            })
        })
        .await?;
        Ok(made)
    }

    /// A credential with a fresh secret, not stored yet.
    pub(super) fn new_credential(&self, account: Account, draft: CredentialDraft) -> NewCredential {
        let now = self.parts.clock.now();
        let generated = Generated::new(Kind::Proxy, &self.parts.entropy);
        let hash = self.parts.sealer.hash(Kind::Proxy, &generated.id, &generated.secret);
        let credential = Credential {
            id: CredentialId::new(now, &self.parts.entropy),
            key: generated.id.to_string(),
            account: account.id,
            description: draft.description,
            protocols: draft.protocols,
            ip_ranges: draft.ip_ranges,
            limits: draft.limits,
            expires_at: draft.expires_at,
            revoked_at: None,
            secret_hash: hash.as_bytes().to_vec(),
            successor: String::new(),
            version: 1,
            created_at: now,
            last_used_at: None,
            last_used_from: String::new(),
        };
        NewCredential { view: CredentialView { credential, account }, shown: generated.shown }
    }
}
