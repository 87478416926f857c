//! `Debug` for the messages that carry a secret: the type's name and nothing of its content but what names a thing.

use std::fmt::{Debug, Formatter, Result};

use crate::v1;

macro_rules! redacted {
    ($($message:ident { $($shown:ident),* })*) => {$(
        impl Debug for v1::$message {
            fn fmt(&self, f: &mut Formatter<'_>) -> Result {
                f.debug_struct(stringify!($message))
                    $(.field(stringify!($shown), &self.$shown))*
                    .finish_non_exhaustive()
            }
        }
    )*};
}

redacted! {
    GetAccessTokenResponse { account, audience, expire_time, generation, stale }
    OpenSessionRequest { protocol, login_name, client_address }
    MailSession { session, upstream, sasl_user, expire_time }
    CreateAppRequest { parent, app_id, app }
    AddAppSecretRequest { name, expire_time, inactive }
    ExchangeConsentRequest { name, error }
    FinishConsentRequest { name }
    CreateCredentialResponse { credential }
    RotateCredentialResponse { credential, previous }
    CreateCallerResponse { caller }
    CreateCallerKeyResponse { caller }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_a_secret_does_not_print_it() {
        let answer = v1::GetAccessTokenResponse {
            access_token: "ya29.canary".into(),
            account: "projects/default/accounts/ann".into(),
            ..Default::default()
        };
        let outcome = v1::AccessTokenOutcome {
            outcome: Some(v1::access_token_outcome::Outcome::Token(answer)),
        };
        let printed = format!("{outcome:?}");
        assert!(printed.contains("accounts/ann"), "{printed}");
        assert!(!printed.contains("canary"), "{printed}");
    }
}
