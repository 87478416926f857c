//! The link by which a mailbox owner renews a grant that died.
//!
//! Never stored, never expires by itself: it names the account and carries a keyed hash, so it can be told in an error and
//! found by nobody who was not told. Opening it changes nothing; the page behind it asks for a click and admits only the
//! same mailbox. Invariant: only an account that exists and is not switched off has a working link. Next: `open_consent`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::account::Account;
use crate::domain::guarded::Canonical;
use crate::domain::ids::AccountId;
use crate::seal::RightsMac;
use crate::service::{Error, Service};

impl Service {
    /// Where the owner of `account` can consent again.
    pub(super) fn consent_link(&self, account: &Account) -> String {
        let mut token = account.id.bytes().to_vec();
        token.extend_from_slice(self.parts.sealer.mac(&link(account.id)).as_bytes());
        let mut url = self.parts.public_url.clone();
        url.set_path(&format!("/renew/{}", URL_SAFE_NO_PAD.encode(token)));
        url.into()
    }

    /// The account a link was made for.
    pub(super) async fn account_behind(&self, token: &str) -> Result<Account, Error> {
        let unknown = || Error::ConsentNotUsable("This link is not one of ours.".to_owned());
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| unknown())?;
        let (id, proof) = bytes.split_first_chunk::<16>().ok_or_else(unknown)?;
        let id = AccountId::from_bytes(*id);
        let mac = RightsMac::from_bytes(proof).map_err(|_| unknown())?;
        self.parts.sealer.check_mac(&link(id), &mac).map_err(|_| unknown())?;
        let account = self.account(id).await.map_err(|_| unknown())?;
        if account.disabled { Err(unknown()) } else { Ok(account) }
    }
}

/// What the keyed hash of a link is made over.
fn link(id: AccountId) -> Canonical {
    Canonical::new("renewal link", id.bytes(), 0)
}
