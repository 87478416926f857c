//! Misbehaviour by rule: which call goes wrong, how, and how often.
//!
//! A rule names what it waits for and what happens then; the book picks the first rule that fits and counts it down. It
//! acts nothing out itself. At most 1,024 rules are kept. Next: [`super::stage`], which acts.

use serde::{Deserialize, Serialize};

const RULES_MAX: usize = 1024;

/// The endpoints that calls are counted by and rules can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// `/.well-known/openid-configuration` and its OAuth twin.
    Discovery,
    /// `/jwks`.
    Jwks,
    /// `/authorize` and its form.
    Authorize,
    /// `/token`.
    Token,
    /// `/revoke`.
    Revoke,
    /// `/introspect`.
    Introspect,
    /// `/userinfo`.
    Userinfo,
}

impl Endpoint {
    /// Its name in statistics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Discovery => "discovery",
            Self::Jwks => "jwks",
            Self::Authorize => "authorize",
            Self::Token => "token",
            Self::Revoke => "revoke",
            Self::Introspect => "introspect",
            Self::Userinfo => "userinfo",
        }
    }
}

/// What a call is about, as far as it can be told before it is processed.
#[derive(Clone, Debug)]
pub struct Call {
    /// Where it arrived.
    pub endpoint: Endpoint,
    /// The grant type, at the token endpoint.
    pub grant_type: Option<String>,
    /// The app.
    pub client: Option<String>,
    /// The mailbox.
    pub login: Option<String>,
    /// The refresh token, when it is a refresh.
    pub refresh_token: Option<String>,
}

impl Call {
    /// A call that says nothing but where it arrived.
    pub fn plain(endpoint: Endpoint) -> Self {
        Self { endpoint, grant_type: None, client: None, login: None, refresh_token: None }
    }
}

/// When to misbehave and how. Absent conditions fit every call.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Only here.
    #[serde(default)]
    pub endpoint: Option<Endpoint>,
    /// Only for this grant type.
    #[serde(default)]
    pub grant_type: Option<String>,
    /// Only for this app.
    #[serde(default)]
    pub client: Option<String>,
    /// Only for this mailbox.
    #[serde(default)]
    pub login: Option<String>,
    /// Let so many fitting calls pass first.
    #[serde(default)]
    pub skip: u32,
    /// How often; absent means for ever.
    #[serde(default)]
    pub times: Option<u32>,
    /// Process the call all the same and lose the real answer.
    #[serde(default)]
    pub processed: bool,
    /// What happens.
    pub fault: Fault,
}

impl Rule {
    /// `fault` at every call of the token endpoint, for ever.
    pub fn token(fault: Fault) -> Self {
        Self {
            endpoint: Some(Endpoint::Token),
            grant_type: None,
            client: None,
            login: None,
            skip: 0,
            times: None,
            processed: false,
            fault,
        }
    }

    /// `fault` at every refresh, for ever.
    pub fn refresh(fault: Fault) -> Self {
        Self { grant_type: Some("refresh_token".to_owned()), ..Self::token(fault) }
    }

    /// This rule, but only so often.
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// This rule, but so many calls later.
    pub fn skip(self, skip: u32) -> Self {
        Self { skip, ..self }
    }

    /// This rule, but only for this mailbox.
    pub fn login(self, login: &str) -> Self {
        Self { login: Some(login.to_owned()), ..self }
    }

    /// This rule, but only for this app.
    pub fn client(self, client: &str) -> Self {
        Self { client: Some(client.to_owned()), ..self }
    }

    /// This rule, but the call is processed before its answer is lost.
    pub fn processed(self) -> Self {
        Self { processed: true, ..self }
    }

    fn fits(&self, call: &Call) -> bool {
        let fits = |want: &Option<String>, have: &Option<String>| want.is_none() || want == have;
        self.endpoint.is_none_or(|endpoint| endpoint == call.endpoint)
            && fits(&self.grant_type, &call.grant_type)
            && fits(&self.client, &call.client)
            && fits(&self.login, &call.login)
    }
}

/// One way to go wrong. Without [`Rule::processed`] the first group answers in place of the work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Fault {
    /// A bare status.
    Status {
        /// The HTTP status.
        status: u16,
        /// `Retry-After`, sent as it stands: seconds, a date or rubbish. `date+30` becomes the date 30 seconds from now.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// An OAuth error (RFC 6749 section 5.2), with the extras of the big providers.
    Oauth {
        /// `error`.
        error: String,
        /// `error_description`.
        #[serde(default)]
        description: Option<String>,
        /// `error_subtype`, as Google says `invalid_rapt`.
        #[serde(default)]
        subtype: Option<String>,
        /// `suberror`, as Microsoft says `bad_token`.
        #[serde(default)]
        suberror: Option<String>,
        /// HTTP status; absent means 400.
        #[serde(default)]
        status: Option<u16>,
    },
    /// No answer while the client waits (at most ten minutes).
    Hang,
    /// The connection is reset before the call is processed.
    ResetBefore,
    /// An HTML page with status 200, as a captive portal sends.
    Html,
    /// Status 200 and no body.
    Empty,
    /// Status 200 and JSON that is not an object.
    NotAnObject,
    /// A body without end (64 MiB, unless the client closes first).
    Endless,

    /// The call is processed and the connection then reset: the answer is lost.
    ResetAfter,
    /// Half of the real answer, then the connection ends.
    Truncate,

    /// The real answer, this many milliseconds late (at most ten minutes).
    Delay {
        /// How late.
        ms: u64,
    },
    /// The real answer with every member twice, the first of each pair wrong.
    DuplicateKeys,
    /// The real answer called `text/plain`.
    WrongContentType,
    /// The real answer with another `expires_in`.
    ExpiresIn {
        /// Which.
        form: ExpiresIn,
    },
    /// The real answer without `token_type`.
    TokenTypeMissing,
    /// The real answer with `token_type` in lower case.
    TokenTypeLower,
    /// The real answer without its refresh token, which has been issued all the same.
    NoRefreshToken,
}

/// Forms of `expires_in` that are met or feared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpiresIn {
    /// Not there, which is legal.
    Omit,
    /// A string of digits.
    String,
    /// -1.
    Negative,
    /// 2^63 - 1.
    Huge,
}

/// All rules, in the order they were given.
#[derive(Debug, Default)]
pub struct FaultBook {
    rules: Vec<Rule>,
    acted: u64,
}

impl FaultBook {
    /// Adds a rule; past 1,024 of them the oldest goes.
    pub fn add(&mut self, rule: Rule) {
        if self.rules.len() == RULES_MAX {
            self.rules.remove(0);
        }
        self.rules.push(rule);
    }

    /// Forgets all rules.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// The rules still in force.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// How many faults were handed out.
    pub fn acted(&self) -> u64 {
        self.acted
    }

    /// The rule that this call meets, if any, counted down.
    pub fn next(&mut self, call: &Call) -> Option<Rule> {
        let at = self.rules.iter_mut().position(|rule| {
            let fits = rule.fits(call);
            let due = fits && rule.skip == 0;
            rule.skip -= u32::from(fits && !due);
            due
        })?;
        let rule = self.rules[at].clone();
        match self.rules[at].times.as_mut() {
            Some(0 | 1) => drop(self.rules.remove(at)),
            Some(times) => *times -= 1,
            None => {}
        }
        self.acted += 1;
        Some(rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_skips_then_acts_so_often_and_goes() {
        let mut book = FaultBook::default();
        book.add(Rule::token(Fault::Hang).skip(1).times(2));
        let call = Call::plain(Endpoint::Token);
        let acted: Vec<bool> = (0..4).map(|_| book.next(&call).is_some()).collect();
        assert_eq!(acted, [false, true, true, false]);
        assert!(book.rules().is_empty());
    }

    #[test]
    fn a_rule_leaves_other_calls_alone() {
        let mut book = FaultBook::default();
        book.add(Rule::refresh(Fault::Html).login("alice@example.test"));
        let mut call = Call::plain(Endpoint::Token);
        call.grant_type = Some("refresh_token".to_owned());
        call.login = Some("bob@example.test".to_owned());
        assert!(book.next(&call).is_none());
        call.login = Some("alice@example.test".to_owned());
        assert!(book.next(&call).is_some());
    }
}
