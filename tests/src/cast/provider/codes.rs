//! Consents under way: requests that wait for a person, and codes that wait to be exchanged.
//!
//! Bounded: past 4,096 the oldest goes. A code lives for sixty seconds and works once; a second use revokes what the
//! first bought (RFC 6749 section 4.1.2). Next: [`super::authorize`], which fills it, and [`super::token`], which empties it.

use std::collections::VecDeque;

use serde::Deserialize;

const KEPT_MAX: usize = 4096;
const CODE_LIFE_MS: i64 = 60_000;

/// The query of an authorization request (RFC 6749 section 4.1.1, RFC 7636, OpenID Connect Core section 3.1.2.1).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AuthorizeQuery {
    /// Must be `code`.
    pub response_type: String,
    /// The app.
    pub client_id: String,
    /// Where the answer goes.
    pub redirect_uri: String,
    /// Space-separated scopes.
    pub scope: String,
    /// Handed back as it is.
    pub state: Option<String>,
    /// Goes into the id_token.
    pub nonce: Option<String>,
    /// PKCE challenge.
    pub code_challenge: Option<String>,
    /// Must be `S256`.
    pub code_challenge_method: Option<String>,
    /// The mailbox that the app expects.
    pub login_hint: Option<String>,
}

/// A code and what it stands for.
#[derive(Clone, Debug)]
pub struct Code {
    /// The code.
    pub value: String,
    /// The request it answers.
    pub query: AuthorizeQuery,
    /// Who consented.
    pub user: String,
    /// When it ends.
    pub expires_ms: i64,
    /// The family that it bought, once used.
    pub family: Option<usize>,
}

/// All consents under way.
#[derive(Debug, Default)]
pub struct Codes {
    pending: VecDeque<(String, AuthorizeQuery)>,
    codes: VecDeque<Code>,
}

impl Codes {
    /// Keeps a request until a person has decided; returns its name for the form.
    pub fn hold(&mut self, query: AuthorizeQuery) -> String {
        let name = format!("{:032x}", rand::random::<u128>());
        keep(&mut self.pending, (name.clone(), query));
        name
    }

    /// Takes a request that a person has decided on.
    pub fn take(&mut self, name: &str) -> Option<AuthorizeQuery> {
        let at = self.pending.iter().position(|(held, _)| held == name)?;
        self.pending.remove(at).map(|(_, query)| query)
    }

    /// Issues a code.
    pub fn issue(&mut self, query: AuthorizeQuery, user: &str, now: i64) -> String {
        let value = format!("code-{:032x}", rand::random::<u128>());
        let expires_ms = now.saturating_add(CODE_LIFE_MS);
        let user = user.to_owned();
        keep(&mut self.codes, Code { value: value.clone(), query, user, expires_ms, family: None });
        value
    }

    /// The code of that value, used or not.
    pub fn find(&mut self, value: &str) -> Option<&mut Code> {
        self.codes.iter_mut().find(|code| code.value == value)
    }
}

fn keep<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == KEPT_MAX {
        queue.pop_front();
    }
    queue.push_back(item);
}
