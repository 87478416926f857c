//! A mail session: one accepted login at an adapter.
//!
//! Never the token. Invariant: it is renewed at most once, and only by the adapter that opened it.
//! Next: `service/open_session` makes one, `service/renew_session` uses it up.

use crate::clock::Time;
use crate::domain::ids::{AccountId, CallerId, CredentialId, SessionId};
use crate::domain::mail::MailProtocol;

/// A mail session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailSession {
    /// Its row, also its name towards the adapter.
    pub id: SessionId,
    /// The adapter that opened it.
    pub adapter: CallerId,
    /// The credential that was shown.
    pub credential: CredentialId,
    /// The account it logs in to.
    pub account: AccountId,
    /// Over which protocol.
    pub protocol: MailProtocol,
    /// Where the client was.
    pub client_address: String,
    /// When it was opened.
    pub opened_at: Time,
    /// When it ended, if it has.
    pub ended_at: Option<Time>,
    /// How often it asked for another token.
    pub renewals: i64,
    /// How the login at the provider went: empty, `accepted`, `refused`, `unreachable`.
    pub upstream: String,
    /// Bytes from client to provider.
    pub bytes_up: i64,
    /// Bytes from provider to client.
    pub bytes_down: i64,
}
