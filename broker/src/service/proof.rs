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
            return trust_without_login(pending.named_by_provider);
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

/// Without mail hosts there is nothing to log in to: then the provider must have named the mailbox itself. An expected
/// mailbox that nobody confirmed would let any user of the provider pass for its owner.
fn trust_without_login(named_by_provider: bool) -> Result<(), Error> {
    if named_by_provider {
        return Ok(());
    }
    Err(Error::ConsentNotUsable(
        "We could not prove that this is your mailbox: the provider does not name it, and no mail server is known. \
         Nothing was stored. The operator has to give the app a mail server or an identity."
            .to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_that_neither_a_login_nor_the_provider_confirms_is_refused() {
        assert!(trust_without_login(true).is_ok());
        assert!(matches!(trust_without_login(false), Err(Error::ConsentNotUsable(_))));
    }
}
