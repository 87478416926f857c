//! The people of the tests: a client over TLS, a provider that takes XOAUTH2.
//!
//! Never compiled into the adapter.

use adapter_core::dialogue::{ClientFacts, Mechanism, Upstream};
use zeroize::Zeroizing;

/// A client over implicit TLS; nothing is known of the servers behind.
pub(crate) fn facts() -> ClientFacts {
    ClientFacts {
        server_name: "mail.example".to_owned(),
        encrypted: true,
        starttls: false,
        plain_allowed: false,
        extensions: Vec::new(),
        attempts: 3,
    }
}

/// A provider over implicit TLS with Alice's token.
pub(crate) fn upstream() -> Upstream {
    Upstream {
        host: "smtp.provider.example".to_owned(),
        port: 465,
        starttls: false,
        helo_name: "[127.0.0.1]".to_owned(),
        user: "alice@example.com".to_owned(),
        secret: Zeroizing::new("tok-123-secret-marker".to_owned()),
        mechanisms: vec![Mechanism::XOauth2, Mechanism::OAuthBearer],
        initial_response: true,
        probe_after_login: false,
    }
}
