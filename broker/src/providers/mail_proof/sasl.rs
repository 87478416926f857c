//! What is said about a token: XOAUTH2 and OAUTHBEARER (RFC 7628), in base64.
//!
//! Never sends anything. Invariant: user and token were checked for control characters before, so no field can end early.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::domain::mail::{MailHost, SaslMechanism};
use crate::domain::secret::Secret;

/// The client's message.
pub(super) fn response(
    mechanism: SaslMechanism,
    user: &str,
    token: &Secret,
    server: &MailHost,
) -> Secret {
    let token = token.expose();
    let message = Zeroizing::new(match mechanism {
        SaslMechanism::OAuthBearer => {
            let (host, port) = (&server.host, server.port);
            let name = user.replace('=', "=3D").replace(',', "=2C");
            format!("n,a={name},\x01host={host}\x01port={port}\x01auth=Bearer {token}\x01\x01")
        }
        SaslMechanism::XOauth2 | SaslMechanism::Plain => {
            format!("user={user}\x01auth=Bearer {token}\x01\x01")
        }
    });
    Secret::new(STANDARD.encode(message.as_bytes()))
}

/// What a client answers to the challenge that says why it failed; only then comes the server's no.
pub(super) const fn after_failure(mechanism: SaslMechanism) -> &'static str {
    match mechanism {
        SaslMechanism::OAuthBearer => "AQ==",
        SaslMechanism::XOauth2 | SaslMechanism::Plain => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(mechanism: SaslMechanism, user: &str) -> String {
        let server = MailHost::parse("imap+tls://imap.example.com:993").unwrap();
        response(mechanism, user, &Secret::from("tok-123"), &server).expose().to_owned()
    }

    #[test]
    fn the_messages_are_those_of_the_published_examples() {
        let user = "alice@example.com";
        let xoauth2 = "dXNlcj1hbGljZUBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB0b2stMTIzAQE=";
        assert_eq!(said(SaslMechanism::XOauth2, user), xoauth2);
        let bearer = "bixhPWFsaWNlQGV4YW1wbGUuY29tLAFob3N0PWltYXAuZXhhbXBsZS5jb20BcG9ydD05OTMB\
                      YXV0aD1CZWFyZXIgdG9rLTEyMwEB";
        assert_eq!(said(SaslMechanism::OAuthBearer, user), bearer);
    }

    #[test]
    fn a_comma_or_equals_sign_in_a_user_does_not_end_the_gs2_header() {
        let message = STANDARD.decode(said(SaslMechanism::OAuthBearer, "a,b=c@x.y")).unwrap();
        assert!(message.starts_with(b"n,a=a=2Cb=3Dc@x.y,\x01host="));
    }
}
