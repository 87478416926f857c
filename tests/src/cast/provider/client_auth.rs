//! Which app is calling: HTTP Basic or form members (RFC 6749 section 2.3.1).
//!
//! Compares secrets and nothing else. An app with several secrets may use any that has not expired. Next: [`super::token`].

use std::collections::HashMap;

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use data_encoding::BASE64;

use super::answer::Answer;
use super::settings::Client;

/// A form, each name once.
pub type Form = HashMap<String, String>;

/// What a caller says about itself.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The app's id.
    pub id: String,
    secret: Option<String>,
    basic: bool,
}

/// Reads the app's id and secret off a request, unchecked.
pub fn claim(headers: &HeaderMap, form: &Form) -> Option<Claim> {
    if let Some((id, secret)) = basic(headers) {
        return Some(Claim { id, secret: Some(secret), basic: true });
    }
    let id = form.get("client_id")?.clone();
    Some(Claim { id, secret: form.get("client_secret").cloned(), basic: false })
}

/// Why a caller is not believed to be the app it names.
#[derive(Clone, Copy, Debug)]
pub struct InvalidClient {
    why: &'static str,
    basic: bool,
}

impl InvalidClient {
    /// The answer, with a challenge when Basic was used (RFC 6749 section 5.2).
    pub fn answer(self) -> Answer {
        let answer = Answer::error("invalid_client", self.why);
        if self.basic { answer.with(WWW_AUTHENTICATE, "Basic realm=\"sim\"") } else { answer }
    }
}

/// Checks a claim against the registered apps.
///
/// # Errors
/// The app is unknown, or its secret is wrong or has expired.
pub fn authenticate<'c>(
    claim: Option<&Claim>,
    clients: &'c [Client],
) -> Result<&'c Client, InvalidClient> {
    let Some(claim) = claim else {
        return Err(InvalidClient { why: "no client given", basic: false });
    };
    let refuse = |why| InvalidClient { why, basic: claim.basic };
    let client = clients.iter().find(|client| client.id == claim.id);
    let client = client.ok_or_else(|| refuse("unknown client"))?;
    if client.secrets.is_empty() && claim.secret.is_none() {
        return Ok(client);
    }
    let secret = client.secrets.iter().find(|secret| Some(&secret.value) == claim.secret.as_ref());
    match secret {
        Some(secret) if secret.expired => Err(refuse("the client secret has expired")),
        Some(_) => Ok(client),
        None => Err(refuse("wrong client secret")),
    }
}

/// The form of a body; a name that comes twice keeps its last value.
pub fn form(body: &[u8]) -> Form {
    url::form_urlencoded::parse(body).into_owned().collect()
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let decoded = BASE64.decode(value.strip_prefix("Basic ")?.trim().as_bytes()).ok()?;
    let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((form_decoded(id), form_decoded(secret)))
}

/// Both halves are form-encoded before they are joined (RFC 6749 section 2.3.1).
fn form_decoded(text: &str) -> String {
    let pair = format!("v={text}");
    url::form_urlencoded::parse(pair.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}
