//! One real login with a fresh grant, before it becomes an account.
//!
//! Never reads or changes anything in the mailbox. Invariant: where the provider has mail hosts, a token that does not open
//! the mailbox makes no account. Next: `providers/mail_proof.rs` speaks to the server.

use crate::domain::mail::MailProtocol;
use crate::providers::mail_proof::Proof;
use crate::providers::resolved::Resolved;
use crate::service::finish_consent::Pending;
use crate::service::{Error, Service};

impl Service {
    /// Logs in to the mailbox once, over the first protocol the provider offers.
    pub(super) async fn prove(&self, provider: &Resolved, pending: &Pending) -> Result<(), Error> {
        let wanted = [MailProtocol::Imap, MailProtocol::Smtp];
        let Some(server) = wanted.iter().find_map(|protocol| provider.mail.get(protocol)) else {
            return Ok(());
        };
        let user = pending.mailbox.as_str();
        match self.parts.proof.log_in(server, user, &pending.access_token).await {
            Proof::Opened => Ok(()),
            Proof::Refused => Err(Error::ConsentNotUsable(format!(
                "The mail server did not open {user} with it: you may have signed in as somebody else, or mail \
                 access is switched off there. Nothing was stored."
            ))),
            Proof::Unreachable => Err(Error::ConsentNotUsable(
                "The mail server is temporarily unavailable. Nothing was stored; try again in a few minutes."
                    .to_owned(),
            )),
        }
    }
}
