//! Proxy credentials as managers see them.
//!
//! Never shows a secret: that is in the answer that made it and nowhere else. Next: `create_credential`,
//! `rotate_credential`, `revoke_credential`.

use crate::domain::account::Account;
use crate::domain::caller::Manage;
use crate::domain::credential::Credential;
use crate::domain::event::{Event, What};
use crate::domain::secret::Secret;
use crate::service::lookup::AccountName;
use crate::service::{Error, Service};
use crate::store::{Page, PageRequest};

/// A credential with its account.
#[derive(Clone, Debug)]
pub struct CredentialView {
    /// The credential.
    pub credential: Credential,
    /// The account it logs in to.
    pub account: Account,
}

/// A credential that was just made, with its secret.
#[derive(Clone, Debug)]
pub struct NewCredential {
    /// The credential.
    pub view: CredentialView,
    /// The password, to be shown once.
    pub shown: Secret,
}

impl Service {
    /// One credential, by its public part.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn credential(&self, permit: &Manage, key: &str) -> Result<CredentialView, Error> {
        let unknown = || Error::NotFound(format!("credential {key}"));
        let row = self.read().await?.credential_by_key(key).await?.ok_or_else(unknown)?;
        let credential = self.parts.sealer.admit(row)?;
        let account = self.account(credential.account).await?;
        if account.project != *permit.project() {
            return Err(unknown());
        }
        Ok(CredentialView { credential, account })
    }

    /// The credentials of an account, or of the whole project.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such account.
    pub async fn credentials(
        &self,
        permit: &Manage,
        account: Option<&AccountName>,
        page: PageRequest,
    ) -> Result<Page<CredentialView>, Error> {
        let found = match account {
            Some(name) => {
                let account = self.account_named(permit.project(), name).await?;
                self.read().await?.credentials_of(account.id, &page).await?
            }
            None => self.read().await?.credentials(permit.project(), &page).await?,
        };
        let mut items = Vec::with_capacity(found.items.len());
        for row in found.items {
            let credential = self.parts.sealer.admit(row)?;
            let account = self.account(credential.account).await?;
            items.push(CredentialView { credential, account });
        }
        Ok(Page { items, next_page_token: found.next_page_token })
    }

    /// An audit record about a credential.
    pub(super) fn credential_event(
        &self,
        permit: &Manage,
        what: What,
        view: &CredentialView,
    ) -> Event {
        self.managed(permit, what, view.account.name.as_str(), &view.credential.key)
    }
}
