//! Answers of providers, turned into the domain's words.
//!
//! Never drops a token: if one can be found it comes out, however broken the rest of the answer is, because at a strictly
//! rotating provider it may be the only live one. That goes for a refusal too that brings a new refresh token: the token
//! comes out, and the next refresh with it hears the refusal again if it was meant. Invariant: a refusal's words are redacted before anyone sees them.
//! Next: `service` stores what was [`Issued`] before it looks at anything else.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::domain::provider::Issued;
use crate::domain::refusal::{ErrorTables, Evidence, Reached, RefusalClass, Refused, classify};
use crate::domain::secret::Secret;
use crate::providers::fields::{Fields, Shape};
use crate::providers::redact;
use crate::providers::wire::{Answer, WireError};

/// The longest life that is believed of an access token.
const LONGEST_LIFE: Duration = Duration::from_secs(366 * 86_400);

/// The longest life that is believed of a refresh token; more is as good as for ever.
const LONGEST_REFRESH_LIFE: Duration = Duration::from_secs(100 * 366 * 86_400);

/// What is needed to read an answer of one provider.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading<'a> {
    /// The provider's tables.
    pub(super) errors: &'a ErrorTables,
    /// Between scopes.
    pub(super) separator: &'a str,
    /// A refresh token ends with the access token beside it.
    pub(super) ends_together: bool,
    /// What the request carried: it must not come back in words.
    pub(super) sent: &'a [&'a Secret],
}

impl<'a> Reading<'a> {
    /// As most providers are read.
    pub(super) const fn of(errors: &'a ErrorTables, sent: &'a [&'a Secret]) -> Self {
        Self { errors, separator: " ", ends_together: false, sent }
    }

    /// An answer of the token endpoint (RFC 6749 sections 5.1 and 5.2, read leniently).
    ///
    /// A token counts whatever the HTTP status; an error counts whatever the status too (Zoho refuses with 200).
    pub(super) fn issued(&self, answer: Result<Answer, WireError>) -> Result<Issued, Refused> {
        let answer = answer.map_err(no_answer)?;
        let fields = Fields::read(&answer.body);
        let refused = !self.code(&fields).is_empty();
        let access_token = fields.token("access_token", !refused).filter(is_sendable);
        let refresh_token = fields.token("refresh_token", true);
        // A refusal may repeat the token that it refuses: that is no news.
        let news = refresh_token.as_ref().is_some_and(|token| !refused || self.is_new(token));
        if access_token.is_none() && !news {
            return Err(self.refusal(&answer, &fields));
        }
        // Zoho gives milliseconds in `expires_in` wherever it gives `expires_in_sec`.
        let life = life(&fields, &["expires_in_sec", "expires_in"]);
        let together = life.filter(|_| self.ends_together && refresh_token.is_some());
        let refresh_life = refresh_life(&fields).or(together);
        Ok(Issued {
            access_token,
            token_type: token_type(fields.text("token_type")),
            expires_in: life.map(|life| life.min(LONGEST_LIFE)),
            refresh_token,
            refresh_expires_in: refresh_life.map(|life| life.min(LONGEST_REFRESH_LIFE)),
            scopes: fields.value("scope").and_then(|scope| scopes(scope, self.separator)),
            id_token: fields.token("id_token", false),
        })
    }

    fn is_new(&self, token: &Secret) -> bool {
        !self.sent.contains(&token)
    }

    /// An answer that need only say yes (RFC 7009): any 2xx without an error inside.
    pub(super) fn accepted(&self, answer: Result<Answer, WireError>) -> Result<(), Refused> {
        let answer = answer.map_err(no_answer)?;
        let fields = Fields::read(&answer.body);
        if (200..300).contains(&answer.status) && self.code(&fields).is_empty() {
            return Ok(());
        }
        Err(self.refusal(&answer, &fields))
    }

    /// A whole JSON object with status 200: metadata, keys, userinfo. Nothing is salvaged here.
    pub(super) fn document(
        &self,
        answer: Result<Answer, WireError>,
    ) -> Result<Map<String, Value>, Refused> {
        let answer = answer.map_err(no_answer)?;
        let object = serde_json::from_slice(&answer.body).ok();
        match object {
            Some(object) if answer.status == 200 && answer.whole => Ok(object),
            _ => Err(self.refusal(&answer, &Fields::read(&answer.body))),
        }
    }

    fn code(&self, fields: &Fields) -> String {
        let text = match fields.value("error") {
            Some(Value::String(text)) => text.as_str(),
            // Google's API style: {"error": {"status": "UNAVAILABLE", "message": ".."}}.
            Some(Value::Object(error)) => {
                error.get("status").and_then(Value::as_str).unwrap_or("error")
            }
            _ => "",
        };
        redact::code(text, &self.secrets(fields))
    }

    /// What must not be repeated: what was sent, and what came.
    fn secrets<'s>(&'s self, fields: &'s Fields) -> Vec<&'s str> {
        let sent = self.sent.iter().map(|secret| secret.expose());
        sent.chain(fields.secrets()).collect()
    }

    fn refusal(&self, answer: &Answer, fields: &Fields) -> Refused {
        let code = self.code(fields);
        let secrets = self.secrets(fields);
        let suberror = ["suberror", "error_subtype"].iter().find_map(|name| fields.text(name));
        let suberror =
            suberror.map(|text| redact::code(text, &secrets)).filter(|text| !text.is_empty());
        let raw_words = fields.text("error_description").or_else(|| fields.error_message());
        let words =
            raw_words.map(|text| redact::words(text, &secrets)).filter(|text| !text.is_empty());
        let evidence = Evidence {
            status: answer.status,
            code: &code,
            suberror: suberror.as_deref().unwrap_or_default(),
            numbers: &fields.numbers(raw_words),
            words: &words.as_deref().unwrap_or_default().to_ascii_lowercase(),
        };
        let class = classify(&evidence, self.errors);
        let (our_code, our_words) = nothing_said(answer, fields);
        let hides = code.is_empty() && matches!(answer.status, 200..=299 | 500 | 502 | 504);
        Refused {
            class,
            code: if code.is_empty() { our_code.to_owned() } else { code },
            suberror,
            words: words.unwrap_or_else(|| our_words.to_owned()),
            retry_after: answer.retry_after,
            reached: if hides { Reached::Garbled } else { Reached::Answered },
        }
    }
}

/// A request that got no answer.
pub(super) fn no_answer(error: WireError) -> Refused {
    let (class, code) = match error {
        WireError::Forbidden(_) => (RefusalClass::AppBroken, "endpoint_refused"),
        WireError::Malformed => (RefusalClass::AppBroken, "request_malformed"),
        WireError::Connect => (RefusalClass::Transient, "connect_failed"),
        WireError::Unsent => (RefusalClass::Transient, "unsent"),
        WireError::Deadline => (RefusalClass::Transient, "deadline"),
        WireError::Broken => (RefusalClass::Transient, "connection_broken"),
    };
    Refused::ours(class, code, &error.to_string(), error.reached())
}

/// Our own code and words for an answer that has none.
fn nothing_said(answer: &Answer, fields: &Fields) -> (&'static str, &'static str) {
    match (answer.status, fields.shape) {
        (300..=399, _) => {
            ("redirected", "the provider answered with a redirect, which is not followed")
        }
        (_, _) if !answer.whole => ("answer_cut", "the answer is too long or broke off"),
        (_, Shape::Empty) => ("answer_empty", "the answer is empty"),
        (_, Shape::Other) => {
            ("not_json", "the answer is not what OAuth promises; a proxy may have given it")
        }
        (200..=299, Shape::Object) => ("no_token", "the answer holds no usable token"),
        (_, Shape::Object) => ("no_error_code", "the answer names no error"),
    }
}

/// An access token is put into mail commands and headers: visible ASCII only (RFC 6749 appendix A.12, threat T14).
fn is_sendable(token: &Secret) -> bool {
    token.expose().bytes().all(|b| (0x20..0x7f).contains(&b))
}

fn token_type(text: Option<&str>) -> String {
    match text {
        None | Some("") => "Bearer".to_owned(),
        Some(text) if text.eq_ignore_ascii_case("bearer") => "Bearer".to_owned(),
        Some(text) => text.chars().filter(char::is_ascii_alphanumeric).take(32).collect(),
    }
}

/// The first of `names` that says something.
fn life(fields: &Fields, names: &[&str]) -> Option<Duration> {
    names.iter().find_map(|name| fields.value(name).and_then(seconds))
}

/// Google's, Keycloak's and others' names for it; Keycloak says 0 for a token that has no end.
fn refresh_life(fields: &Fields) -> Option<Duration> {
    let names = ["refresh_token_expires_in", "refresh_expires_in", "rt_expires_in"];
    life(fields, &names).filter(|life| !life.is_zero())
}

/// Seconds, as a number or as text; negative ones say nothing, and those that fit nowhere are many.
fn seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    let usable = seconds.is_finite() && seconds >= 0.0;
    usable.then(|| Duration::try_from_secs_f64(seconds.trunc()).unwrap_or(Duration::MAX))
}

/// Scopes as text with the provider's separator or with blanks, or as an array.
fn scopes(value: &Value, separator: &str) -> Option<Vec<String>> {
    let texts: Vec<&str> = match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let blank = |c: char| c.is_whitespace() || separator.contains(c);
    let found: Vec<String> = texts
        .iter()
        .flat_map(|text| text.split(blank))
        .filter(|s| !s.is_empty())
        .map(str::to_owned)
        .collect();
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
